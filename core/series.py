"""Power series at complex points, and the Mellin transform on a logarithmic grid, which is one. All in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Complex = NDArray[np.complexfloating[Any, Any]]
Pairs = list[tuple[float, float]]
WINDOWS = ("rectangular", "hann", "tukey", "blackman")


def zspace_eval(real: Sequence[float], imag: Sequence[float], z_re: Sequence[float], z_im: Sequence[float]) -> Pairs:
    """Values of sum_k w_k (real_k + i imag_k) z^k at many points z, with the trapezoid rule's weights w.

    The weights are 1 but for the two ends, which count half; a single sample counts fully. By Horner's rule.

    Parameters
    ----------
    real, imag : sequence of float [n]
        Parts of the samples.
    z_re, z_im : sequence of float [P]
        Parts of the points.

    Returns
    -------
    list of (float, float)
        Real and imaginary part at each point.

    Raises
    ------
    RuntimeError
        Unequal lengths, nothing to evaluate, or a sample, point or value that is not finite (named by its index).
    TypeError
        What is no row of numbers.
    """
    c, z = _series(real, imag, z_re, z_im)
    return _pairs(_horner(c, z), "value")


def zspace_eval_stable(real: Sequence[float], imag: Sequence[float], z_re: Sequence[float],
                       z_im: Sequence[float]) -> Pairs:
    """`zspace_eval`, where |z| > 1 through the reversed series in 1 / z: only a value that is too large overflows."""
    c, z = _series(real, imag, z_re, z_im)
    return _pairs(_stable(c, z), "value")


def zspace_eval_with_derivative(real: Sequence[float], imag: Sequence[float], z_re: Sequence[float],
                                z_im: Sequence[float]) -> tuple[Pairs, Pairs]:
    """`zspace_eval` and, as a second list, the derivatives with respect to z."""
    c, z = _series(real, imag, z_re, z_im)
    return _pairs(_horner(c, z), "value"), _pairs(_horner(_derived(c), z), "derivative")


def zspace_eval_with_derivative_stable(real: Sequence[float], imag: Sequence[float], z_re: Sequence[float],
                                       z_im: Sequence[float]) -> tuple[Pairs, Pairs]:
    """`zspace_eval_stable` and, as a second list, the derivatives with respect to z."""
    c, z = _series(real, imag, z_re, z_im)
    return _pairs(_stable(c, z), "value"), _pairs(_stable(_derived(c), z), "derivative")


class MellinLogGrid:
    """Samples f_k of a function at x_k = exp(log_start + k log_step), ready for its Mellin transform.

    M(s) = integral of f(x) x^(s - 1) dx over `support`, by the trapezoid rule in log x:
    log_step sum_k w_k f_k exp(s log x_k). For smooth f that fades at both ends the error falls exponentially with
    1 / log_step (Trefethen & Weideman 2014).

    Parameters
    ----------
    log_start : float
    log_step : float
        Above 0.
    samples : array_like [n]
        Real or complex.
    window : {"rectangular", "hann", "tukey", "blackman"}
        Taper over the grid, symmetric; Tukey's flat part is half of it.
    preserve_sum : bool
        Scale the tapered weights so that they sum to what they did before.

    Attributes
    ----------
    weights : array [n]
        The trapezoid rule's, tapered.
    support : (float, float)
        First and last x.

    Raises
    ------
    ValueError
        No sample, one that is not finite, a grid that is not finite or does not rise, an unknown window, or one that
        leaves no weight.
    """

    def __init__(self, log_start: float, log_step: float, samples: ArrayLike, window: str = "rectangular",
                 preserve_sum: bool = True) -> None:
        f = np.array(samples, np.complex128)
        if f.ndim != 1 or not f.size:
            raise ValueError(f"samples have shape {f.shape}: give at least one, in one row")
        if (bad := np.flatnonzero(~np.isfinite(f))).size:
            raise ValueError(f"sample[{bad[0]}] is {f[bad[0]]}: remove what is not finite")
        end = log_start + (len(f) - 1) * log_step
        if not (math.isfinite(log_start) and math.isfinite(end) and log_step > 0):
            raise ValueError(f"the grid starts at {log_start} in steps of {log_step}: both must be finite, the step "
                             "above 0")
        self.log_start, self.log_step = float(log_start), float(log_step)
        self.samples, self.weights = f, trapezoid(len(f)) * _taper(window, len(f))
        if preserve_sum:
            total = self.weights.sum()
            if not total > 0:
                raise ValueError(f"a {window} window over {len(f)} samples leaves no weight: give more samples or "
                                 "pass window='rectangular'")
            self.weights *= trapezoid(len(f)).sum() / total
        self._logs = self.log_start + self.log_step * np.arange(len(f))

    @classmethod
    def exp_decay(cls, log_start: float, log_step: float, len: int, window: str = "rectangular",
                  preserve_sum: bool = True) -> MellinLogGrid:
        """The grid of f(x) = exp(-x), whose Mellin transform is the Gamma function where Re s > 0."""
        x = np.exp(log_start + log_step * np.arange(len))
        return cls(log_start, log_step, np.exp(-x), window, preserve_sum)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def support(self) -> tuple[float, float]:
        """First and last x."""
        return math.exp(self._logs[0]), math.exp(self._logs[-1])

    def weighted_series(self) -> Complex:
        """w_k f_k [n]: M(s) = log_step exp(s log_start) sum_k (w_k f_k) exp(s log_step)^k."""
        return self.weights * self.samples

    def evaluate(self, s: complex) -> complex:
        """M(s); errors are those of `evaluate_many`."""
        return complex(self.evaluate_many([s])[0])

    def evaluate_many(self, s_values: ArrayLike) -> Complex:
        """M at points of any shape.

        Raises
        ------
        ValueError
            A point that is not finite, or where M is too large for float64 (named by its index).
        """
        return self._transform(self.weighted_series(), s_values)

    def evaluate_with_derivative(self, s: complex) -> tuple[complex, complex]:
        """M(s) and dM/ds."""
        values, slopes = self.evaluate_many_with_derivative([s])
        return complex(values[0]), complex(slopes[0])

    def evaluate_many_with_derivative(self, s_values: ArrayLike) -> tuple[Complex, Complex]:
        """M and dM/ds at points of any shape; the derivative is the transform of f log x."""
        c = self.weighted_series()
        return self._transform(c, s_values), self._transform(c * self._logs, s_values)

    def evaluate_vertical_line(self, real: float, imag_values: ArrayLike) -> Complex:
        """M at real + i imag for each of the imaginary parts."""
        return self.evaluate_many(real + 1j * np.asarray(imag_values, np.float64))

    def evaluate_mesh(self, real_values: ArrayLike, imag_values: ArrayLike) -> Complex:
        """M [R, I] at every pair of a real and an imaginary part."""
        real, imag = np.asarray(real_values, np.float64), np.asarray(imag_values, np.float64)
        return self.evaluate_many(real[:, None] + 1j * imag)

    def _transform(self, c: Complex, s_values: ArrayLike) -> Complex:
        s = np.asarray(s_values, np.complex128)
        flat = s.ravel()
        if (bad := np.flatnonzero(~np.isfinite(flat))).size:
            raise ValueError(f"s[{bad[0]}] is {flat[bad[0]]}: give finite points")
        with np.errstate(over="ignore", invalid="ignore"):
            size, shift = _scaled(c, np.exp(flat * self.log_step), flat.real > 0)
            half = np.exp(flat * (self.log_start + shift * self.log_step) / 2)  # in two halves: neither overflows alone
            values = self.log_step * (size * half) * half
        if (bad := np.flatnonzero(~np.isfinite(values))).size:
            raise ValueError(f"the transform at s[{bad[0]}] = {flat[bad[0]]} is too large for float64: give a smaller "
                             "|Re s|, or a shorter grid")
        return values.reshape(s.shape)


def trapezoid(n: int) -> NDArray[np.float64]:
    """Weights of the trapezoid rule over n samples one apart; a single sample counts 1."""
    w = np.ones(n)
    if n > 1:
        w[[0, -1]] = 0.5
    return w


def _taper(window: str, n: int) -> NDArray[np.float64]:
    from scipy.signal import windows  # takes long to import

    if window not in WINDOWS:
        raise ValueError(f"window is {window!r:.40}: give one of {', '.join(WINDOWS)}")
    if window == "rectangular":
        return np.ones(n)
    return np.maximum(windows.get_window(("tukey", 0.5) if window == "tukey" else window, n, fftbins=False), 0)


def _row(values: Any, name: str) -> NDArray[np.float64]:
    row = np.asarray(values)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "biuf"):
        raise TypeError(f"{name} must be one row of real numbers, got {values!r:.40}")
    return row.astype(np.float64)


def _series(real: Any, imag: Any, z_re: Any, z_im: Any) -> tuple[Complex, Complex]:
    """Weighted coefficients and points, both checked."""
    a, b, x, y = _row(real, "real"), _row(imag, "imag"), _row(z_re, "z_re"), _row(z_im, "z_im")
    for what, one, two, names in (("sample", a, b, ("real", "imag")), ("z value", x, y, ("z_re", "z_im"))):
        if len(one) != len(two):
            raise RuntimeError(f"{names[0]} has {len(one)} values and {names[1]} has {len(two)}: give as many of each")
        if not len(one):
            raise RuntimeError(f"{names[0]} and {names[1]} are empty: give at least one {what}")
        if (bad := np.flatnonzero(~(np.isfinite(one) & np.isfinite(two)))).size:
            raise RuntimeError(f"{what}[{bad[0]}] is not finite: re={one[bad[0]]}, im={two[bad[0]]}; remove it")
    samples: Complex = a + 1j * b
    points: Complex = x + 1j * y
    return trapezoid(len(a)) * samples, points


def _derived(c: Complex) -> Complex:
    """Coefficients of the derivative; a constant's is 0."""
    return c[1:] * np.arange(1, len(c)) if len(c) > 1 else np.zeros(1, np.complex128)


