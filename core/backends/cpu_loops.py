"""Loops that are the kernel, compiled by Numba (cached on disk, GIL released, one thread each: the pool splits)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from core.backends.cpu_math import exp_of
from core.primitives import EPSILON


@njit(cache=True, nogil=True)
def recurrence(a: Any, b: Any, h0: Any, out: Any) -> None:
    """h[t] = a[t] h[t-1] + b[t]."""
    for n in range(a.shape[0]):
        for c in range(a.shape[2]):
            if a.shape[1]:
                out[n, 0, c] = a[n, 0, c] * h0[n, c] + b[n, 0, c]
        for t in range(1, a.shape[1]):
            for c in range(a.shape[2]):
                out[n, t, c] = a[n, t, c] * out[n, t - 1, c] + b[n, t, c]


@njit(cache=True, nogil=True)
def recurrence_reverse(a: Any, b: Any, h0: Any, out: Any) -> None:
    """s[t] = conj(a[t+1]) s[t+1] + b[t], s[T-1] = b[T-1]: the adjoint of `recurrence`."""
    last = a.shape[1] - 1
    for n in range(a.shape[0]):
        if last >= 0:
            for c in range(a.shape[2]):
                out[n, last, c] = b[n, last, c]
        for t in range(last - 1, -1, -1):
            for c in range(a.shape[2]):
                out[n, t, c] = np.conj(a[n, t + 1, c]) * out[n, t + 1, c] + b[n, t, c]


@njit(cache=True, nogil=True)
def causal_conv(x: Any, tail: Any, w: Any, dilation: int, out: Any) -> None:
    """y[t] = sum_k w[k] x[t - k dilation], with `tail` before x."""
    for n in range(x.shape[0]):
        for t in range(x.shape[1]):
            y, near, tap = out[n, t], x[n, t], w[0]  # a row each: an index that might be below 0 allows no vectors
            for c in range(len(y)):
                y[c] = tap[c] * near[c]
            for k in range(1, w.shape[0]):
                lag, tap = k * dilation, w[k]
                near = x[n, t - lag] if t >= lag else tail[n, tail.shape[1] + t - lag]
                for c in range(len(y)):
                    y[c] += tap[c] * near[c]


@njit(cache=True, nogil=True)
def causal_conv_dx(g: Any, w: Any, dilation: int, out: Any) -> None:
    """dx[t] = sum_k w[k] g[t + k dilation]."""
    for n in range(g.shape[0]):
        for t in range(g.shape[1]):
            dx, near, tap = out[n, t], g[n, t], w[0]
            for c in range(len(dx)):
                dx[c] = tap[c] * near[c]
            for k in range(1, min(w.shape[0], (g.shape[1] - 1 - t) // dilation + 1)):
                near, tap = g[n, t + k * dilation], w[k]
                for c in range(len(dx)):
                    dx[c] += tap[c] * near[c]


@njit(cache=True, nogil=True)
def causal_conv_dw(g: Any, x: Any, tail: Any, dilation: int, out: Any) -> None:
    """dw[k] = sum_t g[t] x[t - k dilation], one partial sum a sequence."""
    for n in range(g.shape[0]):
        for t in range(g.shape[1]):
            here = g[n, t]
            for k in range(out.shape[1]):
                lag, dw = k * dilation, out[n, k]
                near = x[n, t - lag] if t >= lag else tail[n, tail.shape[1] + t - lag]
                for c in range(len(here)):
                    dw[c] += here[c] * near[c]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def sum_rows(x: Any, out: Any) -> None:
    """out[i] = sum over c of x[i, c], parts of 1024 first: their sum in float64 keeps the digits of long rows."""
    for i in range(x.shape[0]):
        total = 0.0
        for start in range(0, x.shape[1], 1024):
            row, part = x[i, start : start + 1024], x.dtype.type(0)
            for c in range(len(row)):  # from 0: an index that might be below it keeps LLVM from vectors
                part += row[c]
            total += part
        out[i] = total


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def rms_norm(x: Any, w: Any, out: Any) -> None:
    """y = x / sqrt(mean(x^2) + eps) * w."""
    for i in range(x.shape[0]):
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            total += x[i, c] * x[i, c]
        r = x.dtype.type(1.0 / math.sqrt(total / x.shape[1] + EPSILON))
        for c in range(x.shape[1]):
            out[i, c] = x[i, c] * r * w[c]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def rms_norm_dx(g: Any, x: Any, w: Any, out: Any) -> None:
    """dx = r (g w - x r^2 mean(g w x))."""
    for i in range(x.shape[0]):
        total = x.dtype.type(0)
        dot = x.dtype.type(0)
        for c in range(x.shape[1]):
            total += x[i, c] * x[i, c]
            dot += g[i, c] * w[c] * x[i, c]
        square = 1.0 / (total / x.shape[1] + EPSILON)
        r = x.dtype.type(math.sqrt(square))
        shrink = x.dtype.type(square * dot / x.shape[1])
        for c in range(x.shape[1]):
            out[i, c] = r * (g[i, c] * w[c] - x[i, c] * shrink)


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def rms_norm_dw(g: Any, x: Any, out: Any) -> None:
    """dw = sum over rows of g x r."""
    for i in range(x.shape[0]):
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            total += x[i, c] * x[i, c]
        r = x.dtype.type(1.0 / math.sqrt(total / x.shape[1] + EPSILON))
        for c in range(x.shape[1]):
            out[c] += g[i, c] * x[i, c] * r


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _moments(row: Any) -> Any:
    """Mean and 1 / sqrt(variance + eps) of a row."""
    mean = row.dtype.type(0)
    for c in range(row.shape[0]):
        mean += row[c]
    mean /= row.shape[0]
    total = row.dtype.type(0)
    for c in range(row.shape[0]):
        total += (row[c] - mean) * (row[c] - mean)
    return mean, row.dtype.type(1.0 / math.sqrt(total / row.shape[0] + EPSILON))


@njit(cache=True, nogil=True)
def layer_norm(x: Any, w: Any, b: Any, out: Any) -> None:
    """y = (x - mean) r w + b, r = 1 / sqrt(variance + eps)."""
    for i in range(x.shape[0]):
        mean, r = _moments(x[i])
        for c in range(x.shape[1]):
            out[i, c] = (x[i, c] - mean) * r * w[c] + b[c]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def layer_norm_dx(g: Any, x: Any, w: Any, out: Any) -> None:
    """dx = r (g w - mean(g w) - z mean(g w z)), z = (x - mean) r."""
    for i in range(x.shape[0]):
        mean, r = _moments(x[i])
        level = x.dtype.type(0)
        dot = x.dtype.type(0)
        for c in range(x.shape[1]):
            level += g[i, c] * w[c]
            dot += g[i, c] * w[c] * (x[i, c] - mean)
        level /= x.shape[1]
        shrink = dot / x.shape[1] * r * r
        for c in range(x.shape[1]):
            out[i, c] = r * (g[i, c] * w[c] - level - (x[i, c] - mean) * shrink)


@njit(cache=True, nogil=True)
def layer_norm_dw(g: Any, x: Any, out: Any) -> None:
    """dw = sum over rows of g z."""
    for i in range(x.shape[0]):
        mean, r = _moments(x[i])
        for c in range(x.shape[1]):
            out[c] += g[i, c] * (x[i, c] - mean) * r


@njit(cache=True, nogil=True)
def scatter_along(rows: Any, index: Any, out: Any) -> None:
    """out[i, index[i, j]] += rows[i, j], j ascending."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            out[i, index[i, j]] += rows[i, j]


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _greatest(row: Any) -> Any:
    """Which of several values wins where there is NaN is open: its own term makes the sum of exponentials NaN."""
    top = row[0]
    for j in range(1, row.shape[0]):
        top = row[j] if row[j] > top else top
    return top


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum_exp(row: Any, top: Any) -> Any:
    total = row.dtype.type(0)
    for j in range(row.shape[0]):
        total += exp_of(row[j] - top)
    return total


