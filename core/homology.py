"""Homology of a field's echo 0: which cells hang together, and how firmly (GUDHI's periodic cubical complex)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class Homology:
    """Super-level sets of a density on the cylinder of bands x sheets.

    Attributes
    ----------
    threshold : float
        Cells at or above it are in.
    labels : array of int [B, S]
        0 below the threshold, else the cell's component, counted from 1.
    b0, b1 : int
        Components and loops at the threshold; a component that reaches around the sheets has the cylinder's own loop.
    pairs : tuple of (dimension, birth, death)
        In units of density: a feature is there for thresholds from `birth` down to `death`; -inf never dies. Features
        that die where they are born are left out.

    Notes
    -----
    The bottleneck distance between the pairs of two densities is at most their largest difference (Cohen-Steiner,
    Edelsbrunner and Harer 2007). Labels and Betti numbers at a given threshold hold while every cell changes by less
    than its distance from the threshold. The distance to the nearest of `pairs` is no such bound: a change of any size
    can raise a new, short-lived feature across the threshold on a slope that has none.
    """

    threshold: float
    labels: NDArray[np.int64]
    b0: int
    b1: int
    pairs: tuple[tuple[int, float, float], ...]


def homology(density: NDArray[np.float64], threshold: float | None = None) -> Homology:
    """Homology of {density >= threshold}, bands a line and sheets a circle.

    Parameters
    ----------
    density : array [B, S], finite
    threshold : float, optional
        The mean density by default.
    """
    import gudhi

    if density.ndim != 2 or not np.isfinite(density).all():
        raise ValueError(f"homology needs a finite density over bands and sheets, got shape {density.shape}")
    # no mean exceeds the maximum, but its rounding may, and a flat density would lie below its own mean
    level = float(min(density.mean(), density.max())) if threshold is None else float(threshold)
    complex_ = gudhi.PeriodicCubicalComplex(
        dimensions=list(density.shape), top_dimensional_cells=(-density).ravel(order="F"),
        periodic_dimensions=[False, True])
    # pairs of length 0 are not features; negated, births and deaths are thresholds on the density
    pairs = tuple((dim, -birth, -death) for dim, (birth, death) in complex_.persistence() if birth != death)
    alive = [dim for dim, birth, death in pairs if birth >= level > death]
    return Homology(level, _components(density >= level), alive.count(0), alive.count(1), pairs)


def _components(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Labels of cells that share at least a corner, sheets wrapping round, as the complex joins top cells."""
    bands = len(inside)
    number = np.arange(inside.size).reshape(inside.shape)
    links = []
    for db, ds in ((0, 1), (1, -1), (1, 0), (1, 1)):
        here, there = number[: bands - db], np.roll(number, -ds, axis=1)[db:]
        both = inside[: bands - db] & np.roll(inside, -ds, axis=1)[db:]
        links.append(np.stack([here[both], there[both]]))
    rows, columns = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(inside.size, inside.size))
    component = connected_components(graph, directed=False)[1].reshape(inside.shape)
    labels = np.zeros(inside.shape, np.int64)
    if inside.any():
        labels[inside] = np.unique(component[inside], return_inverse=True)[1] + 1
    return labels
