"""The z metrics of a latent series: five bounded numbers about its motion, level and spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.field import LARGEST

LONGEST = 4096


@dataclass(frozen=True)
class ZReading:
    """What `read_z` found in a series z of n values.

    v and k are the means of |z[t] - z[t-1]| and of |z[t] - 2 z[t-1] + z[t-2]|, E = sum z^2, and P(w) is the part of E
    at frequency w, from 0 to 1 in units of half the sampling rate.

    Attributes
    ----------
    speed : float
        tanh(v + sqrt(E) / 4n).
    memory : float
        tanh(mean z + E / 4n).
    stability : float
        tanh(1.5 (1 / (1 + k) + 1 / (1 + v)) - 1): the steadier, the larger.
    frac : float
        tanh(sum w^(2 alpha) P / E): how far up the spectrum the energy lies; 0 for zeros.
    drs : float
        tanh((high - low) / (high + low)), the energies from w = 0.5 on and below it; 0 for zeros and a single value.
    energy : float
        E.
    centroid : float
        sum w P / E; 0 for zeros.
    """

    speed: float
    memory: float
    stability: float
    frac: float
    drs: float
    energy: float
    centroid: float


def read_z(z: ArrayLike, alpha: float = 0.35) -> ZReading:
    """Read a series.

    Parameters
    ----------
    z : array_like [n]
        1 to 4096 finite values.
    alpha : float
        Order of the fractional energy, finite and > 0.

    Raises
    ------
    ValueError
        Anything outside its range.
    """
    x = np.asarray(z, np.float64)
    if x.ndim != 1 or not 1 <= len(x) <= LONGEST:
        raise ValueError(f"the series has shape {x.shape}: give 1 to {LONGEST} values in one row")
    if not np.isfinite(x).all() or np.abs(x).max() > LARGEST:
        raise ValueError(f"the series holds values that are not finite or beyond {LARGEST:g}: remove or scale them")
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}: it must be finite and above 0")
    n, energy = len(x), float(np.sum(x * x))
    v, k = (float(np.abs(d).mean()) if len(d) else 0.0 for d in (np.diff(x), np.diff(x, 2)))
    spectrum = np.abs(np.fft.rfft(x)) ** 2 / n
    spectrum[1 : (n + 1) // 2] *= 2  # DC and Nyquist have no twin at a negative frequency
    w = 2 * np.arange(len(spectrum)) / n
    total, high = float(spectrum.sum()), float(spectrum[w >= 0.5].sum())
    lifted, moment = float(np.sum(w ** (2 * alpha) * spectrum)), float(np.sum(w * spectrum))
    tilt = (2 * high - total) / total if total and n > 1 else 0.0
    return ZReading(
        speed=math.tanh(v + math.sqrt(energy) / n / 4), memory=math.tanh(float(x.mean()) + energy / n / 4),
        stability=math.tanh(1.5 * (1 / (1 + k) + 1 / (1 + v)) - 1),
        frac=math.tanh(lifted / total) if total else 0.0, drs=math.tanh(tilt), energy=energy,
        centroid=moment / total if total else 0.0)
