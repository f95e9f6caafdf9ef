"""A curve of bounded size: as a run grows, neighbouring points merge, and the newest is always there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MERGES = {"last": lambda a, b, n, m: b, "mean": lambda a, b, n, m: (a * n + b * m) / (n + m),
          "min": lambda a, b, n, m: np.minimum(a, b), "max": lambda a, b, n, m: np.maximum(a, b)}


class Series:
    """Rows of numbers in at most `capacity` buckets of `width` rows each; the width doubles when they are full.

    Parameters
    ----------
    columns : dict of str to {"last", "mean", "min", "max"}
        What a bucket keeps of each column of its rows.
    capacity : int
        Most buckets, even, at least 2.

    Attributes
    ----------
    epoch : int
        Changes when buckets merged, so that a reader knows to begin anew.
    """

    def __init__(self, columns: dict[str, str], capacity: int = 1024) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity is {capacity}: it must be even and at least 2")
        self.columns, self.capacity = columns, capacity
        self.width, self.epoch, self.rows = 1, 0, 0
        self._data = np.empty((capacity, len(columns)))
        self._counts = np.zeros(capacity, np.int64)
        self._buckets = 0

    def __len__(self) -> int:
        return self._buckets

    def append(self, *row: float) -> None:
        """Add one row, a value a column."""
        self.rows += 1
        values = np.asarray(row, np.float64)
        if self._buckets and self._counts[self._buckets - 1] < self.width:
            last = self._buckets - 1
            self._data[last] = self._merge(self._data[last], values, self._counts[last], 1)
            self._counts[last] += 1
            return
        if self._buckets == self.capacity:
            self._halve()
        self._data[self._buckets], self._counts[self._buckets] = values, 1
        self._buckets += 1

    def tail(self, start: int = 0) -> NDArray[np.float64]:
        """Buckets from `start` on [n, 1 + columns]; the first column is the bucket's index."""
        index = np.arange(start, self._buckets, dtype=np.float64)
        return np.column_stack([index, self._data[start : self._buckets]])

    def _merge(self, a: NDArray[np.float64], b: NDArray[np.float64], n: NDArray[np.int64] | int,
               m: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """Buckets [..., columns] of n rows followed by buckets of m rows."""
        return np.stack([MERGES[how](a[..., i], b[..., i], n, m)
                         for i, how in enumerate(self.columns.values())], axis=-1)

    def _halve(self) -> None:
        """Merge every two neighbours."""
        even, odd, half = self._data[0::2], self._data[1::2], self.capacity // 2
        self._data[:half] = self._merge(even, odd, self._counts[0::2], self._counts[1::2])
        self._counts[:half] = self._counts[0::2] + self._counts[1::2]
        self._buckets, self.width, self.epoch = half, self.width * 2, self.epoch + 1
