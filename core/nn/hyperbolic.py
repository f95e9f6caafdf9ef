"""Hyperbolic space of curvature c < 0 as the Poincare ball: points |x| < 1 / sqrt(-c), metric 2 |dx| / (1 + c |x|^2).

The maps follow Ganea et al. 2018 (arXiv 1805.09112), the projection into the ball Nickel & Kiela 2017 (arXiv
1705.08039). They are made of the table's primitives, so they run on every backend and have gradients. Each is backward
stable: the result is that of an input which differs by a few units in the last place. At the boundary, and only there,
the exact result moves with these, too. As c goes to 0, each becomes its Euclidean map to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array
from core.functions import log1p, maximum, sqrt, tanh
from core.gradients import like

BOUNDARY = 1 - 1e-5  # largest norm of a point, of the ball's radius: 12.2 / sqrt(-c) from the origin
TINY = 1e-30  # distances below its root count as none, where the root's slope would be infinite


def check_curvature(c: float) -> None:
    """Refuse what is no curvature; 0 stands for Euclidean space.

    Raises
    ------
    ValueError
        Above 0, infinite, NaN or no number.
    """
    if not (isinstance(c, int | float) and -math.inf < c <= 0):
        raise ValueError(f"curvature is {c!r:.40}: it must be 0 (Euclidean) or a finite number below, such as -1")


def exp_map(v: Array, c: float) -> Array:
    """From a tangent vector at the origin to the point of the ball at the end of its geodesic.

    tanh(s |v|) v / (s |v|) with s = sqrt(-c) (Ganea et al., lemma 2), cut at `BOUNDARY`.

    Parameters
    ----------
    v : Array
        [..., D].
    c : float
        Curvature, below 0.
    """
    r = _norm(v * math.sqrt(-c))
    return project(v * (tanh(r) / r), c)


def log_map(x: Array, c: float) -> Array:
    """From a point of the ball to the tangent vector at the origin that `exp_map` takes there.

    artanh(s |x|) x / (s |x|) with s = sqrt(-c) (Ganea et al., lemma 2).

    Parameters
    ----------
    x : Array
        [..., D], inside the ball: `project` sees to that.
    c : float
        Curvature, below 0.
    """
    r = _norm(x * math.sqrt(-c))
    return x * (log1p(2.0 * r / (1.0 - r)) / (2.0 * r))


def distance(x: Array, y: Array, c: float) -> Array:
    """Length of the geodesic between points [..., D] of the ball, broadcast against each other -> [...].

    2 / s asinh(s |x - y| / sqrt((1 + c |x|^2) (1 + c |y|^2))) with s = sqrt(-c): the arcosh of Nickel & Kiela (equation
    1) without its cancellation between close points. For c near 0 it is 2 |x - y|, the metric's factor of 2 included.
    """
    s = math.sqrt(-c)
    apart, inside = x - y, _inside(x * s) * _inside(y * s)
    length = sqrt(maximum((apart * apart).sum(-1), like(apart, TINY)) / inside)
    a = maximum(length * s, like(length, math.sqrt(_epsilon(length))))  # below, asinh(a) / a is 1 to rounding
    return length * 2.0 * (log1p(a + a * a / (1.0 + sqrt(1.0 + a * a))) / a)


def project(x: Array, c: float) -> Array:
    """Points [..., D] with those at or beyond the boundary pulled back to `BOUNDARY`; the others keep every bit."""
    beyond = _norm(x * (math.sqrt(-c) / BOUNDARY))
    return x / maximum(beyond, like(beyond, 1))


def host_exp_map(v: NDArray[np.float64], c: float) -> NDArray[np.float64]:
    """`exp_map` of vectors [..., D] other than 0 in NumPy, for weights that are drawn on the host."""
    r = math.sqrt(-c) * np.linalg.norm(v, axis=-1, keepdims=True)
    return v * np.minimum(np.tanh(r), BOUNDARY) / r


def _epsilon(x: Array) -> Any:
    return np.finfo(x.dtype).eps


def _norm(u: Array) -> Array:
    """Norms [..., 1]; not below the root of epsilon, where tanh(r) / r and artanh(r) / r are 1 to rounding."""
    return sqrt(maximum((u * u).sum(-1, keepdims=True), like(u, _epsilon(u))))


def _inside(u: Array) -> Array:
    """1 - |u|^2, the inverse of half the metric's factor."""
    return 1.0 - (u * u).sum(-1)
