"""The Poincare ball's maps against their formulas in extended precision, and models whose symbols live on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import Array, asarray, grad
from core.backends import use_backend
from core.functions import cross_entropy
from core.nn.families import FAMILIES, build
from core.nn.hyperbolic import BOUNDARY, check_curvature, distance, exp_map, host_exp_map, log_map, project
from core.nn.model import Config, Model
from core.optim import Adam
from tests.core import by_hand
from tests.core.here import wgpu_here

Exact = NDArray[np.longdouble]
NORMS = (0.0, 1e-20, 1e-9, 1e-5, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999, 1 - 1e-4, 1 - 1e-5)  # of the radius
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 23)).astype(np.int32)


def points(norm: float, c: float, dtype: Any = np.float64, seed: int = 0) -> NDArray[Any]:
    """Twenty points [20, 8] of this norm, counted in the ball's radius."""
    x = np.random.default_rng(seed).standard_normal((20, 8))
    return (x * norm / np.linalg.norm(x, axis=-1, keepdims=True) / math.sqrt(-c)).astype(dtype)


def dot(a: Exact, b: Exact) -> Exact:
    return (a * b).sum(-1, keepdims=True)


def exact_radial(x: Exact, c: float, kind: str) -> tuple[Exact, Exact]:
    """f(r) and f'(r) / r of the map x f(s |x|), r = s |x|, with f = tanh(r) / r or artanh(r) / r."""
    s = np.sqrt(np.longdouble(-c))
    q = s * s * dot(x, x)
    r = np.sqrt(np.maximum(q, 1e-300))
    if kind == "exp":
        f, slope, series = np.tanh(r) / r, 1 - np.tanh(r) ** 2, (1 - q / 3, -np.longdouble(2) / 3)
    else:
        f, slope, series = np.arctanh(r) / r, 1 / (1 - q), (1 + q / 3, np.longdouble(2) / 3)
    small = r < 1e-6
    return np.where(small, series[0], f), np.where(small, series[1], (slope - f) / (r * r))


