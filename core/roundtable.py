"""The roundtable: lanes of a gradient, or of any stream of numbers, seated Above, Here or Beneath.

Above holds the lanes that matter and agree with their surroundings, Beneath those that neither weigh nor agree, Here
the rest. Scores as `reference/core.md` 2.3 states them for the predecessor; lane counts are fractions of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.field import sample_features

BENEATH, HERE, ABOVE = -1, 0, 1
TINY = 1e-6
EPSILON = float(np.finfo(np.float32).eps)
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Profile:
    """How much each aspect of a lane counts, and over how many windows energy is compared."""

    sheet_hint: int = 1
    spectral: float = 0.02
    coherence: float = 0.066
    neutrality: float = 0.01


@dataclass(frozen=True)
class Lanes:
    """Who sits where.

    Attributes
    ----------
    seats : array of int8 [n]
        ABOVE, HERE or BENEATH per lane of the flattened stream.
    """

    seats: NDArray[np.int8]

    def counts(self) -> tuple[int, int, int]:
        """Lanes Above, Here and Beneath."""
        above, here, beneath = (int(np.count_nonzero(self.seats == s)) for s in (ABOVE, HERE, BENEATH))
        return above, here, beneath

    def energy(self, g: Floats) -> tuple[float, float, float]:
        """sum |g| Above, Here and Beneath."""
        size = np.abs(g.ravel(), dtype=np.float64)
        above, here, beneath = (float(size[self.seats == s].sum()) for s in (ABOVE, HERE, BENEATH))
        return above, here, beneath

    def split(self, g: Floats) -> tuple[Floats, Floats, Floats]:
        """Three arrays like `g` with disjoint support: Above, Here, Beneath."""
        if g.size != self.seats.size:
            raise ValueError(f"the stream has {g.size} lanes, these seats are for {self.seats.size}")
        seats = self.seats.reshape(g.shape)
        above, here, beneath = (np.where(seats == s, g, g.dtype.type(0)) for s in (ABOVE, HERE, BENEATH))
        return above, here, beneath

    def combine(self, parts: tuple[Floats, Floats, Floats],
                weights: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Floats:
        """Put the parts together, each times its lane weight; unit weights undo `split` bit for bit."""
        above, here, beneath = (part * part.dtype.type(w) for part, w in zip(parts, weights, strict=True))
        seats = self.seats.reshape(above.shape)
        return np.where(seats == ABOVE, above, np.where(seats == HERE, here, beneath))


BASE_PROFILE = Profile()


def classify_roundtable(gradient: Floats, above: float | int = 1 / 3, beneath: float | int = 1 / 3,
                        tolerance: float = 0.0,
                        profile: Profile | tuple[Profile, Profile, Profile] = BASE_PROFILE) -> Lanes:
    """Seat the lanes of a stream.

    Parameters
    ----------
    gradient : array
        Any shape, not empty, finite; read in row-major order.
    above, beneath : float or int
        Fraction of all lanes in [0, 1], or an int: a count.
    tolerance : float
        Lanes with |g| up to this (exact zeros always) sit Here.
    profile : Profile or three
        For Above, Here and Beneath.

    Raises
    ------
    ValueError
        Empty, not finite, or a fraction outside [0, 1].
    """
    g = np.asarray(gradient, np.float64).ravel()
    if not g.size or not np.isfinite(g).all():
        raise ValueError(f"the roundtable needs finite lanes, got {g.size} with "
                         f"{np.count_nonzero(~np.isfinite(g))} not finite")
    a, h, b = profile if isinstance(profile, tuple) else (profile,) * 3
    size = np.abs(g)
    relative = size / max(size.max(), TINY)
    coherence = _coherence(g, size)
    affinity, confidence = _affinity(size, max(a.sheet_hint, h.sheet_hint, b.sheet_hint))
    steady = coherence * (1 - _instability(g, size))
    top = relative + a.spectral * affinity * confidence + a.coherence * coherence - 0.45 * h.neutrality * steady
    bottom = (1 - relative) + b.spectral * (1 - affinity) * confidence + b.coherence * (1 - coherence) \
        - 0.30 * h.neutrality * steady
    seats = np.zeros(g.size, np.int8)
    order = np.lexsort((-size, -top))  # stable: equals keep their index order
    seats[order[: _count(above, g.size)]] = ABOVE
    order = np.lexsort((size, -bottom))
    rest = order[seats[order] != ABOVE]
    seats[rest[: _count(beneath, g.size)]] = BENEATH
    seats[size <= max(tolerance, 0.0)] = HERE
    return Lanes(seats)


def _count(share: float | int, n: int) -> int:
    """Lanes that a fraction or a count stands for."""
    if isinstance(share, int):
        return min(max(share, 0), n)
    if not 0 <= share <= 1:
        raise ValueError(f"a share of lanes is {share}: it must lie in [0, 1]; a count is an int")
    return round(share * n)


def _coherence(g: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement in sign with the neighbours, weighted by the smaller magnitude, in [0, 1]."""
    weight = np.maximum(np.minimum(size[:-1], size[1:]), TINY)
    signed = np.where(g[:-1] * g[1:] >= 0, weight, -weight)
    total, agree = np.zeros_like(g), np.zeros_like(g)
    total[:-1] += weight
    total[1:] += weight
    agree[:-1] += signed
    agree[1:] += signed
    return (np.divide(agree, total, out=np.zeros_like(g), where=total > 0) + 1) / 2


def _affinity(size: NDArray[np.float64], sheets: int) -> tuple[NDArray[np.float64], float]:
    """1 in the window of most energy (the last of equals), else that window's energy over it; and its share."""
    width = -(-len(size) // min(sheets, len(size)))
    energy = np.add.reduceat(size, np.arange(0, len(size), width))
    best = len(energy) - 1 - int(np.argmax(energy[::-1]))
    if energy.sum() <= EPSILON:
        return np.ones_like(size), 0.0
    return np.repeat(energy / energy[best], width)[: len(size)], float(energy[best] / energy.sum())


def _instability(g: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """How sharply each lane bends away from its neighbours, in [0, 1]."""
    p, q = np.pad(g, 1, mode="edge"), np.pad(size, 1, mode="edge")
    local = np.clip(np.abs(p[2:] - 2 * g + p[:-2]) / (q[2:] + size + q[:-2] + TINY), 0, 1)
    bend = float(np.clip(sample_features(g, 1).curvature, 0, 1))
    return local if bend <= EPSILON else 0.5 * local + 0.5 * np.clip(local / bend, 0, 1)
