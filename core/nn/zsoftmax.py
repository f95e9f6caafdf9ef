"""The Z-space softmax: scores sharpened by the curvature, at a temperature or at a wanted entropy.

p(j) proportional to exp(s_j sqrt(-c) / T). The scores are a head's logits, or minus the `core.nn.hyperbolic.distance`
to each symbol: sqrt(-c) makes that a pure number. The predecessor moves T towards a wanted entropy H by one step,
T clamp(1 + (H_wanted - H) / 2, 1/4, 4); here T is the one that gives it, within the same bounds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from core.array import Array
from core.functions import softmax

LARGEST_FACTOR = 4.0  # by which a wanted entropy moves the temperature, up or down


def zspace_softmax(scores: Array, curvature: float, temperature: float = 1.0) -> Array:
    """Probabilities exp(s_j sqrt(-c) / T) / sum over the last axis.

    Parameters
    ----------
    scores : Array
        [..., V].
    curvature, temperature : float
        c below 0, T above 0.

    Raises
    ------
    ValueError
        A value outside its range.
    """
    if not -math.inf < curvature < 0 or not 0 < temperature < math.inf:
        raise ValueError(f"the Z-space softmax has curvature {curvature} and temperature {temperature}: the first must "
                         "be below 0, the second above 0, both finite")
    return softmax(scores * (math.sqrt(-curvature) / temperature))


def entropy(scores: NDArray[np.float64], temperature: float) -> float:
    """Entropy of softmax(scores / temperature) in nats; -inf among the scores excludes a symbol."""
    x = (scores[scores > -np.inf] - scores.max()) / temperature
    weights = np.exp(x)
    total = weights.sum()
    return math.log(total) - float(weights @ x) / float(total)


def entropy_temperature(scores: NDArray[np.float64], wanted: float, temperature: float = 1.0) -> float:
    """The temperature at which softmax(scores / T) has the wanted entropy, by bisection in float64.

    The entropy rises with T, its slope being the variance of the scores over T^3, so there is one such T at most. Where
    it lies further than a factor of `LARGEST_FACTOR` from `temperature`, the bound is returned: a sure prediction is
    not heated until it is none.

    Parameters
    ----------
    scores : array [V]
        Finite, or -inf for what is excluded.
    wanted : float
        Nats, above 0.
    temperature : float
        Above 0.

    Raises
    ------
    ValueError
        A value outside its range.
    """
    if not 0 < wanted < math.inf or not 0 < temperature < math.inf:
        raise ValueError(f"an entropy of {wanted} nats around temperature {temperature} was asked for: both must be "
                         "above 0 and finite")
    low, high = temperature / LARGEST_FACTOR, temperature * LARGEST_FACTOR
    if entropy(scores, low) >= wanted:
        return low
    if entropy(scores, high) <= wanted:
        return high
    while (middle := 0.5 * (low + high)) not in (low, high):
        low, high = (middle, high) if entropy(scores, middle) <= wanted else (low, middle)
    return low
