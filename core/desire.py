"""Desire: scores per symbol that tilt what is sampled, at a bounded price."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from core.steer import divergence, tilt_strength, tilted

Probabilities = NDArray[np.float64]

SETS: dict[str, Callable[[str], bool]] = {
    "vowels": lambda c: unicodedata.normalize("NFD", c)[0].lower() in "aeiou",  # with accents and umlauts
    "capitals": str.isupper,
    "punctuation": lambda c: unicodedata.category(c).startswith("P"),
}


def wish_scores(wishes: Iterable[tuple[str, float]], vocabulary: tuple[str, ...]) -> NDArray[np.float64]:
    """Scores [V] of wishes, each a set's name (see `SETS`) or characters, and their score; wishes add up.

    Raises
    ------
    ValueError
        A character that the vocabulary lacks, a set of which it has none, or a score that is not finite.
    """
    scores = np.zeros(len(vocabulary))
    for name, score in wishes:
        wanted = [c for c in vocabulary if SETS[name](c)] if name in SETS else list(name)
        if lacking := [c for c in wanted if c not in vocabulary]:
            raise ValueError(f"desire: {lacking[0]!r} is no character of this run's text: give characters of it or "
                             f"one of {', '.join(SETS)}")
        if not wanted or not np.isfinite(score):
            raise ValueError(f"desire: {name!r} scored {score} wants nothing of this run's text: give characters of "
                             "it, and a finite score")
        scores[[vocabulary.index(c) for c in wanted]] += score
    return scores


def candidate_distribution(logits: NDArray[np.float64], temperature: float = 1.0, top_k: int | None = None,
                           top_p: float | None = None) -> Probabilities:
    """The very distribution that is sampled: softmax(logits / temperature), then top-k, then top-p, renormalised.

    Parameters
    ----------
    logits : array [V]
        -inf excludes a symbol.
    temperature : float
        0 gives all to the likeliest symbol (the first of equals).
    top_k : int, optional
        Keep the k likeliest; of equals the first.
    top_p : float, optional
        Keep the fewest likeliest symbols that hold at least this share, in (0, 1].

    Raises
    ------
    ValueError
        A value outside its range, NaN or +inf among the logits, or nothing to sample.
    """
    if np.isnan(logits).any() or not (logits > -np.inf).any() or np.isposinf(logits).any():
        raise ValueError("the logits hold NaN or +inf, or leave no symbol: nothing can be sampled from them")
    if not temperature >= 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise ValueError(f"temperature {temperature} must be at least 0, top_k {top_k} at least 1, "
                         f"top_p {top_p} in (0, 1]")
    order = np.argsort(-logits, kind="stable")
    if temperature == 0:
        top_k, temperature = 1, 1.0
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    keep = order[:top_k]
    if top_p is not None:
        share = np.cumsum(p[keep]) / p[keep].sum()
        keep = keep[: int(np.searchsorted(share, top_p * (1 - 1e-12))) + 1]
    out = np.zeros_like(p)
    out[keep] = p[keep]
    return out / out.sum()


def tilt(p: Probabilities, d: NDArray[np.float64], strength: float,
         budget: float) -> tuple[Probabilities, float, float]:
    """Tilt p towards the scores d: p'(j) proportional to p(j) exp(beta d_j), KL(p' || p) <= budget.

    Returns
    -------
    (p', beta, kl)
        Probabilities, the strength used (see `core.steer.tilt_strength`) and the divergence in nats.
    """
    if d.shape != p.shape:
        raise ValueError(f"{d.size} scores for {p.size} symbols: give one score a symbol")
    beta = tilt_strength(p, d, strength, budget)
    if beta == 0:
        return p, 0.0, 0.0
    after = tilted(p, d, beta)
    return after, beta, divergence(after, p)


def sample(p: Probabilities, u: float) -> int:
    """The symbol whose stretch of the cumulative distribution holds u in [0, 1)."""
    cumulative = np.cumsum(p)
    at = int(np.searchsorted(cumulative, u * cumulative[-1], side="right"))
    return min(at, int(np.flatnonzero(p)[-1]))
