"""ZTensor: an array that knows the frame it is looked at through, and ZGaussian, rows of a signal with their spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from core.array import Array, apply, asarray
from core.backends import Backend
from core.errors import FrameMismatchError
from core.field import analytic_bands, field_density
from core.frame import ZFrame, ZIndex
from core.functions import concat

NEIGHBOURS = 3  # rows on each side that a vector's spread is measured over


class ZTensor(Array):
    """An array with a frame; its time axis is the last but one ([..., T, C]).

    Every primitive hands the frame on to its result, but for a sum or maximum over the time axis: where no time is
    left, there is nothing to look at through a frame, and the result is a plain Array. (Reduce the channels with
    ``keepdims=True`` where time shall stay the last axis but one.) Two frames do not mix: `reframe` converts. Made by
    `lift`; `project` gives the plain array back. Gradients are plain arrays.
    """

    __slots__ = ("frame",)

    def __init__(self, array: Array, frame: ZFrame) -> None:
        super().__init__(array.backend, array.buffer, array.shape, array.dtype, array.node, array.requires_grad)
        self.frame = frame

    def project(self) -> Array:
        """The plain array, without the frame; `lift` then `project` is the identity."""
        x = _viewed(self)
        return Array(x.backend, x.buffer, x.shape, x.dtype, x.node, x.requires_grad)

    def reframe(self, frame: ZFrame) -> ZTensor:
        """The same values seen through another frame."""
        return ZTensor(self.project(), frame)

    def detach(self) -> ZTensor:
        """The same values with the same frame, cut from the tape."""
        return ZTensor(super().detach(), self.frame)

    def hyperbolic_distance(self, other: ZTensor, curvature: float) -> float:
        """The predecessor's distance between two arrays of points, all coordinates taken together.

        2 arcosh(1 + sum (p - q)^2 / sqrt(max(sum (1 - p^2) (1 - q^2), 1e-6))) with p and q divided by sqrt(-curvature).
        It is symmetric and 0 for equal arrays, but no geodesic's length: `core.nn.hyperbolic.distance` is.

        Raises
        ------
        ValueError
            A curvature that is not finite and below 0.
        RuntimeError
            Unequal shapes.
        """
        if not -math.inf < curvature < 0:
            raise ValueError(f"curvature is {curvature}: it must be finite and below 0, such as -1")
        if self.shape != other.shape:
            raise RuntimeError(f"distance between shapes {self.shape} and {other.shape}: they must be equal")
        p, q = (np.asarray(x.numpy(), np.float64) / math.sqrt(-curvature) for x in (self, other))
        inside = max(float(((1 - p * p) * (1 - q * q)).sum()), 1e-6)
        apart = float(np.square(p - q).sum()) / math.sqrt(inside)
        return 4 * math.asinh(math.sqrt(apart / 2))  # 2 arcosh(1 + apart), exact for close points too

    def _wrap(self, name: str, out: Array, inputs: tuple[Array, ...], params: dict[str, Any]) -> Array:
        frames = {x.frame for x in inputs if isinstance(x, ZTensor)}
        if len(frames) > 1:
            names = " and ".join(sorted(f.signature()[:12] for f in frames))
            raise FrameMismatchError(f"{name} mixes the frames {names}: convert one side with .reframe(frame)")
        timeless = name in ("sum", "max") and max(self.ndim - 2, 0) in params["axis"]
        return out if timeless else ZTensor(out, self.frame)

    # --- NumPy's and the array libraries' protocols -------------------------------------------------------------------
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        values = self.numpy() if dtype is None else self.numpy().astype(dtype)
        return values.copy() if copy else values

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> ZTensor:
        name = _UFUNCS.get(ufunc)
        if name is None or method != "__call__" or options:
            raise TypeError(f"numpy.{ufunc.__name__} ({method}) has no ZTensor form: use .numpy() for the plain values")
        arrays = [x if isinstance(x, Array) else asarray(np.asarray(x), self.dtype, self.backend) for x in inputs]
        params = {"ta": False, "tb": False} if name == "matmul" else {}
        if name == "neg":
            return -self  # type: ignore[return-value]
        return apply(name, *arrays, **params)  # type: ignore[return-value]

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        form = _FUNCTIONS.get(func)
        if form is None:
            raise TypeError(f"numpy.{func.__name__} has no ZTensor form: use .numpy() for the plain values")
        return form(*args, **kwargs)


_UFUNCS: dict[np.ufunc, str] = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "div", np.negative: "neg",
    np.exp: "exp", np.log: "log", np.sqrt: "sqrt", np.tanh: "tanh", np.sin: "sin", np.cos: "cos", np.absolute: "abs",
    np.maximum: "maximum", np.matmul: "matmul",
}
_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: lambda x, axis=None, keepdims=False: x.sum(axis, keepdims),
    np.mean: lambda x, axis=None, keepdims=False: x.mean(axis, keepdims),
    np.max: lambda x, axis=None, keepdims=False: x.max(axis, keepdims),
    np.reshape: lambda x, shape: x.reshape(*shape),
    np.transpose: lambda x, axes=None: x.transpose(*(axes or ())),
    np.concatenate: lambda xs, axis=0: concat(xs, axis),
    np.shape: lambda x: x.shape,
}


def lift(values: ArrayLike | Array, frame: ZFrame, dtype: DTypeLike | None = None,
         backend: Backend | None = None) -> ZTensor:
    """Give an array a frame.

    Parameters
    ----------
    values : Array or array_like
        [T], [T, C] or [N, T, C]; a plain Array is not copied.
    """
    return ZTensor(_viewed(values) if isinstance(values, Array) else asarray(values, dtype, backend), frame)


def _viewed(x: Array) -> Array:
    """What is the same array for the values is another one for the tape: a view hands its gradient on."""
    return apply("reshape", x, shape=x.shape) if x.requires_grad else x


@dataclass(frozen=True)
class ZGaussian:
    """Rows with their spread and the cell where each has most energy.

    Attributes
    ----------
    mu : ZTensor [N, D]
    sigma : ZTensor [N, D]
        Variances.
    indices : tuple of ZIndex
        One cell a row.
    """

    mu: ZTensor
    sigma: ZTensor
    indices: tuple[ZIndex, ...]


def embed(x: ArrayLike, frame: ZFrame, window: int = 32) -> ZGaussian:
    """Rows of a signal, or vectors, as Gaussians in Z-space.

    Parameters
    ----------
    x : array_like
        [T]: a signal, cut into windows of `window` samples (half overlapping), or [N, D]: one vector a row.
    frame : ZFrame
        Decides the cell of each row; a row is read as a signal over its D entries.

    Returns
    -------
    ZGaussian
        mu are the rows; sigma their variance over each row's neighbourhood (`NEIGHBOURS` rows on each side).
    """
    values = np.asarray(x, np.float64)
    if values.ndim == 1:
        if len(values) < window:
            raise ValueError(f"embed: {len(values)} samples are fewer than one window of {window}: pass window=N")
        values = np.lib.stride_tricks.sliding_window_view(values, window)[:: max(window // 2, 1)]
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"embed needs a signal [T] or vectors [N, D], got shape {np.shape(x)}")
    if not np.isfinite(values).all():
        raise ValueError("embed: the input holds values that are not finite: remove them first")
    rows, spread = len(values), np.empty_like(values)
    for i in range(rows):
        spread[i] = values[max(0, i - NEIGHBOURS): i + NEIGHBOURS + 1].var(axis=0)
    return ZGaussian(lift(values, frame), lift(spread, frame), tuple(_strongest_cell(row, frame) for row in values))


def _strongest_cell(row: NDArray[np.float64], frame: ZFrame) -> ZIndex:
    """The cell of largest density at echo 0; of the echoes, the lag at which that band repeats itself best."""
    lags = tuple(lag for lag in frame.temporal.lags if lag < len(row))
    seen = replace(frame, temporal=replace(frame.temporal, lags=lags))
    density = field_density(row, seen)
    band, sheet = np.unravel_index(np.argmax(density[:, :, 0]), density.shape[:2])
    echo = 0
    if len(lags) > 1:
        z = analytic_bands(row, seen)[band, 0]
        echo = 1 + int(np.argmax([np.real(np.vdot(np.roll(z, lag, axis=0), z)) for lag in lags[1:]]))
    return ZIndex(int(band), int(sheet), echo)
