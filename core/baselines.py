"""What a model has to beat: plain counting and a general compressor, in bits per validation character."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data import Corpus, Symbols, chunks

SMOOTHING = 0.1
XZ_CHARACTERS = 20_000_000  # xz needs a second for a million characters: longer texts go without this baseline


def baselines(corpus: Corpus) -> dict[str, float | None]:
    """All three by name; xz is None where the training part exceeds `XZ_CHARACTERS`."""
    return {"unigram": unigram_bpc(corpus), "bigram": bigram_bpc(corpus),
            "xz": xz_bpc(corpus) if len(corpus.train) <= XZ_CHARACTERS else None}


def unigram_bpc(corpus: Corpus) -> float:
    """Bits per validation character under the training part's smoothed character frequencies.

    p(j) = (n_j + k) / (n + k V), k = `SMOOTHING`, V the size of the vocabulary.
    """
    size = len(corpus.vocabulary)
    counts = _counts(corpus.train, size)
    probability = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * size)
    return float(-_counts(corpus.validation, size) @ np.log2(probability) / corpus.validation.size)


def bigram_bpc(corpus: Corpus) -> float:
    """Bits per validation character, each given the one before, under smoothed pair frequencies of the training part.

    p(j | i) = (n_ij + k) / (n_i + k V), k = `SMOOTHING`, n_i = sum_j n_ij; the first is given training's last.
    """
    size = len(corpus.vocabulary)
    trained = _pair_counts(corpus.train, size)
    wanted = _pair_counts(np.concatenate([corpus.train[-1:], corpus.validation]), size)
    # log2(n_ij + k) = log2 k + log2(1 + n_ij / k), and the second term is zero, hence sparse, where n_ij is
    gain = trained.astype(np.float64)
    gain.data = np.log2(1 + gain.data / SMOOTHING)
    spent = wanted.sum(axis=1) @ np.log2(trained.sum(axis=1) + SMOOTHING * size)
    bits = spent - corpus.validation.size * np.log2(SMOOTHING) - wanted.multiply(gain).sum()
    return float(bits / corpus.validation.size)


def xz_bpc(corpus: Corpus) -> float:
    """Bits per validation character that xz needs beyond the training part, 8 (|xz(all)| - |xz(train)|) / n.

    xz's default preset (6, a dictionary of 8 MiB); the text goes in as UTF-8, unknown characters as U+FFFD.
    """
    extra = _xz_bytes(corpus, [corpus.train, corpus.validation]) - _xz_bytes(corpus, [corpus.train])
    return 8 * extra / corpus.validation.size


def _counts(symbols: Symbols, size: int) -> NDArray[np.int64]:
    """How often each symbol occurs."""
    counts = np.zeros(size, dtype=np.int64)
    for chunk in chunks(symbols):
        counts += np.bincount(chunk, minlength=size)
    return counts


def _pair_counts(symbols: Symbols, size: int) -> Any:
    """How often symbol j follows symbol i, as a sparse [size, size] array."""
    from scipy import sparse

    counts = sparse.csr_array((size, size), dtype=np.int64)
    for chunk in chunks(symbols, overlap=1):
        places = (chunk[:-1].astype(np.int32), chunk[1:].astype(np.int32))
        counts += sparse.coo_array((np.ones(chunk.size - 1, dtype=np.int64), places), shape=(size, size)).tocsr()
    return counts


def _xz_bytes(corpus: Corpus, parts: Sequence[Symbols]) -> int:
    """Size of some parts of the corpus, compressed one after the other as UTF-8."""
    compressor = lzma.LZMACompressor()
    size = 0
    for part in parts:
        for chunk in chunks(part):
            size += len(compressor.compress(corpus.decode(chunk).encode()))
    return size + len(compressor.flush())
