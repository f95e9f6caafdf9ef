"""Homology: components by flood fill, loops by Euler's formula, diagrams by hand, and what is stable."""

from __future__ import annotations

import math

import gudhi
import numpy as np
import pytest
from numpy.typing import NDArray

from core.field import field_density
from core.frame import ZFrame
from core.homology import Homology, homology

Density = NDArray[np.float64]


def flood_fill(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Components of cells that share a corner, sheets wrapping round, numbered in reading order."""
    bands, sheets = inside.shape
    labels, count = np.zeros(inside.shape, np.int64), 0
    for start in map(tuple, np.argwhere(inside)):
        if labels[start]:
            continue
        count += 1
        front = [start]
        while front:
            b, s = front.pop()
            if labels[b, s]:
                continue
            labels[b, s] = count
            front += [(b + i, (s + j) % sheets) for i in (-1, 0, 1) for j in (-1, 0, 1)
                      if 0 <= b + i < bands and inside[b + i, (s + j) % sheets]]
    return labels


def euler_characteristic(inside: NDArray[np.bool_]) -> int:
    """Vertices - edges + squares of the union of closed cells on the cylinder."""
    sheets = inside.shape[1]
    vertices, edges = set(), set()
    for b, s in np.argwhere(inside):
        right = (s + 1) % sheets
        vertices |= {(b, s), (b + 1, s), (b, right), (b + 1, right)}
        edges |= {("along", b, s), ("along", b + 1, s), ("across", b, s), ("across", b, right)}
    return len(vertices) - len(edges) + int(inside.sum())


def densities() -> list[Density]:
    """Random ones of many shapes, and ones with ties, plateaus and holes."""
    rng = np.random.default_rng(1)
    shapes = [(b, s) for b in range(1, 7) for s in (2, 3, 4, 8)]
    found: list[Density] = [rng.standard_normal(shape) for shape in shapes for _ in range(4)]
    found += [rng.integers(0, 3, shape).astype(float) for shape in shapes for _ in range(4)]
    ring = np.zeros((5, 8))
    ring[1:4, 2:5] = 1
    ring[2, 3] = 0
    return [*found, ring, np.zeros((3, 4)), np.full((6, 8), 0.7)]


def test_components_and_loops_at_the_mean() -> None:
    loops = 0
    for density in densities():
        found = homology(density)
        assert found.threshold == pytest.approx(density.mean(), rel=1e-15, abs=1e-15)
        inside = density >= found.threshold
        np.testing.assert_array_equal(found.labels, flood_fill(inside))
        assert found.b0 == found.labels.max()
        assert found.b1 == found.b0 - euler_characteristic(inside)  # no voids on a cylinder
        loops += found.b1
    assert loops > 20


@pytest.mark.parametrize("threshold", [-2.0, -0.3, 0.0, 0.8, 9.0])
def test_components_and_loops_at_a_given_threshold(threshold: float) -> None:
    for density in densities():
        found = homology(density, threshold)
        inside = density >= threshold
        assert found.threshold == threshold
        np.testing.assert_array_equal(found.labels, flood_fill(inside))
        assert (found.b0, found.b1) == (found.labels.max(), found.labels.max() - euler_characteristic(inside))


def test_pairs_by_hand() -> None:
    """Around a circle: 4 joins 5 through 1, then 2 joins through 0.5, and 0 closes the circle."""
    found = homology(np.array([[5, 1, 4, 0, 2, 0.5]]))
    assert sorted(found.pairs) == [(0, 2, 0.5), (0, 4, 1), (0, 5, -math.inf), (1, 0, -math.inf)]
    # a ring of 3 with a 1 inside, on 0: born at 3 as component and loop, the loop filled at 1, the cylinder's own at 0
    ring = np.zeros((5, 8))
    ring[1:4, 2:5] = 3
    ring[2, 3] = 1
    assert sorted(homology(ring).pairs) == [(0, 3, -math.inf), (1, 0, -math.inf), (1, 3, 1)]


def test_a_flat_density_is_one_band_around() -> None:
    for value in (0.0, 0.1, 0.3, 0.7):  # the mean of 48 times 0.7 rounds above 0.7
        found = homology(np.full((6, 8), value))
        assert (found.b0, found.b1) == (1, 1)
        assert (found.labels == 1).all()


def test_bad_densities_are_refused() -> None:
    for density in (np.zeros(4), np.array([[1.0, np.nan]]), np.array([[np.inf, 1]])):
        with pytest.raises(ValueError, match="needs a finite density over bands and sheets"):
            homology(density)


def diagram(found: Homology, dimension: int) -> Density:
    """Pairs as GUDHI's distance wants them: births before deaths."""
    return np.array([(-birth, -death) for dim, birth, death in found.pairs if dim == dimension]).reshape(-1, 2)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.3])
