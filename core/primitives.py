"""The one table of primitives: name, shape rule, gradient, summation order.

A primitive says *what* is computed; each backend has one column of kernels that say *how*
(`core/backends/`), and `core/reference.py` states every one of them in plain float64 NumPy.
Gradients (`core/gradients.py`) are written in terms of primitives, so a new backend needs kernels and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from core import gradients as d

if TYPE_CHECKING:
    from core.array import Array

EPSILON = 1e-6  # of rms_norm and layer_norm, inside the root
STORAGE = ("cast", "reshape")  # what float16 arrays may go through
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
    dtype : str or None
        Type of the result; None: that of the float inputs, or what the parameter `dtype` says. Every primitive takes
        float32, and float64 where the backend has it; float16 is for storage, only `cast` and `reshape` take it.
    """

    name: str
    shape: ShapeRule
    vjp: Vjp | None = None
    order: Literal["fixed", "any"] = "fixed"
    elementwise: bool = False
    dtype: str | None = None


PRIMITIVES: dict[str, Primitive] = {}


def _add(name: str, shape: ShapeRule, vjp: Vjp | None = None, *, elementwise: bool = False,
         dtype: str | None = None) -> None:
    """Enter one row into the table."""
    PRIMITIVES[name] = Primitive(name, shape, vjp, "fixed", elementwise, dtype)


# --- shape rules -----------------------------------------------------------------------------------------------------


def _broadcast(*shapes: Shape, **_: Any) -> Shape:
    return shapes[0] if shapes.count(shapes[0]) == len(shapes) else _joined(shapes)


@lru_cache(4096)
def _joined(shapes: tuple[Shape, ...]) -> Shape:
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


def _complex_recurrence(a: Shape, b: Shape, h0: Shape, *, reverse: bool) -> Shape:
    if a != b or len(a) != 4 or a[3] != 2 or h0 != (a[0], *a[2:]):
        raise ValueError(f"complex_recurrence needs a, b [N,T,C,2] and h0 [N,C,2], got {a}, {b}, {h0}")
    return a


def _complex_mul(a: Shape, b: Shape, *, conjugate: bool) -> Shape:
    if a[-1:] != (2,) or b[-1:] != (2,):
        raise ValueError(f"complex_mul needs a last axis of 2 (real, imaginary), got {a} and {b}")
    return _broadcast(a, b)


def _conv(x: Shape, w: Shape, tail: Shape, *, dilation: int) -> Shape:
    if len(x) != 3 or w[1:] != x[2:] or tail != (x[0], (w[0] - 1) * dilation, x[2]):
        raise ValueError(f"causal_conv needs x [N,T,C], w [K,C], tail [N,(K-1)*dilation,C], got {x}, {w}, {tail} "
                         f"with dilation {dilation}")
    return x


def _unfold2d(x: Shape, *, kernel: Shape, stride: Shape, padding: Shape) -> Shape:
    if len(x) != 4 or min(*kernel, *stride) < 1 or min(padding) < 0:
        raise ValueError(f"unfold2d needs x [N,H,W,C], kernel and stride above 0 and padding from 0 on, got {x}, "
                         f"{kernel}, {stride}, {padding}")
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(x[1:3], padding, kernel, stride, strict=True)]
    if min(sizes) < 1:
        raise ValueError(f"unfold2d: a kernel of {kernel} does not fit into {x[1:3]} with padding {padding}")
    return (x[0], *sizes, math.prod(kernel) * x[3])


