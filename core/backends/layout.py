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
    """tail[j] is x[j - reach]: it meets w[k] in y[t] for t = j - reach + k dilation >= 0."""
    out, reach = np.zeros_like(g, shape=launch.shape), launch.shape[1]
    for k in range(1, len(w)):
        lag = k * launch.params["dilation"]
        part = g[:, :lag]
        out[:, reach - lag : reach - lag + part.shape[1]] += w[k] * part
    return out


def _fold2d(backend: Any, launch: Launch, g: A) -> A:
    p = launch.params
    (n, rows, columns, _), (kh, kw), (sh, sw), (ph, pw) = g.shape, p["kernel"], p["stride"], p["padding"]
    height, width = p["size"]
    patches = g.reshape(n, rows, columns, kh, kw, -1)
    out = np.zeros_like(g, shape=(n, height + 2 * ph, width + 2 * pw, launch.shape[3]))
    for i, j in np.ndindex(kh, kw):
        out[:, i : i + rows * sh : sh, j : j + columns * sw : sw] += patches[:, :, :, i, j]
    return out[:, ph : ph + height, pw : pw + width]


LAYOUT: dict[str, Callable[..., A]] = {
    "reshape": lambda backend, launch, x: x.reshape(launch.shape),
    "transpose": lambda backend, launch, x: x.transpose(launch.params["axes"]),
    "broadcast": lambda backend, launch, x: np.broadcast_to(x, launch.shape),
    "slice": _slice,
    "pad": lambda backend, launch, x: np.pad(
        x, list(zip(launch.params["before"], launch.params["after"], strict=True))),
    "concat": lambda backend, launch, *xs: np.concatenate(xs, axis=launch.params["axis"]),
    "take": lambda backend, launch, table, index: table[index],
    "fold2d": _fold2d,
    "causal_conv_dtail": _causal_conv_dtail,  # a handful of rows at the edge
    "tap": lambda backend, launch, x: x,
}
