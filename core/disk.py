"""The disk chart: a model's symbols as places on the Poincare disk, and what is painted there as scores.

The symbols' tangent vectors at the origin (of points of the ball, their log map; else the embeddings themselves) are
seen from their mean along their two widest directions, and laid into the disk by the exponential map of curvature -1,
the farthest of them at `RIM`. A chart keeps its mean, directions and scale, so that symbols move on it only as the
model moves them. A new one is turned, or mirrored, onto the one before: the rotation that takes its places nearest to
the old ones (orthogonal Procrustes, Schoenemann 1966).

A painting is `SIDE` x `SIDE` numbers in [-1, 1] over the square around the disk, row 0 at its top. What lies under a
symbol, between cells bilinearly, is its score for desire (`core.desire.tilt`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import PatchError

SIDE = 128
RIM = 0.95  # of the disk's radius
Places = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DiskChart:
    """Where symbols lie.

    Attributes
    ----------
    mean : array [D]
        Of the symbols' tangent vectors, the unknown symbol (the first) left out.
    axes : array [D, 2]
        Orthonormal directions, times the scale.
    curvature : float
        Of the embeddings' space, 0 or below.
    epoch : int
        How many charts there were before.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    curvature: float
    epoch: int = 0

    @classmethod
    def of(cls, embedding: ArrayLike, curvature: float = 0.0) -> DiskChart:
        """The chart of symbols [V, D].

        Raises
        ------
        ValueError
            Fewer than two known symbols or dimensions, or values that are not finite.
        """
        v = _tangents(embedding, curvature)
        if min(v[1:].shape) < 2 or not np.isfinite(v).all():
            raise ValueError(f"the embedding has shape {v.shape}: a disk needs at least two known symbols of two "
                             "finite dimensions")
        mean = v[1:].mean(0)
        axes = np.linalg.svd(v[1:] - mean, full_matrices=False)[2][:2].T
        seen = (v[1:] - mean) @ axes
        axes = axes * np.sign(seen[np.abs(seen).argmax(0), [0, 1]])  # an axis points to its farthest symbol
        reach = np.linalg.norm(seen, axis=1).max()
        return cls(mean, axes * (math.atanh(RIM) / reach if reach else 1.0), curvature)

    def places(self, embedding: ArrayLike) -> Places:
        """Places [V, 2] (x, y) inside the unit disk of the symbols [V, D] of this model at any step."""
        u = (_tangents(embedding, self.curvature) - self.mean) @ self.axes
        r = np.linalg.norm(u, axis=1, keepdims=True)
        return u * np.divide(np.tanh(r), r, out=np.ones_like(r), where=r > 0)

    def renewed(self, embedding: ArrayLike) -> DiskChart:
        """The chart of the symbols as they are now, turned onto this one."""
        from scipy.linalg import orthogonal_procrustes

        fresh = DiskChart.of(embedding, self.curvature)
        turn, _ = orthogonal_procrustes(fresh.places(embedding)[1:], self.places(embedding)[1:])
        return DiskChart(fresh.mean, fresh.axes @ turn, self.curvature, self.epoch + 1)


def scores(painting: ArrayLike, places: Places) -> NDArray[np.float64]:
    """What is painted at each place [V]; 0 for the unknown symbol.

    Raises
    ------
    PatchError
        Another shape than [SIDE, SIDE], or numbers outside [-1, 1].
    """
    from scipy.ndimage import map_coordinates

    layer = np.asarray(painting)
    if layer.shape != (SIDE, SIDE) or layer.dtype.kind not in "fiu" or not (np.abs(layer) <= 1).all():
        raise PatchError(f"the painted disk has shape {layer.shape} and type {layer.dtype}: it needs {SIDE} x {SIDE} "
                         "numbers in [-1, 1]")
    x, y = places.T
    cells = np.array([(1 - y) / 2, (1 + x) / 2]) * SIDE - 0.5  # row, column; a value stands in the middle of its cell
    found = map_coordinates(layer.astype(np.float64), cells, order=1, mode="nearest")
    found[0] = 0.0
    return found


def _tangents(embedding: ArrayLike, curvature: float) -> NDArray[np.float64]:
    """Tangent vectors [V, D] at the origin, float64."""
    x = np.asarray(embedding, np.float64)
    if not curvature:
        return x
    r = math.sqrt(-curvature) * np.linalg.norm(x, axis=1, keepdims=True)
    return x * np.divide(np.arctanh(r), r, out=np.ones_like(r), where=r > 0)  # `core.nn.hyperbolic.log_map`
