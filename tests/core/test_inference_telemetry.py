"""Telemetry: what is kept, what is counted, what is refused, and its statistics by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.inference.telemetry import (
    DEEPEST,
    FEW,
    LONGEST_PATH,
    MOST_ENTRIES,
    ZSpaceTelemetryFrame,
    flatten,
    frame_of,
    fuse_zspace_telemetry,
    summarise,
)


def nested(depth: int) -> dict[str, Any]:
    """A number within so many mappings."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_nested_readings_become_dotted_names_in_order() -> None:
    assert list(flatten({"z": 1, "a": {"c": True, "b": "3.5"}, "n": np.float32(2)}).items()) == [
        ("a.b", 3.5), ("a.c", 1.0), ("n", 2.0), ("z", 1.0)]


def test_what_is_no_number_is_left_out_and_counted() -> None:
    found = fuse_zspace_telemetry({"a": None, "b": [1], "c": "word", "d": "nan", "e": "1_0", "f": np.ones(2), "g": 1})
    assert found["payload"] == {"g": 1.0}
    assert found["ignored_value_count"] == 6


def test_later_payloads_win_and_conflicts_are_counted() -> None:
    found = fuse_zspace_telemetry({"a": {"b": 1}, "x": 0}, None, [{"a.b": 2}, None], frame_of({"x": 5.0, "y": 6.0}), {})
    assert found["payload"] == {"a.b": 2.0, "x": 5.0, "y": 6.0}
    assert (found["conflict_count"], found["input_count"], found["active_input_count"]) == (2, 4, 3)
    assert [s["conflict_count"] for s in found["sources"]] == [0, 1, 1, 0]
    assert [s["flattened_count"] for s in found["sources"]] == [2, 1, 2, 0]


@pytest.mark.parametrize(("bad", "message"), [
    ({"a": {"b": math.inf}}, "telemetry 'a.b' is inf"), ({"a": math.nan}, "telemetry 'a' is nan"),
    ({"a": 10**400}, "telemetry 'a' is 1000"), (nested(DEEPEST + 1), "nested more than 64 deep"),
    ({"é" * (LONGEST_PATH // 2) + "e": 1}, "has 4097 bytes, the limit is 4096"),
    ({str(i): 1 for i in range(MOST_ENTRIES + 1)}, "more than 16384 entries"),
    ({"a": 1e200}, "sum of their squares must be finite"),
])
def test_what_is_beyond_the_limits_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse_zspace_telemetry(bad)


def test_the_limits_themselves_are_taken() -> None:
    assert flatten(nested(DEEPEST)) == {".".join("a" * DEEPEST): 1.0}
    assert flatten({"e" * LONGEST_PATH: 1}) == {"e" * LONGEST_PATH: 1.0}
    assert fuse_zspace_telemetry({str(i): 1 for i in range(MOST_ENTRIES)})["summary"]["count"] == MOST_ENTRIES


@pytest.mark.parametrize(("bad", "message"), [
    (3, "payload 0 is a int: give a mapping"), ("ab", "payload 0 is a str"), ({1: 2}, "has the key 1"),
    ([{"a": 1}, 4], "payload 1 is a int")])
def test_what_is_no_mapping_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fuse_zspace_telemetry(bad)


def test_the_summary_by_hand() -> None:
    s = summarise([1.0, -2.0, 4.0])
    assert (s.count, s.l1, s.linf, s.mean, s.energy, s.amplitude, s.positive, s.negative) == (
        3, 7.0, 4.0, 1.0, 21.0, 6.0, 5.0, 2.0)
    assert s.l2 == pytest.approx(math.sqrt(21))
    assert s.variance == pytest.approx(6.0)
    assert s.balance == pytest.approx(3 / (7 + 1e-9), rel=1e-15)
    assert s.focus == pytest.approx(math.tanh(1.5 * 3 / 7), rel=1e-8)
    assert set(summarise([])) == {0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=FEW))
def test_few_and_many_values_are_summed_alike(values: list[float]) -> None:
    few, many = summarise(values), summarise(values * (FEW + 1))
    for name in ("linf", "mean", "amplitude"):
        assert getattr(many, name) == pytest.approx(getattr(few, name), rel=1e-9, abs=1e-6)
    for name in ("l1", "energy", "positive", "negative"):
        assert getattr(many, name) == pytest.approx(getattr(few, name) * (FEW + 1), rel=1e-9, abs=1e-6)
    assert many.variance == pytest.approx(few.variance, rel=1e-6, abs=1e-3)
    assert few.l2 == pytest.approx(math.sqrt(few.energy))


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [1.0] * 100 + [math.nan], [1e200] * 100])
def test_values_without_statistics_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="must be finite; scale them or leave them out"):
        summarise(values)


def test_a_frame_says_what_it_holds() -> None:
    frame = frame_of({"psi.energy": 2.0, "psi.focus": 0.4})
    assert frame.variance == pytest.approx(0.64, rel=1e-14)
    assert frame.as_dict()["payload"] == {"psi.energy": 2.0, "psi.focus": 0.4}
    assert ZSpaceTelemetryFrame(**frame.as_dict()) == frame
