"""Lazy arrays with reverse-mode gradients on the table of primitives.

An `Array` is a handle: `apply` checks the shapes, queues one launch on the array's backend and returns at once.
Work happens when somebody reads (`numpy()`, `float()`) or flushes the backend. Arrays are immutable, so layout
primitives may alias memory, and a result nobody holds when the queue is flushed is never computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.backends import Backend, Buffer, current_backend
from core.primitives import PRIMITIVES, STORAGE, Shape, _axes

Scalar = int | float
FLOAT16 = np.dtype(np.float16)
_tick = itertools.count()
_halved: ContextVar[bool] = ContextVar("zspace_float16_storage", default=False)


class Node:
    """How an array was made; `tick` orders nodes so that the tape needs no sort of its own."""

    __slots__ = ("inputs", "name", "params", "tick")

    def __init__(self, name: str, inputs: tuple[Array, ...], params: dict[str, Any]) -> None:
        self.name, self.inputs, self.params, self.tick = name, inputs, params, next(_tick)


class Array:
    """An immutable array on a backend, possibly not computed yet.

    Build one with `asarray`; combine with operators, methods and `apply`.
    """

    __slots__ = ("backend", "buffer", "dtype", "half", "node", "requires_grad", "shape")
    __array_priority__ = 100

    def __init__(self, backend: Backend, buffer: Buffer, shape: Shape, dtype: np.dtype[Any],
                 node: Node | None = None, requires_grad: bool = False) -> None:
        self.backend, self.buffer, self.shape, self.dtype = backend, buffer, shape, dtype
        self.node, self.requires_grad = node, requires_grad
        self.half: Array | None = None  # what the backward pass keeps in its place

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def numpy(self) -> NDArray[Any]:
        """Compute what is queued and return the values as a read-only NumPy array (one read-back)."""
        return self.backend.read(self.buffer)

    def __float__(self) -> float:
        if self.size != 1:
            raise TypeError(f"only an array of one value becomes a float, this one has shape {self.shape}")
        return float(self.numpy().reshape(()))

    def detach(self) -> Array:
        """The same values, cut from the tape."""
        return Array(self.backend, self.buffer, self.shape, self.dtype)

    def _wrap(self, name: str, out: Array, inputs: tuple[Array, ...], params: dict[str, Any]) -> Array:
        """What a primitive's result becomes because `self` is among its inputs."""
        return out

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}, backend={self.backend.name!r})"

    # --- other libraries, without a copy ------------------------------------------------------------------------------
    def __dlpack__(self, **options: Any) -> Any:
        """Share the values through DLPack; the consumer must not write to them.

        From DLPack 1.0 on the protocol can say so, and NumPy's arrays do; CuPy's have no such mark.
        """
        return self.backend.export(self.buffer, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.backend.dlpack_device()

    # --- arithmetic: a Python number is a parameter of the launch, not an array -----------------------------------
    def __add__(self, other: Array | Scalar) -> Array:
        return self._affine(1.0, other) if isinstance(other, Scalar) else apply("add", self, other)

    def __sub__(self, other: Array | Scalar) -> Array:
        return self._affine(1.0, -other) if isinstance(other, Scalar) else apply("sub", self, other)

    def __mul__(self, other: Array | Scalar) -> Array:
        return self._affine(other, 0.0) if isinstance(other, Scalar) else apply("mul", self, other)

    def __truediv__(self, other: Array | Scalar) -> Array:
        return self._affine(1.0 / other, 0.0) if isinstance(other, Scalar) else apply("div", self, other)

    def __rsub__(self, other: Scalar) -> Array:
        return self._affine(-1.0, other)

    def __rtruediv__(self, other: Scalar) -> Array:
        return apply("div", asarray(np.asarray(other, self.dtype), backend=self.backend), self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Array:
        return self._affine(-1.0, 0.0)

    def __matmul__(self, other: Array) -> Array:
        return apply("matmul", self, other, ta=False, tb=False)

    def _affine(self, scale: Scalar, shift: Scalar) -> Array:
        return apply("affine", self, scale=float(scale), shift=float(shift))

    # --- layout and reductions --------------------------------------------------------------------------------------
    def reshape(self, *shape: int) -> Array:
        """Row-major reshape; one size may be -1."""
        if shape.count(-1) == 1:
            rest = int(np.prod([s for s in shape if s != -1]))
            shape = tuple(self.size // max(rest, 1) if s == -1 else s for s in shape)
        return self if shape == self.shape else apply("reshape", self, shape=shape)

    def transpose(self, *axes: int) -> Array:
        """Permute the axes; none given reverses them."""
        return apply("transpose", self, axes=axes or tuple(reversed(range(self.ndim))))

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """Sum over axes (all by default), in a fixed order."""
        return apply("sum", self, axis=_axes(self.ndim, axis), keepdims=keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """Largest value over axes (all by default)."""
        return apply("max", self, axis=_axes(self.ndim, axis), keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """Arithmetic mean over axes (all by default)."""
        count = int(np.prod([self.shape[i] for i in _axes(self.ndim, axis)]))
        return self.sum(axis, keepdims) * (1.0 / count)

    def __getitem__(self, key: Any) -> Array:
        """Basic slicing: integers and unit-step slices."""
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > self.ndim:
            raise IndexError(f"{len(keys)} indices for {self.ndim} axes")
        start, stop, drop = [0] * self.ndim, list(self.shape), []
        for i, k in enumerate(keys):
            n = self.shape[i]
            if isinstance(k, slice):
                lo, hi, step = k.indices(n)
                if step != 1:
                    raise IndexError(f"slice step {step} is not supported, use step 1")
                start[i], stop[i] = lo, max(lo, hi)
            elif isinstance(k, (int, np.integer)):
                if not -n <= k < n:
                    raise IndexError(f"index {k} is out of range for an axis of {n}")
                start[i], stop[i] = int(k) % n, int(k) % n + 1
                drop.append(i)
            else:
                raise IndexError(f"cannot index with {type(k).__name__}: use integers and slices")
        out = apply("slice", self, start=tuple(start), stop=tuple(stop))
        return out.reshape(*(s for i, s in enumerate(out.shape) if i not in drop)) if drop else out


def asarray(values: ArrayLike, dtype: DTypeLike | None = None, backend: Backend | None = None,
            requires_grad: bool = False) -> Array:
    """Put values on a backend (the current session's by default).

    Parameters
    ----------
    values : array_like
        Real numbers; integers become int32 (indices), floats float32 unless `dtype` says float64.
    requires_grad : bool
        Whether `grad` may be asked for with respect to this array.
    """
    host = np.asarray(values)
    if dtype is None:
        dtype = np.int32 if host.dtype.kind in "iub" else (np.float64 if host.dtype == np.float64 else np.float32)
    host = np.ascontiguousarray(host, dtype).reshape(host.shape)
    chosen = backend or current_backend()
    return Array(chosen, chosen.upload(host), host.shape, host.dtype, None, requires_grad)


def leaf(x: Array) -> Array:
    """The same values as a new leaf of the tape, for which `grad` may be asked."""
    return Array(x.backend, x.buffer, x.shape, x.dtype, None, True)


def from_dlpack(values: Any, backend: Backend | None = None) -> Array:
    """An array over the memory of another library, without a copy.

    Parameters
    ----------
    values
        Speaks DLPack: arrays of NumPy, PyTorch, JAX, CuPy, ... Float32, float64 or int32, float16 for storage, in any
        layout. Its owner must not write to it any more: arrays are immutable, and launches may run later.
    backend : Backend, optional
        Where it lies, the current session's by default: "cpu" takes what is in main memory, "cuda" what is on its GPU.

    Raises
    ------
    BackendError
        The memory belongs to another device, or the backend shares none.
    ValueError
        A type that arrays do not have.
    """
    if not hasattr(values, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: a {type(values).__name__} does not speak DLPack: asarray copies it")
    chosen = backend or current_backend()
    buffer = chosen.adopt(values)
    dtype = np.dtype(buffer.data.dtype)
    if dtype.name not in ("float32", "float64", "int32", "float16"):
        remedy = "stack real and imaginary parts along a last axis" if dtype.kind == "c" else "cast it to " + (
            "int32" if dtype.kind in "iub" else "float32")
        raise ValueError(f"from_dlpack: arrays hold float32, float64, int32 or float16, not {dtype}: {remedy}")
    return Array(chosen, buffer, tuple(buffer.data.shape), dtype)


def apply(name: str, *inputs: Array, **params: Any) -> Array:
    """Queue one primitive and return its result.

    Raises
    ------
    KeyError
        Unknown primitive.
    ValueError
        Shapes or dtypes that do not fit.
    BackendError
        The backend has no such kernel.
    """
    primitive = PRIMITIVES[name]
    shape = primitive.shape(*[x.shape for x in inputs], **params)
    backend = inputs[0].backend if inputs else current_backend()
    floats, needs, framed = None, False, None
    for x in inputs:  # in one pass, without sets: a step of training comes by here hundreds of times
        if x.backend is not backend or (floats is not None and x.dtype.kind == "f" and x.dtype != floats):
            names = ", ".join(f"{x.dtype} on {x.backend.name}" for x in inputs)
            raise ValueError(f"{name}: inputs must share one float type and one backend, got {names}")
        floats = x.dtype if x.dtype.kind == "f" else floats
        needs = needs or x.requires_grad
        framed = framed or (None if type(x) is Array else x)
    if floats == FLOAT16 and name not in STORAGE:
        raise ValueError(f"{name}: float16 is for storage alone: cast(x, 'float32') first")
    kind = primitive.dtype or params.get("dtype")
    dtype = np.dtype(kind) if kind else floats or inputs[0].dtype
    buffer = backend.launch(primitive, [x.buffer for x in inputs], params, shape, dtype)
    needs = needs and primitive.vjp is not None
    out = Array(backend, buffer, shape, dtype, None, needs)
    if needs:
        out.node = Node(name, inputs, params)
        out.half = _half(out) if _halved.get() else None
    # a tensor with a frame decides what its result carries
    return out if framed is None else framed._wrap(name, out, inputs, params)


@contextmanager
def float16_storage() -> Iterator[None]:
    """``with float16_storage():`` what a backward pass needs of the results made here is kept for it in float16.

    Forward pass and gradients are computed in float32; a gradient sees its inputs rounded to 11 bits. Values beyond
    65504 become infinite there. Leaves, such as parameters, are kept as they are.
    """
    token = _halved.set(True)
    try:
        yield
    finally:
        _halved.reset(token)


def _half(out: Array) -> Array | None:
    """The float16 copy of a result. What nobody asks for in the backward pass is never computed."""
    assert out.node is not None
    source = out.node.inputs[0].half
    if out.dtype != np.float32 or out.node.name == "broadcast":  # a copy would be larger than what it repeats
        return None
    if out.node.name == "tap" or (out.node.name == "reshape" and source is None):  # views of what is kept already
        return source
    if out.node.name == "reshape":
        return apply("reshape", source, **out.node.params)  # type: ignore[arg-type]
    return apply("cast", Array.detach(out), dtype="float16")


def _kept(x: Array) -> Array:
    """An array as the backward pass sees it, cut from the tape."""
    return Array.detach(x) if x.half is None else apply("cast", x.half, dtype=x.dtype.name)


def grad(loss: Array, wrt: Sequence[Array]) -> list[Array]:
    """Gradients of a scalar with respect to arrays, by walking the tape backwards.

    Parameters
    ----------
    loss : Array
        One value.
    wrt : sequence of Array
        Leaves made with ``requires_grad=True`` or results between them and the loss; an array the loss does not
        depend on gets zeros.
    """
    if loss.size != 1:
        raise ValueError(f"grad needs a scalar loss, this one has shape {loss.shape}")
    grads = {id(loss): asarray(np.ones(loss.shape, loss.dtype), loss.dtype, loss.backend)}
    _backward([loss], grads, {id(x) for x in wrt}, since=-1)
    return [grads[id(x)] if id(x) in grads
            else asarray(np.zeros(x.shape, x.dtype), x.dtype, x.backend) for x in wrt]


def checkpoint(function: Callable[..., Any], *arrays: Array) -> Any:
    """``function(*arrays)``, with its inside computed again in the backward pass instead of kept.

    Gradients reach the arguments and whatever else the function closes over, and are those without `checkpoint`, bit
    for bit: the same primitives add up in the same order.

    Parameters
    ----------
    function : callable
        Maps Arrays to one Array or a tuple of them; called again with the same arguments, it must do the same again.
    arrays : Array
        Its arguments; they stay in memory until the backward pass.
    """
    since = next(_tick)
    made = function(*arrays)
    results = made if isinstance(made, tuple) else (made,)
    inner = _reverse(results, since)
    outer = {id(x): x for y in inner if y.node for x in y.node.inputs
             if x.requires_grad and (x.node is None or x.node.tick < since)}
    segment = Segment(function, arrays)

    def cut(index: int, x: Array) -> Array:
        if x.node is None or x.node.tick < since:  # an argument handed through, or a constant
            return x
        node = Node("checkpoint", tuple(outer.values()), {"segment": segment, "index": index})
        return x._wrap("checkpoint", Array(x.backend, x.buffer, x.shape, x.dtype, node, True), (x,), {})

    after = tuple(cut(i, x) for i, x in enumerate(results))
    return after if isinstance(made, tuple) else after[0]


class Segment:
    """A part of the tape that `checkpoint` left out: what to call to have it again."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Array, ...]) -> None:
        self.function, self.arguments = function, arguments


def _backward(ends: Sequence[Array], grads: dict[int, Array], wanted: set[int], since: int) -> None:
    """Carry gradients back through everything made after a tick; `grads` is keyed by the arrays' ids.

    What was made outside of a segment gets its terms straight into the same `grads`, so they add up in the same order
    as without it.
    """
    def give(x: Array, part: Array) -> None:
        if x.node is not None or id(x) in wanted:  # nobody asks a leaf that is not wanted
            known = grads.get(id(x))
            grads[id(x)] = part if known is None else known + part

    for owner, group in itertools.groupby(_reverse(ends, since), _owner):
        outs = [(x, grads[id(x)] if id(x) in wanted else grads.pop(id(x))) for x in group if id(x) in grads]
        if isinstance(owner, Segment):
            start, made = next(_tick), owner.function(*owner.arguments)
            results = made if isinstance(made, tuple) else (made,)
            again = [results[x.node.params["index"]] for x, _ in outs if x.node]
            for x, (_, g) in zip(again, outs, strict=True):
                give(x, g)
            _backward(again, grads, wanted, start)
            continue
        for out, g in outs:
            vjp = PRIMITIVES[owner.name].vjp
            assert vjp is not None
            parts = vjp(g, _kept(out), *map(_kept, owner.inputs), **owner.params)
            for x, part in zip(owner.inputs, parts, strict=True):
                if part is not None and x.requires_grad:
                    give(x, part)


def _owner(x: Array) -> Node | Segment:
    """What made an array: the outputs of one segment are computed again together."""
    assert x.node is not None
    owner: Node | Segment = x.node.params.get("segment", x.node)
    return owner


def _reverse(ends: Iterable[Array], since: int) -> list[Array]:
    """Arrays made by primitives after a tick that some ends depend on, last made first."""
    seen: dict[int, Array] = {}
    stack = list(ends)
    while stack:
        x = stack.pop()
        if x.node is not None and x.node.tick > since and id(x) not in seen:
            seen[id(x)] = x
            stack.extend(i for i in x.node.inputs if i.requires_grad)
    return sorted(seen.values(), key=lambda x: -x.node.tick if x.node else 0)