@njit(cache=True, nogil=True)
def cross_entropy(logits: Any, targets: Any, out: Any) -> None:
    """log sum exp(logits) - logits[target], in nats; a target outside the vocabulary gives NaN."""
    for i in range(logits.shape[0]):
        if targets[i] < 0 or targets[i] >= logits.shape[1]:
            out[i] = np.nan
            continue
        top = _greatest(logits[i])
        out[i] = math.log(np.float64(_sum_exp(logits[i], top))) + top - logits[i, targets[i]]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _exp_row(row: Any, top: Any, out: Any) -> Any:
    """exp(row - top) into out, and their sum."""
    total = row.dtype.type(0)
    for j in range(row.shape[0]):
        out[j] = exp_of(row[j] - top)
        total += out[j]
    return total


@njit(cache=True, nogil=True)
def cross_entropy_grad(g: Any, logits: Any, targets: Any, out: Any) -> None:
    """g (softmax(logits) - one-hot(target)); a target outside the vocabulary gives NaN."""
    for i in range(logits.shape[0]):
        if targets[i] < 0 or targets[i] >= logits.shape[1]:
            out[i] = np.nan
            continue
        scale = g[i] / _exp_row(logits[i], _greatest(logits[i]), out[i])
        for j in range(logits.shape[1]):
            out[i, j] *= scale
        out[i, targets[i]] -= g[i]


@njit(cache=True, nogil=True)
def scatter_add(rows: Any, index: Any, start: int, stop: int, out: Any) -> None:
    """out[index[i]] += rows[i] in columns start to stop, i ascending."""
    for i in range(rows.shape[0]):
        row, into = rows[i, start:stop], out[index[i], start:stop]
        for c in range(row.shape[0]):
            into[c] += row[c]
