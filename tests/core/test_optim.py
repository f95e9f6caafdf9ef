"""Optimisers, clipping and schedules against the published formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import asarray, grad
from core.backends import open_backend, use_backend
from core.functions import log
from core.optim import OPTIMISERS, SHAPES, Adam, Hypergrad, Realgrad, Schedule, clip_by_norm
from core.packing import Packing
from tests.core.here import wgpu_here


def test_adam_follows_the_paper() -> None:
    rng = np.random.default_rng(0)
    w, m, v = rng.standard_normal((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    adam = Adam(0.9, 0.95, 1e-8)
    p = {"w": asarray(w, np.float64, requires_grad=True)}
    moments = adam.start(p)
    for t in range(1, 8):
        g = rng.standard_normal((3, 4))
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
        w = w - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        p, moments = adam.step(p, {"w": asarray(g, np.float64)}, moments, 0.01, t)
    np.testing.assert_allclose(p["w"].numpy(), w, rtol=1e-12)
    np.testing.assert_allclose(moments["v.w"].numpy(), v, rtol=1e-12)
    assert p["w"].requires_grad
    assert p["w"].node is None


@pytest.mark.parametrize(("limit", "scale"), [(2.0, 2.0 / 13.0), (13.0, 1.0), (20.0, 1.0)])
def test_clipping_scales_only_what_is_too_long(limit: float, scale: float) -> None:
    grads = {"a": asarray(np.array([3.0, 4.0]), np.float64), "b": asarray(np.array([[12.0]]), np.float64)}
    clipped, norm = clip_by_norm(grads, limit)
    assert float(norm) == pytest.approx(13.0)
    np.testing.assert_allclose(clipped["a"].numpy(), np.array([3.0, 4.0]) * scale)
    np.testing.assert_allclose(clipped["b"].numpy(), np.array([[12.0]]) * scale)


def test_clipping_a_zero_gradient_gives_zero() -> None:
    clipped, norm = clip_by_norm({"a": asarray(np.zeros(3), np.float64)}, 1.0)
    assert float(norm) == 0.0
    assert not clipped["a"].numpy().any()


def test_schedules_at_their_marks() -> None:
    linear = Schedule(0.1, 100, warmup=10)
    assert linear.rate(0) == pytest.approx(0.01)
    assert linear.rate(50) == pytest.approx(0.05)
    assert linear.rate(100) == 0.0
    assert Schedule(0.1, 100, 1, "constant").rate(99) == 0.1
    assert Schedule(0.1, 100, 1, "cosine").rate(25) == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))
    assert set(SHAPES) == {"linear", "cosine", "constant"}


def quadratic(name: str, rate: float, steps: int) -> list[float]:
    """Losses of an optimiser on an ill-conditioned quadratic."""
    scales, optimiser = asarray(np.array([30.0, 3.0, 0.3]), np.float64), OPTIMISERS[name]
    p = {"w": asarray(np.ones(3), np.float64, requires_grad=True)}
    state, found = optimiser.start(p), []
    for i in range(steps):
        loss = (p["w"] * p["w"] * scales).sum() * 0.5
        p, state = optimiser.step(p, dict(zip(p, grad(loss, list(p.values())), strict=True)), state, rate, i + 1)
        found.append(float(loss))
    return found


def test_realgrad_follows_its_formula_and_descends() -> None:
    rng = np.random.default_rng(0)
    w, m = rng.standard_normal((3, 4)), np.zeros((3, 4))
    p = {"w": asarray(w, np.float64, requires_grad=True)}
    real = Realgrad(0.85)
    state = real.start(p)
    for t in range(1, 5):
        g = rng.standard_normal((3, 4))
        m = 0.85 * m + 0.15 * g
        w = w - 0.5 * m
        p, state = real.step(p, {"w": asarray(g, np.float64)}, state, 0.5, t)
    np.testing.assert_allclose(p["w"].numpy(), w, rtol=1e-12)
    assert quadratic("realgrad", 0.05, 200)[-1] < 0.01


def adam_by_hand(g: NDArray[np.float64], m: NDArray[np.float64], v: NDArray[np.float64], t: int) -> tuple[
        NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Moments and direction in float64."""
    m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
    return m, v, (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)


