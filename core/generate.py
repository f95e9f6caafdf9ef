"""Generation one character at a time, with desire as a bounded tilt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import asarray
from core.desire import candidate_distribution, sample, tilt
from core.dynamics import Dynamics, Phase, Phases
from core.nn.model import Model, Parameters
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
    hint : array [V], optional
        Scores of a hint (`core.dynamics.distribution_hint`), added to the desire.
    phases : Phases, optional
        When the tilt sets in, and what the model avoids is wanted; from the first symbol without them.
    target_entropy : float, optional
        Entropy (nats a symbol) that the temperature is led to.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    desire: NDArray[np.float64] | None = None
    strength: float = 1.0
    budget: float = 0.1
    hint: NDArray[np.float64] | None = None
    phases: Phases | None = None
    target_entropy: float | None = None

    @property
    def wanted(self) -> NDArray[np.float64] | None:
        """Desire and hint, None where there is neither."""
        parts = [part for part in (self.desire, self.hint) if part is not None]
        return np.sum(parts, axis=0) if parts else None

    def without_desire(self) -> Sampling:
        """The same, but nothing is wanted."""
        return replace(self, desire=None, hint=None, phases=None)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Sampling:
        """Back from `dataclasses.asdict`, by way of JSON."""
        values: dict[str, Any] = {f.name: record[f.name] for f in fields(cls)}
        for name in ("desire", "hint"):
            values[name] = None if values[name] is None else np.array(values[name], np.float64)
        return cls(**{**values, "phases": None if values["phases"] is None else Phases(**values["phases"])})


@dataclass(frozen=True)
class Drawn:
    """One generated symbol.

    Attributes
    ----------
    symbol : int
    probability, tilted : float
        Of the symbol, before and after the tilt.
    beta, kl : float
        Strength of the tilt, and what it cost in nats.
    entropy : float
        Of what was sampled, in nats.
    temperature : float
    phase : str
        See `core.dynamics`.
    d : array [V], optional
        Scores in force; None where nothing was wanted.
    """

    symbol: int
    probability: float
    tilted: float
    beta: float
    kl: float
    entropy: float
    temperature: float
    phase: Phase
    d: NDArray[np.float64] | None = field(compare=False)


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
    dynamics = Dynamics(model.config.vocabulary, how.wanted, how.phases, how.temperature, how.target_entropy)
    for u in uniforms:
        x, state, _ = model.states(p, asarray(tokens), state)
        scores = model.logits(p, x[:, -1:]).numpy()[0, 0].astype(np.float64)
        temperature, phase, d = dynamics.temperature, dynamics.phase, dynamics.scores()
        before = candidate_distribution(scores, temperature, how.top_k, how.top_p)
        after, beta, kl = (before, 0.0, 0.0) if d is None else tilt(before, d, how.strength, how.budget)
        symbol, entropy = sample(after, float(u)), dynamics.step(before, after)
        yield Drawn(symbol, float(before[symbol]), float(after[symbol]), beta, kl, entropy, temperature, phase, d)
        tokens = np.array([[symbol]], np.int32)
