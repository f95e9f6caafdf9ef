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


def layer_norm(x: A, w: A, b: A) -> A:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * w + b


def layer_norm_dx(g: A, x: A, w: A) -> A:
    centred, gw = x - x.mean(-1, keepdims=True), g * w
    r = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    return r * (gw - gw.mean(-1, keepdims=True) - centred * r**2 * (gw * centred).mean(-1, keepdims=True))


def layer_norm_dw(g: A, x: A) -> A:
    return (g * layer_norm(x, np.ones(x.shape[-1]), np.zeros(x.shape[-1]))).reshape(-1, x.shape[-1]).sum(0)


def causal_conv(x: A, w: A, tail: A, *, dilation: Any) -> A:
    full, reach = np.concatenate([tail, x], 1), tail.shape[1]
    return sum(w[k] * full[:, reach - k * dilation :][:, : x.shape[1]] for k in range(len(w)))


def causal_conv_dx(g: A, w: A, *, dilation: Any) -> A:
    padded = np.concatenate([g, np.zeros((len(g), (len(w) - 1) * dilation, g.shape[2]))], 1)
    return sum(w[k] * padded[:, k * dilation :][:, : g.shape[1]] for k in range(len(w)))


def causal_conv_dw(g: A, x: A, tail: A, *, dilation: Any) -> A:
    full, reach = np.concatenate([tail, x], 1), tail.shape[1]
    lags = range(0, reach + 1, dilation)
    return np.stack([(g * full[:, reach - lag :][:, : x.shape[1]]).sum((0, 1)) for lag in lags])


def causal_conv_dtail(g: A, w: A, *, dilation: Any) -> A:
    beyond = np.zeros((len(g), (len(w) - 1) * dilation, g.shape[2]))
    full = np.concatenate([beyond, g, beyond], 1)
    return sum(w[k] * full[:, k * dilation :][:, : beyond.shape[1]] for k in range(len(w)))


def unfold2d(x: A, *, kernel: Any, stride: Any, padding: Any) -> A:
    (n, _, _, c), (kh, kw), (sh, sw), (ph, pw) = x.shape, kernel, stride, padding
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0))), kernel, (1, 2))
    strided = windows[:, ::sh, ::sw].transpose(0, 1, 2, 4, 5, 3)
    return strided.reshape(n, *strided.shape[1:3], kh * kw * c)


def fold2d(g: A, *, size: Any, kernel: Any, stride: Any, padding: Any) -> A:
    (n, rows, columns, _), (kh, kw), (sh, sw), (ph, pw) = g.shape, kernel, stride, padding
    patches = g.reshape(n, rows, columns, kh, kw, -1)
    out = np.zeros((n, size[0] + 2 * ph, size[1] + 2 * pw, patches.shape[-1]))
    for y, x, i, j in np.ndindex(rows, columns, kh, kw):
        out[:, y * sh + i, x * sw + j] += patches[:, y, x, i, j]
    return out[:, ph : ph + size[0], pw : pw + size[1]]


def linear_recurrence(a: A, b: A, h0: A, *, reverse: Any) -> A:
    out, h = np.zeros_like(b), h0
    if reverse:
        a, b = np.concatenate([np.conj(a[:, 1:]), 0 * a[:, :1]], 1)[:, ::-1], b[:, ::-1]
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        out[:, t] = h
    return out[:, ::-1] if reverse else out


def joined(x: A) -> A:
    return x[..., 0] + 1j * x[..., 1]


def parted(z: A) -> A:
    return np.stack([z.real, z.imag], -1)


def complex_recurrence(a: A, b: A, h0: A, *, reverse: Any) -> A:
    return parted(linear_recurrence(joined(a), joined(b), joined(h0), reverse=reverse))


def complex_mul(a: A, b: A, *, conjugate: Any) -> A:
    return parted(joined(a) * (np.conj(joined(b)) if conjugate else joined(b)))


def scatter_along(g: A, index: A, *, n: Any) -> A:
    out = np.zeros((*g.shape[:-1], n))
    np.add.at(out, (*np.indices(index.shape)[:-1], index), g)
    return out


def random_bits(*, key: Any, stream: Any, step: Any, offset: Any, shape: Any) -> A:
    """Philox4x32-10 in Python integers: Salmon et al. 2011, figure 2."""
    out: list[int] = []
    for i in range(-(-int(np.prod(shape)) // 4)):
        c, k = ((offset + i) % 2**32, step % 2**32, step >> 32, stream), key
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = ((b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32)
            k = ((k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32)
        out += c
    return np.array(out[: int(np.prod(shape))], np.uint32).view(np.int32).reshape(shape)


def random_uniform(*, dtype: Any, **counter: Any) -> A:
    return (random_bits(**counter).view(np.uint32) >> 8) * 2.0**-24


def random_normal(*, shape: Any, dtype: Any, **counter: Any) -> A:
    n = int(np.prod(shape))
    half = -(-n // 2)
    u = (random_bits(shape=(2 * half,), **counter).view(np.uint32) + 0.5) * 2.0**-32
    radius, angle = np.sqrt(-2 * np.log(u[:half])), 2 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n].reshape(shape)


def sheet_weight(re: A, im: A, values: A) -> A:
    S = len(values)
    away = [np.abs((np.arctan2(im, re) - 2 * np.pi * s / S + np.pi) % (2 * np.pi) - np.pi) for s in range(S)]
    return sum(v * np.where(a < 2 * np.pi / S, np.cos(S * a / 4) ** 2, 0) for v, a in zip(values, away, strict=True))


def cross_entropy(logits: A, targets: A) -> A:
    top = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    return total - np.take_along_axis(logits, targets[..., None], -1)[..., 0]


def cross_entropy_grad(g: A, logits: A, targets: A) -> A:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return g[..., None] * (e / e.sum(-1, keepdims=True) - (np.arange(logits.shape[-1]) == targets[..., None]))


REFERENCE: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "affine": lambda x, *, scale, shift: scale * x + shift,
    "exp": np.exp, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "tanh": np.tanh,
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
    "tap": lambda x, **_: x, "sheet_weight": sheet_weight,
    "abs": np.abs, "sin": np.sin, "cos": np.cos, "softplus": lambda x: np.logaddexp(0, x),
    "nonfinite": lambda x: (~np.isfinite(x)).astype(np.float64), "where": lambda c, a, b: np.where(c != 0, a, b),
    "cast": lambda x, *, dtype: x.astype(dtype),
    "argsort": lambda x, *, descending: np.argsort(-x if descending else x, -1, stable=True),
    "take_along": lambda x, index: np.take_along_axis(x, index, -1), "scatter_along": scatter_along,
    "layer_norm": layer_norm, "layer_norm_dx": layer_norm_dx, "layer_norm_dw": layer_norm_dw,
    "unfold2d": unfold2d, "fold2d": fold2d, "complex_recurrence": complex_recurrence, "complex_mul": complex_mul,
    "rfft": lambda x, *, n, axis: parted(np.fft.rfft(x, n, axis)),
    "irfft": lambda x, *, n, axis: np.fft.irfft(joined(x), n, axis),
    "random_bits": random_bits, "random_uniform": random_uniform, "random_normal": random_normal,
}
