"""Adam, gradient clipping by global norm, and learning-rate schedules, on primitives: they run on any backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.array import Array, asarray, leaf
from core.functions import maximum, sqrt


def clip_by_norm(grads: Mapping[str, Array], limit: float) -> tuple[dict[str, Array], Array]:
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


def decayed(parameters: Mapping[str, Array], by: float) -> dict[str, Array]:
    """Every matrix a share smaller: decoupled weight decay, taken before a step (Loshchilov & Hutter 2019)."""
    return {k: p * (1 - by) if p.ndim == 2 else p for k, p in parameters.items()}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), bias-corrected."""

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8

    def start(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """Zero moments, keyed `m.NAME` and `v.NAME`."""
        return {f"{kind}.{k}": asarray(np.zeros(p.shape, p.dtype), p.dtype, p.backend)
                for k, p in parameters.items() for kind in "mv"}

    def step(self, parameters: Mapping[str, Array], grads: Mapping[str, Array], moments: Mapping[str, Array],
             rate: float, count: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """One update; `count` starts at 1. Returns new parameters and moments."""
        correct1, correct2 = 1 - self.beta1**count, 1 - self.beta2**count
        new, after = {}, {}
        for k, p in parameters.items():
            g = grads[k]
            m = moments[f"m.{k}"] * self.beta1 + g * (1 - self.beta1)
            v = moments[f"v.{k}"] * self.beta2 + g * g * (1 - self.beta2)
            change = m * (rate / correct1) / (sqrt(v * (1 / correct2)) + self.epsilon)
            new[k], after[f"m.{k}"], after[f"v.{k}"] = (p - change).detach(), m.detach(), v.detach()
        return {k: leaf(p) for k, p in new.items()}, after


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a run: linear warm-up, then constant, linear or cosine down to zero.

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
    shape: Literal["constant", "linear", "cosine"] = "linear"

    def rate(self, step: int) -> float:
        """Rate at `step`, counted from 0."""
        done = min(step / max(self.steps, 1), 1.0)
        down = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[self.shape]
        return self.peak * min(1.0, (step + 1) / max(self.warmup, 1)) * down


