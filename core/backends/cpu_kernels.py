"""The CPU column of the table of primitives.

Elementwise kernels write one block: ``kernel(out, *inputs, **params)``. The others get the backend (for its pool)
and the launch (for shape, dtype and parameters): ``kernel(backend, launch, *inputs) -> ndarray``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.backends import cpu_loops as loops
from core.backends.layout import LAYOUT
from core.steer import tap_gradient, tap_kernels

if TYPE_CHECKING:
    from core.backends.cpu import CpuBackend
    from core.backends.queue import Launch

A = NDArray[Any]


def _affine(out: A, x: A, *, scale: float, shift: float) -> None:
    np.multiply(x, scale, out=out)
    if shift:
        np.add(out, shift, out=out)


def _sigmoid(out: A, x: A) -> None:
    np.multiply(x, 0.5, out=out)  # 1/2 + tanh(x/2)/2 never overflows
    np.tanh(out, out=out)
    np.multiply(out, 0.5, out=out)
    np.add(out, 0.5, out=out)


def _silu(out: A, x: A) -> None:
    s = np.empty_like(out)
    _sigmoid(s, x)
    np.multiply(s, x, out=out)


def _silu_grad(out: A, g: A, x: A) -> None:
    s = np.empty_like(out)
    _sigmoid(s, x)
    np.subtract(1.0, s, out=out)  # s + x s (1 - s)
    np.multiply(out, x, out=out)
    np.add(out, 1.0, out=out)
    np.multiply(out, s, out=out)
    np.multiply(out, g, out=out)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": lambda out, a, b: np.add(a, b, out=out),
    "sub": lambda out, a, b: np.subtract(a, b, out=out),
    "mul": lambda out, a, b: np.multiply(a, b, out=out),
    "div": lambda out, a, b: np.divide(a, b, out=out),
    "affine": _affine,
    "exp": lambda out, x: np.exp(x, out=out),
    "log": lambda out, x: np.log(x, out=out),
    "sqrt": lambda out, x: np.sqrt(x, out=out),
    "tanh": lambda out, x: np.tanh(x, out=out),
    "sigmoid": _sigmoid,
    "silu": _silu,
    "silu_grad": _silu_grad,
    "greater": lambda out, a, b: np.greater(a, b, out=out, casting="unsafe"),
    "maximum": lambda out, a, b: np.maximum(a, b, out=out),
}


def _sum(backend: CpuBackend, launch: Launch, x: A) -> A:
    """Two-level sum: a plain running sum over thousands of float32 rows would lose digits."""
    axis = launch.params["axis"]
    if axis == tuple(range(len(axis))) and x.ndim > len(axis) and x.size:
        rows, tail = math.prod(x.shape[: len(axis)]), x.shape[len(axis) :]
        group = math.isqrt(rows) or 1
        flat = np.ascontiguousarray(x).reshape(rows, -1)
        cut = rows - rows % group
        out = flat[:cut].reshape(-1, group, flat.shape[1]).sum(axis=1).sum(axis=0) + flat[cut:].sum(axis=0)
        return np.asarray(out, launch.dtype).reshape(launch.shape if launch.params["keepdims"] else tail)
    return np.asarray(np.sum(x, axis=axis, keepdims=launch.params["keepdims"]), launch.dtype)


def _max(backend: CpuBackend, launch: Launch, x: A) -> A:
    return np.asarray(np.max(x, axis=launch.params["axis"], keepdims=launch.params["keepdims"]))


def _matmul(backend: CpuBackend, launch: Launch, a: A, b: A) -> A:
    """Split over rows of the result; each element keeps its one BLAS summation order."""
    out = np.empty(launch.shape, launch.dtype)
    if a.ndim > 2 and b.ndim == 2 and not launch.params["ta"]:
        a, target = np.ascontiguousarray(a).reshape(-1, a.shape[-1]), out.reshape(-1, out.shape[-1])
    else:
        target = out
    left = a.swapaxes(-1, -2) if launch.params["ta"] else a
    right = b.swapaxes(-1, -2) if launch.params["tb"] else b
    if target.ndim > 2:
        np.matmul(left, right, out=target)
        return out
    work = left.shape[0] * left.shape[1] * right.shape[1]
    backend.map(lambda s: np.matmul(left[s], right, out=target[s]), backend.chunks(target.shape[0], work))
    return out


def _causal_conv(backend: CpuBackend, launch: Launch, x: A, w: A, tail: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    backend.map(lambda s: loops.causal_conv(x[s], w, tail[s], out[s]), backend.chunks(x.shape[0], x.nbytes))
    return out


def _causal_conv_dx(backend: CpuBackend, launch: Launch, g: A, w: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    backend.map(lambda s: loops.causal_conv_dx(g[s], w, out[s]), backend.chunks(g.shape[0], g.nbytes))
    return out


def _causal_conv_dw(backend: CpuBackend, launch: Launch, g: A, x: A, tail: A) -> A:
    parts = np.zeros((g.shape[0], *launch.shape), launch.dtype)
    backend.map(lambda s: loops.causal_conv_dw(g[s], x[s], tail[s], parts[s]), backend.chunks(g.shape[0], g.nbytes))
    return np.asarray(parts.sum(axis=0))


def _linear_recurrence(backend: CpuBackend, launch: Launch, a: A, b: A, h0: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    loop = loops.recurrence_reverse if launch.params["reverse"] else loops.recurrence
    backend.map(lambda s: loop(a[s], b[s], h0[s], out[s]), backend.chunks(a.shape[0], a.nbytes))
    return out


def _rms_norm(backend: CpuBackend, launch: Launch, x: A, w: A) -> A:
    flat, out = _flat(x), np.empty(launch.shape, launch.dtype)
    rows = _flat(out)
    backend.map(lambda s: loops.rms_norm(flat[s], w, rows[s]), backend.chunks(len(flat), x.nbytes))
    return out


def _rms_norm_dx(backend: CpuBackend, launch: Launch, g: A, x: A, w: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    rows, flat_g, flat_x = _flat(out), _flat(g), _flat(x)
    backend.map(lambda s: loops.rms_norm_dx(flat_g[s], flat_x[s], w, rows[s]), backend.chunks(len(rows), x.nbytes))
    return out


def _rms_norm_dw(backend: CpuBackend, launch: Launch, g: A, x: A) -> A:
    flat_g, flat_x = _flat(g), _flat(x)
    groups = [slice(i, i + 256) for i in range(0, len(flat_x), 256)]  # not a chunk a thread: fixed by the shape
    parts = np.zeros((len(groups), x.shape[-1]), launch.dtype)
    backend.map(lambda i: loops.rms_norm_dw(flat_g[groups[i]], flat_x[groups[i]], parts[i]), range(len(groups)))
    return np.asarray(parts.sum(axis=0))


def _cross_entropy(backend: CpuBackend, launch: Launch, logits: A, targets: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    rows, flat, index = out.reshape(-1), _flat(logits), targets.reshape(-1)
    backend.map(lambda s: loops.cross_entropy(flat[s], index[s], rows[s]), backend.chunks(len(flat), logits.nbytes))
    return out


def _cross_entropy_grad(backend: CpuBackend, launch: Launch, g: A, logits: A, targets: A) -> A:
    out = np.empty(launch.shape, launch.dtype)
    rows, flat, index, flat_g = _flat(out), _flat(logits), targets.reshape(-1), np.ascontiguousarray(g).reshape(-1)
    backend.map(lambda s: loops.cross_entropy_grad(flat_g[s], flat[s], index[s], rows[s]),
                backend.chunks(len(flat), logits.nbytes))
    return out


def _scatter_add(backend: CpuBackend, launch: Launch, g: A, index: A) -> A:
    """Rows are added in the order of the index, so the sum repeats."""
    out = np.zeros(launch.shape, launch.dtype)
    loops.scatter_add(g.reshape(index.size, -1), index.reshape(-1), out.reshape(len(out), -1))
    return out


def _tap_gradient(backend: CpuBackend, launch: Launch, g: A, activation: A) -> A:
    frame = launch.params["frame"]
    key = ("tap", frame.signature(), g.shape[1], g.dtype.str)
    if key not in backend.kernels:
        backend.kernels[key] = tap_kernels(frame.filters, g.shape[1], g.dtype)
    return tap_gradient(g, activation, backend.kernels[key], launch.params["gains"], workers=backend.threads)


def _flat(x: A) -> A:
    """Rows of the last axis, contiguous."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


KERNELS: dict[str, Callable[..., A]] = {
    **LAYOUT,
    "sum": _sum,
    "max": _max,
    "matmul": _matmul,
    "scatter_add": _scatter_add,
    "rms_norm": _rms_norm,
    "rms_norm_dx": _rms_norm_dx,
    "rms_norm_dw": _rms_norm_dw,
    "causal_conv": _causal_conv,
    "causal_conv_dx": _causal_conv_dx,
    "causal_conv_dw": _causal_conv_dw,
    "linear_recurrence": _linear_recurrence,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "tap_gradient": _tap_gradient,
}
