"""The one table of primitives: name, shape rule, gradient, summation order.

A primitive says *what* is computed; each backend has one column of kernels that say *how*
(`core/backends/`), and `core/reference.py` states every one of them in plain float64 NumPy.
Gradients are written in terms of primitives, so a new backend needs kernels and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from core.array import Array

EPSILON = 1e-6  # of rms_norm, inside the root
Shape = tuple[int, ...]
ShapeRule = Callable[..., Shape]
Vjp = Callable[..., tuple["Array | None", ...]]


@dataclass(frozen=True)
class Primitive:
    """One row of the table.

    Parameters
    ----------
    name : str
        Key of the kernel in every backend column.
    shape : callable
        ``shape(*input_shapes, **params) -> output shape``; raises `ValueError` on misfit.
    vjp : callable or None
        ``vjp(g, out, *inputs, **params) -> gradient per input`` (None where there is none).
    order : {"fixed", "any"}
        Whether the kernel sums in one fixed order, so that a run repeats bit for bit.
    elementwise : bool
        Elementwise kernels in a row may be fused into one pass over memory.
    """

    name: str
    shape: ShapeRule
    vjp: Vjp | None = None
    order: Literal["fixed", "any"] = "fixed"
    elementwise: bool = False


PRIMITIVES: dict[str, Primitive] = {}


def _add(name: str, shape: ShapeRule, vjp: Vjp | None = None, *, elementwise: bool = False) -> None:
    """Enter one row into the table."""
    PRIMITIVES[name] = Primitive(name, shape, vjp, "fixed", elementwise)


# --- shape rules -----------------------------------------------------------------------------------------------------


def _broadcast(*shapes: Shape, **_: Any) -> Shape:
    return tuple(np.broadcast_shapes(*shapes))


def _same(first: Shape, *_: Shape, **__: Any) -> Shape:
    return first


def _axes(ndim: int, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Normalised, sorted reduction axes."""
    if axis is None:
        return tuple(range(ndim))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in given:
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of range for {ndim} axes")
    return tuple(sorted(a % ndim for a in given))


def _reduce(x: Shape, *, axis: tuple[int, ...], keepdims: bool) -> Shape:
    kept = (1,) if keepdims else ()
    return tuple(n for i, s in enumerate(x) for n in (kept if i in axis else (s,)))


def _matmul(a: Shape, b: Shape, *, ta: bool, tb: bool) -> Shape:
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"matmul needs two matrices, got shapes {a} and {b}")
    (m, k), (k2, n) = (a[:-3:-1] if ta else a[-2:]), (b[:-3:-1] if tb else b[-2:])
    if k != k2:
        raise ValueError(f"matmul: inner sizes {k} and {k2} of {a} and {b} differ")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), m, n)


def _reshape(x: Shape, *, shape: Shape) -> Shape:
    if math.prod(x) != math.prod(shape):
        raise ValueError(f"cannot reshape {x} to {shape}: {math.prod(x)} values against {math.prod(shape)}")
    return shape


def _slice(x: Shape, *, start: Shape, stop: Shape) -> Shape:
    for s, lo, hi in zip(x, start, stop, strict=True):
        if not 0 <= lo <= hi <= s:
            raise ValueError(f"slice {start}:{stop} leaves the shape {x}")
    return tuple(hi - lo for lo, hi in zip(start, stop, strict=True))


def _concat(*shapes: Shape, axis: int) -> Shape:
    rest = {s[:axis] + s[axis + 1 :] for s in shapes}
    if len(rest) != 1:
        raise ValueError(f"concat along axis {axis}: shapes {shapes} differ elsewhere")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _recurrence(a: Shape, b: Shape, h0: Shape, *, reverse: bool) -> Shape:
    if a != b or len(a) != 3 or h0 != (a[0], a[2]):
        raise ValueError(f"linear_recurrence needs a, b [N,T,C] and h0 [N,C], got {a}, {b}, {h0}")
    return a


