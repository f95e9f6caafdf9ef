"""Vectors against loops over the definition, their ranges and symmetries, and the points in space made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as hs
from hypothesis.extra import numpy as hn
from numpy.typing import NDArray

from canvas.projector import CanvasProjector
from canvas.vectors import CHANNELS
from core.backends import Backend
from core.errors import PatchError

Values = NDArray[np.float64]
SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (1, 5), (3, 3), (5, 7), (8, 6), (33, 18)]
GRIDS = hn.arrays(np.float32, hs.tuples(hs.integers(1, 7), hs.integers(1, 7)),
                  elements=hs.floats(-3, 3, width=32, allow_subnormal=False))
QUIET = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def vectors(relation: NDArray[Any], backend: Backend) -> Values:
    p = CanvasProjector(relation.shape[1], relation.shape[0], backend=backend)
    p.push_patch(relation)
    return p.refresh_vector_field().astype(np.float64)


def by_hand(relation: NDArray[Any]) -> Values:
    """Cell by cell, as the definition reads."""
    u = relation.astype(np.float64)
    low, high, (rows, columns) = u.min(), u.max(), relation.shape
    energy = (u - low) / (high - low) if high > low else np.full(u.shape, 0.5)
    u = u / (np.abs(u).max() or 1.0)
    steep, out = np.zeros(u.shape), np.zeros((*u.shape, 4))
    for i in range(rows):
        for j in range(columns):
            together = apart = bent = moved = 0.0
            for line, k in ((u[:, j], i), (u[i], j)):
                n = len(line)
                before, after = max(k - 1, 0), min(k + 1, n - 1)
                if n > 1:  # central inside, one-sided at the edges
                    steep[i, j] += ((line[after] - line[before]) / (after - before)) ** 2
                for other in {before, after} - {k}:
                    together += line[k] * line[other]
                    apart += abs(line[k]) * abs(line[other])
                if 0 < k < n - 1:
                    d1, d2 = line[k] - line[k - 1], line[k + 1] - line[k]
                    bent, moved = bent + d2 - d1, moved + abs(d1) + abs(d2)
            out[i, j] = energy[i, j], 0, together / (apart + 1e-6), bent / (moved + 1e-6)
    out[..., 1] = steep / (steep + steep.mean() + 1e-300)
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_are_the_central_differences_and_ratios_they_are_said_to_be(
        shape: tuple[int, int], backend: Backend) -> None:
    relation = np.random.default_rng(shape[0] * 100 + shape[1]).normal(0, 2, shape).astype(np.float32)
    np.testing.assert_allclose(vectors(relation, backend), by_hand(relation), rtol=1e-5, atol=1e-5)


@QUIET
@given(relation=GRIDS)
def test_vectors_of_any_relation_keep_their_ranges(relation: NDArray[np.float32], backend: Backend) -> None:
    got = vectors(relation, backend)
    assert np.isfinite(got).all()
    assert got[..., :2].min() >= 0
    assert got[..., 0].max() <= 1
    assert got[..., 1].max() < 1
    assert np.abs(got[..., 2:]).max() <= 1
    turned = vectors(-relation, backend)  # energy and curvature change sign, steepness and spin do not
    np.testing.assert_allclose(turned[..., 0], 1 - got[..., 0], atol=1e-6)
    np.testing.assert_allclose(turned[..., 1:], got[..., 1:] * [1, 1, -1], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-37, 1e-3, 1e37])
def test_vectors_do_not_depend_on_the_size_of_values(scale: float, backend: Backend) -> None:
    relation = np.random.default_rng(3).normal(size=(6, 5))
    np.testing.assert_allclose(vectors(relation * scale, backend), vectors(relation, backend), atol=1e-4)


def test_known_relations_have_known_vectors(backend: Backend) -> None:
    for level in (0.0, 2.5, -1.0):
        got = vectors(np.full((5, 5), level), backend)
        np.testing.assert_array_equal(got[..., [1, 3]], 0)
        np.testing.assert_allclose(got[..., 2], level != 0, atol=1e-5)
    y, x = np.mgrid[0:7, 0:9].astype(np.float64)
    slope = vectors(2 * x - y + 30, backend)
    np.testing.assert_allclose(slope[..., 1], 0.5, atol=1e-5)  # as steep everywhere as on average
    np.testing.assert_allclose(slope[..., 3], 0, atol=1e-3)
    board = vectors((-1.0) ** (x + y), backend)
    np.testing.assert_allclose(board[..., 2], -1, atol=1e-5)
    np.testing.assert_allclose(board[1:-1, 1:-1, 3], -((-1.0) ** (x + y))[1:-1, 1:-1], atol=1e-5)
    pit = vectors((x - 4) ** 2 + (y - 3) ** 2, backend)
    assert pit[3, 4, 3] == pytest.approx(1, abs=1e-3)


def test_the_channels_are_not_functions_of_one_another(backend: Backend) -> None:
    """In one picture cells equal in energy differ in every other channel, where a palette would colour them alike."""
    rng = np.random.default_rng(4)
    got = vectors(rng.choice([-1.0, -0.5, 0.5, 1.0], (16, 16)), backend)
    for channel in range(1, 4):
        for level in np.unique(got[..., 0]):
            assert np.ptp(got[..., channel][got[..., 0] == level]) > 0.3
    around = np.corrcoef(vectors(rng.normal(size=(64, 64)), backend).reshape(-1, 4).T)
    assert np.linalg.matrix_rank(around) == 4
    assert np.linalg.cond(around) < 50


@pytest.mark.parametrize("curvature", [1.0, -0.5, 0.0, 40.0])
def test_a_trail_is_a_point_a_cell(curvature: float, backend: Backend) -> None:
    relation = np.random.default_rng(1).normal(size=(3, 5))
    p = CanvasProjector(5, 3, backend=backend)
    p.push_patch(relation)
    trail = p.emit_wasm_trail(curvature)
    assert (trail["curvature"], trail["width"], trail["height"]) == (curvature, 5, 3)
    field, samples = p.vector_field(), trail["samples"]
    assert samples.shape == (15, 3 + len(CHANNELS))
    assert samples.dtype == np.float32
    for n, (i, j) in enumerate(np.ndindex(3, 5)):
        energy = field[i, j, 0]
        want = [(j + 0.5) / 5, (i + 0.5) / 3, math.tanh(curvature) * energy, *field[i, j]]
        np.testing.assert_allclose(samples[n], want, rtol=1e-6)
    np.testing.assert_array_equal(trail["moved"].reshape(3, 5), p.trail())
    np.testing.assert_allclose(p.trail(), np.abs(relation), rtol=0.1)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="curvature is"):
            p.emit_wasm_trail(wrong)


def test_an_empty_queue_has_no_vectors(backend: Backend) -> None:
    p = CanvasProjector(4, 4, backend=backend)
    for ask in (p.vector_field, p.refresh_vector_field, p.emit_wasm_trail, p.refresh_vector_fft_tensor,
                p.refresh_vector_fft_power_db_tensor, p.refresh_power_spectrum):
        with pytest.raises(PatchError, match="push_patch a relation first"):
            ask()
