"""The wgpu column of the table of primitives: what works along rows. Norms, cross-entropy, the order of a row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from core.backends.wgpu_kernels import LANES, floats, fold, groups, power_of_two
from core.backends.wgpu_pool import View
from core.primitives import EPSILON

if TYPE_CHECKING:
    from core.backends.queue import Launch
    from core.backends.wgpu import WgpuBackend

WARP = 32  # invocations that run together on most devices
HELD = 32  # values of a row that an invocation of norm.wgsl and entropy.wgsl can keep
FOLDED = 64  # rows that one invocation of norm.wgsl adds up
BLOCK = 1024  # pairs that argsort.wgsl sorts in the memory of a workgroup


def lanes(width: int) -> int:
    """Invocations a row: a power of two. From four values each to a full warp of 32 each; then wider."""
    return min(LANES, max(min(WARP, power_of_two(width / 4)), power_of_two(width / HELD)))


def held(width: int) -> int:
    """Values of a row that each of its invocations keeps: a power of two, so that there are few kernels to compile."""
    return min(HELD, power_of_two(width / lanes(width)))


# --- norms -----------------------------------------------------------------------------------------------------------


def _norm(backend: WgpuBackend, launch: Launch, entry: str, out: View, x: View, *others: View) -> None:
    """One launch of norm.wgsl over the rows of x."""
    width = x.shape[-1]
    rows = x.size // max(width, 1)
    count = groups(out.size) if entry == "weights" else groups(rows * lanes(width))
    backend.dispatch("norm", [rows, width, lanes(width), EPSILON], [x, *others], [out], count if width else 0, entry,
                     {"centred": int(launch.primitive.name.startswith("layer")), "held": held(width)})


def _norm_forward(backend: WgpuBackend, launch: Launch, x: View, w: View, b: View | None = None) -> View:
    floats(launch, x, w, b or w)
    out = backend.empty(launch.shape)
    x, w, b = backend.contiguous(x), backend.contiguous(w), backend.contiguous(b or w)  # b is not read if there is none
    _norm(backend, launch, "forward", out, x, w, b)
    return out


def _norm_dx(backend: WgpuBackend, launch: Launch, g: View, x: View, w: View) -> View:
    floats(launch, g, x, w)
    out = backend.empty(launch.shape)
    _norm(backend, launch, "backward", out, backend.contiguous(x), backend.contiguous(w), backend.contiguous(g))
    return out


def _norm_dw(backend: WgpuBackend, launch: Launch, g: View, x: View) -> View:
    """Every so many rows are added up, then the sums: the order hangs on the shape alone, and errors grow slowly."""
    floats(launch, g, x)
    x, rows = backend.contiguous(x), math.prod(x.shape[:-1])
    moments = backend.empty((rows, 2))
    _norm(backend, launch, "moments", moments, x)
    parts = backend.empty((-(-rows // FOLDED), x.shape[-1]))
    _norm(backend, launch, "weights", parts, x, moments, backend.contiguous(g))
    return fold(backend, parts, (0,), launch.shape)


# --- cross-entropy ---------------------------------------------------------------------------------------------------


def _cross_entropy(backend: WgpuBackend, launch: Launch, logits: View, targets: View) -> View:
    floats(launch, logits)
    out, width = backend.empty(launch.shape), logits.shape[-1]
    backend.dispatch("entropy", [out.size, width, lanes(width)],
                     [backend.contiguous(logits), backend.contiguous(targets)], [out],
                     groups(out.size * lanes(width)), "loss", {"held": held(width)})
    return out


def _cross_entropy_grad(backend: WgpuBackend, launch: Launch, g: View, logits: View, targets: View) -> View:
    floats(launch, g, logits)
    out, width = backend.empty(launch.shape), logits.shape[-1]
    backend.dispatch("entropy", [g.size, width, lanes(width)],
                     [backend.contiguous(logits), backend.contiguous(targets), backend.contiguous(g)], [out],
                     groups(g.size * lanes(width)), "gradient", {"held": held(width)})
    return out


# --- order -----------------------------------------------------------------------------------------------------------


def _argsort(backend: WgpuBackend, launch: Launch, x: View) -> View:
    floats(launch, x)
    x, n = backend.contiguous(x), x.shape[-1]
    out = backend.empty(launch.shape, np.int32)
    if not out.size:
        return out
    rows, m = x.size // n, power_of_two(n)
    inside = min(m, BLOCK)
    pairs = backend.empty((rows, m, 2) if m > BLOCK else (), np.int32)

    def step(entry: str, first: int, last: int, apart: int = 0) -> None:
        uniforms = [rows, n, m, first, last, apart, int(launch.params["descending"])]
        count = groups(rows * m // 2) if entry == "across" else -(-rows * m // BLOCK)
        backend.dispatch("argsort", uniforms, [x], [pairs, out], count, entry)

    step("inside", 2, inside)
    block = 2 * inside
    while block <= m:
        apart = block // 2
        while apart >= BLOCK:
            step("across", block, block, apart)
            apart //= 2
        step("inside", block, block)
        block *= 2
    return out


KERNELS: dict[str, Callable[..., View]] = {
    "rms_norm": _norm_forward,
    "rms_norm_dx": _norm_dx,
    "rms_norm_dw": _norm_dw,
    "layer_norm": _norm_forward,
    "layer_norm_dx": _norm_dx,
    "layer_norm_dw": _norm_dw,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
    "argsort": _argsort,
}
