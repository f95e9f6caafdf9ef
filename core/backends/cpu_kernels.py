"""The CPU column of the table of primitives.

Elementwise kernels write one block: ``kernel(out, *inputs, **params)``. The others get the backend (for its pool)
and the launch (for shape, dtype and parameters): ``kernel(backend, launch, *inputs) -> ndarray``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from core.backends import cpu_loops as loops
from core.backends import cpu_math
from core.backends.cpu_math import in_float32
from core.backends.cpu_random import RANDOM
from core.backends.layout import LAYOUT

if TYPE_CHECKING:
    from core.backends.cpu import CpuBackend
    from core.backends.queue import Launch

A = NDArray[Any]
SORT_BYTES = 1 << 18  # of a block
SUM_BYTES = 1 << 20  # below, NumPy's sum on one thread is done before a second one would start


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


def _where(out: A, c: A, a: A, b: A) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=c != 0)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": lambda out, x: np.abs(x, out=out),
    "sin": lambda out, x: np.sin(x, out=out),
    "cos": lambda out, x: np.cos(x, out=out),
    "softplus": in_float32(cpu_math.softplus, lambda out, x: np.logaddexp(0, x, out=out)),
    "nonfinite": lambda out, x: np.subtract(1, np.isfinite(x), out=out),
    "where": _where,
    "add": lambda out, a, b: np.add(a, b, out=out),
    "sub": lambda out, a, b: np.subtract(a, b, out=out),
    "mul": lambda out, a, b: np.multiply(a, b, out=out),
    "div": lambda out, a, b: np.divide(a, b, out=out),
    "affine": _affine,
    "exp": in_float32(cpu_math.exp, lambda out, x: np.exp(x, out=out)),
    "log": lambda out, x: np.log(x, out=out),
    "log1p": lambda out, x: np.log1p(x, out=out),
    "sqrt": lambda out, x: np.sqrt(x, out=out),
    "tanh": in_float32(cpu_math.tanh, lambda out, x: np.tanh(x, out=out)),
    "sigmoid": in_float32(cpu_math.sigmoid, _sigmoid),
    "silu": in_float32(cpu_math.silu, _silu),
    "silu_grad": in_float32(cpu_math.silu_grad, _silu_grad),
    "greater": lambda out, a, b: np.greater(a, b, out=out, casting="unsafe"),
    "maximum": lambda out, a, b: np.maximum(a, b, out=out),
}


def _sum(backend: CpuBackend, launch: Launch, x: A) -> A:
    """Sums of rows, of columns or of all, in parts that the shape alone decides, not the number of threads."""
    axis, count = launch.params["axis"], len(launch.params["axis"])
    if x.size and 0 < count < x.ndim and axis == tuple(range(count)):
        flat = np.ascontiguousarray(x).reshape(math.prod(x.shape[:count]), -1)
        group = math.isqrt(len(flat))  # two levels: a plain running sum over thousands of rows would lose digits
        cut = len(flat) - len(flat) % group
        groups = flat[:cut].reshape(-1, group, flat.shape[1])
        parts = np.empty((len(groups), flat.shape[1]), x.dtype)
        backend.map(lambda s: np.add.reduce(groups[s], axis=1, out=parts[s]),
                    backend.chunks(len(groups), x.nbytes >> 4))
        return (parts.sum(axis=0) + flat[cut:].sum(axis=0)).reshape(launch.shape)
    if not count or x.nbytes < SUM_BYTES or axis != tuple(range(x.ndim - count, x.ndim)):
        return np.asarray(np.sum(x, axis=axis, keepdims=launch.params["keepdims"]), launch.dtype)
    if count == x.ndim:
        parts = _sum_rows(backend, np.ascontiguousarray(x).reshape(math.gcd(x.size, 1 << 10), -1))
        return np.asarray(parts.sum()).reshape(launch.shape)
    return _sum_rows(backend, np.ascontiguousarray(x).reshape(math.prod(x.shape[:-count]), -1)).reshape(launch.shape)


def _sum_rows(backend: CpuBackend, x: A) -> A:
    out = np.empty(len(x), x.dtype)
    backend.map(lambda s: loops.sum_rows(x[s], out[s]), backend.chunks(len(x), x.nbytes))
    return out


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


def _over_sequences(loop: Callable[..., None], backend: CpuBackend, launch: Launch, *inputs: A, **options: Any) -> A:
    """Run a loop on chunks of sequences; inputs without a batch axis come as options."""
    out = np.empty(launch.shape, launch.dtype)
    backend.map(lambda s: loop(*(x[s] for x in inputs), *options.values(), out[s]),
                backend.chunks(len(out), inputs[0].nbytes))
    return out


def _causal_conv(backend: CpuBackend, launch: Launch, x: A, w: A, tail: A) -> A:
    return _over_sequences(loops.causal_conv, backend, launch, x, tail, w=w, dilation=launch.params["dilation"])


def _causal_conv_dx(backend: CpuBackend, launch: Launch, g: A, w: A) -> A:
    return _over_sequences(loops.causal_conv_dx, backend, launch, g, w=w, dilation=launch.params["dilation"])


def _causal_conv_dw(backend: CpuBackend, launch: Launch, g: A, x: A, tail: A) -> A:
    parts = np.zeros((g.shape[0], *launch.shape), launch.dtype)
    dilation = launch.params["dilation"]
    backend.map(lambda s: loops.causal_conv_dw(g[s], x[s], tail[s], dilation, parts[s]),
                backend.chunks(g.shape[0], g.nbytes))
    return np.asarray(parts.sum(axis=0))


def _linear_recurrence(backend: CpuBackend, launch: Launch, a: A, b: A, h0: A) -> A:
    loop = loops.recurrence_reverse if launch.params["reverse"] else loops.recurrence
    return _over_sequences(loop, backend, launch, a, b, h0)


def _complex_recurrence(backend: CpuBackend, launch: Launch, a: A, b: A, h0: A) -> A:
    loop: Callable[..., None] = loops.recurrence_reverse if launch.params["reverse"] else loops.recurrence
    out = np.empty(launch.shape, launch.dtype)
    z, inputs = _joined(out), [_joined(x) for x in (a, b, h0)]
    backend.map(lambda s: loop(*(x[s] for x in inputs), z[s]), backend.chunks(len(z), a.nbytes))
    return out


def _complex_mul(backend: CpuBackend, launch: Launch, a: A, b: A) -> A:
    right = np.conj(_joined(b)) if launch.params["conjugate"] else _joined(b)
    return _parted(np.asarray(_joined(a) * right))


def _rfft(backend: CpuBackend, launch: Launch, x: A) -> A:
    p = launch.params
    if not x.size:
        return np.empty(launch.shape, launch.dtype)
    return _parted(scipy.fft.rfft(x, p["n"], p["axis"], workers=backend.threads))


def _irfft(backend: CpuBackend, launch: Launch, x: A) -> A:
    p = launch.params
    if not x.size:
        return np.empty(launch.shape, launch.dtype)
    return np.asarray(scipy.fft.irfft(_joined(x), p["n"], p["axis"], workers=backend.threads))


def _joined(x: A) -> A:
    """[..., 2] as complex numbers, without a copy where the parts lie side by side."""
    return np.ascontiguousarray(x).view(np.result_type(x.dtype, np.complex64))[..., 0]


def _parted(z: A) -> A:
    """Complex numbers as [..., 2]."""
    return np.ascontiguousarray(z).reshape(*z.shape, 1).view(z.real.dtype)


def _sheet_weight(backend: CpuBackend, launch: Launch, re: A, im: A, values: A) -> A:
    """Between two neighbouring centres the hats are cos^2 and sin^2 of the way from one to the other."""
    out, step = np.empty(launch.shape, launch.dtype), np.roll(values, -1) - values
    rows, flat_re, flat_im = out.reshape(-1), re.reshape(-1), im.reshape(-1)

    def work(s: slice) -> None:
        place = np.arctan2(flat_im[s], flat_re[s]) * values.dtype.type(len(values) / (2 * math.pi))
        low = np.floor(place)
        rising = np.sin((place - low) * values.dtype.type(math.pi / 2)) ** 2
        at = low.astype(np.int32) % len(values)
        rows[s] = values[at] + step[at] * rising

    backend.map(work, backend.chunks(len(rows), out.nbytes))
    return out


def _norm(loop: Callable[..., None], count: int) -> Callable[..., A]:
    """A kernel that runs a loop on rows: `count` inputs have rows, the others one value a channel."""
    def kernel(backend: CpuBackend, launch: Launch, *inputs: A) -> A:
        out = np.empty(launch.shape, launch.dtype)
        rows, flat, rest = _flat(out), [_flat(x) for x in inputs[:count]], inputs[count:]
        backend.map(lambda s: loop(*(x[s] for x in flat), *rest, rows[s]), backend.chunks(len(rows), out.nbytes))
        return out

    return kernel


def _norm_dw(loop: Callable[..., None]) -> Callable[..., A]:
    """A kernel that sums rows in groups that the shape alone decides, not the number of threads."""
    def kernel(backend: CpuBackend, launch: Launch, g: A, x: A) -> A:
        flat_g, flat_x = _flat(g), _flat(x)
        groups = [slice(i, i + 256) for i in range(0, len(flat_x), 256)]
        parts = np.zeros((len(groups), x.shape[-1]), launch.dtype)
        backend.map(lambda i: loop(flat_g[groups[i]], flat_x[groups[i]], parts[i]), range(len(groups)))
        return np.asarray(parts.sum(axis=0))

    return kernel


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
    """Rows are added in the order of the index, so the sum repeats; threads share the columns."""
    out = np.zeros(launch.shape, launch.dtype)
    rows, flat, table = g.reshape(index.size, -1), index.reshape(-1), out.reshape(len(out), -1)
    backend.map(lambda s: loops.scatter_add(rows, flat, s.start, s.stop, table),
                backend.chunks(table.shape[1], g.nbytes >> 2))
    return out


def _take_along(backend: CpuBackend, launch: Launch, x: A, index: A) -> A:
    return np.take_along_axis(x, index, -1)


def _scatter_along(backend: CpuBackend, launch: Launch, g: A, index: A) -> A:
    out = np.zeros(launch.shape, launch.dtype)
    loops.scatter_along(_flat(g), _flat(index), _flat(out))
    return out


def _argsort(backend: CpuBackend, launch: Launch, x: A) -> A:
    out = np.empty(launch.shape, np.int32)
    if not x.size:
        return out
    rows, flat, descending = _flat(x), out.reshape(-1, x.shape[-1]), launch.params["descending"]

    def work(i: int) -> None:
        part = -rows[i : i + size] if descending else rows[i : i + size]
        flat[i : i + size] = _order32(part) if part.dtype == np.float32 else np.argsort(part, stable=True)

    size = max(1, SORT_BYTES // max(1, rows[0].nbytes))
    backend.map(work, range(0, len(rows), size))
    return out


def _order32(x: A) -> A:
    """Sorts value and place as one integer: faster than a stable argsort, and equal values keep their order."""
    bits = (x + np.float32(0)).view(np.int32)  # -0 equals 0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # the order of floats is now that of integers
    bits[np.isnan(x)] = 0x7FFFFFFF  # last, whatever its sign
    keys = bits.astype(np.int64) << 32 | np.arange(x.shape[-1])
    keys.sort()
    return keys.astype(np.int32)


def _unfold2d(backend: CpuBackend, launch: Launch, x: A) -> A:
    p = launch.params
    (sh, sw), (ph, pw) = p["stride"], p["padding"]
    padded = np.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, p["kernel"], (1, 2))[:, ::sh, ::sw]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(launch.shape)


def _flat(x: A) -> A:
    """Rows of the last axis, contiguous."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


KERNELS: dict[str, Callable[..., A]] = {
    **LAYOUT,
    **RANDOM,
    "cast": lambda backend, launch, x: x.astype(launch.dtype),
    "sum": _sum,
    "max": _max,
    "matmul": _matmul,
    "scatter_add": _scatter_add,
    "argsort": _argsort,
    "take_along": _take_along,
    "scatter_along": _scatter_along,
    "rms_norm": _norm(loops.rms_norm, 1),
    "rms_norm_dx": _norm(loops.rms_norm_dx, 2),
    "rms_norm_dw": _norm_dw(loops.rms_norm_dw),
    "layer_norm": _norm(loops.layer_norm, 1),
    "layer_norm_dx": _norm(loops.layer_norm_dx, 2),
    "layer_norm_dw": _norm_dw(loops.layer_norm_dw),
    "causal_conv": _causal_conv,
    "causal_conv_dx": _causal_conv_dx,
    "causal_conv_dw": _causal_conv_dw,
    "unfold2d": _unfold2d,
    "linear_recurrence": _linear_recurrence,
    "complex_recurrence": _complex_recurrence,
    "complex_mul": _complex_mul,
    "rfft": _rfft,
    "irfft": _irfft,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "sheet_weight": _sheet_weight,
}
