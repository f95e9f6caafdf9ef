"""Bounded curves against plain NumPy over all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.series import Series

COLUMNS = {"step": "last", "mean": "mean", "low": "min", "high": "max"}


def buckets(values: np.ndarray, width: int) -> np.ndarray:
    """What `Series` should hold: rows in groups of `width`, the last maybe short."""
    groups = [values[i : i + width] for i in range(0, len(values), width)]
    starts = np.cumsum([0, *map(len, groups)])[1:]
    return np.array([[i, end, g.mean(), g.min(), g.max()]
                     for i, (end, g) in enumerate(zip(starts, groups, strict=True))])


@given(st.integers(1, 700), st.sampled_from([2, 4, 32]), st.integers(0, 2**32))
def test_buckets_are_those_of_all_rows(rows: int, capacity: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=rows)
    series = Series(COLUMNS, capacity)
    for i, v in enumerate(values):
        series.append(i + 1, v, v, v)
        assert len(series) <= capacity
    found = series.tail()
    np.testing.assert_allclose(found, buckets(values, series.width), rtol=1e-12, atol=1e-12)
    assert found[-1, 1] == rows  # the newest is always there
    assert found[:, 3].min() == values.min()  # and no spike is lost
    assert found[:, 4].max() == values.max()
    assert series.width == max(1, 2 ** int(np.ceil(np.log2(rows / capacity))))


def test_epoch_tells_when_buckets_merged() -> None:
    series = Series({"x": "last"}, 4)
    epochs = []
    for i in range(9):
        series.append(i)
        epochs.append(series.epoch)
    assert epochs == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_tail_begins_where_asked() -> None:
    series = Series({"x": "last"}, 8)
    for i in range(5):
        series.append(10 * i)
    assert series.tail(3).tolist() == [[3, 30], [4, 40]]
    assert series.tail(5).shape == (0, 2)


@pytest.mark.parametrize("capacity", [0, 1, 3, -2])
def test_capacity_is_checked(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"capacity is {capacity}"):
        Series({"x": "last"}, capacity)