def test_diagrams_move_no_further_than_the_density(size: float) -> None:
    rng, frame = np.random.default_rng(2), ZFrame.octaves(5, 6)
    moved = 0.0
    for _ in range(15):
        density, (x, y) = rng.standard_normal((6, 8)), rng.standard_normal((2, 64))
        cases = [(density, density + size * rng.uniform(-1, 1, density.shape)),
                 (field_density(x, frame)[:, :, 0], field_density(x + size * y, frame)[:, :, 0])]
        for before, after in cases:
            change = np.abs(after - before).max()
            old, new = homology(before), homology(after)
            for dimension in (0, 1):
                distance = gudhi.bottleneck_distance(diagram(old, dimension), diagram(new, dimension))
                assert distance <= change * (1 + 1e-9) + 1e-15
                moved = max(moved, distance / change)
    assert moved > 0.5


def nearest_critical(density: Density, threshold: float) -> float:
    """Distance from the threshold to GUDHI's nearest birth or death, those of length 0 among them."""
    complex_ = gudhi.PeriodicCubicalComplex(dimensions=list(density.shape), periodic_dimensions=[False, True],
                                            top_dimensional_cells=(-density).ravel(order="F"))
    values = -np.array([pair for _, pair in complex_.persistence(min_persistence=-1)])
    return float(np.abs(values[np.isfinite(values)] - threshold).min())


def same(a: Homology, b: Homology) -> bool:
    return np.array_equal(a.labels, b.labels) and (a.b0, a.b1) == (b.b0, b.b1)


def test_labels_and_betti_numbers_hold_below_the_gap() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        density = rng.standard_normal((rng.integers(1, 7), rng.integers(2, 9)))
        threshold = float(rng.standard_normal())
        gap = nearest_critical(density, threshold)
        assert gap == np.abs(density - threshold).min()  # with length 0 counted, every cell dies as a loop's filling
        before = homology(density, threshold)
        for size in (0.5, 0.999):
            change = size * gap * rng.choice([-1, 1], density.shape)
            assert same(homology(density + change, threshold), before)
        cell = np.unravel_index(np.argmin(np.abs(density - threshold)), density.shape)
        density[cell] += 1.001 * (threshold - density[cell])
        assert not same(homology(density, threshold), before)


def test_the_mean_moves_too_so_half_the_gap_is_safe_there() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        density = rng.standard_normal((6, 8))
        before = homology(density)
        change = 0.499 * nearest_critical(density, before.threshold) * rng.choice([-1, 1], density.shape)
        assert same(homology(density + change), before)


def test_the_gap_to_the_reported_pairs_alone_protects_nothing() -> None:
    """On a slope through the threshold no pair is near it, yet a small change splits a component off."""
    slope = np.array([[5, 1.02, 0.98, 0.5, 0.4, 0.3]])
    change = np.array([[0, -0.05, 0.05, 0, 0, 0]])
    before, after = homology(slope, 1.0), homology(slope + change, 1.0)
    gap = min(abs(v - 1.0) for _, *pair in before.pairs for v in pair)
    assert gap == pytest.approx(0.7)
    assert (before.b0, after.b0) == (1, 2)
