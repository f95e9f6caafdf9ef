"""Memorisation: how much of a text is found, word for word, in the training text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.data import Symbols, chunks

GRAM = 12
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # any large odd number: hashes only choose what is compared


def found_grams(texts: NDArray[Any], training: Symbols, n: int = GRAM) -> NDArray[np.bool_]:
    """Which n-grams of some texts occur in the training text; exact.

    What has the hash of one of the n-grams is compared with them symbol by symbol, so that neither a match is missed
    nor a collision counted. Training is read once, in chunks.

    Parameters
    ----------
    texts : array of int [R, L], L >= n
        Symbol indices of R texts.
    training : array of int
        Symbol indices of the same vocabulary, memory-mapped or not.

    Returns
    -------
    array of bool [R, L - n + 1]
        Of the n-gram that begins at each place; a text's mean is its share.

    Raises
    ------
    ValueError
        The texts are shorter than one n-gram.
    """
    if texts.shape[1] < n:
        raise ValueError(f"a text of {texts.shape[1]} characters has no {n}-gram: give a longer one")
    grams = sliding_window_view(np.asarray(texts, training.dtype), n, axis=1)
    hashes = np.unique(_hashes(grams))
    found: set[bytes] = set()
    for chunk in chunks(training, overlap=n - 1):
        here = sliding_window_view(chunk, n)
        places = _hashes(here)
        alike = hashes[np.minimum(np.searchsorted(hashes, places), len(hashes) - 1)] == places
        found |= {gram.tobytes() for gram in np.unique(here[alike], axis=0)}
    return np.array([[gram.tobytes() in found for gram in row] for row in grams])


def _hashes(grams: NDArray[Any]) -> NDArray[np.uint64]:
    """A polynomial of each n-gram [..., n], modulo 2^64."""
    out = np.zeros(grams.shape[:-1], np.uint64)
    for i in range(grams.shape[-1]):
        out = out * _FACTOR + grams[..., i]
    return out
