"""Desire's dynamics: what a generation wants from symbol to symbol, and how hot it runs.

Three phases, by the number of symbols drawn so far, for V symbols of probability p[j]::

    observation  nothing is tilted; a[j] is the mean of 1 - p[j], how much the model avoids symbol j
    injection    d[j] = wanted[j] + log(V pi[j]) + alpha a[j]            a follows 1 - p at the rate 0.05
    integration  d[j] = wanted[j] + log(V pi[j]) + (alpha + gamma) a[j]  a follows 1 - p at the rate 0.02

pi is a hint: a distribution over the symbols, floored at 1e-6, or a window of them, which counts as their shares in it.
Where it is even, or there is none, it adds nothing. Without phases there is no a, and all is injection.

Temperature control leads the entropy H of what is sampled to a target (nats): T becomes T + eta (target - H), clamped.
Where T is never clamped, the mean of H over n symbols misses the target by |T[n] - T[0]| / (eta n) and no more.

Weights, rates, clamps and phases are those of the predecessor's DesireLagrangian, with two differences: a sums to V - 1
and not to 1, so that alpha counts in scores; and eta is smaller, since the entropy of single characters jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Phase = Literal["observation", "injection", "integration"]

FLOOR = 1e-6  # of a hint's shares
RATES = {"injection": 0.05, "integration": 0.02}
ETA, COOLEST, HOTTEST = 0.05, 0.4, 2.0


@dataclass(frozen=True)
class Phases:
    """When a generation turns from looking to wanting.

    Parameters
    ----------
    observation : int
        Symbols until injection.
    integration : int
        Symbols until integration, at least as many.
    alpha, gamma : float
        Weights of what the model avoids.
    """

    observation: int = 128
    integration: int = 256
    alpha: float = 0.2
    gamma: float = 0.04

    def __post_init__(self) -> None:
        if not 0 <= self.observation <= self.integration:
            raise ValueError(f"the phases begin at {self.observation} and {self.integration} symbols: give the end of "
                             "observation, at least 0, and the beginning of integration, no earlier")


def distribution_hint(weights: ArrayLike) -> NDArray[np.float64]:
    """Scores log(V pi) [V] of a hint that gives every symbol a weight >= 0; at least one above 0."""
    pi = np.asarray(weights, np.float64)
    if not np.isfinite(pi).all() or (pi < 0).any() or not pi.any():
        raise ValueError("a hint needs finite weights of at least 0, and one above 0")
    return np.log(len(pi) * np.maximum(pi / pi.sum(), FLOOR))


class Dynamics:
    """The state of one generation's desire.

    Parameters
    ----------
    size : int
        Number of symbols V.
    wanted : array [V], optional
        Scores that hold from beginning to end, hints included.
    phases : Phases, optional
    temperature : float
        At the first symbol.
    target_entropy : float, optional
        In nats; the temperature stays as it is without one.
    """

    def __init__(self, size: int, wanted: NDArray[np.float64] | None, phases: Phases | None, temperature: float,
                 target_entropy: float | None) -> None:
        if target_entropy is not None and not (0 < target_entropy < np.inf and temperature > 0):
            raise ValueError(f"target entropy {target_entropy} and temperature {temperature} must both be above 0: "
                             "leave the target out to keep the temperature as it is")
        self.temperature = temperature
        self._wanted, self._phases, self._target = wanted, phases, target_entropy
        self._avoided, self._drawn = np.zeros(size), 0

    @property
    def phase(self) -> Phase:
        """Of the symbol to be drawn next."""
        if self._phases is None:
            return "injection"
        if self._drawn < self._phases.observation:
            return "observation"
        return "injection" if self._drawn < self._phases.integration else "integration"

    def scores(self) -> NDArray[np.float64] | None:
        """What is wanted of the next symbol; None where nothing is."""
        if self.phase == "observation":
            return None
        if self._phases is None:
            return self._wanted
        weight = self._phases.alpha + (self._phases.gamma if self.phase == "integration" else 0.0)
        return weight * self._avoided + (0.0 if self._wanted is None else self._wanted)

    def step(self, p: NDArray[np.float64], sampled: NDArray[np.float64]) -> float:
        """Take in what a symbol was drawn from: before the tilt, and after it. Returns the entropy of the latter."""
        if self._phases is not None:
            rate = 1 / (1 + self._drawn) if self.phase == "observation" else RATES[self.phase]
            self._avoided = self._avoided + rate * ((1 - p) - self._avoided)
        self._drawn += 1
        inside = sampled[sampled > 0]
        entropy = float(-(inside * np.log(inside)).sum())
        if self._target is not None:
            self.temperature = float(np.clip(self.temperature + ETA * (self._target - entropy), COOLEST, HOTTEST))
        return entropy
