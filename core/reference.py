"""Every primitive in plain float64 NumPy: what the backends are held to. Imports no backend and is imported by none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6
A = NDArray[Any]


def sigmoid(x: A) -> A:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def silu_grad(g: A, x: A) -> A:
    s = sigmoid(x)
    return g * (s + x * s * (1 - s))


def matmul(a: A, b: A, *, ta: Any, tb: Any) -> A:
    return np.matmul(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)


def slice_(x: A, *, start: Any, stop: Any) -> A:
    return x[tuple(slice(i, j) for i, j in zip(start, stop, strict=True))]


def scatter_add(g: A, index: A, *, rows: Any) -> A:
    out = np.zeros((rows, *g.shape[index.ndim :]))
    np.add.at(out, index, g)
    return out


def rms_norm(x: A, w: A) -> A:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * w


def rms_norm_dx(g: A, x: A, w: A) -> A:
    r = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON)
    return r * (g * w - x * r**2 * (g * w * x).mean(-1, keepdims=True))


def rms_norm_dw(g: A, x: A) -> A:
    r = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON)
    return (g * x * r).reshape(-1, x.shape[-1]).sum(0)


def causal_conv(x: A, w: A, tail: A) -> A:
    full, taps = np.concatenate([tail, x], 1), len(w)
    return sum(w[k] * full[:, taps - 1 - k : taps - 1 - k + x.shape[1]] for k in range(taps))


def causal_conv_dx(g: A, w: A) -> A:
    padded = np.concatenate([g, np.zeros((len(g), len(w) - 1, g.shape[2]))], 1)
    return sum(w[k] * padded[:, k : k + g.shape[1]] for k in range(len(w)))


def causal_conv_dw(g: A, x: A, tail: A) -> A:
    full, taps = np.concatenate([tail, x], 1), tail.shape[1] + 1
    return np.stack([(g * full[:, taps - 1 - k : taps - 1 - k + x.shape[1]]).sum((0, 1)) for k in range(taps)])


def causal_conv_dtail(g: A, w: A) -> A:
    padded = np.concatenate([np.zeros((len(g), len(w) - 1, g.shape[2])), g], 1)
    full = np.concatenate([padded, np.zeros((len(g), len(w) - 1, g.shape[2]))], 1)
    return sum(w[k] * full[:, k : k + len(w) - 1] for k in range(len(w)))


def linear_recurrence(a: A, b: A, h0: A, *, reverse: Any) -> A:
    out, h = np.zeros_like(b), h0
    if reverse:
        a, b = np.concatenate([a[:, 1:], 0 * a[:, :1]], 1)[:, ::-1], b[:, ::-1]
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        out[:, t] = h
    return out[:, ::-1] if reverse else out


def cross_entropy(logits: A, targets: A) -> A:
    top = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    return total - np.take_along_axis(logits, targets[..., None], -1)[..., 0]


def cross_entropy_grad(g: A, logits: A, targets: A) -> A:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return g[..., None] * (e / e.sum(-1, keepdims=True) - (np.arange(logits.shape[-1]) == targets[..., None]))


def tap_gradient(g: A, x: A, *, frame: Any, gains: A) -> A:
    T, n, out = g.shape[1], 2 * g.shape[1], g.copy()
    twice = np.where(np.arange(T) == 0, 1, 2)
    double = np.where(np.arange(T + 1) % T == 0, np.sqrt(2), 2)
    for b, H in enumerate(frame.filters(n)):
        ahead, past = np.fft.irfft(H**2, n)[:T] * twice, np.fft.ifft(np.pad(H * double, (0, T - 1)))[:T] * twice
        for t in range(T):
            z = np.tensordot(past[: t + 1], x[:, t::-1], (0, 1))
            weight = np.tensordot(gains[b] - 1, frame.hats(np.angle(z)), 1)
            out[:, t] += weight * np.tensordot(ahead[: T - t], g[:, t:], (0, 1))
    return out * (np.linalg.norm(g) / np.linalg.norm(out)) if g.any() else out


REFERENCE: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "affine": lambda x, *, scale, shift: scale * x + shift,
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh,
    "sigmoid": sigmoid, "silu": lambda x: x * sigmoid(x), "silu_grad": silu_grad,
    "greater": lambda a, b: (a > b).astype(np.float64), "maximum": np.maximum,
    "sum": np.sum, "max": np.max, "matmul": matmul,
    "reshape": lambda x, *, shape: x.reshape(shape), "transpose": lambda x, *, axes: x.transpose(axes),
    "broadcast": lambda x, *, shape: np.broadcast_to(x, shape), "slice": slice_,
    "pad": lambda x, *, before, after: np.pad(x, list(zip(before, after, strict=True))),
    "concat": lambda *xs, axis: np.concatenate(xs, axis),
    "take": lambda table, index: table[index], "scatter_add": scatter_add,
    "rms_norm": rms_norm, "rms_norm_dx": rms_norm_dx, "rms_norm_dw": rms_norm_dw,
    "causal_conv": causal_conv, "causal_conv_dx": causal_conv_dx, "causal_conv_dw": causal_conv_dw,
    "causal_conv_dtail": causal_conv_dtail, "linear_recurrence": linear_recurrence,
    "cross_entropy": cross_entropy, "cross_entropy_grad": cross_entropy_grad,
    "tap": lambda x, **_: x, "tap_gradient": tap_gradient,
}
