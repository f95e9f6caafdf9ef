"""Every family: its formulas, causal, parallel form equal to step form, gradients right, able to learn, everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import Array, asarray, grad
from core.backends import open_backend, use_backend
from core.frame import ZFrame
from core.functions import cross_entropy
from core.nn.families import FAMILIES, PRESETS, build
from core.nn.model import Config, Model
from core.optim import Adam, Schedule, clip_by_norm
from tests.core import by_hand
from tests.core.here import wgpu_here

SIZES = Config(vocabulary=11, width=12, hidden=16, layers=3)
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 23)).astype(np.int32)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def model(family: str) -> Model:
    return FAMILIES[family](SIZES)


def parameters(model: Model, dtype: type = np.float64) -> dict[str, Array]:
    return {k: asarray(v.astype(dtype), dtype, requires_grad=True) for k, v in model.initial_parameters(3).items()}


def scattered(model: Model) -> dict[str, Array]:
    """Parameters none of which is zero, one, or equal to its neighbour, so that each formula has to be right."""
    rng = np.random.default_rng(2)
    return {k: asarray(v + 0.2 * rng.standard_normal(v.shape), np.float64, requires_grad=True)
            for k, v in model.initial_parameters(3).items()}


def logits(model: Model, p: dict[str, Array], tokens: NDArray[np.int32]) -> NDArray[np.float64]:
    x, _, _ = model.states(p, asarray(tokens), model.initial_state(len(tokens), p["norm"].dtype))
    return model.logits(p, x).numpy()


def loss_of(model: Model, p: dict[str, Array], tokens: NDArray[np.int32] = TOKENS) -> Array:
    x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(len(tokens), p["norm"].dtype))
    return cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()


def test_parallel_form_equals_the_formulas(family: str, model: Model) -> None:
    p = scattered(model)
    want = by_hand.logits(family, {k: a.numpy() for k, a in p.items()}, TOKENS, SIZES.layers)
    np.testing.assert_allclose(logits(model, p, TOKENS), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cuts", [[1] * 23, [2, 1, 20], [22, 1]])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-5)])
def test_step_form_equals_parallel_form(model: Model, cuts: list[int], dtype: type, tolerance: float) -> None:
    p, state, parts, at = parameters(model, dtype), model.initial_state(2, dtype), [], 0
    sizes = {k: s.shape for k, s in state.items()}
    for n in cuts:
        x, state, _ = model.states(p, asarray(TOKENS[:, at: at + n]), state)
        parts.append(model.logits(p, x).numpy())
        at += n
        assert {k: s.shape for k, s in state.items()} == sizes  # constant memory
    want = logits(model, p, TOKENS)
    np.testing.assert_allclose(np.concatenate(parts, 1), want, rtol=0, atol=tolerance * np.abs(want).max())


def test_no_prediction_sees_the_future_and_every_later_one_the_past(model: Model) -> None:
    t, changed = 9, TOKENS.copy()
    changed[:, t] = (changed[:, t] + 1) % 11
    for p in (parameters(model, np.float32), scattered(model)):
        before, after = logits(model, p, TOKENS), logits(model, p, changed)
        np.testing.assert_array_equal(before[:, :t], after[:, :t])
        assert (before[:, t:] != after[:, t:]).any(axis=-1).all()


def test_every_parameter_has_its_gradient(model: Model) -> None:
    p = scattered(model)
    grads = dict(zip(p, grad(loss_of(model, p), list(p.values())), strict=True))
    rng = np.random.default_rng(1)
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        direction /= np.linalg.norm(direction)
        ends = [float(loss_of(model, {**p, name: asarray(value.numpy() + s * direction, np.float64)}))
                for s in (1e-5, -1e-5)]
        assert np.abs(grads[name].numpy()).max() > 0, name
        assert np.sum(grads[name].numpy() * direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5,
                                                                        abs=1e-9), name


def test_recomputed_blocks_give_the_same_bits(model: Model) -> None:
    p = parameters(model, np.float32)

    def results(recompute: bool) -> list[Array]:
        x, _, tapped = model.states(p, asarray(TOKENS[:, :-1]), model.initial_state(2), recompute=recompute)
        loss = cross_entropy(model.logits(p, x), asarray(TOKENS[:, 1:])).mean()
        return [loss, *grad(loss, [*p.values(), tapped])]

    for a, b in zip(results(False), results(True), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_tap_with_gains_one_changes_no_bit_and_others_change_only_what_lies_below(model: Model) -> None:
    frame = ZFrame.octaves(bands=3, sheets=4)
    p = parameters(model, np.float32)

    def grads(gains: NDArray[np.float64] | None) -> tuple[float, dict[str, NDArray[np.float32]]]:
        x, _, _ = model.states(p, asarray(TOKENS[:, :-1]), model.initial_state(2), frame=frame, gains=gains)
        value = cross_entropy(model.logits(p, x), asarray(TOKENS[:, 1:])).mean()
        return float(value), {k: g.numpy() for k, g in zip(p, grad(value, list(p.values())), strict=True)}

    plain_loss, plain = grads(None)
    neutral_loss, neutral = grads(np.ones((3, 4)))
    assert plain_loss == neutral_loss
    for name in p:
        np.testing.assert_array_equal(plain[name], neutral[name])
    _, painted = grads(np.array([[4.0] * 4, [1.0] * 4, [0.5] * 4]))
    below = {"embedding", *(k for k in p if k.startswith("0."))}
    assert model.tapped_layer == 1
    for name in p:
        assert np.array_equal(plain[name], painted[name]) == (name not in below), name


def test_untrained_loss_is_that_of_guessing(family: str) -> None:
    model, tokens = build(family, "small", 64), np.random.default_rng(0).integers(0, 64, (4, 129)).astype(np.int32)
    assert float(loss_of(model, parameters(model, np.float32), tokens)) == pytest.approx(math.log(64), rel=0.01)


def test_it_overfits_one_batch(family: str) -> None:
    model = FAMILIES[family](Config(vocabulary=11, width=32, hidden=32, layers=2))
    p = parameters(model, np.float32)
    adam, schedule = Adam(), Schedule(2e-2, 150, warmup=5)
    moments = adam.start(p)
    for i in range(150):
        loss = loss_of(model, p)
        grads, _ = clip_by_norm(dict(zip(p, grad(loss, list(p.values())), strict=True)), 1.0)
        p, moments = adam.step(p, grads, moments, schedule.rate(i), i + 1)
    assert float(loss) < 0.05


def test_a_gpu_takes_the_same_step_as_the_cpu(model: Model, pytestconfig: pytest.Config) -> None:
    def step() -> list[NDArray[np.float32]]:
        p = parameters(model, np.float32)
        loss = loss_of(model, p)
        return [loss.numpy(), *(g.numpy() for g in grad(loss, list(p.values())))]

    want = step()
    with use_backend(open_backend("cuda") if pytestconfig.getoption("backend") == "cuda" else wgpu_here()):
        found = step()
    for a, b in zip(want, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(family: str, preset: str) -> None:
    model = build(family, preset, 80)
    shapes = model.initial_parameters(0)
    assert all(v.dtype == np.float32 for v in shapes.values())
    limit = {"tiny": 120_000, "small": 500_000, "base": 1_100_000, "large": 5_000_000}[preset]
    assert sum(v.size for v in shapes.values()) <= limit
