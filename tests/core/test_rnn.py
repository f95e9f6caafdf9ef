"""The model: causal, parallel form equal to step form, gradients right, able to learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import Array, asarray, grad
from core.frame import ZFrame
from core.functions import cross_entropy
from core.nn.rnn import PRESETS, Rnn, RnnConfig
from core.optim import Adam, Schedule, clip_by_norm

CONFIG = RnnConfig(vocabulary=11, width=12, hidden=10, layers=3)
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 23)).astype(np.int32)


@pytest.fixture(scope="module")
def model() -> Rnn:
    return Rnn(CONFIG)


def parameters(model: Rnn, dtype: type = np.float64) -> dict[str, Array]:
    return {k: asarray(v.astype(dtype), dtype, requires_grad=True) for k, v in model.initial_parameters(3).items()}


def logits(model: Rnn, p: dict[str, Array], tokens: NDArray[np.int32]) -> NDArray[np.float64]:
    x, _, _ = model.states(p, asarray(tokens), model.initial_state(len(tokens), np.float64))
    return model.logits(p, x).numpy()


def by_hand(v: dict[str, NDArray[np.float64]], tokens: NDArray[np.int32]) -> NDArray[np.float64]:
    """The formulas of the module's docstring, one character after another."""
    def sigmoid(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-a))

    def norm(a: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        return a / np.sqrt((a * a).mean() + 1e-6) * w

    out = np.zeros((*tokens.shape, CONFIG.vocabulary))
    for n, row in enumerate(tokens):
        past = [[np.zeros(CONFIG.width)] * (CONFIG.taps - 1) for _ in range(CONFIG.layers)]
        h = [np.zeros(CONFIG.hidden) for _ in range(CONFIG.layers)]
        for t, token in enumerate(row):
            x = v["embedding"][token]
            for i in range(CONFIG.layers):
                past[i] = [norm(x, v[f"{i}.norm"]), *past[i]][: CONFIG.taps]
                u = sum(v[f"{i}.conv"][k] * past[i][k] for k in range(CONFIG.taps))
                f = sigmoid(u @ v[f"{i}.forget"] + v[f"{i}.forget_bias"])
                h[i] = (1 - f) * h[i] + f * (u @ v[f"{i}.value"])
                g = u @ v[f"{i}.gate"]
                x = x + (h[i] * g * sigmoid(g)) @ v[f"{i}.out"]
            out[n, t] = norm(x, v["norm"]) @ v["head"] + v["head_bias"]
    return out


def test_parallel_form_equals_the_formulas(model: Rnn) -> None:
    p = parameters(model)
    np.testing.assert_allclose(logits(model, p, TOKENS), by_hand({k: a.numpy() for k, a in p.items()}, TOKENS),
                               rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cuts", [[1] * 23, [2, 1, 20], [22, 1]])
def test_step_form_equals_parallel_form(model: Rnn, cuts: list[int]) -> None:
    p, state, parts, at = parameters(model), model.initial_state(2, np.float64), [], 0
    sizes = {k: s.shape for k, s in state.items()}
    for n in cuts:
        x, state, _ = model.states(p, asarray(TOKENS[:, at: at + n]), state)
        parts.append(model.logits(p, x).numpy())
        at += n
        assert {k: s.shape for k, s in state.items()} == sizes  # constant memory
    np.testing.assert_allclose(np.concatenate(parts, 1), logits(model, p, TOKENS), rtol=1e-11, atol=1e-12)


def test_no_prediction_sees_the_future(model: Rnn) -> None:
    p, t = parameters(model, np.float32), 9
    changed = TOKENS.copy()
    changed[:, t] = (changed[:, t] + 1) % 11

    def run(tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        x, _, _ = model.states(p, asarray(tokens), model.initial_state(2))
        return model.logits(p, x).numpy()

    before, after = run(TOKENS), run(changed)
    np.testing.assert_array_equal(before[:, :t], after[:, :t])
    assert (before[:, t:] != after[:, t:]).any(axis=-1).all()


def test_every_parameter_has_its_gradient(model: Rnn) -> None:
    p = parameters(model)

    def loss(q: dict[str, Array]) -> Array:
        x, _, _ = model.states(q, asarray(TOKENS[:, :-1]), model.initial_state(2, np.float64))
        return cross_entropy(model.logits(q, x), asarray(TOKENS[:, 1:])).mean()

    grads = dict(zip(p, grad(loss(p), list(p.values())), strict=True))
    rng = np.random.default_rng(1)
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        ends = [float(loss({**p, name: asarray(value.numpy() + s * direction, np.float64)})) for s in (1e-5, -1e-5)]
        assert np.sum(grads[name].numpy() * direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_tap_with_gains_one_changes_no_bit_and_others_change_only_what_lies_below(model: Rnn) -> None:
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


def test_untrained_loss_is_that_of_guessing() -> None:
    model = Rnn(RnnConfig(vocabulary=64, **PRESETS["small"]))
    p = {k: asarray(v) for k, v in model.initial_parameters(0).items()}
    p["head"] = p["head"] * 0.0
    tokens = np.random.default_rng(0).integers(0, 64, (4, 65)).astype(np.int32)
    x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(4))
    loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
    assert float(loss) == pytest.approx(math.log(64), rel=1e-6)


def test_it_overfits_one_batch() -> None:
    model = Rnn(RnnConfig(vocabulary=11, width=32, hidden=32, layers=2))
    p = {k: asarray(v, requires_grad=True) for k, v in model.initial_parameters(0).items()}
    adam, schedule = Adam(), Schedule(2e-2, 150, warmup=5)
    moments = adam.start(p)
    for i in range(150):
        x, _, _ = model.states(p, asarray(TOKENS[:, :-1]), model.initial_state(2))
        loss = cross_entropy(model.logits(p, x), asarray(TOKENS[:, 1:])).mean()
        grads, _ = clip_by_norm(dict(zip(p, grad(loss, list(p.values())), strict=True)), 1.0)
        p, moments = adam.step(p, grads, moments, schedule.rate(i), i + 1)
    assert float(loss) < 0.05


def test_base_preset_stays_within_its_budget() -> None:
    shapes = Rnn(RnnConfig(vocabulary=80, **PRESETS["base"])).initial_parameters(0)
    assert sum(v.size for v in shapes.values()) <= 1_100_000
    assert all(v.dtype == np.float32 for v in shapes.values())
