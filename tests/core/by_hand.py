"""The families' formulas in plain NumPy, one character of one sequence after another.

A block is ``f(v, x, i, past)``: its parameters, the activation [D] of this character, its number, and a dictionary in
which it keeps whatever it likes from one character to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Values = dict[str, Vector]
Past = dict[str, Any]


def sigmoid(a: Vector) -> Vector:
    return 1 / (1 + np.exp(-a))


def silu(a: Vector) -> Vector:
    return a * sigmoid(a)


def norm(a: Vector, w: Vector) -> Vector:
    return a / np.sqrt((a * a).mean() + 1e-6) * w


def convolved(past: Past, name: str, a: Vector, w: Vector, dilation: int = 1) -> Vector:
    """sum_k w[k] a[t - k dilation] over all that was ever seen."""
    seen = past.setdefault(name, [])
    seen.append(a)
    return sum((w[k] * seen[-1 - k * dilation] for k in range(len(w)) if k * dilation < len(seen)), np.zeros_like(a))


def rnn(v: Values, x: Vector, i: int, past: Past) -> Vector:
    u = convolved(past, "conv", norm(x, v["norm"]), v["conv"])
    f = sigmoid(u @ v["forget"] + v["forget_bias"])
    past["h"] = (1 - f) * past.get("h", 0) + f * (u @ v["value"])
    return x + (past["h"] * silu(u @ v["gate"])) @ v["out"]


def mixer(v: Values, x: Vector, i: int, past: Past) -> Vector:
    u = convolved(past, "conv", norm(x, v["norm"]), v["conv"])
    values = past.setdefault("values", [])
    values.append(sigmoid(u @ v["enter"]) * (u @ v["value"]))
    d = sigmoid(v["decay"])
    m = sum((1 - d) * d**lag * value for lag, value in enumerate(reversed(values)))
    return x + (m * silu(u @ v["gate"])) @ v["out"]


def conv(v: Values, x: Vector, i: int, past: Past) -> Vector:
    u = convolved(past, "conv", norm(x, v["norm"]), v["conv"])
    c = convolved(past, "long", sigmoid(u @ v["enter"]) * (u @ v["value"]), v["long_conv"], 2 ** (i % 5))
    return x + (c * silu(u @ v["gate"])) @ v["out"]


def wave(v: Values, x: Vector, i: int, past: Past) -> Vector:
    u = convolved(past, "conv", norm(x, v["norm"]), v["conv"])
    z = np.exp(-np.exp(v["damping"]) + 1j * v["angle"])
    new = (u @ v["value"]).reshape(-1, 2) @ [1, 1j]
    past["h"] = z * past.get("h", 0) + (1 - np.abs(z)) * sigmoid(u @ v["enter"]) * new
    h = np.stack([past["h"].real, past["h"].imag], 1).ravel()
    return x + (h * silu(u @ v["gate"])) @ v["out"]


def scan(v: Values, x: Vector, i: int, past: Past) -> Vector:
    u = convolved(past, "conv", norm(x, v["norm"]), v["conv"])
    value = (u @ v["value"]).reshape(8, -1)
    f = sigmoid(u @ v["forget"] + v["forget_bias"]).reshape(8, 4)
    read = (u @ v["read"]).reshape(8, 4)
    h = past.setdefault("h", np.zeros((8, 4, value.shape[1])))
    y = np.zeros_like(value)
    for head in range(8):
        for slot in range(4):
            h[head, slot] += f[head, slot] * (value[head] - h[head, slot])
            y[head] += read[head, slot] * h[head, slot]
    return x + (y.ravel() * silu(u @ v["gate"])) @ v["out"]


BLOCKS: dict[str, Callable[[Values, Vector, int, Past], Vector]] = {
    "rnn": rnn, "mixer": mixer, "conv": conv, "wave": wave, "scan": scan}


def off_the_ball(x: Vector, curvature: float) -> Vector:
    """The log map at the origin of the Poincare ball."""
    r = np.sqrt(-curvature) * np.linalg.norm(x)
    return x * np.arctanh(r) / r


def logits(family: str, v: Values, tokens: NDArray[np.int32], layers: int, curvature: float = 0) -> NDArray[np.float64]:
    """Scores [N,T,V] of a whole model."""
    out = np.zeros((*tokens.shape, v["head"].shape[1]))
    for n, row in enumerate(tokens):
        pasts: list[Past] = [{} for _ in range(layers)]
        for t, token in enumerate(row):
            x = v["embedding"][token]
            x = off_the_ball(x, curvature) if curvature else x
            for i, past in enumerate(pasts):
                own = {k.removeprefix(f"{i}."): a for k, a in v.items() if k.startswith(f"{i}.")}
                x = BLOCKS[family](own, x, i, past)
            out[n, t] = norm(x, v["norm"]) @ v["head"] + v["head_bias"]
    return out
