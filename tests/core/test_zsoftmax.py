"""The Z-space softmax, and the temperature that gives a wanted entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.array import asarray
from core.nn.hyperbolic import distance, exp_map
from core.nn.zsoftmax import LARGEST_FACTOR, entropy_temperature, zspace_softmax

SCORES = np.array([2.0, 1.0, 0.5, -1.0, -np.inf])


def entropy_by_hand(scores: NDArray[np.float64], temperature: float) -> float:
    """-sum p log p, summed exactly."""
    weights = [math.exp((s - scores.max()) / temperature) for s in scores]
    total = math.fsum(weights)
    return -math.fsum(w / total * math.log(w / total) for w in weights if w > 0)


def test_softmax_by_hand() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 7))
    for c, temperature in ((-1.0, 1.0), (-4.0, 0.5), (-0.25, 2.0)):
        e = np.exp(scores * math.sqrt(-c) / temperature)
        np.testing.assert_allclose(zspace_softmax(asarray(scores), c, temperature).numpy(),
                                   e / e.sum(-1, keepdims=True), rtol=1e-13)
    for c, temperature in ((0.0, 1.0), (-1.0, 0.0), (-1.0, math.nan)):
        with pytest.raises(ValueError, match="must be below 0, the second above 0"):
            zspace_softmax(asarray(scores), c, temperature)


def test_over_distances_the_curvature_only_sets_the_scale_of_the_ball() -> None:
    rng = np.random.default_rng(1)
    tangents, symbols = rng.standard_normal((4, 1, 3)), rng.standard_normal((1, 6, 3))
    found = []
    for c in (-1.0, -0.25, -9.0):
        x, p = (exp_map(asarray(v / math.sqrt(-c)), c) for v in (tangents, symbols))
        found.append(zspace_softmax(-distance(x, p, c), c, 0.7).numpy())
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-12)
    np.testing.assert_array_equal(found[0].argmax(-1), distance(x, p, c).numpy().argmin(-1))  # the nearest is likeliest


@pytest.mark.parametrize("wanted", [0.6, 0.9, 1.1, 1.3])
def test_the_wanted_entropy_is_met(wanted: float) -> None:
    found = entropy_temperature(SCORES, wanted)
    assert 1 / LARGEST_FACTOR < found < LARGEST_FACTOR
    assert entropy_by_hand(SCORES[:4], found) == pytest.approx(wanted, rel=1e-13)


def test_two_symbols_have_the_closed_form() -> None:
    p = 0.8  # log(p / (1 - p)) = difference / T
    wanted = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert entropy_temperature(np.array([0.0, -1.5]), wanted) == pytest.approx(1.5 / math.log(p / (1 - p)), rel=1e-12)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9).map(np.array), st.floats(1e-3, 3), st.floats(0.1, 3))
@settings(max_examples=200)
def test_it_is_met_or_the_bound_is_hit(scores: NDArray[np.float64], wanted: float, temperature: float) -> None:
    found = entropy_temperature(scores, wanted, temperature)
    reached = entropy_by_hand(scores, found)
    if found == temperature / LARGEST_FACTOR:
        assert reached >= wanted - 1e-9
    elif found == temperature * LARGEST_FACTOR:
        assert reached <= wanted + 1e-9
    else:
        assert reached == pytest.approx(wanted, abs=1e-9)


def test_what_cannot_be_asked_is_refused() -> None:
    for wanted, temperature in ((0.0, 1.0), (math.nan, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="both must be above 0"):
            entropy_temperature(SCORES, wanted, temperature)
