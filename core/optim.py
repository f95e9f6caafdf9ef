"""Optimisers, gradient clipping by global norm, and learning-rate schedules, on primitives: they run on any backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from core.array import Array, asarray, leaf
from core.functions import maximum, sqrt
from core.nn.hyperbolic import exp_map, moebius_add, project

Arrays = Mapping[str, Array]


def clip_by_norm(grads: Arrays, limit: float) -> tuple[dict[str, Array], Array]:
    """Scale gradients together so that their L2 norm is at most `limit`.

    Returns
    -------
    (gradients, norm)
        The norm before clipping, a scalar Array: nothing is read back here.
    """
    squares = [(g * g).sum() for g in grads.values()]
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    norm = sqrt(total)
    scale = limit / maximum(norm, asarray(np.asarray(limit, norm.dtype), norm.dtype, norm.backend))
    return {k: g * scale for k, g in grads.items()}, norm


class Optimiser(Protocol):
    """What turns gradients into new parameters."""

    def start(self, parameters: Arrays) -> dict[str, Array]:
        """Its state before the first step, under names that do not begin with `p.`."""

    def step(self, parameters: Arrays, grads: Arrays, state: Arrays, rate: float, count: int
             ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update; `count` starts at 1. Returns new parameters and the new state."""


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), bias-corrected."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8

    def start(self, parameters: Arrays) -> dict[str, Array]:
        """Zero moments, keyed `m.NAME` and `v.NAME`."""
        return {f"{kind}.{k}": _constant(0, p.shape, p) for k, p in parameters.items() for kind in "mv"}

    def step(self, parameters: Arrays, grads: Arrays, state: Arrays, rate: float, count: int
             ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update; `count` starts at 1. Returns new parameters and moments."""
        new, after = {}, {}
        for k, p in parameters.items():  # one parameter after the other: its launches fuse
            m, v = self.moments(grads[k], state[f"m.{k}"], state[f"v.{k}"])
            new[k], after[f"m.{k}"], after[f"v.{k}"] = leaf(p - self.change(m, v, rate, count)), m, v
        return new, after

    def moments(self, g: Array, m: Array, v: Array) -> tuple[Array, Array]:
        """Running means of a gradient and of its square."""
        return m * self.beta1 + g * (1 - self.beta1), v * self.beta2 + g * g * (1 - self.beta2)

    def change(self, m: Array, v: Array, rate: float, count: int) -> Array:
        """What `count` steps of moments take off a parameter at this rate."""
        correct1, correct2 = 1 - self.beta1**count, 1 - self.beta2**count
        return m * (rate / correct1) / (sqrt(v * (1 / correct2)) + self.epsilon)


@dataclass(frozen=True)
class Hypergrad:
    """Adam that learns its own rate, and follows geodesics where parameters live in hyperbolic space.

    The rate is the given one times a factor a, which climbs its hypergradient: the slope of the loss along a is
    -g[t] . u[t-1], u the direction of the last step, and a[t] = a[t-1] (1 + beta cos(g[t], u[t-1])), the
    multiplicative rule of Baydin et al. 2018 (arXiv 1703.04782), kept in [1/limit, limit]. Steps that go on in one
    direction grow, steps that turn back shrink.

    A parameter in `ball` holds points of the Poincare ball |c| r^2 < 1, one a row. There a gradient g is seen in the
    orthonormal frame at its point, h = (1 - |c| r^2) g, as the metric 1 / (1 - |c| r^2)^2 wants it (Nickel & Kiela
    2017, arXiv 1705.08039, without their constant 1/4, so that curvature 0 is plain Adam); Adam gives a direction u
    in that frame, and the point moves along the geodesic, p <- p (+) exp_0(-rate u), with Moebius addition (+) and
    the exponential map at the origin of Ganea et al. 2018 (arXiv 1805.09112). Moments keep their coordinates from
    frame to frame: the gyration between two points a step apart is of second order and left out.

    Parameters
    ----------
    beta : float
        Rate of the rate.
    limit : float
        Largest factor.
    ball : mapping of str to float
        Curvature c < 0 by parameter.
    """

    adam: Adam = field(default_factory=Adam)
    beta: float = 0.02
    limit: float = 10.0
    ball: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, c in self.ball.items():
            if not -math.inf < c < 0:
                raise ValueError(f"curvature of {name} is {c}: the Poincare ball needs one below 0")

    def start(self, parameters: Arrays) -> dict[str, Array]:
        """Adam's moments and the factor, keyed `factor`."""
        some = next(iter(parameters.values()))
        return {**self.adam.start(parameters), "factor": _constant(1, (), some)}

    def step(self, parameters: Arrays, grads: Arrays, state: Arrays, rate: float, count: int
             ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update; `count` starts at 1. Returns new parameters and state."""
        seen = {k: _in_frame(g, parameters[k].detach(), self.ball[k]) if k in self.ball else g
                for k, g in grads.items()}
        # the moments before this step still hold the last direction
        last = {k: self.adam.change(state[f"m.{k}"], state[f"v.{k}"], 1.0, max(count - 1, 1)) for k in seen}
        factor = state["factor"] * (_cosine(seen, last) * self.beta + 1.0)
        factor = _least(maximum(factor, _constant(1 / self.limit, (), factor)), self.limit)
        new, after = {}, {"factor": factor}
        for k, g in seen.items():
            p = parameters[k].detach()
            m, v = self.adam.moments(g, state[f"m.{k}"], state[f"v.{k}"])
            change = self.adam.change(m, v, rate, count) * factor
            new[k] = leaf(_along_geodesic(p, -change, self.ball[k]) if k in self.ball else p - change)
            after[f"m.{k}"], after[f"v.{k}"] = m, v
        return new, after


@dataclass(frozen=True)
class Realgrad:
    """Gradient descent with momentum in flat space: m <- momentum m + (1 - momentum) g, p <- p - rate m.

    It takes the gradient's real size, where Adam takes its sign: rates are larger than Adam's by far.
    """

    momentum: float = 0.85

    def start(self, parameters: Arrays) -> dict[str, Array]:
        """Zero means, keyed `m.NAME`."""
        return {f"m.{k}": _constant(0, p.shape, p) for k, p in parameters.items()}

    def step(self, parameters: Arrays, grads: Arrays, state: Arrays, rate: float, count: int
             ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update. Returns new parameters and means."""
        new, after = {}, {}
        for k, p in parameters.items():
            m = after[f"m.{k}"] = state[f"m.{k}"] * self.momentum + grads[k] * (1 - self.momentum)
            new[k] = leaf(p - m * rate)
        return new, after


OPTIMISERS: dict[str, Optimiser] = {"adam": Adam(), "hypergrad": Hypergrad(), "realgrad": Realgrad()}


def _constant(value: float, shape: tuple[int, ...], beside: Array) -> Array:
    """One value everywhere, of the type and on the backend of another array."""
    return asarray(np.full(shape, value, beside.dtype), beside.dtype, beside.backend)


def _least(x: Array, limit: float) -> Array:
    return -maximum(-x, _constant(-limit, (), x))


def _cosine(a: Arrays, b: Arrays) -> Array:
    """Of the angle between two sets of arrays taken as one vector each; 0 where one of them is zero."""
    def dot(x: Arrays, y: Arrays) -> Array:
        first, *rest = [(x[k] * y[k]).sum() for k in x]
        return sum(rest, first)

    # roots before the product: squares of small gradients would vanish in float32
    return dot(a, b) / (sqrt(dot(a, a)) * sqrt(dot(b, b)) + 1e-30)


def _in_frame(g: Array, p: Array, c: float) -> Array:
    """A gradient at points of the ball, in the orthonormal frames there."""
    return g * (1.0 + (p * p).sum(-1, keepdims=True) * c)


def _along_geodesic(p: Array, w: Array, c: float) -> Array:
    """Where points of the ball come to along w, given in the orthonormal frames at them."""
    return project(moebius_add(p, exp_map(w, c), c), c)


SHAPES: dict[str, Callable[[float], float]] = {  # share of the peak, by the share of the run that is done
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "constant": lambda done: 1.0,
}


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run: linear warm-up, then a shape of `SHAPES`: down to zero, or constant.

    Parameters
    ----------
    peak : float
        Largest rate.
    steps, warmup : int
        Length of the run and of the warm-up.
    """

    peak: float
    steps: int
    warmup: int = 20
    shape: str = "linear"

    def rate(self, step: int) -> float:
        """Rate at `step`, counted from 0."""
        done = min(step / max(self.steps, 1), 1.0)
        return self.peak * min(1.0, (step + 1) / max(self.warmup, 1)) * SHAPES[self.shape](done)