def moebius(x: NDArray[np.float64], y: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    """Moebius addition of rows by complex numbers: (x + y) / (1 + k conj(x) y) in the plane."""
    a, b = x[:, 0] + 1j * x[:, 1], y[:, 0] + 1j * y[:, 1]
    z = (a + b) / (1 + k * a.conj() * b)
    return np.stack([z.real, z.imag], 1)


def test_hypergrad_follows_its_formulas() -> None:
    """Two parameters, one of points on the disk of curvature -0.5, against NumPy with complex numbers."""
    rng, k, rate = np.random.default_rng(1), 0.5, 0.05
    w, x = rng.standard_normal((3, 4)), rng.uniform(-0.7, 0.7, (5, 2))
    state = {n: (np.zeros(a.shape), np.zeros(a.shape)) for n, a in (("w", w), ("x", x))}
    last = {"w": np.zeros(w.shape), "x": np.zeros(x.shape)}
    hyper = Hypergrad(ball={"x": -k})
    p = {"w": asarray(w, np.float64, requires_grad=True), "x": asarray(x, np.float64, requires_grad=True)}
    own, factor = hyper.start(p), 1.0
    for t in range(1, 7):
        g = {"w": rng.standard_normal(w.shape) + 0.5, "x": rng.standard_normal(x.shape)}
        p, own = hyper.step(p, {n: asarray(a, np.float64) for n, a in g.items()}, own, rate, t)
        g["x"] = g["x"] * (1 - k * (x * x).sum(1, keepdims=True))
        flat, before = (np.concatenate([a[n].ravel() for n in "wx"]) for a in (g, last))
        norms = np.linalg.norm(flat) * np.linalg.norm(before)
        factor *= 1 + 0.02 * (flat @ before / norms if norms else 0)
        for n in "wx":
            m, v, last[n] = adam_by_hand(g[n], *state[n], t)
            state[n] = m, v
        w = w - rate * factor * last["w"]
        change = -rate * factor * last["x"]
        length = np.sqrt(k) * np.linalg.norm(change, axis=1, keepdims=True)
        x = moebius(x, np.tanh(length) / length * change, k)
        np.testing.assert_allclose(float(own["factor"]), factor, rtol=1e-12)
        np.testing.assert_allclose(p["w"].numpy(), w, rtol=1e-11)
        np.testing.assert_allclose(p["x"].numpy(), x, rtol=1e-11)
    assert factor != 1.0


def test_hypergrad_without_curvature_and_hypergradient_is_adam() -> None:
    rng = np.random.default_rng(2)
    p = q = {"x": asarray(rng.standard_normal((5, 3)), np.float64, requires_grad=True)}
    hyper, adam = Hypergrad(beta=0.0, ball={"x": -1e-13}), Adam()
    a, b = hyper.start(p), adam.start(q)
    for t in range(1, 6):
        g = {"x": asarray(rng.standard_normal((5, 3)), np.float64)}
        p, a = hyper.step(p, g, a, 0.1, t)
        q, b = adam.step(q, g, b, 0.1, t)
    np.testing.assert_allclose(p["x"].numpy(), q["x"].numpy(), rtol=1e-11)


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.99, 1 - 1e-5])
def test_a_step_is_as_long_everywhere_on_the_ball(radius: float) -> None:
    """The hyperbolic distance that a point moves is twice the length of the change, wherever it starts."""
    p = {"x": asarray(np.array([[radius, 0.0, 0.0]]), np.float64, requires_grad=True)}
    hyper = Hypergrad(ball={"x": -1.0})
    q, _ = hyper.step(p, {"x": asarray(np.array([[0.0, 1.0, 0.0]]), np.float64)}, hyper.start(p), 0.3, 1)
    a, b = p["x"].numpy()[0], q["x"].numpy()[0]
    distance = np.arccosh(1 + 2 * np.sum((a - b) ** 2) / ((1 - a @ a) * (1 - b @ b)))
    if radius < 0.999:
        assert distance == pytest.approx(2 * 0.3, rel=1e-6)
    assert np.linalg.norm(b) <= 1 - 0.99e-5  # outward of that it is held


def test_a_step_straight_outward_never_leaves_the_ball_in_float32() -> None:
    p = {"x": asarray(np.array([[0.9, 0.0]], np.float32), requires_grad=True)}
    hyper = Hypergrad(ball={"x": -1.0})
    state = hyper.start(p)
    for t in range(1, 60):
        p, state = hyper.step(p, {"x": asarray(np.array([[-1.0, 0.0]], np.float32))}, state, 1.0, t)
        assert np.isfinite(p["x"].numpy()).all()
        assert np.linalg.norm(p["x"].numpy()) < 1


