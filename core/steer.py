"""What painting does, in plain NumPy without I/O: a layer's gains, the spectral tap, and the strength of a tilt."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

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


class TapKernels(NamedTuple):
    """What the tap needs of a frame for one window length and type.

    Attributes
    ----------
    ahead : complex array [B, T + 1]
        Real FFTs over 2 T of the bands' squared responses kept on the side of the future.
    past : complex array [B, 2 T]
        FFTs of the bands' analytic responses kept on the side of the past.
    """

    ahead: NDArray[Any]
    past: NDArray[Any]


def tap_kernels(filters: Filters, T: int, dtype: Any) -> TapKernels:
    """Build them from `ZFrame.filters`; 2 T leaves room for a whole window of zeros, so that nothing wraps round."""
    responses = filters(2 * T)
    one_sided = np.zeros((len(responses), 2 * T))
    one_sided[:, : T + 1] = 2 * responses
    one_sided[:, [0, T]] *= 0.5**0.5
    complex_type = np.result_type(dtype, np.complex64)
    ahead = scipy.fft.rfft(_half(scipy.fft.irfft(responses**2, 2 * T, axis=1), future=True), axis=1)
    past = scipy.fft.fft(_half(scipy.fft.ifft(one_sided, axis=1), future=False), axis=1)
    return TapKernels(ahead.astype(complex_type), past.astype(complex_type))


def tap_gradient(g: NDArray[Any], activation: NDArray[Any], kernels: TapKernels, w: NDArray[np.float64],
                 workers: int = 1) -> NDArray[Any]:
    """The tap's backward pass: `g` plus `tap_correction`, scaled so that the L2 norm of g is kept.

    All gains one: the correction is zero and the scale is one, so the result is g bit for bit.

    Parameters
    ----------
    g, activation : array [N, T, C]
        Gradient arriving at the tap and the activation that passed it, float32 or float64.
    kernels : TapKernels
        Of the frame, for this T and type.
    w : array [B, S]
        Gains.

    Returns
    -------
    array [N, T, C], of the type of g
    """
    changed = g + tap_correction(g, activation, kernels, w, workers)
    before, after = _norm(g), _norm(changed)
    return changed * g.dtype.type(before / after) if after else changed


def tap_correction(g: NDArray[Any], activation: NDArray[Any], kernels: TapKernels, w: NDArray[np.float64],
                   workers: int = 1) -> NDArray[Any]:
    """sum_b [sum_s (w[b,s] - 1) hat_s(arg z_b(t))] (a_b g)(t); linear in g.

    a_b is the band's squared response kept on the side of the future: a_b(0) = k_b(0) and 2 k_b(tau) on g[t + tau],
    with k_b the impulse response of H_b^2. Its frequency response has H_b^2 as real part, and sum_b a_b is the
    identity. z_b is the analytic band of the activation's past, made one-sided likewise. A zero-phase band would mix
    errors of earlier characters into g[t]; those the state at t knows (they are its input), so they never average
    out: they push the weights for ever, and nothing is learned. Future errors average out under a calibrated model.
    """
    T = g.shape[1]
    excess = (w - 1).astype(g.dtype)
    level = excess[:, 0] * (excess == excess[:, :1]).all(axis=1)  # equal on all sheets: the hats sum to one, no phase
    varied = np.flatnonzero((excess != excess[:, :1]).any(axis=1))
    if not level.any() and not varied.size:
        return np.zeros_like(g)  # the sum over no band
    spectrum = scipy.fft.rfft(g, 2 * T, axis=1, workers=workers)

    def convolved(response: NDArray[Any]) -> NDArray[Any]:
        return scipy.fft.irfft(spectrum * response[:, None], 2 * T, axis=1, workers=workers)[:, :T]

    out = convolved(level @ kernels.ahead)
    seen = scipy.fft.fft(activation, 2 * T, axis=1, workers=workers) if varied.size else None
    for b in varied:
        z = scipy.fft.ifft(seen * kernels.past[b][:, None], axis=1, workers=workers, overwrite_x=True)[:, :T]
        out += _interpolate(excess[b], np.angle(z)) * convolved(kernels.ahead[b])
    return out


def _half(kernel: NDArray[Any], future: bool) -> NDArray[Any]:
    """One side in time of periodic kernels [..., n], doubled; the value at 0 stays."""
    n = kernel.shape[-1]
    weight = np.zeros(n)
    weight[0] = 1
    weight[slice(n // 2 + 1, None) if future else slice(1, n // 2)] = 2
    return kernel * weight


def _interpolate(values: NDArray[Any], phase: NDArray[Any]) -> NDArray[Any]:
    """sum_s values[s] hat_s(phase): between two neighbouring centres the hats are cos^2 and sin^2."""
    sheets = len(values)
    place = phase * values.dtype.type(sheets / (2 * math.pi))
    low = np.floor(place)
    rising = np.sin((place - low) * values.dtype.type(math.pi / 2)) ** 2
    at = low.astype(np.int32) % sheets
    return values[at] + (np.roll(values, -1) - values)[at] * rising


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
