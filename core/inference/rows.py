"""One formula for arrays of NumPy and of the array layer: what differs between them, and blending row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core import functions as f
from core.array import Array, apply, asarray

Rows = Any  # NDArray[np.float64] or Array: formulas use what both have
TINY = 16  # values up to which a product of matrices beats an FFT, a thousand latents at a time
BLOCK = 256  # latents whose spectra are held at a time: memory that is asked for anew costs more than a call
SAME = 1e-12  # relative: what rounding may add to half of the weight; 1e-6 in float32


def _walk(x: Rows) -> Sequence[Rows]:
    from core.inference.walk import walk  # whose compiler would make `import core` long

    return walk(x)


def _spectral_sums(x: Rows, weights: Rows) -> Sequence[Rows]:
    """Weighted sums of the squares of real and imaginary parts of the spectrum in turn, of x [N, D]."""
    sums, n = np.empty((len(weights), len(x))), x.shape[1]
    spectra = np.empty((min(BLOCK, len(x)), n // 2 + 1), np.complex128)
    for at in range(0, len(x), BLOCK):
        z = x[at:at + BLOCK]
        parts = spectra[:len(z)].view(np.float64)
        if n <= TINY:
            np.matmul(z, _fourier(n), out=parts)
        else:
            np.fft.rfft(z, out=spectra[:len(z)])
        np.matmul(weights, np.square(parts, out=parts).T, out=sums[:, at:at + BLOCK])
    return tuple(sums)


@lru_cache(maxsize=TINY)
def _fourier(n: int) -> Rows:
    """The matrix of a short transform, which is less work as a product."""
    return np.fft.rfft(np.eye(n)).view(np.float64)


def _softplus(x: Rows) -> Rows:
    """log(1 + exp(x)); five times as fast as logaddexp."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _layer_walk(x: Array) -> Sequence[Array]:
    padded = apply("pad", x.transpose(), before=(1, 0), after=(1, 0))  # [D + 2, N]: sums of columns are one call
    z, n = padded[1:-1], x.shape[1]
    none = asarray(np.zeros(x.shape[0], x.dtype), backend=x.backend)
    steps = z[1:] - z[:-1]
    motion = f.absolute(steps).sum(axis=0) if n > 1 else none
    bend = f.absolute(steps[1:] - steps[:-1]).sum(axis=0) if n > 2 else none
    rise = padded[2:] - padded[:-2]  # twice the gradient
    largest = f.maximum(f.absolute(rise).max(axis=0), asarray(np.asarray(2, x.dtype), backend=x.backend))
    return z.sum(axis=0), (z * z).sum(axis=0), motion, bend, (rise / largest).transpose()


def _layer_spectral_sums(x: Array, weights: Array) -> Sequence[Array]:
    parts = f.rfft(x).reshape(x.shape[0], -1).transpose()
    sums = weights @ (parts * parts)
    return tuple(sums[i] for i in range(weights.shape[0]))


HOST = SimpleNamespace(
    tanh=np.tanh, sqrt=np.sqrt, exp=np.exp, log1p=np.log1p, absolute=np.abs, maximum=np.maximum, concat=np.concatenate,
    softplus=_softplus, walk=_walk, spectral_sums=_spectral_sums,
    argsort=lambda x: np.argsort(x, axis=-1, kind="stable"),
    take_along=lambda x, index: np.take_along_axis(x, index, -1), greater=lambda a, b: (a > b).astype(np.float64),
    where=lambda c, a, b: np.where(c != 0, a, b), put=lambda values, like: np.asarray(values, np.float64), same=SAME)
LAYER = SimpleNamespace(
    tanh=f.tanh, sqrt=f.sqrt, exp=f.exp, log1p=f.log1p, absolute=f.absolute, maximum=f.maximum, concat=f.concat,
    softplus=f.softplus, walk=_layer_walk, spectral_sums=_layer_spectral_sums, argsort=f.argsort,
    take_along=lambda x, index: apply("take_along", x, index), greater=lambda a, b: apply("greater", a, b),
    where=f.where, put=lambda values, like: asarray(np.asarray(values, like.dtype), backend=like.backend), same=1e-6)