def _conv(x: Shape, w: Shape, tail: Shape) -> Shape:
    if len(x) != 3 or w[1:] != x[2:] or tail != (x[0], w[0] - 1, x[2]):
        raise ValueError(f"causal_conv needs x [N,T,C], w [K,C], tail [N,K-1,C], got {x}, {w}, {tail}")
    return x


def _rows(logits: Shape, targets: Shape) -> Shape:
    if logits[:-1] != targets:
        raise ValueError(f"cross_entropy: logits {logits} and targets {targets} do not match")
    return targets


# --- gradients -------------------------------------------------------------------------------------------------------


def _ap(name: str, *inputs: Array, **params: Any) -> Array:
    from core.array import apply

    return apply(name, *inputs, **params)


def sum_to(g: Array, shape: Shape) -> Array:
    """Sum `g` over the axes along which an operand of `shape` was broadcast."""
    lead = len(g.shape) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, s in enumerate(shape) if s == 1 and g.shape[i + lead] != 1)
    if axes:
        g = _ap("sum", g, axis=axes, keepdims=False)
    return g if g.shape == shape else _ap("reshape", g, shape=shape)


def _vjp_matmul(g: Array, out: Array, a: Array, b: Array, *, ta: bool, tb: bool) -> tuple[Array, Array]:
    if len(b.shape) == 2 and len(a.shape) > 2 and not ta:  # activations times one weight matrix
        flat_a = a.reshape(-1, a.shape[-1])
        flat_g = g.reshape(-1, g.shape[-1])
        left, right = (flat_g, flat_a) if tb else (flat_a, flat_g)
        db = _ap("matmul", left, right, ta=True, tb=False)
        return _ap("matmul", g, b, ta=False, tb=not tb), db
    da = _ap("matmul", b, g, ta=tb, tb=True) if ta else _ap("matmul", g, b, ta=False, tb=not tb)
    db = _ap("matmul", g, a, ta=True, tb=ta) if tb else _ap("matmul", a, g, ta=not ta, tb=False)
    return sum_to(da, a.shape), sum_to(db, b.shape)


