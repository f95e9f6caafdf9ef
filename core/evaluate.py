"""One evaluation protocol: every character of a split once, contiguous windows, state reset at each window.

`score` asks a model of ours; a peer fills `Scores` from its own arrays. Every figure of a `Report` comes from these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray
from core.functions import cross_entropy
from core.nn.model import Model, Parameters

BATCH = 32
BATCH_CHARACTERS = 1 << 15  # fewer windows at a time where they are long: activations are what fills the memory
RESAMPLES = 1000
BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """Bits per character with a 95 % interval.

    Attributes
    ----------
    bits : float
        Mean over characters.
    interval : tuple of float
        2.5 % and 97.5 % points of a bootstrap over blocks (one window a block, since neighbours are alike).
    characters : int
        How many were scored: all but the split's first, which has nothing before it.
    """

    bits: float
    interval: tuple[float, float]
    characters: int


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model said of every character of a text but the first, in the text's order.

    Attributes
    ----------
    nats : array of float64 [n]
        -ln p of the character that came.
    confidence : array of float64 [n]
        Probability of the likeliest character.
    correct : array of bool [n]
        Whether the likeliest character came.
    window : int
        Characters a window; the last one may be shorter.
    """

    nats: NDArray[np.float64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    window: int


@dataclass(frozen=True)
class Bin:
    """Characters of similar confidence: how sure the model was of them, and how often it was right."""

    confidence: float
    accuracy: float
    characters: int


@dataclass(frozen=True)
class Octave:
    """Mean loss in nats of the characters that had `first` to `last` characters of context in their window."""

    first: int
    last: int
    nats: float
    characters: int


@dataclass(frozen=True)
class Report(Evaluation):
    """All figures of one text.

    Attributes
    ----------
    perplexity : float
        exp(mean nats) = 2^bits, of a character.
    accuracy : float
        Share of characters that were the likeliest.
    calibration_error : float
        Expected calibration error, sum_b n_b / n |confidence_b - accuracy_b| over `calibration` (Naeini et al. 2015,
        with bins of equal mass).
    calibration : tuple of Bin
        At most `BINS` bins of equal mass by confidence; equal confidences share a bin.
    context : tuple of Octave
        Loss by length of context, in octaves: 1, 2, 3 to 4, 5 to 8 characters and so on.
    """

    perplexity: float
    accuracy: float
    calibration_error: float
    calibration: tuple[Bin, ...]
    context: tuple[Octave, ...]


def losses(model: Model, p: Parameters, symbols: NDArray[Any], window: int) -> list[NDArray[np.float32]]:
    """Loss in nats of every character but the first, one array [windows, <= window] a batch; the last may be short."""
    return [cross_entropy(_logits(model, p, tokens), asarray(tokens[:, 1:])).numpy()
            for tokens in _batches(symbols, window)]


def score(model: Model, p: Parameters, symbols: NDArray[Any], window: int) -> Scores:
    """Ask a model for every character of a text.

    Parameters
    ----------
    symbols : array of int [n + 1]
        At least two characters.
    window : int
        Length of a window; its first prediction has one character of context.
    """
    _check(symbols, window)
    nats, confidence, correct = [], [], []
    for tokens in _batches(symbols, window):
        logits = _logits(model, p, tokens)
        nats.append(cross_entropy(logits, asarray(tokens[:, 1:])).numpy().ravel())
        for row, came in zip(logits.numpy(), tokens[:, 1:], strict=True):  # by windows: float64 [T, V] at a time
            exact = row.astype(np.float64)
            confidence.append(1 / np.exp(exact - exact.max(-1, keepdims=True)).sum(-1))
            correct.append(exact.argmax(-1) == came)
    return Scores(np.concatenate(nats).astype(np.float64), np.concatenate(confidence), np.concatenate(correct), window)


def report(scores: Scores, seed: int = 0) -> Report:
    """All figures from what a model said; `seed` is the bootstrap's."""
    nats = scores.nats
    blocks = [nats[i:i + scores.window] for i in range(0, len(nats), scores.window)]
    whole = summary(np.array([b.sum() for b in blocks]), np.array([len(b) for b in blocks]), seed)
    bins = _calibration(scores)
    error = sum(b.characters * abs(b.confidence - b.accuracy) for b in bins) / len(nats)
    return Report(**vars(whole), perplexity=2.0**whole.bits, accuracy=float(scores.correct.mean()),
                  calibration_error=error, calibration=bins, context=_context(scores))


def evaluate(model: Model, p: Parameters, symbols: NDArray[Any], window: int, seed: int = 0) -> Evaluation:
    """Bits per character of a whole split as `report(score(...))` has it, but with nothing read back but losses."""
    _check(symbols, window)
    rows = [row.astype(np.float64) for batch in losses(model, p, symbols, window) for row in batch]
    return summary(np.array([r.sum() for r in rows]), np.array([len(r) for r in rows]), seed)


def summary(sums: NDArray[np.float64], counts: NDArray[np.int64], seed: int = 0) -> Evaluation:
    """From the nats and the characters of each window."""
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(RESAMPLES):  # one at a time: a long text has many windows
        picks = rng.integers(0, len(sums), len(sums))
        means.append(sums[picks].sum() / counts[picks].sum())
    low, high = np.quantile(means, [0.025, 0.975]) / math.log(2)
    return Evaluation(float(sums.sum() / counts.sum() / math.log(2)), (float(low), float(high)), int(counts.sum()))


def _check(symbols: NDArray[Any], window: int) -> None:
    if len(symbols) < 2 or window < 1:
        raise ValueError(f"an evaluation needs at least 2 characters and a window of at least 1, not {len(symbols)} "
                         f"and {window}: give more text or another window")


def _batches(symbols: NDArray[Any], window: int) -> Iterator[NDArray[np.int32]]:
    """Contiguous windows [N, T + 1], neighbours sharing one character; what is left over comes alone at the end."""
    whole = (len(symbols) - 1) // window
    at_once = min(BATCH, max(BATCH_CHARACTERS // window, 1))
    for i in range(0, whole, at_once):
        starts = range(i * window, min(i + at_once, whole) * window, window)
        yield np.stack([symbols[at : at + window + 1] for at in starts]).astype(np.int32)
    rest = symbols[whole * window :]
    if len(rest) > 1:
        yield rest[None].astype(np.int32)


def _logits(model: Model, p: Parameters, tokens: NDArray[np.int32]) -> Array:
    """Scores [N, T, V] of the characters after the first, from an empty state."""
    x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(len(tokens)))
    return model.logits(p, x)


def _calibration(scores: Scores) -> tuple[Bin, ...]:
    """Cut by confidence into bins of equal mass, cutting through no group of equal confidences."""
    edges = np.unique(np.quantile(scores.confidence, np.arange(1, BINS) / BINS, method="higher"))
    place = np.searchsorted(edges, scores.confidence, side="right")
    return tuple(Bin(float(scores.confidence[place == b].mean()), float(scores.correct[place == b].mean()),
                     int((place == b).sum())) for b in np.unique(place))


def _context(scores: Scores) -> tuple[Octave, ...]:
    """Cut by the length of the context within the window."""
    length = np.arange(len(scores.nats)) % scores.window + 1
    octave = np.frexp(length - 1)[1]  # ceil(log2(length)), exactly
    return tuple(Octave(int(length[octave == k].min()), int(length[octave == k].max()),
                        float(scores.nats[octave == k].mean()), int((octave == k).sum())) for k in np.unique(octave))
