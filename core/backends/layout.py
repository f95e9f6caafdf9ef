"""Kernels that only move values, one piece for every column whose arrays speak NumPy.

NumPy hands a call on another library's array to that library (NEP 18), so a CuPy array stays on its device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from core.backends.queue import Launch

A = Any  # an array of the backend


def _slice(backend: Any, launch: Launch, x: A) -> A:
    p = launch.params
    return x[tuple(slice(a, b) for a, b in zip(p["start"], p["stop"], strict=True))]


def _causal_conv_dtail(backend: Any, launch: Launch, g: A, w: A) -> A:
    out = np.zeros_like(g, shape=launch.shape)
    steps, taps = g.shape[1], w.shape[0]
    for j in range(taps - 1):  # tail[j] is x[j - (K-1)]; it reaches y[t] through weight[t + K-1 - j]
        for t in range(min(j + 1, steps)):
            out[:, j] += w[t + taps - 1 - j] * g[:, t]
    return out


LAYOUT: dict[str, Callable[..., A]] = {
    "reshape": lambda backend, launch, x: x.reshape(launch.shape),
    "transpose": lambda backend, launch, x: x.transpose(launch.params["axes"]),
    "broadcast": lambda backend, launch, x: np.broadcast_to(x, launch.shape),
    "slice": _slice,
    "pad": lambda backend, launch, x: np.pad(
        x, list(zip(launch.params["before"], launch.params["after"], strict=True))),
    "concat": lambda backend, launch, *xs: np.concatenate(xs, axis=launch.params["axis"]),
    "take": lambda backend, launch, table, index: table[index],
    "causal_conv_dtail": _causal_conv_dtail,  # a handful of rows at the edge
    "tap": lambda backend, launch, x: x,
}
