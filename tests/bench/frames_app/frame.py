"""The frames that both sides of `tests.bench.frames` speak of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (512, 512, 1)
IN_FLIGHT = 2


class Frames:
    """A new frame each time: every value changes, the first one counts."""

    def __init__(self) -> None:
        self.counter = 0
        self._base = np.random.default_rng(0).random(SHAPE, np.float32)

    def next(self) -> tuple[NDArray[np.float32], int]:
        """The next frame and its checksum."""
        self.counter += 1
        values = self._base * np.float32(1 + self.counter % 1000 / 1000)
        values[0, 0, 0] = self.counter
        return values, checksum(values)


def checksum(values: NDArray[np.float32]) -> int:
    """Sum of the values' bits as 32-bit words, as JavaScript can compute it without a table."""
    return int(values.view(np.uint32).sum(dtype=np.uint32))
