"""Baselines against plain counting, the entropy of a known source, and lzma itself."""

from __future__ import annotations

import collections
import itertools
import lzma
import math

import numpy as np
import pytest

import core.baselines
from core.baselines import baselines, bigram_bpc, unigram_bpc, xz_bpc
from core.data import read_corpus


def test_unigram_and_bigram_equal_plain_counting(tmp_path):
    """Counting with dictionaries, one character after the other."""
    rng = np.random.default_rng(11)
    text = "".join(rng.choice(list("abcdé \n"), p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05], size=900)) + "never seen!"
    (tmp_path / "a.txt").write_text(text)
    corpus = read_corpus(tmp_path)
    cut = len(text) - int(len(text) * 0.1)
    known = set(text[:cut])
    size = len(known) + 1
    heard = "".join(letter if letter in known else "\ufffd" for letter in text)
    singles = collections.Counter(heard[:cut])
    pairs = collections.Counter(itertools.pairwise(heard[:cut]))
    firsts = collections.Counter(heard[: cut - 1])
    single_bits = pair_bits = 0.0
    for index in range(cut, len(text)):
        before, letter = heard[index - 1], heard[index]
        single_bits -= math.log2((singles[letter] + 0.1) / (cut + 0.1 * size))
        pair_bits -= math.log2((pairs[before, letter] + 0.1) / (firsts[before] + 0.1 * size))
    assert unigram_bpc(corpus) == pytest.approx(single_bits / (len(text) - cut), rel=1e-12)
    assert bigram_bpc(corpus) == pytest.approx(pair_bits / (len(text) - cut), rel=1e-12)


def test_baselines_meet_the_entropy_of_their_source(tmp_path):
    """A Markov chain of known entropy rate: the bigram reaches it, the unigram the entropy of the stationary law."""
    rng = np.random.default_rng(2)
    transition = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    values, vectors = np.linalg.eig(transition.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary /= stationary.sum()
    state, states = 0, []
    for u in rng.random(200_000):
        state = int(np.searchsorted(transition[state].cumsum(), u))
        states.append(state)
    (tmp_path / "a.txt").write_text("".join("abc"[s] for s in states))
    corpus = read_corpus(tmp_path)
    entropy = -(stationary * np.log2(stationary)).sum()
    rate = -(stationary[:, None] * transition * np.log2(transition)).sum()
    assert unigram_bpc(corpus) == pytest.approx(entropy, abs=0.03)
    assert bigram_bpc(corpus) == pytest.approx(rate, abs=0.03)
    assert rate < xz_bpc(corpus) < 8


def test_xz_is_the_difference_of_two_compressed_sizes(tmp_path):
    rng = np.random.default_rng(4)
    text = " ".join(rng.choice(["wren", "heron", "ouzel", "çığ", "dipper"], size=3000))
    (tmp_path / "a.txt").write_text(text)
    cut = len(text) - int(len(text) * 0.1)
    extra = len(lzma.compress(text.encode())) - len(lzma.compress(text[:cut].encode()))
    assert xz_bpc(read_corpus(tmp_path)) == 8 * extra / (len(text) - cut)


def test_a_long_text_goes_without_xz(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("tide " * 100)
    corpus = read_corpus(tmp_path)
    assert baselines(corpus) == {"unigram": unigram_bpc(corpus), "bigram": bigram_bpc(corpus), "xz": xz_bpc(corpus)}
    monkeypatch.setattr(core.baselines, "XZ_CHARACTERS", 449)
    assert baselines(corpus)["xz"] is None
