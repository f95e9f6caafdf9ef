"""The posterior of a latent: five bounded metrics of its motion, level and spectrum, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from core.inference.projection import ZSpaceInference
    from core.inference.telemetry import Telemetry

LONGEST = 4096
SHORT = 64  # values up to which one product of matrices beats an FFT and differences, call by call
ALPHA = 0.35
LATENT_BASIS = "spiraltorch.zspace.latent.central_difference.zero_boundary.v1"
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ZSpaceDecoded:
    """What `decode_zspace_embedding` found in a latent z of n values.

    v and k are the means of |z[t] - z[t-1]| and of |z[t] - 2 z[t-1] + z[t-2]|, E = sum z^2, and P(w) is the part of E
    at frequency w, from 0 to 1 in units of half the sampling rate.

    Attributes
    ----------
    z_state : tuple of float [n]
    metrics : mapping
        speed = tanh(v + sqrt(E) / 4n), memory = tanh(mean z + E / 4n),
        stability = tanh(1.5 (1 / (1 + k) + 1 / (1 + v)) - 1), frac = tanh(sum w^(2 alpha) P / E),
        drs = tanh((high - low) / (high + low)) of the energies from w = 0.5 on and below; frac and drs are 0 for
        zeros, drs also for a single value.
    gradient : tuple of float [n]
        Central differences with zeros outside, over their largest magnitude if that exceeds 1.
    gradient_basis : str
    barycentric : tuple of 3 float
        softplus of speed, memory and stability, over their sum.
    energy : float
        E.
    spectral_energy : float
        sum P, which equals E (Parseval) but for rounding.
    parseval_relative_error : float
        |sum P - E| / E.
    frac_energy : float
        sum w^(2 alpha) P.
    fractional_energy_ratio : float
        frac_energy / E; 0 for zeros.
    spectral_centroid : float
        sum w P / sum P; 0 for zeros.
    spectral_bins : int
        n // 2 + 1.
    """

    z_state: tuple[float, ...]
    metrics: Mapping[str, float]
    gradient: tuple[float, ...]
    gradient_basis: str
    barycentric: tuple[float, float, float]
    energy: float
    spectral_energy: float
    parseval_relative_error: float
    frac_energy: float
    fractional_energy_ratio: float
    spectral_centroid: float
    spectral_bins: int

    def as_dict(self) -> dict[str, Any]:
        """The attributes as a dictionary of plain lists and numbers."""
        return {**vars(self), "z_state": list(self.z_state), "metrics": dict(self.metrics),
                "gradient": list(self.gradient)}


def decode_zspace_embedding(z_state: Sequence[float], *, alpha: float = ALPHA) -> ZSpaceDecoded:
    """Decode a latent.

    Parameters
    ----------
    z_state : sequence of float [n]
        1 to 4096 finite values.
    alpha : float
        Order of the fractional energy, finite and above 0.

    Raises
    ------
    ValueError
        Anything outside its range.
    """
    return decode(checked_latent(z_state), checked_alpha(alpha))


def checked_alpha(alpha: float) -> float:
    """A finite order above 0."""
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}: it must be finite and above 0")
    return float(alpha)


def checked_latent(z: ArrayLike) -> Vector:
    """A latent's values [n] as float64."""
    x = np.asarray(z)
    if x.ndim != 1 or not 1 <= len(x) <= LONGEST:
        raise ValueError(f"the latent has shape {x.shape}: give 1 to {LONGEST} values in one row")
    if x.dtype.kind not in "fiub":
        raise ValueError(f"the latent holds {x.dtype}: give real numbers")
    x = x.astype(np.float64)
    if not math.isfinite(np.vdot(x, x)):  # which, unlike @, overflows quietly
        bad = np.flatnonzero(~np.isfinite(x))
        raise ValueError(f"the latent's value {bad[0]} is {x[bad[0]]}: remove what is not finite" if len(bad) else
                         f"the latent reaches {np.abs(x).max():g}: the sum of its squares overflows, scale it down")
    return x