@pytest.mark.parametrize("kind", ["exp", "log"])
@pytest.mark.parametrize("c", [-1.0, -4.0, -1e-3, -1e-12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_and_gradients_are_exact_but_for_rounding(dtype: type, c: float, kind: str) -> None:
    """An input's last place moves the exact result by eps / (1 - r) of it: eight such units are allowed."""
    for norm in NORMS:
        x, g = points(norm * (1 if kind == "log" else 5), c, dtype), points(1, c, dtype, seed=1)
        v = asarray(x, dtype, requires_grad=True)
        y = (exp_map if kind == "exp" else log_map)(v, c)
        back = grad((y * asarray(g, dtype)).sum(), [v])[0].numpy()
        exact, towards = x.astype(np.longdouble), g.astype(np.longdouble)
        f, slope = exact_radial(exact, c, kind)
        want = exact * f
        want_back = f * towards - c * slope * exact * dot(exact, towards)
        unit = 8 * np.finfo(dtype).eps / ((1 - norm) if kind == "log" else 1)
        assert np.abs(y.numpy() - want).max() <= unit * np.abs(want).max(), norm
        assert np.abs(back - want_back).max() <= unit * np.abs(want_back).max(), norm


def mobius_add(x: Exact, y: Exact, c: float) -> Exact:
    """Ganea et al. 2018, equation 4 (its c is -c here)."""
    xy, xx, yy = dot(x, y), dot(x, x), dot(y, y)
    return ((1 - 2 * c * xy - c * yy) * x + (1 + c * xx) * y) / (1 - 2 * c * xy + c * c * xx * yy)


@pytest.mark.parametrize("c", [-1.0, -4.0, -1e-3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distance_is_that_of_two_other_formulas(dtype: type, c: float) -> None:
    s = np.sqrt(np.longdouble(-c))
    for a in NORMS[3:]:
        for b in NORMS[6:]:  # the second formula cancels between close points
            x, y = points(a, c, dtype), points(b, c, dtype, seed=1)
            ex, ey = x.astype(np.longdouble), y.astype(np.longdouble)
            found = distance(asarray(x, dtype), asarray(y, dtype), c).numpy()
            ganea = 2 / s * np.arctanh(s * np.linalg.norm(mobius_add(-ex, ey, c), axis=-1))  # equation 6
            nickel = np.arccosh(1 - 2 * c * ((ex - ey) ** 2).sum(-1) / (1 + c * dot(ex, ex)[:, 0])
                                / (1 + c * dot(ey, ey)[:, 0])) / s
            np.testing.assert_allclose(nickel.astype(float), ganea.astype(float), rtol=1e-7)
            np.testing.assert_allclose(found, nickel.astype(float), rtol=8 * np.finfo(dtype).eps / (1 - max(a, b)))


def test_distance_has_its_gradient_and_no_trouble_at_zero() -> None:
    x, y = points(0.7, -1), points(0.4, -1, seed=1)
    direction = points(1, -1, seed=2)
    a = asarray(x, requires_grad=True)
    found = float((grad(distance(a, asarray(y), -1.0).sum(), [a])[0].numpy() * direction).sum())
    up, down = (float(distance(asarray(x + h * direction), asarray(y), -1.0).sum()) for h in (1e-6, -1e-6))
    assert found == pytest.approx((up - down) / 2e-6, rel=1e-7)
    for dtype in (np.float32, np.float64):
        a = asarray(x.astype(dtype), dtype, requires_grad=True)
        d = distance(a, a, -1.0)
        assert d.numpy().max() < 1e-14
        assert np.isfinite(grad(d.sum(), [a])[0].numpy()).all()


def test_geometry() -> None:
    c = -2.0
    v = points(1.5, c)
    x = exp_map(asarray(v), c)
    np.testing.assert_allclose(log_map(x, c).numpy(), v, rtol=1e-12)
    np.testing.assert_allclose(host_exp_map(v, c), x.numpy(), rtol=1e-14)
    zero = asarray(np.zeros(8))
    np.testing.assert_allclose(distance(x, zero, c).numpy(), 2 * np.linalg.norm(v, axis=-1), rtol=1e-12)  # geodesics
    y = exp_map(asarray(points(0.8, c, seed=1)), c)
    isometry = [mobius_add(points(0.6, c, seed=2).astype(np.longdouble), p.numpy().astype(np.longdouble), c)
                for p in (x, y)]
    moved = distance(*(asarray(p.astype(np.float64)) for p in isometry), c)
    np.testing.assert_allclose(moved.numpy(), distance(x, y, c).numpy(), rtol=1e-12)  # translations keep distances


def test_flat_limit_is_euclidean_to_rounding() -> None:
    v, w = points(1.0, -1, np.float32), points(1.0, -1, np.float32, seed=1)
    for c in (-1e-9, -1e-30, -1e-300):
        for f in (exp_map, log_map, project):
            np.testing.assert_allclose(f(asarray(v), c).numpy(), v, rtol=6e-7)
        found = distance(asarray(v), asarray(w), c).numpy()
        np.testing.assert_allclose(found, 2 * np.linalg.norm(v - w, axis=-1), rtol=6e-7)


def test_projection_pulls_back_what_is_outside_and_touches_nothing_else() -> None:
    for c in (-1.0, -0.3):
        inside, outside = points(0.99998, c, np.float32), points(7.0, c, np.float32)
        np.testing.assert_array_equal(project(asarray(inside), c).numpy(), inside)
        found = project(asarray(outside), c).numpy().astype(float)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1) * math.sqrt(-c), BOUNDARY, rtol=3e-7)
        far = exp_map(asarray(outside * 1e6), c)  # no further than float32 can come back from
        assert np.isfinite(log_map(far, c).numpy()).all()


@pytest.mark.parametrize("c", [0.5, math.nan, -math.inf, "flat"])
def test_what_is_no_curvature_is_refused(c: Any) -> None:
    with pytest.raises(ValueError, match=r"must be 0 \(Euclidean\) or a finite number below"):
        check_curvature(c)
    with pytest.raises(ValueError, match="curvature is"):
        Config(11, 12, 16, 3, c)


# --- models -----------------------------------------------------------------------------------------------------------


def curved(family: str = "rnn", c: float = -1.5) -> Model:
    return FAMILIES[family](Config(vocabulary=11, width=12, hidden=16, layers=2, curvature=c))


def parameters(model: Model, dtype: type = np.float64) -> dict[str, Array]:
    return {k: asarray(v.astype(dtype), dtype, requires_grad=True) for k, v in model.initial_parameters(3).items()}


def logits(model: Model, p: dict[str, Array]) -> Array:
    x, _, _ = model.states(p, asarray(TOKENS), model.initial_state(2, p["norm"].dtype))
    return model.logits(p, x)


def loss_of(model: Model, p: dict[str, Array]) -> Array:
    return cross_entropy(logits(model, p)[:, :-1], asarray(TOKENS[:, 1:])).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_on_the_ball_follows_the_formulas(family: str) -> None:
    model = curved(family)
    p = parameters(model)
    want = by_hand.logits(family, {k: a.numpy() for k, a in p.items()}, TOKENS, 2, curvature=-1.5)
    np.testing.assert_allclose(logits(model, p).numpy(), want, rtol=1e-10, atol=1e-12)


def test_its_embedding_has_its_gradient() -> None:
    model = curved()
    p = parameters(model)
    direction = np.random.default_rng(1).standard_normal((11, 12))
    direction /= np.linalg.norm(direction)
    found = float((grad(loss_of(model, p), [p["embedding"]])[0].numpy() * direction).sum())
    up, down = (float(loss_of(model, {**p, "embedding": asarray(p["embedding"].numpy() + h * direction)}))
                for h in (1e-5, -1e-5))
    assert found == pytest.approx((up - down) / 2e-5, rel=1e-6)


def test_untrained_it_is_the_euclidean_model() -> None:
    flat = build("rnn", "tiny", 11)
    before = flat.initial_parameters(3)
    for c in (-1.0, -1e-6):
        model = build("rnn", "tiny", 11, c)
        p = parameters(model, np.float32)
        assert c != -1 or not np.allclose(p["embedding"].numpy(), before["embedding"], rtol=0.1)
        np.testing.assert_allclose(logits(model, p).numpy(), logits(flat, parameters(flat, np.float32)).numpy(),
                                   rtol=0, atol=1e-6)


def test_points_stay_inside_however_large_the_step() -> None:
    model = curved()
    p, adam = parameters(model, np.float32), Adam()
    moments, losses = adam.start(p), []
    for i in range(40):
        loss = loss_of(model, p)
        updated, moments = adam.step(p, dict(zip(p, grad(loss, list(p.values())), strict=True)), moments, 0.1, i + 1)
        p = model.constrain(updated)
        losses.append(float(loss))
    radius = np.linalg.norm(p["embedding"].numpy().astype(float), axis=-1) * math.sqrt(1.5)
    assert radius.max() == pytest.approx(BOUNDARY, rel=1e-6)  # the step did push them out
    assert losses[-1] < 0.5 * losses[0]


def test_without_curvature_an_update_is_handed_on_as_it_is() -> None:
    model = build("rnn", "tiny", 11)
    p = parameters(model)
    assert model.constrain(p) is p


def test_wgpu_takes_the_same_step_as_the_cpu() -> None:
    def step() -> list[NDArray[np.float32]]:
        model = curved()
        p = parameters(model, np.float32)
        loss = loss_of(model, p)
        points_here = asarray(points(1 - 1e-3, -1, np.float32))
        return [loss.numpy(), grad(loss, [p["embedding"]])[0].numpy(), model.constrain(p)["embedding"].numpy(),
                distance(points_here, asarray(points(0.5, -1, np.float32, seed=1)), -1.0).numpy()]

    want = step()
    with use_backend(wgpu_here()):
        found = step()
    for a, b in zip(want, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max())
