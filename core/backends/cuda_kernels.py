"""The CUDA column of the table of primitives.

Elementwise kernels are CUDA expressions, which `core.backends.cuda` fuses: {0}, {1}, ... are the inputs, then the
parameters, {T} the type. The others are ``kernel(backend, launch, *inputs) -> array``: CuPy, cuBLAS and cuFFT, and CUDA
of our own (`core/kernels/*.cu`) where one loop is the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import cupy as cp
import numpy as np
from cupy.cuda import cublas
from cupyx.scipy import fft

from core.backends.cuda_launch import BLOCK, A, each, ints, over_rows, run_kernel, source
from core.backends.layout import LAYOUT

if TYPE_CHECKING:
    from core.backends.cuda import CudaBackend
    from core.backends.queue import Launch

Kernel = Callable[..., A]
LONG_ROW = 1024  # above this a block, not a warp, sums a row
PART = 16384  # values a block sums of a long row
GROUP = 512  # rows a block sums of a column, at least
RUN = 8  # steps of a sequence that a thread convolves
TILES = ((32, 8), (32, 16), (16, 16), (16, 32), (8, 32), (8, 64))  # of a recurrence: channels, groups of 8 steps
STRETCH = 64  # steps of a sequence that a block sums for the weights' gradient

EXPRESSIONS: dict[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "affine": "{0} * {1} + {2}",
    "abs": "abs({0})",
    "exp": "exp({0})",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "sqrt": "sqrt({0})",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "tanh": "tanh({0})",
    "sigmoid": "({T})0.5 * tanh({0} * ({T})0.5) + ({T})0.5",  # never overflows
    "softplus": "({0} > 0 ? {0} : 0) + log1p(exp(-abs({0}))) + ({0} != {0} ? {0} : 0)",
    "silu": "{0} * (({T})0.5 * tanh({0} * ({T})0.5) + ({T})0.5)",
    "silu_grad": "{0} * (({T})0.5 * tanh({1} * ({T})0.5) + ({T})0.5)"
                 " * (1 + {1} * (({T})0.5 - ({T})0.5 * tanh({1} * ({T})0.5)))",
    "greater": "({T})({0} > {1})",
    "nonfinite": "({T})!isfinite({0})",
    "where": "{0} != 0 ? {1} : {2}",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",  # NaN wins, as in NumPy
}


# --- sums ------------------------------------------------------------------------------------------------------------


def _sum(backend: CudaBackend, launch: Launch, x: A) -> A:
    """A block of neighbouring axes is summed as the rows or the columns of a contiguous array."""
    axis = launch.params["axis"]
    if not x.size:
        return cp.zeros(launch.shape, launch.dtype)
    if not axis:
        return x.reshape(launch.shape)
    if axis != tuple(range(axis[0], axis[0] + len(axis))):
        x = x.transpose(*(i for i in range(x.ndim) if i not in axis), *axis)
        axis = tuple(range(x.ndim - len(axis), x.ndim))
    outer, inner = math.prod(x.shape[: axis[0]]), math.prod(x.shape[axis[-1] + 1 :])
    flat = cp.ascontiguousarray(x).reshape(outer, -1, inner)
    summed = _sum_rows(flat[:, :, 0]) if inner == 1 else _sum_columns(flat)
    return summed.reshape(launch.shape)


def _sum_rows(x: A) -> A:
    """[rows, length] -> [rows]."""
    rows, length = x.shape
    if length <= LONG_ROW and rows < 1 << 33:
        return over_rows("sum_short_rows", (rows,), x.dtype, rows, length, x)
    while True:
        parts = -(-length // PART)
        out = cp.empty((rows, parts), x.dtype)
        for first in range(0, rows, 65535):  # blocks of the second dimension
            some = x[first : first + 65535]
            run_kernel("rows", "sum_rows", x.dtype, (parts, len(some)), (BLOCK,), out[first : first + len(some)], some,
                       after=(np.int64(length), *ints(PART, parts)), PER=0)
        if parts == 1:
            return out[:, 0]
        x, length = out, parts


def _sum_columns(x: A) -> A:
    """[outer, rows, C] -> [outer, C]."""
    outer, rows, C = x.shape
    if outer > 65535:
        return x.sum(1)
    while True:
        width = _group(rows)
        parts = -(-rows // width)
        out = run_kernel("rows", "sum_columns", x.dtype, (-(-C // 32), parts, outer), (32, 8),
                         cp.empty((outer, parts, C), x.dtype), x, after=ints(rows, C, width), PER=0)
        if parts == 1:
            return out[:, 0]
        x, rows = out, parts


def _group(rows: int) -> int:
    """Rows a block sums: enough blocks to fill a device, by the shape alone."""
    return max(GROUP, -(-rows // 65535)) if rows > 2 * GROUP else max(rows, 1)


# --- products, order, gathers ----------------------------------------------------------------------------------------


def _matmul(backend: CudaBackend, launch: Launch, a: A, b: A) -> A:
    ta, tb = launch.params["ta"], launch.params["tb"]
    if not (a.size and b.size):
        return cp.zeros(launch.shape, launch.dtype)
    if b.ndim == 2 and not ta:  # one product of matrices instead of many
        return _gemm(a, b, ta, tb, launch, 1, a.size // a.shape[-1])
    if len(launch.shape) > 3:  # no single stride leads through several broadcast axes
        return (a.swapaxes(-1, -2) if ta else a) @ (b.swapaxes(-1, -2) if tb else b)
    return _gemm(a, b, ta, tb, launch, math.prod(launch.shape[:-2]), launch.shape[-2])


def _gemm(a: A, b: A, ta: bool, tb: bool, launch: Launch, count: int, m: int) -> A:
    """So many products [m, k] [k, n] by cuBLAS, transposed in place; one matrix may serve them all.

    cuBLAS counts columns first, so it is asked for the transposed product of the operands in reverse. CuPy's own `@`
    takes the host longer than these products take the device.
    """
    n, k = launch.shape[-1], b.shape[-1 if tb else -2]
    a, b = cp.ascontiguousarray(a), cp.ascontiguousarray(b)
    out = cp.empty(launch.shape, launch.dtype)
    one, none, gemm, batched = _blas(launch.dtype)
    start = cp.cuda.device.get_cublas_handle(), int(tb), int(ta), n, m, k, one.ctypes.data, b.data.ptr, b.shape[-1]
    if count == 1:
        gemm(*start, a.data.ptr, a.shape[-1], none.ctypes.data, out.data.ptr, n)
    else:
        stride_a, stride_b = (0 if x.ndim == 2 or len(x) == 1 else x.size // len(x) for x in (a, b))
        batched(*start, stride_b, a.data.ptr, a.shape[-1], stride_a, none.ctypes.data, out.data.ptr, n, m * n, count)
    return out


@cache
def _blas(dtype: np.dtype[Any]) -> tuple[Any, Any, Any, Any]:
    """The numbers 1 and 0 in memory, and cuBLAS's product of a type, single and batched."""
    single = dtype == np.float32
    return (np.ones((), dtype), np.zeros((), dtype), cublas.sgemm if single else cublas.dgemm,
            cublas.sgemmStridedBatched if single else cublas.dgemmStridedBatched)


