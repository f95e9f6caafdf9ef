"""What painting does, in plain NumPy without I/O: a layer's gains, and the strength of a tilt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_LOG2_GAIN = 3.0
MARGIN = 1e-12  # nats kept below the budget, so that another order of summation stays below it too


def gains(relation: NDArray[Any]) -> NDArray[np.float64]:
    """Gain per cell of a painted layer: 2^R, R clipped to [-3, 3]."""
    clipped = np.clip(np.asarray(relation, np.float64), -LARGEST_LOG2_GAIN, LARGEST_LOG2_GAIN)
    return np.exp2(clipped)


def tilted(p: NDArray[np.float64], d: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """p'(j) proportional to p(j) exp(beta d_j) on the support of p."""
    exponent = np.full(p.shape, -np.inf)
    inside = p > 0
    with np.errstate(over="ignore"):
        exponent[inside] = beta * (d[inside] - d[inside].max())
    scaled = p * np.exp(exponent)
    return scaled / scaled.sum()


def divergence(q: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    """KL(q || p) in nats."""
    inside = q > 0
    return max(float(np.sum(q[inside] * (np.log(q[inside]) - np.log(p[inside])))), 0.0)


def tilt_strength(p: NDArray[np.float64], d: NDArray[np.float64], strength: float, budget: float) -> float:
    """The largest beta <= strength with KL(p' || p) <= budget; the lower end of a bisection in float64.

    Parameters
    ----------
    p : array [V]
        Probabilities that would be sampled.
    d : array [V]
        Score per symbol, finite.
    strength, budget : float
        Both >= 0; budget in nats.
    """
    if not np.isfinite(d).all() or not 0 <= strength < math.inf or not budget >= 0:
        raise ValueError(f"a tilt needs finite scores, strength and budget of at least 0, got {strength} and {budget}")
    limit = budget - MARGIN * max(1.0, min(budget, 1.0))

    def costs(beta: float) -> float:
        return divergence(tilted(p, d, beta), p)

    inside = d[p > 0]
    if strength == 0 or limit <= 0 or (inside == inside[0]).all():
        return 0.0  # equal scores tilt nothing, at any strength
    if costs(strength) <= limit:
        return strength
    low, high = 0.0, strength
    while (middle := 0.5 * (low + high)) not in (low, high):
        low, high = (middle, high) if costs(middle) <= limit else (low, middle)
    return low
