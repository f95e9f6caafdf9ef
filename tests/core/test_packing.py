"""Parameters in long arrays: nothing is lost on the way, and an update is the one of the arrays by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import asarray, grad
from core.backends import Backend, open_backend, use_backend
from core.optim import Adam, Hypergrad, clip_by_norm
from core.packing import ALIGNED, MATRICES, Packing
from tests.core.here import wgpu_here

SHAPES = {"embedding": (7, 5), "0.norm": (5,), "0.out": (16, 8), "head_bias": (), "long": (2, 3, 65)}


@pytest.fixture(params=["cpu", "wgpu"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    asked = request.config.getoption("backend") or request.param
    backend = wgpu_here() if asked == "wgpu" else open_backend(asked)
    with use_backend(backend):
        yield backend


def drawn(seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}


@pytest.mark.parametrize("apart", [(), ("embedding",)])
def test_what_goes_in_comes_out(backend: Backend, apart: tuple[str, ...]) -> None:
    packing, values = Packing(SHAPES, apart), drawn(0)
    for packed in (packing.put(values), packing.pack({k: asarray(v) for k, v in values.items()})):
        assert set(packed) == {"matrices", "others", *apart}
        read, leaves = packing.read(packed), packing.unpack(packed)
        assert list(read) == list(leaves) == sorted(SHAPES)
        for k, v in values.items():
            np.testing.assert_array_equal(read[k], v)
            np.testing.assert_array_equal(leaves[k].numpy(), v)
            assert leaves[k].requires_grad
            assert leaves[k].node is None


def test_every_parameter_begins_where_a_gpu_likes_it_and_gaps_are_zero(backend: Backend) -> None:
    packing, values = Packing(SHAPES), {k: np.ones_like(v) for k, v in drawn(0).items()}
    long = packing.put(values)[MATRICES].numpy()
    assert len(long) % ALIGNED == 0
    assert long.sum() == 7 * 5 + 16 * 8
    assert long[ALIGNED : ALIGNED + 16 * 8].all() or long[2 * ALIGNED : 2 * ALIGNED + 7 * 5].all()


def test_decay_takes_from_matrices_alone(backend: Backend) -> None:
    values = drawn(0)
    for apart in ((), ("embedding",)):
        packing = Packing(SHAPES, apart)
        found = packing.read(packing.decayed(packing.put(values), 0.25))
        for k, v in values.items():
            np.testing.assert_array_equal(found[k], v * np.float32(0.75) if v.ndim == 2 else v)


@pytest.mark.parametrize("optimiser", [Adam(), Hypergrad()])
def test_an_update_is_that_of_each_parameter_by_itself(backend: Backend, optimiser: Adam | Hypergrad) -> None:
    packing, values = Packing(SHAPES), drawn(0)
    apart = {k: asarray(v, requires_grad=True) for k, v in values.items()}
    packed = packing.put(values)
    states = optimiser.start(apart), optimiser.start(packed)
    for n in (1, 2, 3):
        grads = {k: asarray(v) for k, v in drawn(n).items()}
        clipped, _ = clip_by_norm(grads, 1.0)
        together, _ = clip_by_norm(packing.pack(grads), 1.0)
        apart, first = optimiser.step(apart, clipped, states[0], 0.1, n)
        packed, second = optimiser.step(packed, together, states[1], 0.1, n)
        states = first, second
    for k, v in packing.read(packed).items():
        np.testing.assert_allclose(v, apart[k].numpy(), rtol=1e-5, atol=1e-6)
    state = packing.read_state(states[1])
    assert set(state) == set(states[0])
    for k, v in state.items():
        np.testing.assert_allclose(v, states[0][k].numpy(), rtol=1e-5, atol=1e-7)
    for k, x in packing.put_state(state).items():
        np.testing.assert_array_equal(x.numpy(), states[1][k].numpy())


def test_gradients_reach_the_leaves(backend: Backend) -> None:
    leaves = Packing(SHAPES).unpack(Packing(SHAPES).put(drawn(0)))
    (g,) = grad((leaves["0.out"] * leaves["0.out"]).sum(), [leaves["0.out"]])
    np.testing.assert_allclose(g.numpy(), 2 * leaves["0.out"].numpy(), rtol=1e-6)
