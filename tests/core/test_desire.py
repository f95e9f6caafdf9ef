"""Desire: the tilt never costs more than its budget, and takes all of it where it can."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.desire import candidate_distribution, sample, tilt, wish_scores

V = 9
numbers = st.floats(-30, 30, allow_nan=False)
vectors = st.lists(numbers, min_size=V, max_size=V).map(np.array)


def log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    top = x.max()
    return x - (top + math.log(math.fsum(math.exp(v - top) for v in x)))


def divergence_from_logits(logits: NDArray[np.float64], d: NDArray[np.float64], beta: float) -> float:
    """KL(p' || p) from raw logits, in a formula of its own: beta E'[d] - log E[exp(beta d)]."""
    log_p = log_softmax(logits)
    log_q = log_softmax(log_p + beta * (d - d.max()))
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_q, log_p, strict=True) if a > -745)


CASES = {
    "peaked": (np.array([40.0] + [0.0] * 8), np.arange(9.0)),
    "flat": (np.zeros(9), np.arange(9.0)),
    "ties": (np.array([1.0, 1, 1, 0, 0, 0, -1, -1, -1]), np.array([1.0, 1, 0, 0, 1, 1, 0, 0, 1])),
    "all d equal": (np.arange(9.0), np.full(9, 3.0)),
    "unwanted": (np.arange(9.0), -np.arange(9.0)),
    "huge": (np.zeros(9), np.array([1e300] + [-1e300] * 8)),
}


@pytest.mark.parametrize("budget", [0.0, 1e-9, 0.01, 0.3, 2.0, 100.0])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1e4])
@pytest.mark.parametrize("name", CASES)
def test_budget_holds_and_is_used(name: str, strength: float, budget: float) -> None:
    logits, d = CASES[name]
    p = candidate_distribution(logits)
    after, beta, kl = tilt(p, d, strength, budget)
    assert 0 <= beta <= strength
    assert after.sum() == pytest.approx(1, abs=1e-12)
    with np.errstate(over="ignore"):
        spent = divergence_from_logits(logits, d, beta)
    assert spent <= budget or (beta == 0 and spent < 1e-14)  # no tilt costs nothing but this formula's rounding
    assert kl == pytest.approx(spent, abs=1e-10)
    if strength > 0 and name != "all d equal" and budget > 1e-6 and beta < strength:
        with np.errstate(over="ignore"):
            assert divergence_from_logits(logits, d, beta * (1 + 1e-6) + 1e-9) > budget - 1e-9


@given(vectors, vectors, st.floats(0, 50), st.floats(0, 5))
@settings(max_examples=300)
def test_budget_holds_for_any_logits_and_scores(logits: NDArray, d: NDArray, strength: float, budget: float) -> None:
    _, beta, _ = tilt(candidate_distribution(logits), d, strength, budget)
    tilts = beta > 0 and (d != d[0]).any()  # else the divergence is zero, whatever this formula rounds to
    assert not tilts or divergence_from_logits(logits, d, beta) <= budget


def test_a_budget_above_the_ceiling_leaves_the_strength_alone() -> None:
    p = candidate_distribution(np.zeros(9))
    d = np.array([1.0] + [0.0] * 8)
    after, beta, kl = tilt(p, d, 1e3, math.log(9) + 0.1)
    assert beta == 1e3
    assert after[0] == pytest.approx(1)
    assert kl == pytest.approx(math.log(9))  # the ceiling: -log p(wanted)


def test_strength_zero_and_equal_scores_change_nothing() -> None:
    p = candidate_distribution(np.arange(9.0))
    for d, strength in ((np.arange(9.0), 0.0), (np.full(9, 2.0), 5.0)):
        after, _, kl = tilt(p, d, strength, 0.5)
        np.testing.assert_allclose(after, p, rtol=1e-15)
        assert kl == pytest.approx(0, abs=1e-15)


def test_what_cannot_be_sampled_stays_so() -> None:
    p = candidate_distribution(np.array([0.0, 1.0, 2.0, -np.inf]), top_k=2)
    after, _, _ = tilt(p, np.array([9.0, 0.0, 0.0, 9.0]), 5.0, 1.0)
    np.testing.assert_array_equal(after == 0, [True, False, False, True])
    with pytest.raises(ValueError, match="3 scores for 4 symbols"):
        tilt(p, np.zeros(3), 1.0, 1.0)
    with pytest.raises(ValueError, match="finite scores"):
        tilt(p, np.array([np.nan, 0, 0, 0]), 1.0, 1.0)


def test_candidates_by_hand() -> None:
    logits = np.log([0.1, 0.4, 0.4, 0.1])
    np.testing.assert_allclose(candidate_distribution(logits), [0.1, 0.4, 0.4, 0.1])
    np.testing.assert_allclose(candidate_distribution(logits, temperature=0.5), np.array([1, 16, 16, 1]) / 34)
    np.testing.assert_array_equal(candidate_distribution(logits, temperature=0), [0, 1, 0, 0])
    np.testing.assert_allclose(candidate_distribution(logits, top_k=3), np.array([1, 4, 4, 0]) / 9)
    np.testing.assert_allclose(candidate_distribution(logits, top_p=0.4), [0, 1, 0, 0])
    np.testing.assert_allclose(candidate_distribution(logits, top_p=0.8), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(candidate_distribution(logits, top_p=0.85), np.array([1, 4, 4, 0]) / 9)
    for bad in (np.array([np.nan, 0]), np.array([-np.inf, -np.inf]), np.array([np.inf, 0])):
        with pytest.raises(ValueError, match="nothing can be sampled"):
            candidate_distribution(bad)
    with pytest.raises(ValueError, match="top_k 0"):
        candidate_distribution(logits, top_k=0)


def test_sampling_follows_the_cumulative_distribution() -> None:
    p = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    u = (np.arange(10_000) + 0.5) / 10_000
    assert np.bincount([sample(p, x) for x in u], minlength=5).tolist() == [0, 2500, 0, 7500, 0]
    assert sample(p, 0.0) == 1
    assert sample(p, 1 - 2.0**-24) == 3


VOCABULARY = ("\ufffd", "\n", ",", "A", "E", "b", "e", "z", "ä", "é", "“")


def test_wishes_name_sets_or_characters_and_add_up() -> None:
    wanted = {c: s for c, s in zip(VOCABULARY, wish_scores([("vowels", 1.0), ("capitals", -0.5), ("ez", 2.0)],
                                                           VOCABULARY), strict=True) if s}
    assert wanted == {"A": 0.5, "E": 0.5, "e": 3.0, "z": 2.0, "ä": 1.0, "é": 1.0}
    assert np.flatnonzero(wish_scores([("punctuation", 1.0)], VOCABULARY)).tolist() == [2, 10]
    for wishes, sentence in (([("~", 1.0)], "'~' is no character of this run's text"),
                             ([("e", math.nan)], "'e' scored nan"), ([("", 1.0)], "'' scored 1.0")):
        with pytest.raises(ValueError, match=sentence):
            wish_scores(wishes, VOCABULARY)
    with pytest.raises(ValueError, match="'capitals' scored"):
        wish_scores([("capitals", 1.0)], ("a", "b"))
