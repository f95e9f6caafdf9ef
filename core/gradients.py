"""Gradients of the primitives, in terms of primitives: ``vjp(g, out, *inputs, **params) -> gradient per input``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from core.array import Array

Shape = tuple[int, ...]


def ap(name: str, *inputs: Array, **params: Any) -> Array:
    """`core.array.apply`, imported late: arrays need the table and the table its gradients."""
    from core.array import apply

    return apply(name, *inputs, **params)


def like(x: Array, values: Any) -> Array:
    """Constants beside `x`, of its type."""
    from core.array import asarray

    return asarray(np.asarray(values, x.dtype), x.dtype, x.backend)


def zeros_beside(x: Array, shape: Shape) -> Array:
    """Zeros beside `x`, of its type."""
    from core.functions import zeros

    return zeros(shape, x.dtype, x.backend)


def sum_to(g: Array, shape: Shape) -> Array:
    """Sum `g` over the axes along which an operand of `shape` was broadcast."""
    lead = len(g.shape) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, s in enumerate(shape) if s == 1 and g.shape[i + lead] != 1)
    if axes:
        g = ap("sum", g, axis=axes, keepdims=False)
    return g if g.shape == shape else ap("reshape", g, shape=shape)


def absolute(g: Array, out: Array, x: Array) -> tuple[Array]:
    zero = like(x, 0)
    return (g * (ap("greater", x, zero) - ap("greater", zero, x)),)


def where(g: Array, out: Array, c: Array, a: Array, b: Array) -> tuple[None, Array, Array]:
    zero = like(g, 0)
    return None, sum_to(ap("where", c, g, zero), a.shape), sum_to(ap("where", c, zero, g), b.shape)


def greatest(g: Array, out: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> tuple[Array]:
    """Ties share the gradient equally, which keeps it symmetric."""
    kept = tuple(1 if i in axis else s for i, s in enumerate(x.shape))
    mask = 1.0 - ap("greater", out.reshape(*kept), x)
    count = ap("sum", mask, axis=axis, keepdims=True)
    return (mask * (g.reshape(*kept) / count),)


def summed(g: Array, out: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> tuple[Array]:
    kept = tuple(1 if i in axis else s for i, s in enumerate(x.shape))
    return (ap("broadcast", g.reshape(*kept), shape=x.shape),)


def matmul(g: Array, out: Array, a: Array, b: Array, *, ta: bool, tb: bool) -> tuple[Array, Array]:
    if len(b.shape) == 2 and len(a.shape) > 2 and not ta:  # activations times one weight matrix
        flat_a = a.reshape(-1, a.shape[-1])
        flat_g = g.reshape(-1, g.shape[-1])
        left, right = (flat_g, flat_a) if tb else (flat_a, flat_g)
        db = ap("matmul", left, right, ta=True, tb=False)
        return ap("matmul", g, b, ta=False, tb=not tb), db
    da = ap("matmul", b, g, ta=tb, tb=True) if ta else ap("matmul", g, b, ta=False, tb=not tb)
    db = ap("matmul", g, a, ta=True, tb=ta) if tb else ap("matmul", a, g, ta=not ta, tb=False)
    return sum_to(da, a.shape), sum_to(db, b.shape)


def sliced(g: Array, out: Array, x: Array, *, start: Shape, stop: Shape) -> tuple[Array]:
    after = tuple(s - hi for s, hi in zip(x.shape, stop, strict=True))
    return (ap("pad", g, before=start, after=after),)


def padded(g: Array, out: Array, x: Array, *, before: Shape, after: Shape) -> tuple[Array]:
    return (ap("slice", g, start=before, stop=tuple(a + s for a, s in zip(before, x.shape, strict=True))),)


def concat(g: Array, out: Array, *xs: Array, axis: int) -> tuple[Array, ...]:
    parts, at = [], 0
    for x in xs:
        start = tuple(at if i == axis else 0 for i in range(len(g.shape)))
        stop = tuple(at + x.shape[axis] if i == axis else s for i, s in enumerate(g.shape))
        parts.append(ap("slice", g, start=start, stop=stop))
        at += x.shape[axis]
    return tuple(parts)


def causal_conv(g: Array, out: Array, x: Array, w: Array, tail: Array, *, dilation: int) -> tuple[Array, Array, Array]:
    return (ap("causal_conv_dx", g, w, dilation=dilation), ap("causal_conv_dw", g, x, tail, dilation=dilation),
            ap("causal_conv_dtail", g, w, dilation=dilation))


def recurrence(name: str, g: Array, a: Array, out: Array, h0: Array, *, reverse: bool) -> tuple[Array, Array, Array]:
    """Of h[t] = a[t] h[t-1] + b[t] (reverse: s[t] = conj(a[t+1]) s[t+1] + b[t]), real or complex.

    The adjoint of the one is the other: with u the adjoint states, db = u and da[t] = u[t] conj(h[t-1]); reverse, with
    v the adjoint states, da[t] = s[t] conj(v[t-1]), and h0 takes no part.
    """
    def times(x: Array, y: Array) -> Array:  # x conj(y)
        return x * y if name == "linear_recurrence" else ap("complex_mul", x, y, conjugate=True)

    n, _, *rest = a.shape
    first = h0.reshape(n, 1, *rest)
    zero = zeros_beside(g, h0.shape)
    adjoint = ap(name, a, g, zero, reverse=not reverse)
    if reverse:
        before = ap("concat", zero.reshape(n, 1, *rest), adjoint[:, :-1], axis=1)
        return times(out, before), adjoint, zero
    before = ap("concat", first, out[:, :-1], axis=1)
    return times(adjoint, before), adjoint, times(adjoint[:, :1], a[:, :1]).reshape(n, *rest)


def complex_mul(g: Array, out: Array, a: Array, b: Array, *, conjugate: bool) -> tuple[Array, Array]:
    """Of a b: g conj(b) and g conj(a). Of a conj(b): g b and a conj(g)."""
    da = ap("complex_mul", g, b, conjugate=not conjugate)
    db = ap("complex_mul", a, g, conjugate=True) if conjugate else ap("complex_mul", g, a, conjugate=True)
    return sum_to(da, a.shape), sum_to(db, b.shape)


def _shares(x: Array, n: int, axis: int, double: float) -> Array:
    """A weight per frequency along an axis: 1 where it stands alone (0 and Nyquist), `double` where it counts twice."""
    f = np.arange(n // 2 + 1)
    weights = np.where((f == 0) | (2 * f == n), 1.0, double)
    return like(x, weights.reshape(-1, *[1] * (x.ndim - axis - 1)))


def rfft(g: Array, out: Array, x: Array, *, n: int, axis: int) -> tuple[Array]:
    whole = ap("irfft", g * _shares(g, n, axis, 0.5) * float(n), n=n, axis=axis)
    return (whole[(*[slice(None)] * axis, slice(0, x.shape[axis]))],)


def irfft(g: Array, out: Array, x: Array, *, n: int, axis: int) -> tuple[Array]:
    return (ap("rfft", g, n=n, axis=axis) * _shares(x, n, axis, 2.0) * (1.0 / n),)