def _argsort(backend: CudaBackend, launch: Launch, x: A) -> A:
    if not x.size:
        return cp.empty(launch.shape, launch.dtype)
    return cp.argsort(-x if launch.params["descending"] else x, axis=-1, kind="stable").astype(launch.dtype)


def _scatter_add(backend: CudaBackend, launch: Launch, g: A, index: A) -> A:
    rows, width = launch.shape[0], math.prod(launch.shape[1:])
    out = cp.empty((rows, width), launch.dtype)
    for first in range(0, rows, 65535):  # blocks of the second dimension
        some = out[first : first + 65535]
        run_kernel("signal", "scatter_add", launch.dtype, (-(-width // 32), len(some)), (32, 8), some, g, index,
                   after=ints(index.size, width, first))
    return out.reshape(launch.shape)


def _scatter_along(backend: CudaBackend, launch: Launch, g: A, index: A) -> A:
    k, n = g.shape[-1], launch.shape[-1]
    rows = math.prod(launch.shape[:-1])
    return each("scatter_along", launch, rows * n, g, index, after=(np.int64(rows), *ints(k, n)))


def _unfold2d(backend: CudaBackend, launch: Launch, x: A) -> A:
    p = launch.params
    (kh, kw), (sh, sw), (ph, pw) = p["kernel"], p["stride"], p["padding"]
    full = cp.ascontiguousarray(cp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0))))
    n, rows, columns, _ = launch.shape
    s = full.strides
    shape, strides = (n, rows, columns, kh, kw, x.shape[3]), (s[0], s[1] * sh, s[2] * sw, s[1], s[2], s[3])
    return cp.lib.stride_tricks.as_strided(full, shape, strides).reshape(launch.shape)


