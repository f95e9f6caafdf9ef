"""The CUDA column of the table of primitives.

Elementwise kernels are CUDA expressions, which `core.backends.cuda` fuses: {0}, {1}, ... are the inputs, then the
parameters, {T} the type. The others are ``kernel(backend, launch, *inputs) -> array`` in CuPy, with CUDA of our own
where one loop is the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import cupy as cp
import numpy as np

from core.backends.layout import LAYOUT
from core.primitives import EPSILON

if TYPE_CHECKING:
    from core.backends.cuda import CudaBackend
    from core.backends.queue import Launch

A = Any  # a CuPy array; CuPy has no stubs
BLOCK = 256

EXPRESSIONS: dict[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "affine": "{0} * {1} + {2}",
    "exp": "exp({0})",
    "log": "log({0})",
    "sqrt": "sqrt({0})",
    "tanh": "tanh({0})",
    "sigmoid": "({T})0.5 * tanh({0} * ({T})0.5) + ({T})0.5",  # never overflows
    "silu": "{0} * (({T})0.5 * tanh({0} * ({T})0.5) + ({T})0.5)",
    "silu_grad": "{0} * (({T})0.5 * tanh({1} * ({T})0.5) + ({T})0.5)"
                 " * (1 + {1} * (({T})0.5 - ({T})0.5 * tanh({1} * ({T})0.5)))",
    "greater": "({T})({0} > {1})",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",  # NaN wins, as in NumPy
}

LOOPS = r"""
extern "C" __global__ void recurrence(const T* a, const T* b, const T* h0, T* out, int N, int steps, int C) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;  // a sequence and a channel
  if (i >= N * C) return;
  long long at = (long long)(i / C) * steps * C + i % C;
  T h = h0[i];
  for (int t = 0; t < steps; t++, at += C) out[at] = h = a[at] * h + b[at];
}

extern "C" __global__ void recurrence_reverse(const T* a, const T* b, const T* h0, T* out, int N, int steps, int C) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= N * C || !steps) return;
  long long at = ((long long)(i / C) * steps + steps - 1) * C + i % C;
  T s = out[at] = b[at];
  for (int t = steps - 2; t >= 0; t--) { T next = a[at]; at -= C; out[at] = s = next * s + b[at]; }
}

extern "C" __global__ void causal_conv(const T* x, const T* w, const T* tail, T* out, int N, int steps, int C, int K) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (long long)N * steps * C) return;
  int c = i % C, t = i / C % steps, n = i / C / steps;
  T sum = 0;
  for (int k = 0; k < K; k++) {
    int from = t - k;
    sum += w[k * C + c] * (from >= 0 ? x[((long long)n * steps + from) * C + c]
                                     : tail[((long long)n * (K - 1) + K - 1 + from) * C + c]);
  }
  out[i] = sum;
}

extern "C" __global__ void causal_conv_dx(const T* g, const T* w, T* out, int N, int steps, int C, int K) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (long long)N * steps * C) return;
  int c = i % C, t = i / C % steps;
  T sum = 0;
  for (int k = 0; k < K && t + k < steps; k++) sum += w[k * C + c] * g[i + (long long)k * C];
  out[i] = sum;
}

