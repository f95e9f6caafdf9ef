"""The wgpu column of the table of primitives: signals. Convolutions, recurrences, spectra, patches, random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from core import kernels
from core.backends.wgpu_kernels import collapse, fitted, floats, fold, groups
from core.backends.wgpu_pool import View
from core.primitives import Shape

if TYPE_CHECKING:
    from core.backends.queue import Launch
    from core.backends.wgpu import WgpuBackend

RUN = 8  # steps that one invocation of conv.wgsl convolves
FOLDED = 256  # steps that one invocation of conv.wgsl adds up
LANES = (32, 16, 64, 8)  # channels of a workgroup of recurrence.wgsl: fewer, and its tiles are longer
CELLS = 1024  # values that fft.wgsl keeps in the memory of a workgroup
PAIRS, REAL, HALF = 0, 1, 2  # what fft.wgsl reads and writes

# --- along time ------------------------------------------------------------------------------------------------------


def _conv(backend: WgpuBackend, launch: Launch, entry: str, shape: Shape, inputs: list[View], taps: int,
          before: int = 0) -> View:
    """One launch of conv.wgsl; the first input is a signal."""
    floats(launch, *inputs)
    out = backend.empty(shape)
    jobs = out.size if entry != "forward" else shape[0] * -(-shape[1] // RUN) * shape[2]
    backend.dispatch("conv", [*inputs[0].shape, taps, launch.params["dilation"], before, shape[1]],
                     [backend.contiguous(x) for x in inputs], [out], groups(jobs), entry)
    return out


def _causal_conv(backend: WgpuBackend, launch: Launch, x: View, w: View, tail: View) -> View:
    return _conv(backend, launch, "forward", launch.shape, [x, tail, w], w.shape[0])


def _causal_conv_dx(backend: WgpuBackend, launch: Launch, g: View, w: View) -> View:
    return _conv(backend, launch, "backward", launch.shape, [g, w], w.shape[0])


def _causal_conv_dtail(backend: WgpuBackend, launch: Launch, g: View, w: View) -> View:
    return _conv(backend, launch, "backward", launch.shape, [g, w], w.shape[0], before=launch.shape[1])


def _causal_conv_dw(backend: WgpuBackend, launch: Launch, g: View, x: View, tail: View) -> View:
    parts = _conv(backend, launch, "weights", (-(-x.shape[0] * x.shape[1] // FOLDED), *launch.shape), [x, tail, g],
                  launch.shape[0])
    return fold(backend, parts, (0,), launch.shape)


def _recurrence(backend: WgpuBackend, launch: Launch, a: View, b: View, h0: View) -> View:
    floats(launch, a, b, h0)
    out = backend.empty(launch.shape)
    if not out.size:
        return out
    batch, steps, channels, *_ = a.shape
    given = [backend.contiguous(x) for x in (a, b, h0)]

    def run(lanes: int) -> None:
        backend.dispatch("recurrence", [batch, steps, channels], given, [out], batch * -(-channels // lanes),
                         constants={"complex": int(len(a.shape) == 4), "reverse": int(launch.params["reverse"]),
                                    "lanes": lanes})

    run(backend.fastest(launch, kernels.source("recurrence"), LANES, run))
    return out


# --- spectra ---------------------------------------------------------------------------------------------------------


def _complex_mul(backend: WgpuBackend, launch: Launch, a: View, b: View) -> View:
    floats(launch, a, b)
    out = backend.empty(launch.shape)
    a, b = a.broadcast(launch.shape), b.broadcast(launch.shape)
    sizes, (left, right) = collapse(launch.shape[:-1], a.strides[:-1], b.strides[:-1])
    uniforms = [out.size // 2, len(sizes), a.offset, b.offset, a.strides[-1], b.strides[-1], 0, 0,
                *fitted("complex_mul", sizes, 8, 1), *fitted("complex_mul", left, 8, 0),
                *fitted("complex_mul", right, 8, 0)]
    backend.dispatch("strided", uniforms, [a.storage, b.storage], [out], groups(out.size // 2), "product",
                     {"conjugate": int(launch.params["conjugate"])})
    return out


def factors(n: int) -> list[int]:
    """Prime factors, the largest first."""
    found: list[int] = []
    p = 2
    while n > 1:
        if p * p > n:
            p = n
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found[::-1]


@cache
def passes(n: int) -> list[list[int]]:
    """The radices of a transform of length n, pass by pass: primes too large for a workgroup first, then as few passes
    of about equal length as hold the others, in steps of 4 where there are twos."""
    primes = factors(n)
    small = [p for p in primes if p <= CELLS]
    large = [[p] for p in primes if p > CELLS]
    count = 0 if large and not small else 1
    while True:
        bins: list[list[int]] = [[] for _ in range(count)]
        for p in small:
            min(bins, key=math.prod).append(p)
        if all(math.prod(b) <= CELLS for b in bins):
            return large + [_by_fours(b) for b in bins]
        count += 1


def _by_fours(primes: list[int]) -> list[int]:
    twos = primes.count(2)
    return [4] * (twos // 2) + [2] * (twos % 2) + [p for p in primes if p > 2]


def _twiddles(backend: WgpuBackend, n: int) -> View:
    """exp(-2 pi i k / n), made on the host in float64 and rounded once."""
    key = ("twiddles", n)
    if key not in backend.kernels:
        turns = np.exp(-2j * np.pi * np.arange(n) / n)
        backend.kernels[key] = backend.upload(np.stack([turns.real, turns.imag], -1).astype(np.float32)).data
    table: View = backend.kernels[key]
    return table


def _fourier(backend: WgpuBackend, x: View, out: View, source: int, target: int, n: int, axis: int) -> View:
    """The passes of one transform, in one submit."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 : len(x.shape) - (source == HALF)])
    given, span, todo = x.shape[axis], 1, passes(n)
    roots, x = _twiddles(backend, n), backend.contiguous(x)
    for i, radices in enumerate(todo):
        radix, last = math.prod(radices), i == len(todo) - 1
        direct = radix > CELLS
        columns = max(CELLS // radix, 1)
        result = out if last else backend.empty((outer, n, inner, 2))
        uniforms = [outer, given, len(radices), 0, *(radices + [0] * 8)[:8]]
        count = groups(outer * n * inner) if direct else -(-outer * (n // radix) * inner // columns)
        backend.dispatch("fft", uniforms, [x, roots], [result], count, "direct" if direct else "inside",
                         {"source": PAIRS if i else source, "target_kind": target if last else PAIRS, "N": n,
                          "INNER": inner, "RADIX": radix, "SPAN": span, "COLUMNS": columns})
        x, span = result, span * radix
    return out


def _rfft(backend: WgpuBackend, launch: Launch, x: View) -> View:
    floats(launch, x)
    return _fourier(backend, x, backend.empty(launch.shape), REAL, HALF, **launch.params)


def _irfft(backend: WgpuBackend, launch: Launch, x: View) -> View:
    floats(launch, x)
    return _fourier(backend, x, backend.empty(launch.shape), HALF, REAL, **launch.params)


def _sheet_weight(backend: WgpuBackend, launch: Launch, re: View, im: View, values: View) -> View:
    floats(launch, re, im, values)
    out = backend.empty(launch.shape)
    backend.dispatch("sheets", [out.size, values.size], [backend.contiguous(x) for x in (re, im, values)], [out],
                     groups(out.size))
    return out


# --- patches ---------------------------------------------------------------------------------------------------------


def _patches(entry: str) -> Callable[..., View]:
    def kernel(backend: WgpuBackend, launch: Launch, x: View) -> View:
        floats(launch, x)
        out, p = backend.empty(launch.shape), launch.params
        image, cells = (x.shape, launch.shape) if entry == "unfold" else (launch.shape, x.shape)
        uniforms = [*image, *cells[1:3], *p["kernel"], *p["stride"], *p["padding"]]
        backend.dispatch("patches", uniforms, [backend.contiguous(x)], [out], groups(out.size), entry)
        return out

    return kernel


# --- random numbers --------------------------------------------------------------------------------------------------


def _random(entry: str, share: int) -> Callable[..., View]:
    def kernel(backend: WgpuBackend, launch: Launch) -> View:
        """`share` values an invocation."""
        out, p = backend.empty(launch.shape, launch.dtype), launch.params
        uniforms: list[Any] = [out.size, p["stream"], p["step"] & 0xFFFFFFFF, p["step"] >> 32, *p["key"], p["offset"]]
        backend.dispatch("random", uniforms, [], [out], groups(-(-out.size // share)), entry)
        return out

    return kernel


KERNELS: dict[str, Callable[..., View]] = {
    "causal_conv": _causal_conv,
    "causal_conv_dx": _causal_conv_dx,
    "causal_conv_dw": _causal_conv_dw,
    "causal_conv_dtail": _causal_conv_dtail,
    "linear_recurrence": _recurrence,
    "complex_recurrence": _recurrence,
    "complex_mul": _complex_mul,
    "rfft": _rfft,
    "irfft": _irfft,
    "unfold2d": _patches("unfold"),
    "fold2d": _patches("fold"),
    "random_bits": _random("draw_bits", 4),
    "random_uniform": _random("draw_uniform", 4),
    "random_normal": _random("draw_normal", 2),
    "sheet_weight": _sheet_weight,
}