def test_the_factor_climbs_the_slope_of_the_loss_along_the_rate() -> None:
    """Its sign is that of the finite difference of the loss after a step, with respect to the rate of that step."""
    hyper, a = Hypergrad(), np.diag([3.0, 1.0])
    for rate in (0.01, 5.0):  # too short, too long
        p = {"x": asarray(np.ones(2), np.float64, requires_grad=True)}
        def loss(x: NDArray[np.float64]) -> float:
            return float(0.5 * x @ a @ x)

        first = a @ np.ones(2)
        p, state = hyper.step(p, {"x": asarray(first, np.float64)}, hyper.start(p), rate, 1)
        x = p["x"].numpy()
        u = (1 - x) / rate
        slope = (loss(np.ones(2) - (rate + 1e-6) * u) - loss(np.ones(2) - (rate - 1e-6) * u)) / 2e-6
        _, state = hyper.step(p, {"x": asarray(a @ x, np.float64)}, state, rate, 2)
        assert float(state["factor"]) - 1 == pytest.approx(
            -0.02 * slope / (np.linalg.norm(a @ x) * np.linalg.norm(u)), rel=1e-5)


def test_hypergrad_mends_a_rate_that_is_too_small() -> None:
    assert quadratic("hypergrad", 1e-3, 400)[-1] < 0.1 * quadratic("adam", 1e-3, 400)[-1]


def test_hypergrad_finds_a_point_on_the_disk() -> None:
    """Points pulled together by the hyperbolic distance to a target near the boundary."""
    target, k = np.array([[0.95, 0.0]]), 1.0
    t = asarray(target, np.float64)
    p = {"x": asarray(np.array([[-0.9, 0.1], [0.2, -0.3]]), np.float64, requires_grad=True)}
    hyper = Hypergrad(ball={"x": -k})
    state = hyper.start(p)
    for i in range(300):
        x, away = p["x"], p["x"] - t
        ratio = (away * away).sum(1) / ((1.0 - (x * x).sum(1)) * (1 - float((target**2).sum())))
        g = grad(log(ratio + 1.0).sum(), [x])
        p, state = hyper.step(p, {"x": g[0]}, state, Schedule(0.1, 300).rate(i), i + 1)
    np.testing.assert_allclose(p["x"].numpy(), np.repeat(target, 2, 0), atol=1e-3)


def test_a_curvature_that_is_not_hyperbolic_is_refused() -> None:
    with pytest.raises(ValueError, match=r"curvature of x is 0\.5: the Poincare ball needs one below 0"):
        Hypergrad(ball={"x": 0.5})


@pytest.mark.parametrize("name", OPTIMISERS)
def test_wgpu_takes_the_steps_of_the_cpu(name: str) -> None:
    rng, found = np.random.default_rng(3), []
    values = {"w": rng.standard_normal((4, 3)), "x": rng.uniform(-0.5, 0.5, (5, 2))}
    gradients = [{k: rng.standard_normal(v.shape) for k, v in values.items()} for _ in range(4)]
    optimiser = Hypergrad(ball={"x": -1.0}) if name == "hypergrad" else OPTIMISERS[name]
    for backend in (open_backend("cpu", threads=1), wgpu_here()):
        with use_backend(backend):
            p = {k: asarray(v, np.float32, requires_grad=True) for k, v in values.items()}
            state = optimiser.start(p)
            for t, g in enumerate(gradients, 1):
                p, state = optimiser.step(p, {k: asarray(v, np.float32) for k, v in g.items()}, state, 0.1, t)
            found.append([a.numpy() for a in (*p.values(), *state.values())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_decay_shrinks_matrices_before_the_step_as_adamw_does() -> None:
    rng = np.random.default_rng(0)
    p, g = ({"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)} for _ in range(2))
    packing = Packing({k: v.shape for k, v in p.items()})
    arrays, grads = packing.put(p), packing.put(g)
    packed, _ = Adam().step(packing.decayed(arrays, 0.01 * 0.1), grads, Adam().start(arrays), 0.01, 1)
    new = packing.read(packed)
    for k in p:  # the first step of Adam is the rate times the sign
        kept = p[k] * (1 - 0.01 * 0.1) if k == "w" else p[k]
        np.testing.assert_allclose(new[k], kept - 0.01 * np.sign(g[k]), atol=1e-6)
