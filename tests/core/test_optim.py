"""Adam, clipping and schedules against the published formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.array import asarray
from core.optim import Adam, Schedule, clip_by_norm, decayed


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


def test_decay_shrinks_matrices_before_the_step_as_adamw_does() -> None:
    rng = np.random.default_rng(0)
    p, g = ({"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)} for _ in range(2))
    arrays, grads = ({k: asarray(v) for k, v in values.items()} for values in (p, g))
    new, _ = Adam().step(decayed(arrays, 0.01 * 0.1), grads, Adam().start(arrays), 0.01, 1)
    for k in p:  # the first step of Adam is the rate times the sign
        kept = p[k] * (1 - 0.01 * 0.1) if k == "w" else p[k]
        np.testing.assert_allclose(new[k].numpy(), kept - 0.01 * np.sign(g[k]), atol=1e-6)