def functions_of(x: Rows) -> SimpleNamespace:
    """The functions for an array."""
    return LAYER if isinstance(x, Array) else HOST


def checked_rows(name: str, values: ArrayLike | Array, shape: tuple[int | None, ...],
                 squares: bool = False) -> Rows:
    """Values of a shape (None: any size). Those of the host become float64 and must be finite, or even their squares.

    What lies on a backend is not looked at, which would wait for it: what is not finite makes its row NaN.
    """
    x: Rows = values if isinstance(values, Array) else np.asarray(values)
    if len(x.shape) != len(shape) or any(want not in (None, n) for n, want in zip(x.shape, shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: the shape is {tuple(x.shape)}, give [{wanted}]")
    if isinstance(x, Array):
        if x.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name}: the type is {x.dtype}, cast it to float32, or float64 where the backend has it")
        return x
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{name}: the type is {x.dtype}, give real numbers")
    x = x.astype(np.float64, copy=False)
    if not math.isfinite(np.vdot(x, x)):
        at = np.argwhere(~np.isfinite(x))
        if len(at):
            raise ValueError(f"{name}: {x[tuple(at[0])]} at {at[0].tolist()}, remove what is not finite")
        if squares:
            raise ValueError(f"{name}: the sum of squares overflows at {np.abs(x).max():g}, scale it down")
    return x


def shares(weights: Sequence[float]) -> list[float]:
    """Weights over their sum, by way of the largest, so that the sum does not overflow."""
    top = max(weights)
    scaled = [w / top for w in weights]
    total = math.fsum(scaled)
    return [w / total for w in scaled]


def blend_rows(rows: Sequence[Rows], weights: Sequence[float], strategy: str) -> Rows:
    """K arrays of one shape blended element by element; `core.inference.blend.blend_zspace_partials` has the rules.

    What goes beyond the floats comes out as infinity or NaN, which the caller refuses by name.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return rows[0] if len(rows) == 1 and strategy != "sum" else _BLENDS[strategy](rows, weights)


def _least(rows: Sequence[Rows]) -> Rows:
    return -reduce(functions_of(rows[0]).maximum, [-r for r in rows])


def _most(rows: Sequence[Rows]) -> Rows:
    return reduce(functions_of(rows[0]).maximum, rows)


def _mean(rows: Sequence[Rows], weights: Sequence[float]) -> Rows:
    total = sum(r * share for r, share in zip(rows, shares(weights), strict=True))
    return _least((_most((total, _least(rows))), _most(rows)))  # rounding stays within the values


def _sum(rows: Sequence[Rows], weights: Sequence[float]) -> Rows:
    """With what each addition loses added at the end (Knuth's two-sum)."""
    total: Rows = rows[0] * weights[0]
    lost = total * 0.0
    for r, w in zip(rows[1:], weights[1:], strict=True):
        term = r * w
        after = total + term
        part = after - total
        lost = lost + ((total - (after - part)) + (term - part))
        total = after
    return total + lost


def _median(rows: Sequence[Rows], weights: Sequence[float]) -> Rows:
    xp, k = functions_of(rows[0]), len(rows)
    stacked = xp.concat([r.reshape(*r.shape, 1) for r in rows], -1)
    order = xp.argsort(stacked)
    values = xp.take_along(stacked, order)
    part = xp.take_along(stacked * 0.0 + xp.put(shares(weights), stacked), order)
    below = part @ xp.put(np.triu(np.ones((k, k))), stacked)  # running sums

    step = xp.put(np.eye(k) - np.eye(k, k=1), stacked)  # from the first above a limit on: a one where that begins

    def first_above(limit: float) -> Rows:
        """The value at which the running sum first exceeds a limit."""
        return ((xp.greater(below, xp.put(limit, stacked)) @ step) * values).sum(axis=-1)

    return first_above(0.5 - xp.same) * 0.5 + first_above(0.5 + xp.same) * 0.5


_BLENDS: dict[str, Callable[[Sequence[Rows], Sequence[float]], Rows]] = {
    "mean": _mean, "sum": _sum, "median": _median, "last": lambda rows, _: rows[-1],
    "max": lambda rows, _: _most(rows), "min": lambda rows, _: _least(rows),
}
