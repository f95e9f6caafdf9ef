"""Generation one character at a time, with desire as a bounded tilt, every step recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import asarray
from core.desire import candidate_distribution, sample, tilt
from core.nn.model import Model, Parameters
from core.nn.zsoftmax import entropy_temperature
from core.random import Philox

STREAM = 3  # of the random numbers: 1 draws weights, 2 picks windows, 3 picks symbols


@dataclass(frozen=True)
class Sampling:
    """How the next symbol is drawn.

    Parameters
    ----------
    temperature : float
        0 takes the likeliest symbol.
    top_k, top_p : optional
        Keep the k likeliest symbols, or the fewest that hold this share of the probability.
    desire : array [V], optional
        Score per symbol; positive is wanted.
    strength, budget : float
        Largest tilt, and the largest KL divergence (nats a symbol) it may cost.
    entropy : float, optional
        Nats of the softmax before top-k and top-p: the temperature is moved to reach it, by a factor of at most
        `core.nn.zsoftmax.LARGEST_FACTOR`.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    desire: NDArray[np.float64] | None = None
    strength: float = 1.0
    budget: float = 0.1
    entropy: float | None = None


@dataclass(frozen=True)
class Drawn:
    """One generated symbol, its probability before and after the tilt, and what the tilt cost."""

    symbol: int
    probability: float
    tilted: float
    beta: float
    kl: float


def generate(model: Model, p: Parameters, prompt: NDArray[Any], length: int, seed: int,
             sampling: Sampling | None = None) -> Iterator[Drawn]:
    """Continue a prompt, one symbol a step, in memory that does not grow.

    Parameters
    ----------
    prompt : array of int [n], n >= 1
        Symbol indices; the state starts empty before them.
    length : int
        Symbols to draw.
    seed : int
        Step i uses uniform number i of this seed, whatever was drawn before.
    """
    if len(prompt) < 1:
        raise ValueError("the prompt is empty: give at least one character")
    how = sampling or Sampling()
    uniforms = Philox(seed).uniform(STREAM, 0, (length,))
    tokens, state = np.asarray(prompt, np.int32)[None], model.initial_state(1)
    for u in uniforms:
        x, state, _ = model.states(p, asarray(tokens), state)
        scores = model.logits(p, x[:, -1:]).numpy()[0, 0].astype(np.float64)
        heat = how.temperature if how.entropy is None else entropy_temperature(scores, how.entropy, how.temperature)
        before = candidate_distribution(scores, heat, how.top_k, how.top_p)
        after, beta, kl = before, 0.0, 0.0
        if how.desire is not None and how.strength != 0:
            after, beta, kl = tilt(before, how.desire, how.strength, how.budget)
        symbol = sample(after, float(u))
        yield Drawn(symbol, float(before[symbol]), float(after[symbol]), beta, kl)
        tokens = np.array([[symbol]], np.int32)
