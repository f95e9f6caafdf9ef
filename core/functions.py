"""Functions on arrays, by the names the field gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from core.array import Array, apply, asarray
from core.backends import Backend, current_backend
from core.primitives import Shape
from core.random import philox_key


def zeros(shape: Sequence[int], dtype: DTypeLike = np.float32, backend: Backend | None = None) -> Array:
    """Zeros on a backend (the current session's by default)."""
    chosen, kind = backend or current_backend(), np.dtype(dtype)
    return Array(chosen, chosen.zeros(tuple(shape), kind), tuple(shape), kind)


def exp(x: Array) -> Array:
    return apply("exp", x)


def log(x: Array) -> Array:
    return apply("log", x)


def log1p(x: Array) -> Array:
    """log(1 + x), exact for small x."""
    return apply("log1p", x)


def sqrt(x: Array) -> Array:
    return apply("sqrt", x)


def sin(x: Array) -> Array:
    return apply("sin", x)


def cos(x: Array) -> Array:
    return apply("cos", x)


def tanh(x: Array) -> Array:
    return apply("tanh", x)


def sigmoid(x: Array) -> Array:
    return apply("sigmoid", x)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return apply("softplus", x)


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return apply("silu", x)


def absolute(x: Array) -> Array:
    return apply("abs", x)


def maximum(a: Array, b: Array) -> Array:
    return apply("maximum", a, b)


def concat(xs: Iterable[Array], axis: int) -> Array:
    """Join along one axis."""
    items = tuple(xs)
    return apply("concat", *items, axis=axis % items[0].ndim)


def take(table: Array, index: Array) -> Array:
    """Rows of `table` [V, ...] at int32 `index` (any shape)."""
    return apply("take", table, index)


def cross_entropy(logits: Array, targets: Array) -> Array:
    """Negative log likelihood in nats per row: logits [..., V], int32 targets [...] -> [...]."""
    return apply("cross_entropy", logits, targets)


def rms_norm(x: Array, weight: Array) -> Array:
    """x / rms(x) * weight over the last axis (Zhang & Sennrich 2019), epsilon 1e-6 inside the root."""
    return apply("rms_norm", x, weight)


def causal_conv(x: Array, weight: Array, tail: Array, dilation: int = 1) -> Array:
    """Depthwise causal convolution: y[t] = sum_k weight[k] x[t - k dilation].

    Shapes: x [N,T,C], weight [K,C], tail [N,(K-1) dilation,C] (the inputs just before x, oldest first) -> [N,T,C].
    """
    return apply("causal_conv", x, weight, tail, dilation=dilation)


def linear_recurrence(a: Array, b: Array, h0: Array, reverse: bool = False, starts: Array | None = None) -> Array:
    """h[t] = a[t] h[t-1] + b[t], h[-1] = h0: a, b [N,T,C], h0 [N,C] -> [N,T,C].

    Parameters
    ----------
    reverse : bool
        Run from the end, s[t] = a[t+1] s[t+1] + b[t], s[T-1] = b[T-1]; h0 takes no part.
    starts : Array, optional
        [N,T,1] or [N,T,C]: 1 where a segment starts, which forgets what was before it, and 0 elsewhere.
    """
    return apply("linear_recurrence", a if starts is None else a * (1.0 - starts), b, h0, reverse=reverse)


def complex_recurrence(a: Array, b: Array, h0: Array, reverse: bool = False) -> Array:
    """The complex `linear_recurrence`: a, b [N,T,C,2] (real, imaginary), h0 [N,C,2]; reverse takes conj(a)."""
    return apply("complex_recurrence", a, b, h0, reverse=reverse)


def complex_mul(a: Array, b: Array, conjugate: bool = False) -> Array:
    """a b, or a conj(b): both [..., 2] (real, imaginary), broadcast against each other."""
    return apply("complex_mul", a, b, conjugate=conjugate)


def rfft(x: Array, n: int | None = None, axis: int = -1) -> Array:
    """FFT of real values along an axis, with zeros up to n: [..., n // 2 + 1, ..., 2] (real, imaginary)."""
    at = axis % x.ndim
    return apply("rfft", x, n=x.shape[at] if n is None else n, axis=at)


def irfft(x: Array, n: int, axis: int = -1) -> Array:
    """Inverse of `rfft`, n real values along the axis (counted without the last one, which holds the parts)."""
    return apply("irfft", x, n=n, axis=axis % (x.ndim - 1))


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """(x - mean) / deviation * weight + bias over the last axis (Ba et al. 2016), epsilon 1e-6 inside the root."""
    return apply("layer_norm", x, weight, bias)


def conv2d(x: Array, weight: Array, stride: tuple[int, int] = (1, 1), padding: tuple[int, int] = (0, 0)) -> Array:
    """Convolution over images: x [N,H,W,C], weight [kH,kW,C,D] -> [N,H',W',D], a product of matrices over patches."""
    kernel, depth = weight.shape[:2], weight.shape[3]
    patches = apply("unfold2d", x, kernel=kernel, stride=stride, padding=padding)
    return patches @ weight.reshape(-1, depth)


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum exp(x) along an axis, without overflow."""
    e = exp(x - x.max(axis, keepdims=True).detach())
    return e / e.sum(axis, keepdims=True)


def argsort(x: Array, descending: bool = False) -> Array:
    """int32 places of the sorted values along the last axis; equal values keep their order."""
    return apply("argsort", x, descending=descending)


def sort(x: Array, descending: bool = False) -> Array:
    """Values sorted along the last axis."""
    return apply("take_along", x, argsort(x, descending))


def top_k(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest values along the last axis, largest first, and their places."""
    index = argsort(x, descending=True)[(*[slice(None)] * (x.ndim - 1), slice(0, k))]
    return apply("take_along", x, index), index


def cast(x: Array, dtype: DTypeLike) -> Array:
    """The same values in another float type; float16 is for storage alone."""
    return apply("cast", x, dtype=np.dtype(dtype).name)


def where(condition: Array, a: Array, b: Array) -> Array:
    """`a` where the condition is not 0, else `b`."""
    return apply("where", condition, a, b)


def nonfinite(x: Array) -> Array:
    """1 where a value is NaN or infinite, else 0, by its bits: also where a device assumes there are none."""
    return apply("nonfinite", x)


# --- Philox4x32-10 on the backend: the numbers of `core.random.Philox`, from counter `offset` on, four a counter -----


def random_bits(seed: int, stream: int, step: int, shape: Shape, offset: int = 0) -> Array:
    """32 random bits each, as int32."""
    return apply("random_bits", key=philox_key(seed), stream=stream, step=step, offset=offset, shape=shape)


def random_uniform(seed: int, stream: int, step: int, shape: Shape, dtype: DTypeLike = np.float32,
                   offset: int = 0) -> Array:
    """Multiples of 2^-24 in [0, 1)."""
    return apply("random_uniform", key=philox_key(seed), stream=stream, step=step, offset=offset, shape=shape,
                 dtype=np.dtype(dtype).name)


def random_normal(seed: int, stream: int, step: int, shape: Shape, dtype: DTypeLike = np.float32,
                  offset: int = 0) -> Array:
    """Standard normals by Box and Muller."""
    return apply("random_normal", key=philox_key(seed), stream=stream, step=step, offset=offset, shape=shape,
                 dtype=np.dtype(dtype).name)


def dropout(x: Array, rate: float, seed: int, stream: int, step: int) -> Array:
    """Zeros in place of a share of the values, the others over (1 - rate) (Srivastava et al. 2014)."""
    kept = apply("greater", random_uniform(seed, stream, step, x.shape, x.dtype), asarray(np.asarray(rate, x.dtype)))
    return x * kept * (1 / (1 - rate))
