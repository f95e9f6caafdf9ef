"""Power series against exact rational sums, Mellin transforms against closed forms."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.special import digamma, gamma

import core as st
from core.series import MellinLogGrid

PLAIN = {"plain": (st.zspace_eval, st.zspace_eval_with_derivative),
         "stable": (st.zspace_eval_stable, st.zspace_eval_with_derivative_stable)}
Exact = tuple[Fraction, Fraction]


def times(a: Exact, b: Exact) -> Exact:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def exact(real: list[float], imag: list[float], x: float, y: float) -> list[tuple[complex, float]]:
    """Value and derivative in rational numbers, without any rounding, each with the sum of its terms' sizes."""
    n, zero = len(real), (Fraction(0), Fraction(0))
    sums, sizes = [zero, zero], [0.0, 0.0]
    before, power = zero, (Fraction(1), zero[1])
    for k in range(n):
        w = Fraction(1, 2) if n > 1 and k in (0, n - 1) else Fraction(1)
        for i, (factor, at) in enumerate(((w, power), (k * w, before))):
            term = times((factor * Fraction(real[k]), factor * Fraction(imag[k])), at)
            sums[i] = (sums[i][0] + term[0], sums[i][1] + term[1])
            sizes[i] += math.hypot(*map(float, term))
        before, power = power, times(power, (Fraction(x), Fraction(y)))
    return [(complex(*map(float, total)), size) for total, size in zip(sums, sizes, strict=True)]


@pytest.mark.parametrize("name", PLAIN)
def test_the_recorded_number_is_met(name: str) -> None:
    value, both = PLAIN[name]
    assert value([1, 2], [0, 0], [1.2], [0.8])[0] == pytest.approx((1.7, 0.8), rel=1e-14)
    values, slopes = both([1, 2], [0, 0], [1.2], [0.8])
    assert values[0] == pytest.approx((1.7, 0.8), rel=1e-14)
    assert slopes == [(1.0, 0.0)]
    assert value([3.0], [-1.0], [1e300, 0.0], [0.0, 0.0]) == [(3.0, -1.0)] * 2  # a single sample counts fully
    assert both([3.0], [-1.0], [2.0], [0.0])[1] == [(0.0, 0.0)]


parts = some.lists(some.tuples(some.floats(-4, 4), some.floats(-4, 4)), min_size=1, max_size=12)
points = some.lists(some.tuples(some.floats(-3, 3), some.floats(-3, 3)), min_size=1, max_size=5)


@pytest.mark.parametrize("name", PLAIN)
@given(samples=parts, at=points)
@settings(max_examples=100)
def test_values_and_derivatives_are_those_of_the_exact_sum(name: str, samples: Any, at: Any) -> None:
    (real, imag), (x, y) = (list(map(list, zip(*pairs, strict=True))) for pairs in (samples, at))
    values, slopes = PLAIN[name][1](real, imag, x, y)
    assert PLAIN[name][0](real, imag, x, y) == values
    for i, found in enumerate(zip(values, slopes, strict=True)):
        for got, (want, size) in zip(found, exact(real, imag, x[i], y[i]), strict=True):
            assert abs(complex(*got) - want) <= 1e-14 * size + 1e-300


@given(samples=parts, at=points, factor=some.floats(-3, 3))
@settings(max_examples=50)
def test_a_series_is_linear_and_its_conjugate_is_that_of_the_conjugate(samples: Any, at: Any, factor: float) -> None:
    (real, imag), (x, y) = (np.array(pairs).T for pairs in (samples, at))
    one, other = np.array(st.zspace_eval_stable(real, imag, x, y)), np.array(st.zspace_eval_stable(imag, real, x, y))
    both = np.array(st.zspace_eval_stable(real + factor * imag, imag + factor * real, x, y))
    powers = np.hypot(x, y)[:, None] ** np.arange(len(real))
    size = (1 + abs(factor)) * powers @ (np.abs(real) + np.abs(imag))[:, None]  # of the terms, at each point
    assert (np.abs(both - one - factor * other) <= 1e-14 * size + 1e-300).all()
    mirrored = np.array(st.zspace_eval_stable(real, -imag, x, -y))
    assert (np.abs(mirrored - one * [1, -1]) <= 1e-14 * size + 1e-300).all()


