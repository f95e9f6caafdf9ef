"""ZFrame: how a signal is looked at - spectral bands, phase sheets, echoes and a curvature."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHAPE_VERSION = "root-raised-cosine-octave/cos2-hats/1"  # part of the signature: other filters, other frames


class ZIndex(NamedTuple):
    """One cell of a frame's field."""

    band: int
    sheet: int
    echo: int


@dataclass(frozen=True)
class Temporal:
    """The echoes of a frame.

    Parameters
    ----------
    lags : tuple of int
        Lag of each echo in samples; the first is 0, then strictly increasing.
    decay : float
        Weight of echo e is decay^e; in (0, 1].
    """

    lags: tuple[int, ...]
    decay: float

    def __post_init__(self) -> None:
        # plain Python numbers in tuples, so that equal frames hash and digest alike whatever they were made from
        object.__setattr__(self, "lags", tuple(operator.index(lag) for lag in self.lags))
        object.__setattr__(self, "decay", float(self.decay))
        if not self.lags or self.lags[0] != 0 or not all(a < b for a, b in itertools.pairwise(self.lags)):
            raise ValueError(f"lags {self.lags} must begin with 0 and increase strictly")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}: it must lie in (0, 1]")

    @property
    def echo_count(self) -> int:
        """Number of echoes, lag 0 included."""
        return len(self.lags)


@dataclass(frozen=True)
class ZFrame:
    """Bands x sheets x echoes over a signal, and the curvature of the space it is drawn in. Immutable and hashable.

    Parameters
    ----------
    edges : tuple of float
        The B - 1 inner band edges in cycles/sample, strictly increasing inside (0, 1/2).
    sheets : int
        Phase sectors S >= 2, a cycle.
    temporal : Temporal
        Lags and decay of the echoes.
    curvature : float
        Finite and below 0.

    Raises
    ------
    ValueError
        A value outside its range.
    TypeError
        A count or lag that is not a whole number.
    """

    edges: tuple[float, ...]
    sheets: int
    temporal: Temporal
    curvature: float = -1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(float(e) for e in self.edges))
        object.__setattr__(self, "sheets", operator.index(self.sheets))
        object.__setattr__(self, "curvature", float(self.curvature))
        bounds = (0.0, *self.edges, 0.5)
        if not all(a < b for a, b in itertools.pairwise(bounds)):
            raise ValueError(f"edges {self.edges} must increase strictly inside (0, 0.5) cycles/sample")
        if self.sheets < 2:
            raise ValueError(f"sheets is {self.sheets}: a frame needs at least 2")
        if not (math.isfinite(self.curvature) and self.curvature < 0):
            raise ValueError(f"curvature is {self.curvature}: it must be finite and below 0")

    @classmethod
    def octaves(cls, bands: int = 6, sheets: int = 8, echo_count: int = 4, decay: float = 0.9,
                curvature: float = -1.0) -> ZFrame:
        """Octave bands below 1/2 cycles/sample, echoes at lags 0, 1, 2, 4, ..."""
        if bands < 1 or echo_count < 1:
            raise ValueError(f"bands is {bands} and echo_count is {echo_count}: both must be at least 1")
        lags = (0, *(2**i for i in range(echo_count - 1)))
        return cls(tuple(2.0 ** -(bands - i) for i in range(bands - 1)), sheets, Temporal(lags, decay), curvature)

    @property
    def bands(self) -> int:
        """Number of bands B."""
        return len(self.edges) + 1

    @property
    def echo_count(self) -> int:
        """Number of echoes E, lag 0 included."""
        return self.temporal.echo_count

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, sheets, echoes)."""
        return self.bands, self.sheets, self.echo_count

    def signature(self) -> str:
        """Stable hex digest of the canonical form and the filter shape: equal frames, equal digest, everywhere."""
        canonical = {"edges": [e.hex() for e in self.edges], "sheets": self.sheets,
                     "lags": list(self.temporal.lags), "decay": self.temporal.decay.hex(),
                     "curvature": self.curvature.hex(), "shape": SHAPE_VERSION}
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()

    def power(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Power responses H_b^2 at frequencies in cycles/sample.

        Returns
        -------
        array [B, len(frequency)]
            H_b^2 = L_b - L_{b-1} >= 0, where L_i is a raised cosine in log2 f, one octave wide, that falls from 1 to 0
            around edge i; L_{-1} = 0 and L_{B-1} = 1, so the sum over bands is one.
        """
        return _power(self.edges, frequency)

    def filters(self, n: int) -> NDArray[np.float64]:
        """Band responses at the frequencies of a real FFT over n >= 1 samples.

        Returns
        -------
        array [B, n // 2 + 1]
            H_b >= 0, the root of `power`: sum_b H_b^2 = 1 (a tight frame). Read-only.
        """
        if n < 1:
            raise ValueError(f"n is {n}: filters need a window of at least 1 sample")
        return _filters(self.edges, n)

    def hats(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sheet weights [S, ...] of phases in radians: cos^2 hats around 2 pi s / S that sum to one."""
        centres = 2 * np.pi * np.arange(self.sheets) / self.sheets
        away = np.abs((angle - centres.reshape(-1, *[1] * np.ndim(angle)) + np.pi) % (2 * np.pi) - np.pi)
        return np.where(away < 2 * np.pi / self.sheets, np.cos(self.sheets * away / 4) ** 2, 0.0)

    def check(self, index: ZIndex) -> ZIndex:
        """The index itself, or `IndexError` where it lies outside the frame."""
        for name, i, size in zip(ZIndex._fields, index, self.shape, strict=True):
            if not 0 <= i < size:
                raise IndexError(f"{name} {i} is out of range: this frame has {size}, from 0 to {size - 1}")
        return index

    def distance(self, a: ZIndex, b: ZIndex) -> ZIndex:
        """Distance per axis: |delta| along bands and echoes, the shorter way round along sheets."""
        self.check(a)
        self.check(b)
        around = abs(a.sheet - b.sheet)
        return ZIndex(abs(a.band - b.band), min(around, self.sheets - around), abs(a.echo - b.echo))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` gives an equal frame back."""
        return {"edges": list(self.edges), "sheets": self.sheets, "lags": list(self.temporal.lags),
                "decay": self.temporal.decay, "curvature": self.curvature}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ZFrame:
        """A frame from `to_json`'s form."""
        return cls(record["edges"], record["sheets"], Temporal(record["lags"], record["decay"]), record["curvature"])


def _power(edges: tuple[float, ...], frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """See `ZFrame.power`."""
    with np.errstate(divide="ignore"):
        octave = np.log2(frequency)
    falls = [0.5 * (1 + np.cos(np.pi * np.clip(octave - math.log2(e) + 0.5, 0, 1))) for e in edges]
    below = np.stack([np.zeros_like(octave), *falls, np.ones_like(octave)])
    return np.maximum(np.diff(below, axis=0), 0.0)


@lru_cache(maxsize=64)
def _filters(edges: tuple[float, ...], n: int) -> NDArray[np.float64]:
    """See `ZFrame.filters`."""
    responses = np.sqrt(_power(edges, np.fft.rfftfreq(n).astype(np.float64)))
    responses.flags.writeable = False
    return responses
