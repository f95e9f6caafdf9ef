"""A picture: what a projector shows at one moment, and everything that is read off it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from canvas.normalizer import Range
from canvas.palettes import NAMES, palette_table
from canvas.spectra import decibels, power, spectrum
from canvas.vectors import CHANNELS, vector_field
from core.array import Array, asarray
from core.backends import Backend, current_backend
from core.errors import PatchError
from core.functions import concat
from core.scheduler import Fold


@dataclass(frozen=True, eq=False)
class Picture:
    """One moment of a canvas; nothing in it changes any more.

    Attributes
    ----------
    relation : array of float64 [H, W]
        The fold; zeros where nothing was pushed.
    blank : bool
        Whether nothing was pushed.
    shown : (float, float) or None
        The values that energy 0 and 1 stand for; None where nothing was ever pushed.
    trail : array of float64 [H, W]
        How far each cell moved lately.
    palette : str
    backend : Backend or None
        Where vectors and spectra are computed; None: on the reader's current one.
    """

    relation: NDArray[np.float64]
    blank: bool
    shown: Range | None
    trail: NDArray[np.float64]
    palette: str
    backend: Backend | None

    def __post_init__(self) -> None:
        self.relation.flags.writeable = self.trail.flags.writeable = False

    @property
    def amplitude(self) -> float:
        """L2 norm of the relation."""
        return Fold(self.relation).amplitude

    @cached_property
    def energy(self) -> NDArray[np.float64]:
        """[H, W]: the relation over the shown range, in 0..1; the middle where that range is one value."""
        low, high = self.shown or (0.0, 0.0)
        if high <= low:
            return np.full(self.relation.shape, 0.5)
        return np.clip((self.relation - low) / (high - low), 0, 1)

    @cached_property
    def rgba(self) -> bytes:
        """H x W RGBA8, row 0 first; transparent where it is blank."""
        if self.blank:
            return bytes(4 * self.relation.size)
        return palette_table(self.palette)[np.round(255 * self.energy).astype(np.uint8)].tobytes()

    # --- on the backend, which sees the relation over its largest magnitude: no value is too small or large for it ----

    @cached_property
    def scale(self) -> float:
        """Largest magnitude of the relation; 1 for a relation of zeros."""
        return float(np.abs(self.relation).max()) or 1.0

    @cached_property
    def pattern(self) -> Array:
        """[H, W]: relation / scale."""
        if self.blank:
            raise PatchError("the queue is empty: push_patch a relation first")
        return self._upload(self.relation / self.scale)

    @cached_property
    def vectors(self) -> Array:
        """[H, W, 4], see `canvas.vectors.vector_field`."""
        return vector_field(self.pattern, self._upload(self.energy))

    def samples(self, curvature: float) -> Array:
        """A point a cell, [H W, 7]: x and y of its middle in 0..1, z = tanh(curvature) energy, and its vector."""
        if not math.isfinite(curvature):
            raise ValueError(f"curvature is {curvature!r}: give a finite number")
        rows, columns = self.relation.shape
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        vectors = self.vectors.reshape(rows * columns, len(CHANNELS))
        places = self._upload(np.stack([x.ravel(), y.ravel()], axis=1))
        return concat([places, vectors[:, 0:1] * math.tanh(curvature), vectors], axis=1)

    def vector_spectrum(self, **options: Any) -> Array:
        """[H, W, 4, 2], over columns [W, H, 4, 2]: `canvas.spectra.spectrum` of the vectors."""
        return spectrum(self.vectors, **options)

    def power_spectrum(self, **options: Any) -> NDArray[np.float64]:
        """[H, W], over columns [W, H]: |DFT|^2 of the relation itself, in its units squared."""
        rows, columns = self.relation.shape
        found = power(spectrum(self.pattern.reshape(rows, columns, 1), **options)).numpy()
        return found[..., 0].astype(np.float64) * self.scale**2

    def _upload(self, values: NDArray[np.float64]) -> Array:
        return asarray(values.astype(np.float32), backend=self.backend or current_backend())

    # --- telemetry ----------------------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """Numbers about the picture by dotted names; those of its values only where something was pushed."""
        rows, columns = self.relation.shape
        told: dict[str, float] = {"shape.rows": rows, "shape.cols": columns, "palette.id": NAMES.index(self.palette),
                                  "normalizer.has_state": self.shown is not None}
        told |= {f"palette.{name.replace('-', '_')}": name == self.palette for name in NAMES}
        if self.shown is not None:
            low, high = self.shown
            told |= {"normalizer.min": low, "normalizer.max": high, "normalizer.span": high - low,
                     "normalizer.center": low + (high - low) / 2}
        if not self.blank:
            samples, bins = self.samples(1.0).numpy(), decibels(power(self.vector_spectrum())).numpy()
            told |= {"trail.samples": rows * columns, "trail.curvature": 1.0, "trail.curvature_scale": math.tanh(1.0),
                     "fft_db.shape.rows": rows, "fft_db.shape.cols": columns * len(CHANNELS)}
            values = {"relation": self.relation, "energy": samples[:, 3], "trail": self.trail,
                      "trail.z": samples[:, 2], "fft_db": bins}
            values |= {f"vectors.{name}": samples[:, 3 + i] for i, name in enumerate(CHANNELS[1:], 1)}
            values |= {f"fft_db.{name}": bins[..., i] for i, name in enumerate(CHANNELS)}
            told |= {f"{name}.{key}": value for name, x in values.items() for key, value in statistics(x).items()}
        return {name: float(value) for name, value in told.items()}


def statistics(values: ArrayLike) -> dict[str, float]:
    """Mean, extremes and norms of values, and the share of them that are finite."""
    x = np.asarray(values, np.float64)
    square = float(np.mean(x * x))
    return {"finite_fraction": float(np.isfinite(x).mean()), "mean": float(x.mean()),
            "abs_mean": float(np.abs(x).mean()), "min": float(x.min()), "max": float(x.max()),
            "rms": math.sqrt(square), "l2": math.sqrt(square * x.size)}