def test_huge_powers_overflow_only_where_the_value_does() -> None:
    got = st.zspace_eval_stable([0.0] * 499 + [1e-200, 2e-200], [0.0] * 501, [2.5], [0.0])[0]
    assert got == pytest.approx((1e-200 * float(Fraction(5, 2) ** 499) * 3.5, 0), rel=1e-11)
    leading_zeros = st.zspace_eval_stable([8.0] + [0.0] * 999, [0.0] * 1000, [50.0, -1e200], [0.0, 3.0])
    assert leading_zeros == [(4.0, 0.0)] * 2
    assert st.zspace_eval_stable([0.0] * 9, [0.0] * 9, [1e300], [0.0]) == [(0.0, 0.0)]
    tiny = st.zspace_eval_stable([0.0] * 500 + [2e-300], [0.0] * 501, [10.0], [0.0])[0]
    assert tiny == pytest.approx((1e200, 0), rel=1e-11)  # though 10^500 has no float64


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_too_large_is_named_by_its_index(name: str) -> None:
    for evaluate in PLAIN[name]:
        with pytest.raises(RuntimeError, match=r"series value\[1\] is not finite: re=.*, im=.*too large for float64"):
            evaluate([1.0] * 60, [0.0] * 60, [1.2, 1e20], [0.8, 1.0])
    with pytest.raises(RuntimeError, match=r"series derivative\[0\] is not finite"):
        PLAIN[name][1]([0.0] * 300 + [2.0], [0.0] * 301, [10.0**1.0255], [0.0])


@pytest.mark.parametrize("evaluate", [f for pair in PLAIN.values() for f in pair])
def test_what_is_no_series_is_refused(evaluate: Any) -> None:
    one = [1.0]
    for args, message in {
        "real and imag": (([1, 2], one, one, one), "real has 2 values and imag has 1"),
        "points": ((one, one, one, []), "z_re has 1 values and z_im has 0"),
        "no samples": (([], [], one, one), "real and imag are empty: give at least one sample"),
        "no points": ((one, one, [], []), "z_re and z_im are empty: give at least one z value"),
        "sample": (([1, math.nan], [0, 0], one, one), r"sample\[1\] is not finite: re=nan, im=0"),
        "point": ((one, one, [1, 2, 3], [0, 0, math.inf]), r"z value\[2\] is not finite: re=3\.0, im=inf"),
    }.values():
        with pytest.raises(RuntimeError, match=message):
            evaluate(*args)
    for bad in (1.0, [[1.0]], ["1"], [1j], None):
        with pytest.raises(TypeError, match="real must be one row of real numbers, got"):
            evaluate(bad, one, one, one)
        with pytest.raises(TypeError, match="z_im must be one row of real numbers, got"):
            evaluate(one, one, one, bad)


def test_the_names_are_under_zspace_too() -> None:
    for name in ("eval", "eval_stable", "eval_with_derivative", "eval_with_derivative_stable"):
        assert getattr(st.zspace, f"zspace_{name}") is getattr(st, f"zspace_{name}")


# --- Mellin transform -----------------------------------------------------------------------------------------------
S = np.array([1.0, 2.5, 0.5 + 3j, 4 - 2j, 12.0, 1.5 + 0.25j])


def test_the_transform_of_exp_is_the_gamma_function() -> None:
    grid = st.frac.MellinLogGrid.exp_decay(-60, 0.05, 1300)  # e^-60 to e^4.95 = 141
    values, slopes = grid.evaluate_many_with_derivative(S)
    np.testing.assert_allclose(values, gamma(S), rtol=1e-11)
    np.testing.assert_allclose(slopes, gamma(S) * digamma(S), rtol=1e-10)
    np.testing.assert_array_equal(grid.evaluate_many(S), values)