def _rfft(x: Shape, *, n: int, axis: int) -> Shape:
    if not 0 <= axis < len(x) or n < max(x[axis], 1):
        raise ValueError(f"rfft over n = {n} along axis {axis} of {x}: n must hold the whole axis")
    return (*x[:axis], n // 2 + 1, *x[axis + 1 :], 2)


def _irfft(x: Shape, *, n: int, axis: int) -> Shape:
    if not 0 <= axis < len(x) - 1 or n < 1 or x[axis] != n // 2 + 1 or x[-1] != 2:
        raise ValueError(f"irfft to n = {n} along axis {axis} needs {n // 2 + 1} frequencies there and a last axis of "
                         f"2, got {x}")
    return (*x[:axis], n, *x[axis + 1 : -1])


def _take_along(x: Shape, index: Shape) -> Shape:
    if not x or x[:-1] != index[:-1]:
        raise ValueError(f"take_along: {x} and its index {index} differ before the last axis")
    return index


def _sheets(re: Shape, im: Shape, values: Shape) -> Shape:
    if re != im or len(values) != 1:
        raise ValueError(f"sheet_weight needs re and im of one shape and values [S], got {re}, {im}, {values}")
    return re


def _rows(logits: Shape, targets: Shape) -> Shape:
    if logits[:-1] != targets:
        raise ValueError(f"cross_entropy: logits {logits} and targets {targets} do not match")
    return targets


# --- the table -------------------------------------------------------------------------------------------------------


def _ew(name: str, vjp: Vjp | None = None) -> None:
    _add(name, _broadcast, vjp, elementwise=True)


_ew("add", lambda g, o, a, b: (d.sum_to(g, a.shape), d.sum_to(g, b.shape)))
_ew("sub", lambda g, o, a, b: (d.sum_to(g, a.shape), d.sum_to(-g, b.shape)))
_ew("mul", lambda g, o, a, b: (d.sum_to(g * b, a.shape), d.sum_to(g * a, b.shape)))
_ew("div", lambda g, o, a, b: (d.sum_to(g / b, a.shape), d.sum_to(-(g * o / b), b.shape)))
_ew("affine", lambda g, o, x, *, scale, shift: (g * scale,))  # scale * x + shift
_ew("abs", d.absolute)
_ew("exp", lambda g, o, x: (g * o,))
_ew("log", lambda g, o, x: (g / x,))
_ew("log1p", lambda g, o, x: (g / (x + 1.0),))  # log(1 + x), exact for small x
_ew("sqrt", lambda g, o, x: (g / o * 0.5,))
_ew("sin", lambda g, o, x: (g * d.ap("cos", x),))
_ew("cos", lambda g, o, x: (-(g * d.ap("sin", x)),))
_ew("tanh", lambda g, o, x: (g * (1.0 - o * o),))
_ew("sigmoid", lambda g, o, x: (g * (o - o * o),))
_ew("softplus", lambda g, o, x: (g * d.ap("sigmoid", x),))
_ew("silu", lambda g, o, x: (d.ap("silu_grad", g, x),))
_ew("silu_grad")  # g * d silu(x) / dx
_ew("greater")  # 1.0 where a > b, else 0.0: piecewise constant
_ew("nonfinite")  # 1.0 where x is NaN or infinite, else 0.0, by its bits
_ew("where", d.where)  # where(c, a, b): a where c is not 0, else b
_ew("maximum", lambda g, o, a, b: (
    d.sum_to(g * (1.0 - d.ap("greater", b, a)), a.shape), d.sum_to(g * d.ap("greater", b, a), b.shape)))

_add("cast", lambda x, *, dtype: x, lambda g, o, x, *, dtype: (d.ap("cast", g, dtype=x.dtype.name),))
_add("sum", _reduce, d.summed)
_add("max", _reduce, d.greatest)
_add("matmul", _matmul, d.matmul)
_add("reshape", _reshape, lambda g, o, x, *, shape: (g.reshape(*x.shape),))
_add("transpose", lambda x, *, axes: tuple(x[i] for i in axes),
     lambda g, o, x, *, axes: (d.ap("transpose", g, axes=tuple(int(i) for i in np.argsort(axes))),))
_add("broadcast", lambda x, *, shape: _broadcast(x, shape), lambda g, o, x, *, shape: (d.sum_to(g, x.shape),))
_add("slice", _slice, d.sliced)
_add("pad", lambda x, *, before, after: tuple(a + s + b for a, s, b in zip(before, x, after, strict=True)), d.padded)
_add("concat", _concat, d.concat)
_add("take", lambda table, index: (*index, *table[1:]),
     lambda g, o, table, index: (d.ap("scatter_add", g, index, rows=table.shape[0]), None))
_add("scatter_add", lambda g, index, *, rows: (rows, *g[len(index):]),
     lambda g, o, x, index, *, rows: (d.ap("take", g, index), None))
_add("argsort", lambda x, *, descending: x, dtype="int32")  # along the last axis, stable
_add("take_along", _take_along,  # x[..., index] along the last axis
     lambda g, o, x, index: (d.ap("scatter_along", g, index, n=x.shape[-1]), None))
_add("scatter_along", lambda g, index, *, n: (*_take_along(g, index)[:-1], n),  # its adjoint: adds
     lambda g, o, x, index, *, n: (d.ap("take_along", g, index), None))
_add("rms_norm", _same, lambda g, o, x, w: (d.ap("rms_norm_dx", g, x, w), d.ap("rms_norm_dw", g, x)))
_add("rms_norm_dx", _same)
_add("rms_norm_dw", lambda g, x: x[-1:])
_add("layer_norm", _same, lambda g, o, x, w, b: (
    d.ap("layer_norm_dx", g, x, w), d.ap("layer_norm_dw", g, x), d.sum_to(g, b.shape)))
_add("layer_norm_dx", _same)
_add("layer_norm_dw", lambda g, x: x[-1:])
_add("causal_conv", _conv, d.causal_conv)
_add("causal_conv_dx", _same)
_add("causal_conv_dw", lambda g, x, tail, *, dilation: (tail[1] // dilation + 1, g[2]))
_add("causal_conv_dtail", lambda g, w, *, dilation: (g[0], (w[0] - 1) * dilation, g[2]))
_add("unfold2d", _unfold2d, lambda g, o, x, *, kernel, stride, padding: (  # the patches a convolution sees
    d.ap("fold2d", g, size=x.shape[1:3], kernel=kernel, stride=stride, padding=padding),))
_add("fold2d", lambda g, *, size, kernel, stride, padding: (g[0], *size, g[3] // math.prod(kernel)),  # its adjoint
     lambda g, o, x, *, size, kernel, stride, padding: (
         d.ap("unfold2d", g, kernel=kernel, stride=stride, padding=padding),))
_add("linear_recurrence", _recurrence, lambda g, o, a, b, h0, *, reverse: d.recurrence(
    "linear_recurrence", g, a, o, h0, reverse=reverse))
_add("complex_recurrence", _complex_recurrence, lambda g, o, a, b, h0, *, reverse: d.recurrence(
    "complex_recurrence", g, a, o, h0, reverse=reverse))
_add("complex_mul", _complex_mul, d.complex_mul)
_add("rfft", _rfft, d.rfft)
_add("irfft", _irfft, d.irfft)
_add("cross_entropy", _rows, lambda g, o, x, t: (d.ap("cross_entropy_grad", g, x, t), None))
_add("cross_entropy_grad", lambda g, logits, targets: logits)
_add("random_bits", lambda *, key, stream, step, offset, shape: shape, dtype="int32")  # Philox4x32-10, uint32's bits
_add("random_uniform", lambda *, key, stream, step, offset, shape, dtype: shape)
_add("random_normal", lambda *, key, stream, step, offset, shape, dtype: shape)
_add("sheet_weight", _sheets)  # sum_s values[s] hat_s(angle of re + i im)
_add("tap", lambda x, **_: x, lambda g, o, x, *, frame, gains: (_tap(g, x, frame=frame, gains=gains),))


def _tap(g: Array, x: Array, **params: Any) -> Array:
    from core.tap import tap_gradient

    return tap_gradient(g, x, **params)
