"""The wgpu column of the table of primitives: layout, reductions, products, gathers; its neighbours have the others.

Layout costs nothing where strides can say it: a view is no launch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from core import kernels
from core.backends.wgpu_pool import View
from core.errors import BackendError
from core.primitives import Shape

if TYPE_CHECKING:
    from core.backends.queue import Launch
    from core.backends.wgpu import WgpuBackend

LANES = 256  # invocations of a workgroup
COLUMN = 1024  # values of a part of a long column
ROW = 16384  # values of a part of a long row
SHORT_ROW = 1024  # up to here 32 invocations add up a row, above it 256
SLICES = 8  # invocations that add up a column at most
SIDES = (8, 16)  # a product's workgroup has so many invocations along each edge, of 8 rows and 8 columns each
TILE = 64  # rows and columns by which a sum over k is cut into parts, whichever side is chosen
PART = 256  # values of k that a workgroup passes over, where tiles are few
MARKED = 1024  # indices that scatter.wgsl marks at once
BUSY = 512  # workgroups that keep a large device busy


def groups(count: int) -> int:
    """Workgroups for so many invocations."""
    return -(-count // LANES)


def power_of_two(least: float) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(0, math.ceil(least) - 1).bit_length()


def floats(launch: Launch, *views: View) -> None:
    """Refuse what is not float32."""
    for v in views:
        if v.dtype != np.float32:
            raise BackendError(f"backend 'wgpu' has no {launch.primitive.name} of {v.dtype}: use float32, or "
                               "--backend cpu")


@cache
def collapse(shape: Shape, *strides: Shape) -> tuple[list[int], list[list[int]]]:
    """As few axes as visit the same places in the same order, for several arrays of one shape: sizes and strides."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for i, n in enumerate(shape):
        if n == 1:
            continue
        if sizes and all(kept[-1] == s[i] * n for kept, s in zip(steps, strides, strict=True)):
            sizes[-1] *= n
            for kept, s in zip(steps, strides, strict=True):
                kept[-1] = s[i]
        else:
            sizes.append(n)
            for kept, s in zip(steps, strides, strict=True):
                kept.append(s[i])
    return sizes, steps


def fitted(name: str, values: Sequence[int], axes: int, empty: int) -> list[int]:
    """Values of the axes that there are, with `empty` in front up to the number that the kernel takes."""
    if len(values) > axes:
        raise BackendError(f"backend 'wgpu': {name} over {len(values)} axes that do not merge, the limit is {axes}: "
                           "reshape, or use --backend cpu")
    return [empty] * (axes - len(values)) + list(values)


# --- layout ----------------------------------------------------------------------------------------------------------


def copy(backend: WgpuBackend, source: View, target: View) -> None:
    """Copy values of four bytes between views of one shape."""
    sizes, (read, write) = collapse(source.shape, source.strides, target.strides)
    uniforms = [source.size, len(sizes), source.offset, target.offset, 0, 0, 0, 0, *fitted("copy", sizes, 8, 1),
                *fitted("copy", read, 8, 0), *fitted("copy", write, 8, 0)]
    backend.dispatch("strided", uniforms, [source.storage], [target.storage], groups(source.size), "copy")


def zeros(backend: WgpuBackend, shape: Shape, dtype: DTypeLike = np.float32) -> View:
    """An array of zeros."""
    out = backend.empty(shape, dtype)
    backend.dispatch("fill", [out.size], [], [out], groups(out.size))
    return out


def _reshape(backend: WgpuBackend, launch: Launch, x: View) -> View:
    return (x if x.row_major else backend.contiguous(x)).reshape(launch.shape)


def _pad(backend: WgpuBackend, launch: Launch, x: View) -> View:
    before = launch.params["before"]
    out = zeros(backend, launch.shape, x.dtype)
    copy(backend, x, out.slice(before, tuple(b + n for b, n in zip(before, x.shape, strict=True))))
    return out


