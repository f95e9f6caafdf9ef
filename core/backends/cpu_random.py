"""Random numbers on the CPU: `core.random` in blocks over the pool, the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from core.backends.cpu import CpuBackend
    from core.backends.queue import Launch

A = NDArray[Any]
BLOCK = 1 << 16  # integers that a thread draws at a time: they stay in the cache
M0, M1, W0, W1, LOW, SHIFT = (np.uint64(k) for k in (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF, 32))


@njit(cache=True, nogil=True)
def philox(k0: Any, k1: Any, first: Any, step_low: Any, step_high: Any, stream: Any, out: Any) -> None:
    """Counters from `first` on, four integers each; apart at first, so that the rounds vectorise over counters."""
    lanes = np.empty((4, out.shape[0]), np.uint32)
    for i in range(out.shape[0]):
        c0, c1, c2, c3, a, b = (first + np.uint64(i)) & LOW, step_low, step_high, stream, k0, k1
        for _ in range(10):
            p0, p1 = M0 * c0, M1 * c2
            c0, c1, c2, c3 = (p1 >> SHIFT) ^ c1 ^ a, p1 & LOW, (p0 >> SHIFT) ^ c3 ^ b, p0 & LOW
            a, b = (a + W0) & LOW, (b + W1) & LOW
        lanes[0, i], lanes[1, i], lanes[2, i], lanes[3, i] = c0, c1, c2, c3
    for i in range(out.shape[0]):
        for k in range(4):
            out[i, k] = lanes[k, i]


def _integers(launch: Launch, start: int, stop: int) -> A:
    """Integers start to stop of the draw."""
    p, first = launch.params, start // 4
    out = np.empty((-(-stop // 4) - first, 4), np.uint32)
    (k0, k1), step, u64 = p["key"], p["step"], np.uint64
    philox(u64(k0), u64(k1), u64(p["offset"] + first), u64(step & 0xFFFFFFFF), u64(step >> 32), u64(p["stream"]), out)
    return out.reshape(-1)[start - 4 * first : stop - 4 * first]


def _bits(launch: Launch, out: A, start: int, stop: int) -> None:
    out[start:stop] = _integers(launch, start, stop).view(np.int32)


def _uniform(launch: Launch, out: A, start: int, stop: int) -> None:
    """24 bits fit float32."""
    np.multiply((_integers(launch, start, stop) >> np.uint32(8)).view(np.int32), out.dtype.type(2.0**-24),
                out=out[start:stop], dtype=out.dtype, casting="unsafe")


def _normal(launch: Launch, out: A, start: int, stop: int) -> None:
    """Pairs start to stop; cosines fill the first half of `out`, sines the second."""
    pairs = -(-len(out) // 2)
    radius, angle = ((_integers(launch, a + start, a + stop) + 0.5) * 2.0**-32 for a in (0, pairs))
    radius, angle = np.sqrt(-2 * np.log(radius)), 2 * np.pi * angle
    out[start:stop] = radius * np.cos(angle)
    sines = out[pairs + start : pairs + stop]  # of an odd number, one short
    sines[:] = (radius * np.sin(angle))[: len(sines)]


def _drawn(draw: Callable[[Launch, A, int, int], None], each: int) -> Callable[..., A]:
    """A kernel from a draw of blocks; one gives `each` numbers for every number of the block."""
    def kernel(backend: CpuBackend, launch: Launch) -> A:
        out = np.empty(math.prod(launch.shape), launch.dtype)
        n = -(-len(out) // each)
        backend.map(lambda i: draw(launch, out, i, min(i + BLOCK, n)), range(0, n, BLOCK))
        return out.reshape(launch.shape)

    return kernel


RANDOM = {"random_bits": _drawn(_bits, 1), "random_uniform": _drawn(_uniform, 1), "random_normal": _drawn(_normal, 2)}