def _vjp_sum(g: Array, out: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> tuple[Array]:
    kept = tuple(1 if i in axis else s for i, s in enumerate(x.shape))
    return (_ap("broadcast", g.reshape(*kept), shape=x.shape),)


def _vjp_slice(g: Array, out: Array, x: Array, *, start: Shape, stop: Shape) -> tuple[Array]:
    after = tuple(s - hi for s, hi in zip(x.shape, stop, strict=True))
    return (_ap("pad", g, before=start, after=after),)


def _vjp_concat(g: Array, out: Array, *xs: Array, axis: int) -> tuple[Array, ...]:
    parts, at = [], 0
    for x in xs:
        start = tuple(at if i == axis else 0 for i in range(len(g.shape)))
        stop = tuple(at + x.shape[axis] if i == axis else s for i, s in enumerate(g.shape))
        parts.append(_ap("slice", g, start=start, stop=stop))
        at += x.shape[axis]
    return tuple(parts)


def _vjp_recurrence(g: Array, out: Array, a: Array, b: Array, h0: Array, *,
                    reverse: bool) -> tuple[Array, Array, Array]:
    if reverse:
        raise NotImplementedError("linear_recurrence(reverse=True) exists as the gradient of the forward one only")
    n, _, c = a.shape
    adjoint = _ap("linear_recurrence", a, g, h0, reverse=True)
    before = _ap("concat", h0.reshape(n, 1, c), out[:, :-1], axis=1)
    return adjoint * before, adjoint, (a[:, :1] * adjoint[:, :1]).reshape(n, c)


# --- the table -------------------------------------------------------------------------------------------------------


def _ew(name: str, vjp: Vjp | None = None) -> None:
    _add(name, _broadcast, vjp, elementwise=True)


_ew("add", lambda g, o, a, b: (sum_to(g, a.shape), sum_to(g, b.shape)))
_ew("sub", lambda g, o, a, b: (sum_to(g, a.shape), sum_to(-g, b.shape)))
_ew("mul", lambda g, o, a, b: (sum_to(g * b, a.shape), sum_to(g * a, b.shape)))
_ew("div", lambda g, o, a, b: (sum_to(g / b, a.shape), sum_to(-(g * o / b), b.shape)))
_ew("affine", lambda g, o, x, *, scale, shift: (g * scale,))  # scale * x + shift
_ew("exp", lambda g, o, x: (g * o,))
_ew("log", lambda g, o, x: (g / x,))
_ew("sqrt", lambda g, o, x: (g / o * 0.5,))
_ew("tanh", lambda g, o, x: (g * (1.0 - o * o),))
_ew("sigmoid", lambda g, o, x: (g * (o - o * o),))
_ew("silu", lambda g, o, x: (_ap("silu_grad", g, x),))
_ew("silu_grad")  # g * d silu(x) / dx
_ew("greater")  # 1.0 where a > b, else 0.0: piecewise constant
_ew("maximum", lambda g, o, a, b: (
    sum_to(g * (1.0 - _ap("greater", b, a)), a.shape), sum_to(g * _ap("greater", b, a), b.shape)))

_add("sum", _reduce, _vjp_sum)
_add("max", _reduce, lambda g, o, x, *, axis, keepdims: _vjp_max(g, o, x, axis=axis))
_add("matmul", _matmul, _vjp_matmul)
_add("reshape", _reshape, lambda g, o, x, *, shape: (g.reshape(*x.shape),))
_add("transpose", lambda x, *, axes: tuple(x[i] for i in axes),
     lambda g, o, x, *, axes: (_ap("transpose", g, axes=tuple(int(i) for i in np.argsort(axes))),))
_add("broadcast", lambda x, *, shape: _broadcast(x, shape), lambda g, o, x, *, shape: (sum_to(g, x.shape),))
_add("slice", _slice, _vjp_slice)
_add("pad", lambda x, *, before, after: tuple(a + s + b for a, s, b in zip(before, x, after, strict=True)),
     lambda g, o, x, *, before, after: (
         _ap("slice", g, start=before, stop=tuple(a + s for a, s in zip(before, x.shape, strict=True))),))
_add("concat", _concat, _vjp_concat)
_add("take", lambda table, index: (*index, *table[1:]),
     lambda g, o, table, index: (_ap("scatter_add", g, index, rows=table.shape[0]), None))
_add("scatter_add", lambda g, index, *, rows: (rows, *g[len(index):]),
     lambda g, o, x, index, *, rows: (_ap("take", g, index), None))
_add("rms_norm", _same, lambda g, o, x, w: (_ap("rms_norm_dx", g, x, w), _ap("rms_norm_dw", g, x)))
_add("rms_norm_dx", _same)
_add("rms_norm_dw", lambda g, x: x[-1:])
_add("causal_conv", _conv, lambda g, o, x, w, tail: (
    _ap("causal_conv_dx", g, w), _ap("causal_conv_dw", g, x, tail), _ap("causal_conv_dtail", g, w)))
_add("causal_conv_dx", _same)
_add("causal_conv_dw", lambda g, x, tail: (tail[1] + 1, g[2]))
_add("causal_conv_dtail", lambda g, w: (g[0], w[0] - 1, g[2]))
_add("linear_recurrence", _recurrence, _vjp_recurrence)
_add("cross_entropy", _rows, lambda g, o, x, t: (_ap("cross_entropy_grad", g, x, t), None))
_add("cross_entropy_grad", lambda g, logits, targets: logits)
_add("tap", lambda x, **_: x, lambda g, o, x, *, frame, gains: (_ap("tap_gradient", g, x, frame=frame, gains=gains),))
_add("tap_gradient", _same)


def _vjp_max(g: Array, out: Array, x: Array, *, axis: tuple[int, ...]) -> tuple[Array]:
    """Ties share the gradient equally, which keeps it symmetric."""
    kept = tuple(1 if i in axis else s for i, s in enumerate(x.shape))
    mask = 1.0 - _ap("greater", out.reshape(*kept), x)
    count = _ap("sum", mask, axis=axis, keepdims=True)
    return (mask * (g.reshape(*kept) / count),)