@pytest.mark.parametrize("a", [0.0, 1.5, -2.25])
def test_the_transform_of_a_power_is_met_with_the_very_error_of_the_trapezoid_rule(a: float) -> None:
    t, h, n = -3.0, 0.125, 41
    grid = MellinLogGrid(t, h, np.exp(a * (t + h * np.arange(n))))
    low, high = grid.support
    assert (low, high) == pytest.approx((math.exp(-3), math.exp(2)), rel=1e-14)
    p = S + a
    integral = (high**p - low**p) / p
    rule = (p * h / 2) / np.tanh(p * h / 2)  # what the trapezoid rule makes of an exponential
    np.testing.assert_allclose(grid.evaluate_many(S), integral * rule, rtol=1e-12)
    assert grid.evaluate(-a + 0j) == pytest.approx(5.0, rel=1e-13)  # x^-1 integrates to the length in log x


@pytest.mark.parametrize("window", ["rectangular", "hann", "tukey", "blackman"])
@pytest.mark.parametrize("preserve", [True, False])
def test_values_and_derivatives_are_the_weighted_sums(window: str, preserve: bool) -> None:
    rng = np.random.default_rng(3)
    f = rng.standard_normal(24) + 1j * rng.standard_normal(24)
    grid = MellinLogGrid(-2.0, 0.3, f, window, preserve)
    for s in (*S, -3 + 1j, -0.5 - 20j, 0j):
        terms = [w * x * cmath.exp(s * (-2 + 0.3 * k)) for k, (w, x) in enumerate(zip(grid.weights, f, strict=True))]
        slopes = [term * (-2 + 0.3 * k) for k, term in enumerate(terms)]
        size = sum(map(abs, terms))
        value, slope = grid.evaluate_with_derivative(s)
        assert value == pytest.approx(0.3 * sum(terms), abs=1e-13 * size)
        assert slope == pytest.approx(0.3 * sum(slopes), abs=1e-12 * size)
        assert grid.evaluate(s) == value


@pytest.mark.parametrize("n", [3, 8, 9, 64])
def test_the_windows_are_those_of_the_books(n: int) -> None:
    u = np.arange(n) / (n - 1)
    edge = np.minimum(u, 1 - u)
    shapes = {"rectangular": np.ones(n), "hann": np.sin(np.pi * u) ** 2,
              "tukey": np.where(edge < 0.25, np.sin(2 * np.pi * edge) ** 2, 1),
              "blackman": 0.42 - 0.5 * np.cos(2 * np.pi * u) + 0.08 * np.cos(4 * np.pi * u)}
    trapezoid = np.array([0.5, *[1] * (n - 2), 0.5])
    for name, shape in shapes.items():
        bare = MellinLogGrid(0, 0.1, np.ones(n), name, preserve_sum=False).weights
        np.testing.assert_allclose(bare, trapezoid * shape, atol=1e-15)
        kept = MellinLogGrid(0, 0.1, np.ones(n), name).weights
        assert kept.sum() == pytest.approx(n - 1, rel=1e-14)
        np.testing.assert_allclose(kept * bare.sum(), bare * (n - 1), atol=1e-13 * n)