def _concat(backend: WgpuBackend, launch: Launch, *xs: View) -> View:
    out, axis, at = backend.empty(launch.shape, launch.dtype), launch.params["axis"], 0
    for x in xs:
        start = tuple(at if i == axis else 0 for i in range(len(x.shape)))
        copy(backend, x, out.slice(start, tuple(a + n for a, n in zip(start, x.shape, strict=True))))
        at += x.shape[axis]
    return out


def _cast(backend: WgpuBackend, launch: Launch, x: View) -> View:
    if launch.dtype == x.dtype:
        return x
    if {launch.dtype.name, x.dtype.name} != {"float32", "float16"}:
        raise BackendError(f"backend 'wgpu' has no cast from {x.dtype} to {launch.dtype}: use --backend cpu")
    out = backend.empty(launch.shape, launch.dtype)
    entry = "pack" if launch.dtype == np.float16 else "unpack"
    backend.dispatch("cast", [x.size], [backend.contiguous(x)], [out], groups(-(-x.size // 2)), entry)
    return out


# --- reductions ------------------------------------------------------------------------------------------------------


def fold(backend: WgpuBackend, x: View, axes: Shape, shape: Shape, largest: bool = False) -> View:
    """Sum, or largest value, over axes, in one order that the shape fixes; a result of `shape`."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    outer, inner = x.transpose(kept), x.transpose(tuple(sorted(axes, key=lambda i: -x.strides[i])))
    results, length = outer.size, inner.size
    if not length:
        if largest:
            raise ValueError("max over an axis of no values")
        return zeros(backend, shape)
    sizes, (strides,) = collapse(outer.shape, outer.strides)
    depth, (steps,) = collapse(inner.shape, inner.strides)
    by_rows = length >= LANES // SLICES and steps[-1] == 1
    if by_rows:
        chunk, lanes = ROW, min(32, power_of_two(length / 4)) if length <= SHORT_ROW else LANES
    else:
        chunk, lanes = COLUMN if length > 2 * COLUMN else length, min(SLICES, power_of_two(length / 8))
    chunks = -(-length // chunk)
    out = backend.empty(shape if chunks == 1 else (results, chunks) if by_rows else (chunks, results))
    uniforms = [results, length, chunk, chunks, x.offset, len(sizes), len(depth), lanes, *fitted("sum", sizes, 4, 1),
                *fitted("sum", strides, 4, 0), *fitted("sum", depth, 4, 1), *fitted("sum", steps, 4, 0)]
    constants = {"largest": int(largest), "by_rows": int(by_rows), "even": int(len(depth) <= 1)}
    backend.dispatch("reduction", uniforms, [x.storage], [out], groups(results * chunks * lanes), constants=constants)
    return out if chunks == 1 else fold(backend, out, (1,) if by_rows else (0,), shape, largest)


def _sum(backend: WgpuBackend, launch: Launch, x: View) -> View:
    floats(launch, x)
    return fold(backend, x, launch.params["axis"], launch.shape)


def _max(backend: WgpuBackend, launch: Launch, x: View) -> View:
    floats(launch, x)
    return fold(backend, x, launch.params["axis"], launch.shape, largest=True)


# --- products --------------------------------------------------------------------------------------------------------


def _matmul(backend: WgpuBackend, launch: Launch, x: View, y: View) -> View:
    floats(launch, x, y)
    shape = launch.shape
    x, y = (v.transpose((*range(len(v.shape) - 2), len(v.shape) - 1, len(v.shape) - 2)) if flip else v
            for v, flip in ((x, launch.params["ta"]), (y, launch.params["tb"])))
    if len(y.shape) == 2 and len(x.shape) > 2 and not launch.params["ta"]:  # one product instead of many
        x = (x if x.row_major else backend.contiguous(x)).reshape((-(-x.size // max(x.shape[-1], 1)), x.shape[-1]))
    (m, k), n = x.shape[-2:], y.shape[-1]
    if not k or 0 in shape:
        return zeros(backend, shape)
    lead = shape[:-2] if len(y.shape) > 2 or len(x.shape) > 2 else ()
    batches = math.prod(lead)
    x_all, y_all = x.broadcast((*lead, m, k)), y.broadcast((*lead, k, n))
    sizes, (xs, ys) = collapse(lead, x_all.strides[:-2], y_all.strides[:-2])
    tiles = -(-n // TILE) * -(-m // TILE)
    parts = max(1, min(-(-k // PART), BUSY // (tiles * batches)))
    part = -(-k // parts)
    out = backend.empty((batches, parts, m, n) if parts > 1 else shape)
    uniforms = [m, n, k, part, parts, x.offset, y.offset, *x_all.strides[-2:], *y_all.strides[-2:], 0,
                *fitted("matmul", sizes, 4, 1), *fitted("matmul", xs, 4, 0), *fitted("matmul", ys, 4, 0)]

    def run(side: int) -> None:
        backend.dispatch("matmul", uniforms, [x.storage, y.storage], [out],
                         (-(-n // (8 * side)), -(-m // (8 * side)), batches * parts), constants={"side": side})

    run(backend.fastest(launch, kernels.source("matmul"), SIDES, run, (k,)))
    return out if parts == 1 else fold(backend, out, (1,), shape)


# --- by an index -----------------------------------------------------------------------------------------------------


def _take(backend: WgpuBackend, launch: Launch, table: View, index: View) -> View:
    out = backend.empty(launch.shape, launch.dtype)
    backend.dispatch("take", [out.size, math.prod(table.shape[1:]), table.shape[0]],
                     [backend.contiguous(table), backend.contiguous(index)], [out], groups(out.size), "rows")
    return out


def _take_along(backend: WgpuBackend, launch: Launch, x: View, index: View) -> View:
    out = backend.empty(launch.shape, launch.dtype)
    backend.dispatch("take", [out.size, index.shape[-1], x.shape[-1]],
                     [backend.contiguous(x), backend.contiguous(index)], [out], groups(out.size), "along")
    return out


def _scatter_add(backend: WgpuBackend, launch: Launch, g: View, index: View) -> View:
    floats(launch, g)
    rows, width = launch.shape[0], math.prod(launch.shape[1:])
    size, columns = rows * width, -(-width // LANES)
    parts = max(1, min(-(-index.size // MARKED), 4 * BUSY // max(rows * columns, 1)))
    part = -(-index.size // (parts * MARKED)) * MARKED
    parts = max(1, -(-index.size // max(part, 1)))
    out = backend.empty((parts, size) if parts > 1 else launch.shape)
    down = min(parts * rows, 1 << 15)
    backend.dispatch("scatter", [index.size, width, size, part, parts],
                     [backend.contiguous(g), backend.contiguous(index)], [out],
                     (columns, down, -(-parts * rows // max(down, 1))), "rows")
    return out if parts == 1 else fold(backend, out, (0,), launch.shape)


def _scatter_along(backend: WgpuBackend, launch: Launch, g: View, index: View) -> View:
    floats(launch, g)
    out = backend.empty(launch.shape)
    backend.dispatch("scatter", [index.shape[-1], launch.shape[-1], out.size],
                     [backend.contiguous(g), backend.contiguous(index)], [out], groups(out.size), "along")
    return out


KERNELS: dict[str, Callable[..., View]] = {
    "reshape": _reshape,
    "transpose": lambda backend, launch, x: x.transpose(launch.params["axes"]),
    "broadcast": lambda backend, launch, x: x.broadcast(launch.shape),
    "slice": lambda backend, launch, x: x.slice(launch.params["start"], launch.params["stop"]),
    "tap": lambda backend, launch, x, **_: x,
    "pad": _pad,
    "concat": _concat,
    "cast": _cast,
    "sum": _sum,
    "max": _max,
    "matmul": _matmul,
    "take": _take,
    "take_along": _take_along,
    "scatter_add": _scatter_add,
    "scatter_along": _scatter_along,
}