// rows are added in the order of the index, so the sum repeats
extern "C" __global__ void scatter_add(const T* g, const int* index, T* out, int count, int rows, int width) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= (long long)rows * width) return;
  int row = i / width, column = i % width;
  T sum = 0;
  for (int j = 0; j < count; j++) if (index[j] == row) sum += g[(long long)j * width + column];
  out[i] = sum;
}
"""


@cache
def _loops(dtype: str) -> Any:
    """The loops compiled for a type."""
    name = {"float32": "float", "float64": "double"}[dtype]
    return cp.RawModule(code=f"#define T {name}\n{LOOPS}")


def _loop(name: str, launch: Launch, threads: int, *arguments: Any) -> A:
    """Run one of the loops, a thread a result or sequence; arrays are made contiguous, sizes int32."""
    out = cp.empty(launch.shape, launch.dtype)
    if threads:
        inputs = [cp.ascontiguousarray(a) for a in arguments if isinstance(a, cp.ndarray)]
        sizes = [np.int32(a) for a in arguments if not isinstance(a, cp.ndarray)]
        _loops(launch.dtype.name).get_function(name)((-(-threads // BLOCK),), (BLOCK,), (*inputs, out, *sizes))
    return out


def _matmul(backend: CudaBackend, launch: Launch, a: A, b: A) -> A:
    left = a.swapaxes(-1, -2) if launch.params["ta"] else a
    right = b.swapaxes(-1, -2) if launch.params["tb"] else b
    if not (a.size and b.size):
        return cp.zeros(launch.shape, launch.dtype)
    if left.ndim > 2 and right.ndim == 2:  # one product of matrices instead of many
        return (left.reshape(-1, left.shape[-1]) @ right).reshape(launch.shape)
    return left @ right


def _rms(x: A) -> A:
    return 1 / cp.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(EPSILON))


def _rms_norm_dx(backend: CudaBackend, launch: Launch, g: A, x: A, w: A) -> A:
    r, gw = _rms(x), g * w
    return r * (gw - x * r * r * (gw * x).mean(-1, keepdims=True))


def _causal_conv_dw(backend: CudaBackend, launch: Launch, g: A, x: A, tail: A) -> A:
    full, taps, steps = cp.concatenate([tail, x], 1), launch.shape[0], x.shape[1]
    return cp.stack([(g * full[:, taps - 1 - k : taps - 1 - k + steps]).sum((0, 1)) for k in range(taps)])


def _linear_recurrence(backend: CudaBackend, launch: Launch, a: A, b: A, h0: A) -> A:
    n, steps, c = a.shape
    name = "recurrence_reverse" if launch.params["reverse"] else "recurrence"
    return _loop(name, launch, n * c if steps else 0, a, b, h0, n, steps, c)


def _cross_entropy(backend: CudaBackend, launch: Launch, logits: A, targets: A) -> A:
    top = logits.max(-1, keepdims=True)
    total = cp.log(cp.exp(logits - top).sum(-1)) + top[..., 0]
    return total - cp.take_along_axis(logits, targets[..., None].astype(cp.int64), -1)[..., 0]


def _cross_entropy_grad(backend: CudaBackend, launch: Launch, g: A, logits: A, targets: A) -> A:
    e = cp.exp(logits - logits.max(-1, keepdims=True))
    return g[..., None] * (e / e.sum(-1, keepdims=True) - (cp.arange(logits.shape[-1]) == targets[..., None]))


def _scatter_add(backend: CudaBackend, launch: Launch, g: A, index: A) -> A:
    rows, count = launch.shape[0], index.size
    width = g.size // count if count else 0
    if not width:
        return cp.zeros(launch.shape, launch.dtype)
    return _loop("scatter_add", launch, rows * width, g, index, count, rows, width)


KERNELS: dict[str, Callable[..., A]] = {
    **LAYOUT,
    "sum": lambda backend, launch, x: x.sum(axis=launch.params["axis"], keepdims=launch.params["keepdims"]),
    "max": lambda backend, launch, x: x.max(axis=launch.params["axis"], keepdims=launch.params["keepdims"]),
    "matmul": _matmul,
    "scatter_add": _scatter_add,
    "rms_norm": lambda backend, launch, x, w: x * _rms(x) * w,
    "rms_norm_dx": _rms_norm_dx,
    "rms_norm_dw": lambda backend, launch, g, x: (g * x * _rms(x)).reshape(-1, x.shape[-1]).sum(0),
    "causal_conv": lambda backend, launch, x, w, tail: _loop(
        "causal_conv", launch, x.size, x, w, tail, *x.shape, w.shape[0]),
    "causal_conv_dx": lambda backend, launch, g, w: _loop(
        "causal_conv_dx", launch, g.size, g, w, *g.shape, w.shape[0]),
    "causal_conv_dw": _causal_conv_dw,
    "linear_recurrence": _linear_recurrence,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
}