def _horner(c: Complex, z: Complex) -> Complex:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.polynomial.polynomial.polyval(z, c)


def _scaled(c: Complex, z: Complex, outside: NDArray[np.bool_]) -> tuple[Complex, NDArray[np.int64]]:
    """(v, m) with sum_k c_k z^k = v z^m: m is the highest power where |z| > 1 and the lowest elsewhere, zeros left out.

    All powers inside v are then below 1.
    """
    held = np.flatnonzero(c)
    if not held.size:
        return np.zeros_like(z), np.zeros(z.shape, np.int64)
    low, high = held[0], held[-1]
    c = c[low: high + 1]
    v = np.empty_like(z)
    v[~outside] = np.polynomial.polynomial.polyval(z[~outside], c)
    v[outside] = np.polynomial.polynomial.polyval(1 / z[outside], c[::-1])
    return v, np.where(outside, high, low)


def _stable(c: Complex, z: Complex) -> Complex:
    with np.errstate(over="ignore", invalid="ignore"):
        v, m = _scaled(c, z, np.abs(z) > 1)
        return v * z ** (m // 2) * z ** (m - m // 2)  # in two halves: neither overflows alone


def _pairs(values: Complex, what: str) -> Pairs:
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        raise RuntimeError(f"series {what}[{bad[0]}] is not finite: re={values[bad[0]].real}, "
                           f"im={values[bad[0]].imag}; it is too large for float64: give fewer samples or smaller |z|")
    return list(zip(values.real.tolist(), values.imag.tolist(), strict=True))
