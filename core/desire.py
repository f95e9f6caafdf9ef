"""Desire: scores per symbol that tilt what is sampled, at a bounded price."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.steer import divergence, tilt_strength, tilted

Probabilities = NDArray[np.float64]


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
