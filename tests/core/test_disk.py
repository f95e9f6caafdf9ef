"""Symbols on the disk: the projection against its definition, the painting against interpolation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.array import asarray
from core.backends import open_backend, use_backend
from core.desire import tilt
from core.disk import RIM, SIDE, DiskChart, scores
from core.errors import PatchError
from core.nn.hyperbolic import host_exp_map, log_map
from core.steer import divergence


def symbols(seed: int = 0, count: int = 12, width: int = 7) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) * np.linspace(3, 0.2, width)


def turned(seed: int, width: int = 7) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


def test_places_are_the_two_principal_components_laid_into_the_disk() -> None:
    v = symbols()
    found = DiskChart.of(v).places(v)[1:]
    centred = v[1:] - v[1:].mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)  # another way to the same directions
    flat = centred @ vectors[:, ::-1][:, :2]
    flat *= math.atanh(RIM) / np.linalg.norm(flat, axis=1).max()
    r = np.linalg.norm(flat, axis=1, keepdims=True)
    want = np.tanh(r) * flat / r
    for k in (0, 1):
        sign = np.sign(found[np.abs(found[:, k]).argmax(), k] * want[np.abs(found[:, k]).argmax(), k])
        np.testing.assert_allclose(found[:, k], sign * want[:, k], atol=1e-12)
    assert np.linalg.norm(found, axis=1).max() == pytest.approx(RIM)


def test_where_symbols_lie_does_not_depend_on_the_embeddings_axes_or_origin() -> None:
    v = symbols()
    moved = v @ turned(1) + 5.0
    np.testing.assert_allclose(DiskChart.of(moved).places(moved), DiskChart.of(v).places(v), atol=1e-10)


@pytest.mark.parametrize("curvature", [-0.5, -1.0, -4.0])
def test_points_of_the_ball_lie_where_their_tangent_vectors_do(curvature: float) -> None:
    v = symbols() * 0.1
    ball = host_exp_map(v, curvature)
    with use_backend(open_backend("cpu", threads=1)):
        back = log_map(asarray(ball, np.float64), curvature).numpy()
    np.testing.assert_allclose(DiskChart.of(ball, curvature).places(ball), DiskChart.of(back).places(back), atol=1e-9)


def test_a_chart_stays_while_symbols_move_and_a_new_one_is_turned_onto_it() -> None:
    v = symbols()
    chart = DiskChart.of(v)
    step = v.copy()
    step[3] += chart.axes[:, 0]
    before, after = chart.places(v), chart.places(step)
    np.testing.assert_array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0))
    assert after[3, 0] > before[3, 0]
    # a model that learnt the same table in other coordinates: a fresh chart may be mirrored, a renewed one is not
    odd = DiskChart(chart.mean, chart.axes @ np.array([[0.0, 1.0], [-1.0, 0.0]]), 0.0)
    renewed = odd.renewed(v)
    np.testing.assert_allclose(renewed.places(v), odd.places(v), atol=1e-10)
    assert renewed.epoch == 1


def test_equal_symbols_lie_in_the_middle() -> None:
    v = np.ones((5, 3))
    np.testing.assert_array_equal(DiskChart.of(v).places(v), np.zeros((5, 2)))


@pytest.mark.parametrize("embedding", [np.ones((2, 5)), np.ones((9, 1)), np.full((9, 5), np.nan)])
def test_what_gives_no_disk_is_refused(embedding: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="at least two known symbols of two finite dimensions"):
        DiskChart.of(embedding)


def test_scores_are_read_between_cells() -> None:
    painting = np.random.default_rng(2).uniform(-1, 1, (SIDE, SIDE))
    places = np.random.default_rng(3).uniform(-0.7, 0.7, (20, 2))
    want = []
    for x, y in places:
        row, column = (1 - y) / 2 * SIDE - 0.5, (1 + x) / 2 * SIDE - 0.5
        i, j = math.floor(row), math.floor(column)
        a, b = row - i, column - j
        want.append((1 - a) * ((1 - b) * painting[i, j] + b * painting[i, j + 1])
                    + a * ((1 - b) * painting[i + 1, j] + b * painting[i + 1, j + 1]))
    found = scores(painting, places)
    np.testing.assert_allclose(found[1:], want[1:], atol=1e-12)
    assert found[0] == 0  # the unknown symbol


def test_up_is_up_and_right_is_right() -> None:
    painting = np.zeros((SIDE, SIDE), np.float32)
    painting[:20, :] = 1
    painting[:, -20:] -= 0.5
    above, right, middle = scores(painting, np.array([[0, 0], [0, 0.9], [0.9, 0], [0, 0]]))[1:]
    assert (above, right, middle) == (1.0, -0.5, 0.0)


@pytest.mark.parametrize("painting", [np.zeros((64, 64)), np.full((SIDE, SIDE), 1.5), np.full((SIDE, SIDE), np.nan),
                                      np.zeros((SIDE, SIDE), complex), np.zeros((SIDE, SIDE), bool)])
def test_what_is_no_painting_is_refused(painting: NDArray[np.float64]) -> None:
    with pytest.raises(PatchError, match=r"it needs 128 x 128 numbers in \[-1, 1\]"):
        scores(painting, np.zeros((4, 2)))


def test_a_painted_symbol_gains_within_the_budget() -> None:
    v = symbols(4)
    places = DiskChart.of(v).places(v)
    yy, xx = np.mgrid[0:SIDE, 0:SIDE]
    x, y = (xx + 0.5) / SIDE * 2 - 1, 1 - (yy + 0.5) / SIDE * 2
    painting = np.exp(-((x - places[5, 0]) ** 2 + (y - places[5, 1]) ** 2) / 0.02)
    d = scores(painting, places)
    assert d.argmax() == 5
    p = np.random.default_rng(5).dirichlet(np.ones(12))
    after, beta, kl = tilt(p, d, 10.0, 0.1)
    assert after[5] > p[5]
    assert beta > 0
    assert kl == pytest.approx(divergence(after, p))
    assert kl <= 0.1
