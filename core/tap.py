"""The spectral tap's backward pass, composed of primitives, so that it is one text on every backend."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from core.array import Array, apply, asarray
from core.frame import ZFrame
from core.functions import complex_mul, irfft, maximum, rfft, sqrt

TINY = 1e-30  # of a squared norm: a gradient of zeros stays zero


def tap_gradient(g: Array, activation: Array, frame: ZFrame, gains: NDArray[np.float64]) -> Array:
    """`g` plus `tap_correction`, scaled so that the L2 norm of g is kept.

    All gains one: the correction is no term at all and the scale is one, so the result is g bit for bit.

    Parameters
    ----------
    g, activation : Array [N, T, C]
        Gradient arriving at the tap and the activation that passed it.
    frame : ZFrame
    gains : array [B, S]
    """
    changed = reduce(lambda x, y: x + y, tap_correction(g, activation, frame, gains), g)
    before, after = (g * g).sum(), (changed * changed).sum()
    return changed * sqrt(before / maximum(after, asarray(np.asarray(TINY, g.dtype), g.dtype, g.backend)))


def tap_correction(g: Array, activation: Array, frame: ZFrame, gains: NDArray[np.float64]) -> list[Array]:
    """Terms of sum_b [sum_s (w[b,s] - 1) hat_s(arg z_b(t))] (a_b g)(t); linear in g.

    a_b is the band's squared response kept on the side of the future: a_b(0) = k_b(0) and 2 k_b(tau) on g[t + tau],
    with k_b the impulse response of H_b^2. Its frequency response has H_b^2 as real part, and sum_b a_b is the
    identity. z_b is the analytic band of the activation's past, made one-sided likewise. A zero-phase band would mix
    errors of earlier characters into g[t]; those the state at t knows (they are its input), so they never average
    out: they push the weights for ever, and nothing is learned. Future errors average out under a calibrated model.
    """
    T, backend = g.shape[1], g.backend
    excess = gains - 1
    # equal on all sheets: the hats sum to one and no phase is needed
    level = np.where((excess == excess[:, :1]).all(axis=1), excess[:, 0], 0.0)
    varied = np.flatnonzero((excess != excess[:, :1]).any(axis=1))
    if not level.any() and not varied.size:
        return []
    key = ("tap", frame.signature(), T)
    if key not in backend.kernels:
        backend.kernels[key] = _responses(frame, T)
    ahead, past = backend.kernels[key]

    def put(values: NDArray[Any]) -> Array:
        return asarray(values, g.dtype, backend)

    def convolved(spectrum: Array, response: NDArray[np.complex128]) -> Array:
        parts = np.stack([response.real, response.imag], -1)[:, None]
        return irfft(complex_mul(spectrum, put(parts)), 2 * T, axis=1)[:, :T]

    spectrum = rfft(g, 2 * T, axis=1)
    terms = [convolved(spectrum, level @ ahead)] if level.any() else []
    seen = rfft(activation, 2 * T, axis=1)
    for b in varied:
        re, im = (convolved(seen, part) for part in past[b])
        terms.append(apply("sheet_weight", re, im, put(excess[b])) * convolved(spectrum, ahead[b]))
    return terms


def _responses(frame: ZFrame, T: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Real FFTs over 2 T, which leaves room for a whole window of zeros, so that nothing wraps round.

    Returns
    -------
    (ahead [B, T + 1], past [B, 2, T + 1])
        The bands' squared responses kept on the side of the future; the real and the imaginary part of their analytic
        responses kept on the side of the past.
    """
    responses = frame.filters(2 * T)
    one_sided = np.zeros((len(responses), 2 * T))
    one_sided[:, : T + 1] = 2 * responses
    one_sided[:, [0, T]] *= 0.5**0.5
    future = _half(scipy.fft.irfft(responses**2, 2 * T, axis=1), future=True)
    past = _half(scipy.fft.ifft(one_sided, axis=1), future=False)
    return scipy.fft.rfft(future, axis=1), scipy.fft.rfft(np.stack([past.real, past.imag], 1), axis=-1)


def _half(kernel: NDArray[Any], future: bool) -> NDArray[Any]:
    """One side in time of periodic kernels [..., n], doubled; the value at 0 stays."""
    n = kernel.shape[-1]
    weight = np.zeros(n)
    weight[0] = 1
    weight[slice(n // 2 + 1, None) if future else slice(1, n // 2)] = 2
    return kernel * weight