@given(some.integers(1, 30), some.floats(-3, 3), some.floats(-3, 3), some.floats(-2, 2))
@settings(max_examples=100)
def test_the_transform_is_linear_mirrored_and_scales(n: int, re: float, im: float, shift: float) -> None:
    rng = np.random.default_rng(n)
    f, g, s = rng.random(n), rng.random(n), complex(re, im)
    of_f, of_g = MellinLogGrid(0.2, 0.1, f), MellinLogGrid(0.2, 0.1, g)
    size = (np.abs(of_f.evaluate(re)) + np.abs(of_g.evaluate(re))) * 1e-13
    assert MellinLogGrid(0.2, 0.1, 2 * f - 1j * g).evaluate(s) == pytest.approx(
        2 * of_f.evaluate(s) - 1j * of_g.evaluate(s), abs=4 * size)
    assert of_f.evaluate(s.conjugate()) == pytest.approx(of_f.evaluate(s).conjugate(), abs=size)
    moved = MellinLogGrid(0.2 + shift, 0.1, f).evaluate(s)  # f(x / a) has the transform a^s M(s)
    assert moved == pytest.approx(cmath.exp(s * shift) * of_f.evaluate(s), abs=4 * size * math.exp(abs(re * shift)))


def test_lines_meshes_and_series_agree_with_single_points() -> None:
    grid = MellinLogGrid.exp_decay(-20.0, 0.1, 250, "tukey")
    assert len(grid) == 250
    line, mesh = grid.evaluate_vertical_line(1.5, [0, 1, -2]), grid.evaluate_mesh([1.5, 2.0], [0, 1, -2])
    assert mesh.shape == (2, 3)
    for i, y in enumerate((0, 1, -2)):
        assert line[i] == mesh[0, i] == pytest.approx(grid.evaluate(1.5 + 1j * y), rel=1e-13)
        assert mesh[1, i] == pytest.approx(grid.evaluate(2 + 1j * y), rel=1e-13)
    c, z = grid.weighted_series(), cmath.exp((0.5 + 1j) * 0.1)
    plain = 0.1 * cmath.exp(-20 * (0.5 + 1j)) * sum(x * z**k for k, x in enumerate(c))
    assert grid.evaluate(0.5 + 1j) == pytest.approx(plain, rel=1e-11)


def test_large_powers_overflow_only_where_the_transform_does() -> None:
    grid = MellinLogGrid.exp_decay(-10.0, 0.01, 1656)  # up to x = 700, where exp(-x) is 1e-304 and x^120 is 1e341
    assert grid.evaluate(120.0).real == pytest.approx(math.gamma(120), rel=1e-9)
    early = MellinLogGrid.exp_decay(-200.0, 0.05, 4100)  # whose series is Gamma(4) e^800 before its factor e^-800
    assert early.evaluate(4.0) == pytest.approx(6, rel=1e-10)
    with pytest.raises(ValueError, match=r"transform at s\[1\] = \(1000000\+0j\) is too large for float64"):
        grid.evaluate_many([1.0, 1e6])
    assert MellinLogGrid(0.0, 0.1, [0.0, 0.0]).evaluate(3 + 1j) == 0


@pytest.mark.parametrize(("args", "message"), [
    ((0.0, 0.0, [1]), r"steps of 0\.0: both must be finite, the step above 0"),
    ((0.0, -0.1, [1]), "steps of -0.1"),
    ((math.nan, 0.1, [1]), "starts at nan"),
    ((0.0, math.inf, [1, 2]), "steps of inf"),
    ((0.0, 0.1, []), r"samples have shape \(0,\)"),
    ((0.0, 0.1, [[1.0]]), r"samples have shape \(1, 1\)"),
    ((0.0, 0.1, [1, math.inf]), r"sample\[1\] is \(inf"),
    ((0.0, 0.1, [1, 2], "kaiser"), "window is 'kaiser': give one of rectangular, hann, tukey, blackman"),
    ((0.0, 0.1, [1, 2], "hann"), "a hann window over 2 samples leaves no weight"),
])
def test_what_is_no_grid_is_refused(args: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MellinLogGrid(*args)


def test_points_must_be_finite() -> None:
    with pytest.raises(ValueError, match=r"s\[1\] is \(nan"):
        MellinLogGrid(0.0, 0.1, [1, 2]).evaluate_many([1, complex(math.nan, 0)])
