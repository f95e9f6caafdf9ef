"""Discrete Fourier transforms of a picture's channels over rows, columns or both, on any backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray
from core.functions import complex_mul, log, maximum, rfft, take

AXES = {"rows": (1,), "columns": (0,), "2d": (1, 0)}
WINDOWS = {"rectangular": (1.0,), "hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}
Number = TypeVar("Number", int, float)
FLOOR = 1e-12  # of a power in decibels: -120 dB


def cosine_window(name: str, n: int) -> NDArray[np.float64]:
    """A symmetric cosine window of n values, sum_k (-1)^k a_k cos(2 pi k i / (n - 1)); a single value is 1.

    Coefficients a_k as in Harris 1978, the two digits of Hamming and Blackman.
    """
    turn = 2 * np.pi * np.arange(n) / max(n - 1, 1)
    terms = [(-1) ** k * a * np.cos(k * turn) for k, a in enumerate(_choose("window", name, WINDOWS))]
    return np.sum(terms, axis=0) if n > 1 else np.ones(n)


def spectrum(x: Array, *, axis: str = "rows", window: str = "rectangular", inverse: bool = False) -> Array:
    """Fourier transform of real channels.

    Parameters
    ----------
    x : Array [H, W, C]
    axis : str
        "rows": along each row. "columns": along each column. "2d": along both.
    window : str
        "rectangular", "hann", "hamming" or "blackman", over the axes that are transformed.
    inverse : bool
        With a positive exponent and divided by the number of values, instead of negative and not.

    Returns
    -------
    Array [H, W, C, 2]
        Real and imaginary parts, frequency 0 first; over columns [W, H, C, 2], one column's spectrum a row.

    Raises
    ------
    ValueError
        No such axis or window.
    """
    axes = _choose("axis", axis, AXES)
    for a in axes:
        x = x * _like(x, cosine_window(window, x.shape[a]).reshape(-1, *[1] * (x.ndim - 1 - a)))
    out, count = _fourier(x, axes[0]), math.prod(x.shape[a] for a in axes)
    if len(axes) == 2:  # of a + i b, from those of a and b
        again = _fourier(out, axes[1])
        out = again[:, :, :, 0] + complex_mul(again[:, :, :, 1], _like(x, np.array([0.0, 1.0])))
    if inverse:
        out = out * _like(x, np.array([1.0, -1.0]) / count)
    return out.transpose(1, 0, 2, 3) if axis == "columns" else out


def power(spectrum: Array) -> Array:
    """re^2 + im^2: [..., 2] -> [...]."""
    return (spectrum * spectrum).sum(axis=-1)


def decibels(power: Array) -> Array:
    """10 log10 of a power, from -120 dB on."""
    return log(maximum(power, _like(power, np.array(FLOOR)))) * (10 / math.log(10))


def _fourier(x: Array, axis: int) -> Array:
    """All frequencies of real values along an axis: [...] -> [..., 2]. Those above the middle mirror the others."""
    n, last = x.shape[axis], x.ndim
    k = np.arange(n)
    above = k > n // 2
    axes = (axis, *(i for i in range(last) if i != axis), last)
    half = rfft(x, axis=axis).transpose(*axes)
    whole = take(half, asarray(np.where(above, n - k, k).astype(np.int32), backend=x.backend))
    signs = np.stack([np.ones(n), np.where(above, -1.0, 1.0)], axis=1).reshape(n, *[1] * (last - 1), 2)
    signed = whole * _like(x, signs)
    return signed.transpose(*(int(i) for i in np.argsort(axes)))


def _like(x: Array, values: NDArray[np.float64]) -> Array:
    """Values in the type of x and on its backend."""
    return asarray(values.astype(x.dtype), backend=x.backend)


def _choose(what: str, name: str, table: Mapping[str, tuple[Number, ...]]) -> tuple[Number, ...]:
    if name not in table:
        raise ValueError(f"{what} {name!r} is unknown: choose one of {', '.join(table)}")
    return table[name]
