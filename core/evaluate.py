"""One evaluation protocol: every character of a split once, contiguous windows, state reset at each window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import asarray
from core.functions import cross_entropy
from core.nn.model import Model, Parameters

BATCH = 32
RESAMPLES = 1000


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


def losses(model: Model, p: Parameters, symbols: NDArray[Any], window: int) -> list[NDArray[np.float32]]:
    """Loss in nats of every character but the first, one array [windows, <= window] a batch; the last may be short."""
    whole = (len(symbols) - 1) // window
    rows = [(i * window, window) for i in range(whole)]
    rest = len(symbols) - 1 - whole * window
    groups = [rows[i : i + BATCH] for i in range(0, whole, BATCH)] + ([[(whole * window, rest)]] if rest else [])
    out = []
    for group in groups:
        tokens = np.stack([symbols[at : at + n + 1] for at, n in group]).astype(np.int32)
        x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(len(group)))
        out.append(cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).numpy())
    return out


def evaluate(model: Model, p: Parameters, symbols: NDArray[Any], window: int, seed: int = 0) -> Evaluation:
    """Score a whole split.

    Parameters
    ----------
    symbols : array of int [n]
        At least two characters.
    window : int
        Length of a window; its first prediction has one character of context.
    """
    if len(symbols) < 2:
        raise ValueError(f"evaluate needs at least 2 characters, got {len(symbols)}")
    rows = [row.astype(np.float64) for batch in losses(model, p, symbols, window) for row in batch]
    return summary(np.array([r.sum() for r in rows]), np.array([len(r) for r in rows]), seed)


def summary(sums: NDArray[np.float64], counts: NDArray[np.int64], seed: int = 0) -> Evaluation:
    """From the nats and the characters of each window."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, [0.025, 0.975]) / math.log(2)
    return Evaluation(float(sums.sum() / counts.sum() / math.log(2)), (float(low), float(high)), int(counts.sum()))
