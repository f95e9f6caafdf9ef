"""Planted n-grams are found, all of them and nothing else, against a plain search in a string."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import core.data
import core.memorisation
from core.data import read_corpus
from core.memorisation import found_grams

RNG = np.random.default_rng(7)
TRAINING = RNG.integers(0, 80, 5000).astype(np.uint8)  # so random that nothing is found by chance


def found_share(text: np.ndarray, training: np.ndarray, n: int = 12) -> float:
    return found_grams(text[None], training, n).mean()


def test_planted_grams_are_counted_exactly() -> None:
    text = RNG.integers(0, 80, 411).astype(np.uint8)  # 400 places
    assert found_share(text, TRAINING) == 0
    text[50:62] = TRAINING[1000:1012]  # one gram
    text[100:120] = TRAINING[3000:3020]  # nine
    text[200:211] = TRAINING[2000:2011]  # eleven symbols are none
    text[300:312] = text[399:411] = TRAINING[4988:]  # training's last, at two places
    assert found_share(text, TRAINING) == 12 / 400
    places = [50, *range(100, 109), 300, 399]
    np.testing.assert_array_equal(np.flatnonzero(found_grams(np.stack([text, text[::-1]]), TRAINING)), places)
    assert found_share(TRAINING[:12], TRAINING) == found_share(TRAINING, TRAINING) == 1


@pytest.mark.parametrize("chunk", [1, 13, 100, 10_000])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_text_agrees_with_a_search_in_a_string(monkeypatch: pytest.MonkeyPatch, chunk: int, dtype: type) -> None:
    monkeypatch.setattr(core.data, "CHUNK_SYMBOLS", chunk)
    training, text = (RNG.integers(0, 3, size).astype(dtype) for size in (900, 300))
    for n in (1, 5, 6, 12):
        string = "".join(map(str, training))
        grams = ["".join(map(str, text[i : i + n])) for i in range(300 - n + 1)]
        assert found_share(text.astype(np.int64), training, n) == sum(g in string for g in grams) / len(grams)


def test_a_collision_of_hashes_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.memorisation, "_FACTOR", np.uint64(1))  # now each order of the same symbols collides
    training = np.arange(12, dtype=np.uint8)
    assert found_share(training[::-1], training) == 0
    assert found_share(np.concatenate([training, training[::-1]]), training) == 1 / 13


def test_a_text_without_an_n_gram_is_refused() -> None:
    with pytest.raises(ValueError, match="a text of 11 characters has no 12-gram"):
        found_share(TRAINING[:11], TRAINING)
    assert found_share(TRAINING[:12], TRAINING[:11]) == 0


def test_real_prose_agrees_with_a_slow_search() -> None:
    corpus = read_corpus(Path(__file__).parents[2] / "corpus")
    seen, held_out = corpus.decode(corpus.train), corpus.decode(corpus.validation)
    slow = np.mean([held_out[i : i + 12] in seen for i in range(2000 - 11)])
    assert found_share(corpus.validation[:2000], corpus.train) == slow