def decode(x: Vector, alpha: float) -> ZSpaceDecoded:
    """`decode_zspace_embedding` of checked values."""
    n = len(x)
    motion, bend, powers, gradient = (_short if n <= SHORT else _long)(x)
    total, high, moment, lifted = (spectral_sums(n, alpha) @ powers).tolist()
    energy = float(x.dot(x))
    speed = math.tanh(motion + math.sqrt(energy) / (4 * n))
    memory = math.tanh(float(x.sum()) / n + energy / (4 * n))
    stability = math.tanh(1.5 * (1 / (1 + bend) + 1 / (1 + motion)) - 1)
    ratio = lifted / energy if energy else 0.0
    drs = math.tanh((2 * high - total) / total) if total and n > 1 else 0.0
    largest = max(max(gradient), -min(gradient))
    if largest > 1:
        gradient = [g / largest for g in gradient]
    metrics = {"speed": speed, "memory": memory, "stability": stability, "frac": math.tanh(ratio), "drs": drs}
    return ZSpaceDecoded(
        tuple(x.tolist()), MappingProxyType(metrics), tuple(gradient), LATENT_BASIS,
        barycentric(speed, memory, stability), energy, total, abs(total - energy) / energy if energy else 0.0, lifted,
        ratio, moment / total if total else 0.0, n // 2 + 1)


Quantities = tuple[float, float, Vector, list[float]]


def _short(x: Vector) -> Quantities:
    """v, k, the spectrum P [n // 2 + 1] and the gradient before scaling, from one product of matrices."""
    n, bins = len(x), len(x) // 2 + 1
    y = transforms(n) @ x
    gradient = len(y) - n
    motion, bend = (means(n) @ np.abs(y[2 * bins: gradient])).tolist()
    parts = np.square(y[: 2 * bins])
    return motion, bend, parts[:bins] + parts[bins:], y[gradient:].tolist()


def _long(x: Vector) -> Quantities:
    """The same by FFT and differences."""
    n = len(x)
    first = x[1:] - x[:-1]
    spectrum = np.fft.rfft(x, norm="ortho")
    powers = (np.square(spectrum.real) + np.square(spectrum.imag)) * multiplicity(n)
    gradient = np.concatenate([x[1:], [0.0]])
    gradient[1:] -= x[:-1]
    return (float(np.abs(first).sum()) / (n - 1), float(np.abs(first[1:] - first[:-1]).sum()) / (n - 2), powers,
            (gradient / 2).tolist())


@lru_cache(maxsize=256)
def multiplicity(n: int) -> Vector:
    """How often each of the n // 2 + 1 frequencies occurs among all n: DC and Nyquist once, the others twice."""
    m = np.full(n // 2 + 1, 2.0)
    m[0] = 1
    if n % 2 == 0:
        m[-1] = 1
    return m


@lru_cache(maxsize=256)
def spectral_sums(n: int, alpha: float) -> Vector:
    """Rows [4, n // 2 + 1] that turn P into sum P, its part from w = 0.5 on, sum w P and sum w^(2 alpha) P."""
    w = 2 * np.arange(n // 2 + 1) / n
    return np.stack([np.ones_like(w), w >= 0.5, w, w ** (2 * alpha)])


@lru_cache(maxsize=SHORT)
def transforms(n: int) -> Vector:
    """What is linear in z, as rows: parts of the spectrum whose squares add up to P, differences, the gradient."""
    eye = np.eye(n)
    spectrum = np.fft.rfft(eye, axis=0, norm="ortho") * np.sqrt(multiplicity(n))[:, None]
    padded = np.pad(eye, ((1, 1), (0, 0)))
    return np.concatenate([spectrum.real, spectrum.imag, np.diff(eye, axis=0), np.diff(eye, 2, axis=0),
                           (padded[2:] - padded[:-2]) / 2])


@lru_cache(maxsize=SHORT)
def means(n: int) -> Vector:
    """Rows that turn first differences and then second ones into their two means, 0 where there are none."""
    first, second = max(n - 1, 0), max(n - 2, 0)
    out = np.zeros((2, first + second))
    out[0, :first], out[1, first:] = 1 / max(first, 1), 1 / max(second, 1)
    return out


def softplus(x: float) -> float:
    """log(1 + exp(x)): x above 20 and exp(x) below -20, where they agree to a double's last digits."""
    return x if x > 20 else math.exp(x) if x < -20 else math.log1p(math.exp(x))


def barycentric(speed: float, memory: float, stability: float) -> tuple[float, float, float]:
    """softplus of three metrics over their sum."""
    top = max(speed, memory, stability)
    if top < -20:  # softplus is exp there; of shares only differences matter, and exp alone would underflow
        a, b, c = math.exp(speed - top), math.exp(memory - top), math.exp(stability - top)
    else:
        scale = max(top, 1.0)  # three times the largest float would overflow
        a, b, c = softplus(speed) / scale, softplus(memory) / scale, softplus(stability) / scale
    total = a + b + c
    return a / total, b / total, c / total


class ZSpacePosterior:
    """A latent, its order alpha, and what they imply.

    Parameters
    ----------
    z_state : sequence of float [n]
        1 to 4096 finite values.
    alpha : float
        Order of the fractional energy, finite and above 0.

    Raises
    ------
    ValueError
        Anything outside its range.
    """

    def __init__(self, z_state: Sequence[float], *, alpha: float = ALPHA) -> None:
        self._decoded = decode_zspace_embedding(z_state, alpha=alpha)
        self._alpha = float(alpha)

    @property
    def z_state(self) -> tuple[float, ...]:
        return self._decoded.z_state

    @property
    def alpha(self) -> float:
        return self._alpha

    def decode(self) -> ZSpaceDecoded:
        """The metrics of the latent alone."""
        return self._decoded

    def project(self, partial: Mapping[str, Any] | None, *, smoothing: float = 0.35,
                gradient_basis: str | None = None, telemetry: Telemetry | None = None) -> ZSpaceInference:
        """The latent with observations; see `core.inference.projection.infer_from_partial`."""
        from core.inference.projection import project

        return project(self._decoded, partial, smoothing, gradient_basis, telemetry)
