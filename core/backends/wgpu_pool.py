"""Values on a wgpu device: pooled buffers, and strided views of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from core.errors import BackendError
from core.primitives import Shape

FADE = 0.9  # what a flush leaves of the memory of what earlier ones needed
SMALLEST = 256  # bytes of a buffer, and the largest alignment of a binding that WebGPU allows a device to ask for


class Storage:
    """A buffer of the pool, which gets it back when nobody holds the storage any more."""

    __slots__ = ("buffer", "key", "nbytes", "pool")

    def __init__(self, pool: Pool, nbytes: int, key: int, buffer: Any) -> None:
        self.pool, self.nbytes, self.key, self.buffer = pool, nbytes, key, buffer

    def __del__(self) -> None:
        self.pool.returned.append((self.nbytes, self.key))  # atomic: any thread may drop a storage


class Pool:
    """Buffers by size class; a freed one is given again at once, as all work on a device is in order.

    Parameters
    ----------
    make : callable
        ``make(nbytes) -> buffer`` of the device.
    limit : int
        Largest buffer in bytes that a kernel can bind.
    """

    def __init__(self, make: Callable[[int], Any], limit: int) -> None:
        self.make, self.limit = make, limit
        self.returned: list[tuple[int, int]] = []
        self._buffers: dict[int, Any] = {}  # all: the collector may drop a storage, but not its buffer with it
        self._free: dict[int, list[int]] = {}  # keys by size
        self._made = self._total = self._kept = self._peak = self._needed = 0

    def take(self, nbytes: int) -> Storage:
        """A storage of at least so many bytes, with whatever values; the caller holds the backend's lock."""
        size = min(size_class(nbytes), self.limit // SMALLEST * SMALLEST)
        if nbytes > size:
            raise BackendError(f"backend 'wgpu': an array of {nbytes:,} bytes is above this device's limit of "
                               f"{self.limit:,} bytes a binding: use a smaller batch, or --backend cpu")
        self._collect()
        free = self._free.get(size)
        if free:  # the oldest first: a step then meets the buffers it met before, and their bind groups
            key = heapq.heappop(free)
            self._kept -= size
        else:
            key = self._made
            self._buffers[key] = self.make(size)
            self._made += 1
            self._total += size
        self._needed = max(self._needed, self._total - self._kept)
        self._peak = max(self._peak, self._needed)
        return Storage(self, size, key, self._buffers[key])

    def trim(self, most: int) -> bool:
        """After a flush, with nothing encoded: forget every free buffer where they are more than so many bytes.

        They may be more where the last flushes used more: a step of training that does not fit into `most` would make
        all its buffers anew each time, which takes a device longer than the step.
        """
        self._collect()
        used = self._total - self._kept
        most = max(most, self._needed + self._needed // 4 - used)  # a quarter, where free ones are of the wrong size
        self._needed = max(used, int(FADE * self._needed))
        if self._kept <= most:
            return False
        self._total -= self._kept
        self._kept = 0
        for keys in self._free.values():
            for key in keys:
                del self._buffers[key]
        self._free.clear()
        return True

    def residency(self) -> dict[str, int]:
        """Bytes in use, kept for the next use, and in use at most so far."""
        self._collect()
        return {"in_use": self._total - self._kept, "kept": self._kept, "peak": self._peak}

    def _collect(self) -> None:
        while self.returned:
            size, key = self.returned.pop()
            heapq.heappush(self._free.setdefault(size, []), key)
            self._kept += size


def size_class(nbytes: int) -> int:
    """Bytes of the buffer for so many: four classes an octave, so at most a quarter is unused."""
    step = max(SMALLEST, 1 << max((nbytes - 1).bit_length() - 3, 0))
    return max(-(-nbytes // step) * step, SMALLEST)


class View:
    """Values in a storage: item i of axis k lies `strides[k]` values on from item i - 1, the first at `offset`.

    Parameters
    ----------
    storage : Storage
    shape, strides : tuple of int
        Sizes, and steps in values (0 along a broadcast axis).
    offset : int
        Place of the first value, counted in values.
    dtype : numpy.dtype
        float32, int32, or float16, which is packed two in a u32 and always contiguous.
    """

    __slots__ = ("dtype", "offset", "shape", "storage", "strides")

    def __init__(self, storage: Storage, shape: Shape, strides: Shape, offset: int, dtype: np.dtype[Any]) -> None:
        self.storage, self.shape, self.strides, self.offset, self.dtype = storage, shape, strides, offset, dtype

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(self.shape)

    @property
    def row_major(self) -> bool:
        """Whether the values lie in one piece in the order of the indices."""
        return in_one_piece(self.shape, self.strides)

    def reshape(self, shape: Shape) -> View:
        """A view of the same values, which must be row-major."""
        return View(self.storage, shape, row_major(shape), self.offset, self.dtype)

    def transpose(self, axes: Shape) -> View:
        return View(self.storage, tuple(self.shape[i] for i in axes), tuple(self.strides[i] for i in axes),
                    self.offset, self.dtype)

    def slice(self, start: Shape, stop: Shape) -> View:
        moved = sum(a * s for a, s in zip(start, self.strides, strict=True))
        return View(self.storage, tuple(b - a for a, b in zip(start, stop, strict=True)), self.strides,
                    self.offset + moved, self.dtype)

    def broadcast(self, shape: Shape) -> View:
        """A view that repeats axes of one value, and the whole along axes in front, without a copy."""
        return View(self.storage, shape, stretched(self.shape, self.strides, shape), self.offset, self.dtype)


@cache
def in_one_piece(shape: Shape, strides: Shape) -> bool:
    """Whether values lie as in a new array; steps along axes of one value are free."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != step:
            return 0 in shape
        step *= n
    return True


@cache
def row_major(shape: Shape) -> Shape:
    """Strides of values in one piece."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def stretched(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Strides of an array broadcast to a shape."""
    return (0,) * (len(target) - len(shape)) + tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))
