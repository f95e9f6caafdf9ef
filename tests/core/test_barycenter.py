"""The barycenter: recorded numbers, a search that finds nothing better, and what its path must keep."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.optimize import minimize

import core as st
from core.barycenter import FLOOR, STAGES, barycenter_density

TWO = [[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]]
W = [1.5, 0.5]


def objective(p: Any, weights: Any, densities: Any, gamma: float) -> float:
    """sum_u w_u KL(p || rho_u) - gamma H(p), one term at a time; p above 0."""
    total = gamma * math.fsum(x * math.log(x) for x in p)
    for w, rho in zip(weights, densities, strict=True):
        total += w * math.fsum(x * math.log(x / r) for x, r in zip(p, rho, strict=True))
    return total


def test_the_recorded_numbers_are_met() -> None:
    found = st.z_space_barycenter(W, TWO, 0.2, 0.0)
    np.testing.assert_allclose(found.density, [0.508699, 0.296714, 0.194587], atol=5e-7)
    assert found.kl_energy == pytest.approx(0.403898, abs=5e-7)
    assert found.entropy == pytest.approx(1.022847, abs=5e-7)
    assert found.objective == pytest.approx(0.199328, abs=5e-7)
    assert found.effective_weight == pytest.approx(2.2, rel=1e-15)
    assert found.coupling_energy == 0
    path = [0.211636, 0.206196, 0.202357, 0.200080, 0.199328]
    assert [s.objective for s in found.intermediates()] == pytest.approx(path, abs=5e-7)
    assert [s.interpolation for s in found.intermediates()] == list(STAGES)


def test_the_recorded_coupling_is_met() -> None:
    found = st.z_space_barycenter([2, 1], [[0.9, 0.1], [0.4, 0.6]], 0.1, 2.0, [[0, 1], [1, 0]])
    assert found.density[0] == pytest.approx(0.783600, abs=5e-7)
    assert found.coupling_energy == pytest.approx(2.602690, abs=5e-7)
    assert found.objective == pytest.approx(2.973745, abs=5e-7)
    free = st.z_space_barycenter([2, 1], [[0.9, 0.1], [0.4, 0.6]], 0.1, 2.0)
    np.testing.assert_array_equal(free.density, found.density)
    assert free.objective == pytest.approx(2.973745 - 2.602690, abs=1e-6)


def test_two_densities_by_hand() -> None:
    # equal weights, no entropy: the normalised geometric mean; sqrt(.8 .2) = sqrt(.2 .8), so (1/2, 1/2)
    found = st.z_space_barycenter([1, 1], [[0.8, 0.2], [0.2, 0.8]], 0.0, 0.0)
    np.testing.assert_allclose(found.density, [0.5, 0.5], rtol=1e-14)
    assert found.kl_energy == pytest.approx(2 * math.log(1.25), rel=1e-14)
    alone = st.z_space_barycenter([3], [[2.0, 6.0]], 0.0, 0.0)  # one density is its own barycenter
    np.testing.assert_allclose(alone.density, [0.25, 0.75], rtol=1e-14)
    assert alone.kl_energy == pytest.approx(0, abs=1e-14)
    melted = st.z_space_barycenter([3], [[1.0, 16.0]], 1.0, 0.0)  # rho^(3/4): 1 and 8
    np.testing.assert_allclose(melted.density, [1 / 9, 8 / 9], rtol=1e-13)
    sharpened = st.z_space_barycenter([3], [[1.0, 4.0]], -1.0, 0.0)  # rho^(3/2): 1 and 8
    np.testing.assert_allclose(sharpened.density, [1 / 9, 8 / 9], rtol=1e-13)


cells = some.floats(1e-3, 10)


@some.composite
def problems(draw: Any) -> tuple[list[float], np.ndarray, float]:
    count, size = draw(some.integers(1, 4)), draw(some.integers(1, 6))
    densities = np.array(draw(some.lists(some.lists(cells, min_size=size, max_size=size), min_size=count,
                                         max_size=count)))
    weights = draw(some.lists(some.floats(0.01, 3), min_size=count, max_size=count))
    return weights, densities, draw(some.floats(-0.9 * sum(weights), 3))


@given(problems(), some.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_no_other_density_is_better(problem: Any, seed: int) -> None:
    weights, densities, gamma = problem
    rho = densities / densities.sum(axis=1, keepdims=True)
    found = st.z_space_barycenter(weights, densities, gamma, 0.0)
    assert found.density.sum() == pytest.approx(1, abs=1e-14)
    best = objective(found.density, weights, rho, gamma)
    assert found.objective == pytest.approx(best, rel=1e-10, abs=1e-10)
    assert found.kl_energy - gamma * found.entropy == pytest.approx(found.objective, abs=1e-10)
    rng, slack = np.random.default_rng(seed), 1e-12 * (1 + abs(best))
    for spread in (1e-3, 0.1, 1.0):
        for other in rng.dirichlet(np.ones(len(found.density)), 5):
            mixed = np.maximum((1 - spread) * found.density + spread * other, 1e-300)
            assert objective(mixed / mixed.sum(), weights, rho, gamma) >= best - slack


@given(problems())
@settings(max_examples=150)
def test_the_path_starts_at_the_mean_and_never_rises(problem: Any) -> None:
    weights, densities, gamma = problem
    rho = densities / densities.sum(axis=1, keepdims=True)
    found = st.z_space_barycenter(weights, densities, gamma, 0.0)
    path, mean = found.intermediates(), np.average(rho, axis=0, weights=weights)
    for stage in path:
        want = (1 - stage.interpolation) * mean + stage.interpolation * found.density
        np.testing.assert_allclose(stage.density, want, rtol=1e-12)
        assert stage.objective == pytest.approx(objective(want, weights, rho, gamma), rel=1e-10, abs=1e-10)
        beyond = found.effective_weight * math.fsum(want * np.log(want / found.density))  # tau KL(p || q)
        assert stage.objective - found.objective == pytest.approx(beyond, rel=1e-6, abs=1e-10)
    for one, after in itertools.pairwise(path):
        assert after.objective <= one.objective + 1e-12 * (1 + abs(one.objective))
    assert path[-1].objective == found.objective


def test_a_descent_ends_where_the_closed_form_is() -> None:
    rng = np.random.default_rng(5)
    weights, rho = rng.random(3), rng.dirichlet(np.ones(5), 3)
    found = st.z_space_barycenter(weights, rho, -0.2, 0.0)

    def softmaxed(x: np.ndarray) -> float:
        p = np.exp(x - x.max())
        return objective(p / p.sum(), weights, rho, -0.2)

    end = minimize(softmaxed, np.zeros(5), method="BFGS", options={"gtol": 1e-6})
    p = np.exp(end.x) / np.exp(end.x).sum()
    np.testing.assert_allclose(found.density, p, atol=1e-4)
    assert found.objective == pytest.approx(end.fun, abs=1e-8)


@given(problems(), some.randoms(use_true_random=False), some.floats(0.1, 9))
@settings(max_examples=100)
def test_order_and_scale_of_the_densities_do_not_matter(problem: Any, random: Any, factor: float) -> None:
    weights, densities, gamma = problem
    found = st.z_space_barycenter(weights, densities, gamma, 0.0)
    order = random.sample(range(len(weights)), len(weights))
    shuffled = st.z_space_barycenter([weights[i] for i in order], factor * densities[order], gamma, 0.0)
    np.testing.assert_allclose(shuffled.density, found.density, rtol=1e-10)
    grown = st.z_space_barycenter([factor * w for w in weights], densities, factor * gamma, 0.0)
    np.testing.assert_allclose(grown.density, found.density, rtol=1e-9)
    assert grown.objective == pytest.approx(factor * found.objective, rel=1e-9, abs=1e-9)


def test_the_coupling_is_half_beta_times_the_weighted_divergences() -> None:
    rng = np.random.default_rng(1)
    rho, j = rng.dirichlet(np.ones(4), 3), rng.random((3, 3))
    want = 0.0
    for u in range(3):
        for v in range(3):
            both = sum(rho[u] * np.log(rho[u] / rho[v])) + sum(rho[v] * np.log(rho[v] / rho[u]))
            want += 0.7 / 2 * j[u, v] * both
    found = st.z_space_barycenter([1, 1, 1], rho, 0.3, 0.7, j)
    assert found.coupling_energy == pytest.approx(want, rel=1e-12)
    for stage in found.intermediates():
        assert stage.objective == pytest.approx(stage.kl_energy + want - 0.3 * stage.entropy, rel=1e-12)


def test_no_weight_leaves_the_uniform_density() -> None:
    found = st.z_space_barycenter([0, 0], TWO, 0.2, 0.0)
    np.testing.assert_allclose(found.density, np.full(3, 1 / 3), rtol=1e-15)
    assert found.objective == pytest.approx(-0.2 * math.log(3), rel=1e-14)
    for stage in found.intermediates():
        np.testing.assert_allclose(stage.density, np.full(3, 1 / 3), rtol=1e-15)


def test_cells_are_floored_and_shapes_kept() -> None:
    found = st.z_space_barycenter([1.0], [[[0.0, 1.0], [-5.0, 1.0]]], 0.0, 0.0)
    assert found.density.shape == found.intermediates()[0].density.shape == (2, 2)
    floor = FLOOR / (2 + 2 * FLOOR)
    np.testing.assert_allclose(found.density, [[floor, 0.5], [floor, 0.5]], rtol=1e-11)
    huge = st.z_space_barycenter([1.0], [[1e308, 1e308, 1e308]], 0.0, 0.0)
    np.testing.assert_allclose(huge.density, np.full(3, 1 / 3), rtol=1e-14)


def test_a_small_total_sharpens_without_overflow() -> None:
    found = st.z_space_barycenter([1.0], [[0.6, 0.4]], -1 + 1e-6, 0.0)
    np.testing.assert_array_equal(found.density, [1, 0])
    assert found.objective == pytest.approx(-math.log(0.6), rel=1e-9)
    assert all(math.isfinite(s.objective) for s in found.intermediates())


def test_many_at_once_are_as_one_by_one() -> None:
    rng = np.random.default_rng(9)
    weights, rho, gamma = rng.random((7, 3)), rng.dirichlet(np.ones(5), (7, 3)), rng.random(7)
    found = barycenter_density(weights, np.log(rho), gamma)
    assert found.shape == (7, 5)
    for i in range(7):
        want = st.z_space_barycenter(weights[i], rho[i], gamma[i], 0.0).density
        np.testing.assert_allclose(found[i], want, rtol=1e-12)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("find", [st.z_space_barycenter, st.z_space_barycenter_guarded])
@pytest.mark.parametrize(("args", "kind", "message"), [
    (([], [], 0.2, 0.0), ValueError, "no density to average"),
    (([1.0], [[]], 0.2, 0.0), ValueError, r"no density to average|no finite cell above 0"),
    (([1.0], TWO, 0.2, 0.0), ValueError, "1 weights for 2 densities"),
    (([[1.0, 1.0]], TWO, 0.2, 0.0), ValueError, "2 weights for 2 densities"),
    (([1.0, -1.0], TWO, 0.2, 0.0), ValueError, r"weight 1 is -1\.0: it must be finite and at least 0"),
    (([NAN, 1.0], TWO, 0.2, 0.0), ValueError, "weight 0 is nan"),
    ((W, TWO, NAN, 0.0), ValueError, "entropy_weight is nan: it must be finite"),
    ((W, TWO, 0.2, INF), ValueError, "beta_j is inf: it must be finite"),
    ((W, TWO, 0.2, -1.0), ValueError, r"beta_j is -1\.0: it must be at least 0"),
    ((W, [[0.5, 0.5], [0.2, 0.3, 0.5]], 0.2, 0.0), RuntimeError, r"density 1 has shape \(3,\), density 0 \(2,\)"),
    ((W, TWO, -2.0, 0.0), RuntimeError, r"make 0\.0: it must be finite and above 0"),
    ((W, TWO, -3.0, 0.0), RuntimeError, r"make -1\.0: it must be finite and above 0"),
    (([1e308, 1e308], TWO, 0.2, 0.0), RuntimeError, "make inf"),
    ((W, TWO, 0.2, 1.0, [[1, 2]]), RuntimeError, r"coupling has shape \(1, 2\) for 2 densities"),
    ((W, TWO, 0.2, 1.0, [[0, -1], [1, 0]]), ValueError, "coupling holds values that are negative or not finite"),
    ((W, TWO, 0.2, 1.0, [[0, NAN], [1, 0]]), ValueError, "coupling holds values that are negative or not finite"),
])
def test_what_has_no_barycenter_is_refused(find: Any, args: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        find(*args)


def test_the_guard_takes_broken_cells_for_nothing() -> None:
    broken = [[0.7, NAN, 0.1, -2.0], [0.1, 0.4, INF, 0.5]]
    repaired = [[0.7, 0.0, 0.1, 0.0], [0.1, 0.4, 0.0, 0.5]]
    with pytest.raises(ValueError, match=r"density 0 holds values that are not finite.*guarded"):
        st.z_space_barycenter(W, broken, 0.2, 0.0)
    found, want = st.z_space_barycenter_guarded(W, broken, 0.2, 0.0), st.z_space_barycenter(W, repaired, 0.2, 0.0)
    np.testing.assert_array_equal(found.density, want.density)
    assert found.objective == want.objective
    with pytest.raises(ValueError, match="density 1 has no finite cell above 0"):
        st.z_space_barycenter_guarded(W, [[1.0, 1.0], [NAN, -1.0]], 0.2, 0.0)
