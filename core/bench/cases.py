"""What is timed: inputs of a given size, our call, and the same in the words of other libraries.

Arrays that only a peer wants (its own layout, logarithms) are drawn beside ours, so that it need not make them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from core.array import apply, asarray
from core.functions import (
    argsort,
    causal_conv,
    complex_recurrence,
    cross_entropy,
    irfft,
    layer_norm,
    linear_recurrence,
    random_uniform,
    rfft,
    rms_norm,
    silu,
    take,
)

Drawn = list[NDArray[Any]]
Draw = Callable[[np.random.Generator, int], Drawn]
COLUMNS, STEPS, CHANNELS, TAPS, SYMBOLS = 1024, 1024, 128, 4, 256


@dataclass(frozen=True)
class Case:
    """One kernel.

    Attributes
    ----------
    draw : callable
        ``draw(rng, n) -> arrays``: about n values in the largest one that ours takes.
    ours : callable
        ``ours(*arrays)``.
    array : callable
        ``array(xp, *arrays)``, xp being NumPy, or CuPy on CUDA.
    torch : callable
        ``torch(torch, *tensors)``.
    bound : {"copy", "matmul"}
        The ceiling that it is held to.
    host : str
        What `array` is called on the host.
    compiles : bool
        Whether torch.compile takes `torch`: it unrolls a loop over the steps.
    """

    draw: Draw
    ours: Callable[..., Any]
    array: Callable[..., Any]
    torch: Callable[..., Any]
    bound: Literal["copy", "matmul"] = "copy"
    host: str = "numpy"
    compiles: bool = True

    def call(self, drawn: Drawn) -> Callable[[], Any]:
        """Ours on arrays of the current backend; what is complex is a peer's."""
        given = [None if x.dtype.kind == "c" else asarray(x) for x in drawn]
        return lambda: self.ours(*given)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, np.float32)


