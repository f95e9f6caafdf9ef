"""A tensor's frame goes through every primitive and every function, on every backend, and changes no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core import functions as f
from core.array import Array, apply, asarray, grad
from core.backends import Backend, open_backend, use_backend
from core.errors import FrameMismatchError
from core.frame import ZFrame
from core.nn.model import Config
from core.nn.rnn import Rnn
from core.ztensor import ZTensor, lift
from tests.core.cases import CASES, Case

FRAME, OTHER = ZFrame.octaves(3, 4), ZFrame.octaves(4, 4)
ALL = [pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)
       if case.inputs]


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The CPU, or what `--backend` names."""
    return open_backend(request.config.getoption("backend"))


def put(values: list[Any], backend: Backend) -> list[Array]:
    return [asarray(v, None if v.dtype.kind == "i" else np.float32, backend) for v in values]


@pytest.mark.parametrize(("name", "case"), ALL)
def test_every_primitive_hands_the_frame_on(name: str, case: Case, backend: Backend) -> None:
    plain = put(case.draw(1), backend)
    want = apply(name, *plain, **case.params)
    assert type(want) is Array
    timeless = name in ("sum", "max") and max(plain[0].ndim - 2, 0) in case.params["axis"]
    for at in range(len(plain)):
        inputs = [lift(x, FRAME) if i == at else x for i, x in enumerate(plain)]
        got = apply(name, *inputs, **case.params)
        assert type(got) is (Array if timeless else ZTensor)
        if isinstance(got, ZTensor):
            assert got.frame == FRAME
        np.testing.assert_array_equal(got.numpy(), want.numpy())
    if len(plain) > 1:
        with pytest.raises(FrameMismatchError, match=f"{name} mixes the frames"):
            apply(name, lift(plain[0], FRAME), lift(plain[1], OTHER), *plain[2:], **case.params)


def vector(*values: float) -> Array:
    return asarray(np.array(values, np.float32))


FUNCTIONS: dict[str, Callable[[Array], Any]] = {
    "softmax": f.softmax, "sort": f.sort, "top_k": lambda x: f.top_k(x, 2)[0], "places": lambda x: f.top_k(x, 2)[1],
    "layer_norm": lambda x: f.layer_norm(x, vector(1, 1, 1), vector(0, 0, 0)),
    "rms_norm": lambda x: f.rms_norm(x, vector(1, 1, 1)), "cast": lambda x: f.cast(x, np.float16),
    "where": lambda x: f.where(f.nonfinite(x), x * 0.0, x), "absolute": f.absolute, "softplus": f.softplus,
    "complex": lambda x: f.irfft(f.complex_mul(f.rfft(x, 16, 1), vector(2, 0)), 16, 1)[:, :8],
    "recurrence": lambda x: f.linear_recurrence(f.sigmoid(x), x, x[:, 0], starts=x[:, :, :1].detach() * 0.0),
    "conv2d": lambda x: f.conv2d(x.reshape(2, 8, 3, 1), asarray(np.ones((2, 2, 1, 4), np.float32))),
    "concat": lambda x: f.concat([x, x[:, ::1]], 1), "slices": lambda x: x[0, 2:5], "item": lambda x: x[1, 2, 0],
    "arithmetic": lambda x: 1.0 / (2.0 - (-x) * x + 3.0), "layout": lambda x: x.transpose(1, 0, 2).reshape(8, -1),
    "batch": lambda x: x.mean(0), "channels": lambda x: x.max(2, keepdims=True), "detached": lambda x: x.detach(),
    "product": lambda x: x @ asarray(np.ones((3, 5), np.float32)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_layers_carry_it(name: str, backend: Backend) -> None:
    values = np.random.default_rng(0).standard_normal((2, 8, 3))
    with use_backend(backend):
        x = asarray(values, np.float32)
        want, got = FUNCTIONS[name](x), FUNCTIONS[name](lift(x, FRAME))
    assert isinstance(got, ZTensor)
    assert got.frame == FRAME
    np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_no_time_no_frame(backend: Backend) -> None:
    """[T], [T, C] and [N, T, C]: what is left of a reduction over T is a plain array."""
    for shape, axis in (((8,), 0), ((8, 3), 0), ((2, 8, 3), 1), ((2, 8, 3), None), ((2, 8, 3), (0, -2))):
        x = lift(np.ones(shape, np.float32), FRAME, backend=backend)
        for reduced in (x.sum(axis), x.max(axis, keepdims=True), x.mean(axis)):
            assert type(reduced) is Array


def test_a_model_carries_it_from_its_embedding_to_its_logits(backend: Backend) -> None:
    model = Rnn(Config(vocabulary=7, width=8, hidden=8, layers=2))
    with use_backend(backend):
        p = {k: asarray(v) for k, v in model.initial_parameters(0).items()}
        tokens = asarray(np.arange(12, dtype=np.int32).reshape(2, 6) % 7)
        want, _, _ = model.states(p, tokens, model.initial_state(2))
        framed = {**p, "embedding": lift(p["embedding"], FRAME)}
        x, state, tapped = model.states(framed, tokens, model.initial_state(2))
        found = [x, tapped, *state.values(), model.logits(p, x)]
    assert all(isinstance(a, ZTensor) and a.frame == FRAME for a in found)
    np.testing.assert_array_equal(x.numpy(), want.numpy())


def test_gradients_pass_lift_reframe_and_project(backend: Backend) -> None:
    x = asarray(np.array([[1.0, 2.0], [3.0, 4.0]]), np.float32, backend, requires_grad=True)
    z = lift(x, FRAME)
    y = (z * z).reframe(OTHER).project() * z.project()
    for g in grad(y.sum(), [x, z]):
        assert type(g) is Array
        np.testing.assert_allclose(g.numpy(), 3 * np.array([[1.0, 2.0], [3.0, 4.0]]) ** 2, rtol=1e-6)