# --- norms, cross-entropy --------------------------------------------------------------------------------------------


def _norm(centred: bool) -> Kernel:
    def kernel(backend: CudaBackend, launch: Launch, x: A, w: A, *bias: A) -> A:
        C = x.shape[-1]
        return over_rows("row_norm", launch.shape, launch.dtype, x.size // max(C, 1), C, x, w, *(bias or (w,)),
                         after=ints(centred))

    return kernel


def _norm_dx(centred: bool) -> Kernel:
    def kernel(backend: CudaBackend, launch: Launch, g: A, x: A, w: A) -> A:
        C = x.shape[-1]
        return over_rows("row_norm_dx", launch.shape, launch.dtype, x.size // max(C, 1), C, g, x, w,
                         after=ints(centred))

    return kernel


def _norm_dw(centred: bool) -> Kernel:
    def kernel(backend: CudaBackend, launch: Launch, g: A, x: A) -> A:
        C, rows = x.shape[-1], x.size // max(x.shape[-1], 1)
        if not rows:
            return cp.zeros(launch.shape, launch.dtype)
        moments = over_rows("row_moments", (rows, 2), launch.dtype, rows, C, x, after=ints(centred))
        width = _group(rows)
        parts = -(-rows // width)
        out = run_kernel("rows", "row_norm_dw", launch.dtype, (-(-C // 32), parts, 1), (32, 8),
                         cp.empty((1, parts, C), launch.dtype), g, x, moments, after=ints(rows, C, width), PER=0)
        return _sum_columns(out)[0]

    return kernel


def _cross_entropy(backend: CudaBackend, launch: Launch, x: A, targets: A) -> A:
    return over_rows("cross_entropy", launch.shape, launch.dtype, targets.size, x.shape[-1], x, targets)


def _cross_entropy_grad(backend: CudaBackend, launch: Launch, g: A, x: A, targets: A) -> A:
    return over_rows("cross_entropy_grad", launch.shape, launch.dtype, targets.size, x.shape[-1], g, x, targets)


# --- signals ---------------------------------------------------------------------------------------------------------


def _conv(name: str, launch: Launch, x: A, taps: int, blocks: int, out: A, *rest: A) -> A:
    """A kernel over the steps of sequences, so many blocks a sequence."""
    n, steps, C = x.shape
    return run_kernel("conv", name, launch.dtype, (-(-C // 32) * n, blocks), (32, 8), out, x, *rest,
                      after=ints(steps, C, launch.params["dilation"]), TAPS=taps, RUN=RUN, STRETCH=STRETCH)


def _spaced(name: str, launch: Launch, x: A, w: A, *rest: A) -> A:
    """A thread a run of steps that lie `dilation` apart."""
    dilation = launch.params["dilation"]
    threads = -(-x.shape[1] // (RUN * dilation)) * dilation
    return _conv(name, launch, x, len(w), -(-threads // 8), cp.empty(launch.shape, launch.dtype), w, *rest)


def _causal_conv(backend: CudaBackend, launch: Launch, x: A, w: A, tail: A) -> A:
    return _spaced("causal_conv", launch, x, w, tail)


def _causal_conv_dx(backend: CudaBackend, launch: Launch, g: A, w: A) -> A:
    return _spaced("causal_conv_dx", launch, g, w)


def _causal_conv_dw(backend: CudaBackend, launch: Launch, g: A, x: A, tail: A) -> A:
    (n, steps, C), taps = x.shape, launch.shape[0]
    if not x.size:
        return cp.zeros(launch.shape, launch.dtype)
    parts = -(-steps // STRETCH)
    out = cp.empty((1, n * parts, taps * C), launch.dtype)
    return _sum_columns(_conv("causal_conv_dw", launch, g, taps, parts, out, x, tail)).reshape(launch.shape)


def _recurrence(complex_numbers: bool) -> Kernel:
    def kernel(backend: CudaBackend, launch: Launch, a: A, b: A, h0: A) -> A:
        n, steps, C = a.shape[:3]
        out = cp.empty(launch.shape, launch.dtype)
        given = [cp.ascontiguousarray(x) for x in (a, b, h0)]

        def run(tile: tuple[int, int]) -> A:
            lanes, groups = tile
            blocks = (-(-C // lanes) * n,) if steps else (0,)
            return run_kernel("recurrence", "recurrence", launch.dtype, blocks, tile, out, *given,
                              after=ints(steps, C), COMPLEX=int(complex_numbers),
                              REVERSE=int(launch.params["reverse"]), LANES=lanes, GROUPS=groups)

        return run(backend.fastest(launch, source("recurrence"), TILES, run))

    return kernel


def _joined(x: A) -> A:
    """[..., 2] as complex numbers."""
    return cp.ascontiguousarray(x).view(np.result_type(x.dtype, np.complex64))[..., 0]


def _parted(z: A, dtype: Any) -> A:
    """Complex numbers as [..., 2]."""
    return cp.ascontiguousarray(z).reshape(*z.shape, 1).view(dtype)


def _complex_mul(backend: CudaBackend, launch: Launch, a: A, b: A) -> A:
    right = cp.conj(_joined(b)) if launch.params["conjugate"] else _joined(b)
    return _parted(_joined(a) * right, launch.dtype)


def _rfft(backend: CudaBackend, launch: Launch, x: A) -> A:
    p = launch.params
    if not x.size:
        return cp.empty(launch.shape, launch.dtype)
    return _parted(fft.rfft(x, p["n"], p["axis"]), launch.dtype)


def _irfft(backend: CudaBackend, launch: Launch, x: A) -> A:
    p = launch.params
    if not x.size:
        return cp.empty(launch.shape, launch.dtype)
    return fft.irfft(_joined(x), p["n"], p["axis"])


def _random(name: str) -> Kernel:
    def kernel(backend: CudaBackend, launch: Launch) -> A:
        p, count = launch.params, math.prod(launch.shape)
        counter = p["offset"], *p["key"], p["step"] & 0xFFFFFFFF, p["step"] >> 32, p["stream"]
        return each(name, launch, -(-count // 4), after=(np.int64(count), *(np.uint32(v) for v in counter)))

    return kernel


def _sheet_weight(backend: CudaBackend, launch: Launch, re: A, im: A, values: A) -> A:
    return each("sheet_weight", launch, re.size, re, im, values, after=(np.int64(re.size), np.int32(len(values))))


KERNELS: dict[str, Kernel] = {
    **LAYOUT,
    "cast": lambda backend, launch, x: x.astype(launch.dtype),
    "sum": _sum,
    "max": lambda backend, launch, x: x.max(axis=launch.params["axis"], keepdims=launch.params["keepdims"]),
    "matmul": _matmul,
    "scatter_add": _scatter_add,
    "argsort": _argsort,
    "take_along": lambda backend, launch, x, index: cp.take_along_axis(x, index, -1),
    "scatter_along": _scatter_along,
    "rms_norm": _norm(False),
    "rms_norm_dx": _norm_dx(False),
    "rms_norm_dw": _norm_dw(False),
    "layer_norm": _norm(True),
    "layer_norm_dx": _norm_dx(True),
    "layer_norm_dw": _norm_dw(True),
    "causal_conv": _causal_conv,
    "causal_conv_dx": _causal_conv_dx,
    "causal_conv_dw": _causal_conv_dw,
    "unfold2d": _unfold2d,
    "linear_recurrence": _recurrence(False),
    "complex_recurrence": _recurrence(True),
    "complex_mul": _complex_mul,
    "rfft": _rfft,
    "irfft": _irfft,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "random_bits": _random("random_bits"),
    "random_uniform": _random("random_uniform"),
    "random_normal": _random("random_normal"),
    "sheet_weight": _sheet_weight,
}