def _rows(count: int, rng: np.random.Generator, n: int) -> Drawn:
    """Tables [n / COLUMNS, COLUMNS]."""
    return [_normal(rng, max(1, n // COLUMNS), COLUMNS) for _ in range(count)]


def _norm(rng: np.random.Generator, n: int) -> Drawn:
    return [*_rows(1, rng, n), _normal(rng, COLUMNS), _normal(rng, COLUMNS)]


def _square(rng: np.random.Generator, n: int) -> Drawn:
    side = max(1, math.isqrt(n))
    return [_normal(rng, side, side), _normal(rng, side, side)]


def _logits(rng: np.random.Generator, n: int) -> Drawn:
    rows = max(1, n // SYMBOLS)
    return [_normal(rng, rows, SYMBOLS), rng.integers(0, SYMBOLS, rows, np.int32)]


def _scan(rng: np.random.Generator, n: int) -> Drawn:
    """a in (0, 1), b above 0, h0 = 0 as the log-space form wants, and the logarithms that it starts from."""
    shape = max(1, n // (STEPS * CHANNELS)), STEPS, CHANNELS
    a, b = rng.uniform(0.5, 0.99, shape).astype(np.float32), rng.uniform(0.1, 1, shape).astype(np.float32)
    return [a, b, np.zeros((shape[0], CHANNELS), np.float32), np.log(a), np.log(b)]


def _complex_scan(rng: np.random.Generator, n: int) -> Drawn:
    shape = max(1, n // (2 * STEPS * CHANNELS)), STEPS, CHANNELS, 2
    parts = [_normal(rng, *shape) * np.float32(0.5), _normal(rng, *shape), _normal(rng, shape[0], *shape[2:])]
    return [*parts, *(x.view(np.complex64)[..., 0] for x in parts)]


def _conv(rng: np.random.Generator, n: int) -> Drawn:
    """Ours: [N, T, C]; theirs: [N, C, T] with the tail in front, taps reversed."""
    x = _normal(rng, max(1, n // (STEPS * CHANNELS)), STEPS, CHANNELS)
    w, tail = _normal(rng, TAPS, CHANNELS), _normal(rng, len(x), TAPS - 1, CHANNELS)
    full = np.concatenate([tail, x], 1)
    return [x, w, tail, full, np.ascontiguousarray(full.swapaxes(1, 2)), np.ascontiguousarray(w[::-1].T[:, None])]


def _spectrum(rng: np.random.Generator, n: int) -> Drawn:
    z = np.fft.rfft(_rows(1, rng, n)[0]).astype(np.complex64)
    return [z.view(np.float32).reshape(*z.shape, 2), z]


def _table(rng: np.random.Generator, n: int) -> Drawn:
    rows = max(1, n // SYMBOLS)
    return [_normal(rng, SYMBOLS, SYMBOLS), rng.integers(0, SYMBOLS, rows, np.int32), _normal(rng, rows, SYMBOLS)]


def _size(rng: np.random.Generator, n: int) -> Drawn:
    """A stand-in that says how many numbers to draw, and where."""
    return [np.zeros(n, np.float32)]


def _np_cross_entropy(xp: Any, x: Any, targets: Any) -> Any:
    top = x.max(-1, keepdims=True)
    return xp.log(xp.exp(x - top).sum(-1)) + top[:, 0] - x[xp.arange(len(x)), targets]


def _np_layer_norm(xp: Any, x: Any, w: Any, b: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / xp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-6) * w + b


def _np_scan(xp: Any, a: Any, b: Any, h0: Any) -> Any:
    out, h = xp.empty_like(b), h0
    for t in range(a.shape[1]):
        out[:, t] = h = a[:, t] * h + b[:, t]
    return out


def _log_scan(t: Any, *tensors: Any) -> Any:
    """Heinsen 2023, as minGRU's parallel form uses it."""
    log_a, log_b = tensors[3:]
    whole = log_a.cumsum(1)
    return (whole + (log_b - whole).logcumsumexp(1)).exp()


def _t_scan(t: Any, a: Any, b: Any, h0: Any) -> Any:
    out, h = t.empty_like(b), h0
    for i in range(a.shape[1]):
        h = a[:, i] * h + b[:, i]
        out[:, i] = h
    return out


def _np_conv(xp: Any, x: Any, w: Any, tail: Any, full: Any, *_: Any) -> Any:
    return sum(w[k] * full[:, TAPS - 1 - k : TAPS - 1 - k + x.shape[1]] for k in range(TAPS))


def _np_rfft(xp: Any, x: Any) -> Any:
    return scipy.fft.rfft(x, workers=-1) if xp is np else xp.fft.rfft(x)


def _np_irfft(xp: Any, _: Any, z: Any) -> Any:
    return scipy.fft.irfft(z, COLUMNS, workers=-1) if xp is np else xp.fft.irfft(z, COLUMNS)


def _np_scatter(xp: Any, table: Any, index: Any, g: Any) -> Any:
    out = xp.zeros_like(table)
    xp.add.at(out, index, g)
    return out


def _np_uniform(xp: Any, like: Any) -> Any:
    bits = xp.random.Philox(0) if xp is np else xp.random.Philox4x3210(0)
    return xp.random.Generator(bits).random(like.shape, xp.float32)


CASES: dict[str, Case] = {
    "silu(x) * y + z": Case(partial(_rows, 3), lambda x, y, z: silu(x) * y + z,
                            lambda xp, x, y, z: x / (1 + xp.exp(-x)) * y + z,
                            lambda t, x, y, z: t.nn.functional.silu(x) * y + z),
    "x * y + z": Case(partial(_rows, 3), lambda x, y, z: x * y + z, lambda xp, x, y, z: x * y + z,
                      lambda t, x, y, z: x * y + z),
    "sum of rows": Case(partial(_rows, 1), lambda x: x.sum(1), lambda xp, x: x.sum(1), lambda t, x: x.sum(1)),
    "sum of columns": Case(partial(_rows, 1), lambda x: x.sum(0), lambda xp, x: x.sum(0), lambda t, x: x.sum(0)),
    "cross_entropy": Case(_logits, cross_entropy, _np_cross_entropy, lambda t, x, y: t.nn.functional.cross_entropy(
        x, y.long(), reduction="none")),
    "rms_norm": Case(_norm, lambda x, w, b: rms_norm(x, w),
                     lambda xp, x, w, b: x / xp.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w,
                     lambda t, x, w, b: t.nn.functional.rms_norm(x, (COLUMNS,), w, 1e-6)),
    "layer_norm": Case(_norm, layer_norm, _np_layer_norm,
                       lambda t, x, w, b: t.nn.functional.layer_norm(x, (COLUMNS,), w, b, 1e-6)),
    "matmul": Case(_square, lambda a, b: a @ b, lambda xp, a, b: a @ b, lambda t, a, b: a @ b, "matmul"),
    "linear_recurrence": Case(_scan, lambda a, b, h, *_: linear_recurrence(a, b, h),
                              lambda xp, a, b, h, *_: _np_scan(xp, a, b, h), _log_scan, host="numpy loop"),
    "complex_recurrence": Case(_complex_scan, lambda a, b, h, *_: complex_recurrence(a, b, h),
                               lambda xp, *x: _np_scan(xp, *x[3:]), lambda t, *x: _t_scan(t, *x[3:]),
                               host="numpy loop", compiles=False),
    "causal_conv": Case(_conv, lambda x, w, tail, *_: causal_conv(x, w, tail), _np_conv,
                        lambda t, *x: t.nn.functional.conv1d(x[4], x[5], groups=CHANNELS)),
    "rfft": Case(partial(_rows, 1), rfft, _np_rfft, lambda t, x: t.fft.rfft(x), host="scipy"),
    "irfft": Case(_spectrum, lambda x, _: irfft(x, COLUMNS, 1), _np_irfft, lambda t, _, z: t.fft.irfft(z, COLUMNS),
                  host="scipy"),
    "argsort": Case(partial(_rows, 1), argsort, lambda xp, x: xp.argsort(x, -1, kind="stable"),
                    lambda t, x: t.argsort(x, dim=-1, stable=True)),
    "take": Case(_table, lambda x, i, g: take(x, i), lambda xp, x, i, g: x[i], lambda t, x, i, g: x[i]),
    "scatter_add": Case(_table, lambda x, i, g: apply("scatter_add", g, i, rows=SYMBOLS), _np_scatter,
                        lambda t, x, i, g: t.zeros_like(x).index_add_(0, i, g)),
    "philox uniform": Case(_size, lambda x: random_uniform(0, 0, 0, x.shape), _np_uniform,
                           lambda t, x: t.rand(x.shape, device=x.device)),
}
