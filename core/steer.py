"""What painting does, in plain NumPy without I/O: a layer's gains, the spectral tap, and the strength of a tilt."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

LARGEST_LOG2_GAIN = 3.0
MARGIN = 1e-12  # nats kept below the budget, so that another order of summation stays below it too
Filters = Callable[[int], NDArray[np.float64]]


def gains(relation: NDArray[Any]) -> NDArray[np.float64]:
    """Gain per cell of a painted layer: 2^R, R clipped to [-3, 3]."""
    clipped = np.clip(np.asarray(relation, np.float64), -LARGEST_LOG2_GAIN, LARGEST_LOG2_GAIN)
    return np.exp2(clipped)


def tap_gradient(g: NDArray[Any], activation: NDArray[Any], filters: Filters, w: NDArray[np.float64],
                 workers: int = 1) -> NDArray[Any]:
    """The tap's backward pass: `g` plus `tap_correction`, scaled so that the L2 norm of g is kept.

    All gains one: the correction is zero and the scale is one, so the result is g bit for bit.

    Parameters
    ----------
    g, activation : array [N, T, C]
        Gradient arriving at the tap and the activation that passed it, float32 or float64.
    filters : callable
        n -> band responses [B, n // 2 + 1], as `ZFrame.filters`.
    w : array [B, S]
        Gains.

    Returns
    -------
    array [N, T, C], of the type of g
    """
    changed = g + tap_correction(g, activation, filters, w, workers)
    before, after = _norm(g), _norm(changed)
    return changed * g.dtype.type(before / after) if after else changed


def tap_correction(g: NDArray[Any], activation: NDArray[Any], filters: Filters, w: NDArray[np.float64],
                   workers: int = 1) -> NDArray[Any]:
    """sum_b H_b[ sum_s (w[b,s] - 1) hat_s(arg z_b) H_b g ], z_b the analytic bands of the activation; linear in g.

    Both signals are reflected by T // 2 at both ends, which keeps the window's ends from talking to each other.
    """
    T, half = g.shape[1], g.shape[1] // 2
    n = T + 2 * half
    responses = filters(n).astype(g.dtype)
    excess = w - 1
    level = excess[:, 0] * (excess == excess[:, :1]).all(axis=1)  # equal on all sheets: the hats sum to one, no phase
    varied = np.flatnonzero((excess != excess[:, :1]).any(axis=1))
    if not level.any() and not varied.size:
        return np.zeros_like(g)  # the sum over no band
    spectrum = scipy.fft.rfft(_reflect(g, half), axis=1, workers=workers)
    total = spectrum * np.einsum("b,bf->f", level, responses.astype(np.float64) ** 2).astype(g.dtype)[:, None]
    seen = scipy.fft.rfft(_reflect(activation, half), axis=1, workers=workers) if varied.size else None
    for b in varied:
        response = responses[b][:, None]
        full = np.zeros((seen.shape[0], n, seen.shape[2]), seen.dtype)  # type: ignore[union-attr]
        full[:, : n // 2 + 1] = seen * response * _one_sided(n, g.dtype)[:, None]
        z = scipy.fft.ifft(full, axis=1, workers=workers, overwrite_x=True)
        band = scipy.fft.irfft(spectrum * response, n, axis=1, workers=workers)
        band *= _interpolate(excess[b].astype(g.dtype), z)
        total += scipy.fft.rfft(band, axis=1, workers=workers) * response
    return scipy.fft.irfft(total, n, axis=1, workers=workers)[:, half : half + T]


def _interpolate(values: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """sum_s values[s] hat_s(arg z): between two neighbouring centres the hats are cos^2 and sin^2."""
    sheets = len(values)
    place = np.angle(z) * values.dtype.type(sheets / (2 * math.pi))
    low = np.floor(place)
    rising = np.sin((place - low) * values.dtype.type(math.pi / 2)) ** 2
    at = low.astype(np.int32) % sheets
    return values[at] + (np.roll(values, -1) - values)[at] * rising


def _one_sided(n: int, dtype: Any) -> NDArray[Any]:
    """Weights of the positive frequencies in an analytic signal: 2, and sqrt 2 at DC and Nyquist."""
    weight = np.full(n // 2 + 1, 2.0)
    weight[0] = math.sqrt(2)
    if n % 2 == 0:
        weight[-1] = math.sqrt(2)
    return weight.astype(dtype)


def _reflect(x: NDArray[Any], half: int) -> NDArray[Any]:
    return np.pad(x, ((0, 0), (half, half), (0, 0)), mode="reflect")


def _norm(x: NDArray[Any]) -> float:
    return math.sqrt(float(np.square(x, dtype=np.float64).sum()))


def tilted(p: NDArray[np.float64], d: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """p'(j) proportional to p(j) exp(beta d_j) on the support of p."""
    exponent = np.full(p.shape, -np.inf)
    inside = p > 0
    with np.errstate(over="ignore"):
        exponent[inside] = beta * (d[inside] - d[inside].max())
    scaled = p * np.exp(exponent)
    return scaled / scaled.sum()


def divergence(q: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """KL(q || p) in nats."""
    inside = q > 0
    return max(float(np.sum(q[inside] * (np.log(q[inside]) - np.log(p[inside])))), 0.0)


def tilt_strength(p: NDArray[np.float64], d: NDArray[np.float64], strength: float, budget: float) -> float:
    """The largest beta <= strength with KL(p' || p) <= budget; the lower end of a bisection in float64.

    Parameters
    ----------
    p : array [V]
        Probabilities that would be sampled.
    d : array [V]
        Score per symbol, finite.
    strength, budget : float
        Both >= 0; budget in nats.
    """
    if not np.isfinite(d).all() or not 0 <= strength < math.inf or not budget >= 0:
        raise ValueError(f"a tilt needs finite scores, strength and budget of at least 0, got {strength} and {budget}")
    limit = budget - MARGIN * max(1.0, min(budget, 1.0))

    def costs(beta: float) -> float:
        return divergence(tilted(p, d, beta), p)

    inside = d[p > 0]
    if strength == 0 or (inside == inside[0]).all():
        return strength  # equal scores tilt nothing, at any strength
    if costs(strength) <= limit:
        return strength
    low, high = 0.0, strength
    while (middle := 0.5 * (low + high)) not in (low, high):
        low, high = (middle, high) if costs(middle) <= limit else (low, middle)
    return low
