"""Recordings replay to what the reference paints, keep their form, and refuse what is malformed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canvas.strokes import Point, Recording, Stroke, StrokeError, layer_size
from tests.kernels import reference


def some_strokes(seed: int, count: int = 6) -> tuple[Stroke, ...]:
    """Strokes that cross the seam, leave the chart, stand still, saturate and erase."""
    rng, strokes = np.random.default_rng(seed), []
    for i in range(count):
        start, way = rng.uniform([-0.5, 0], [1.5, 1]), rng.uniform(-0.6, 0.6, 2)
        points = [Point(*(start + way * t), float(t)) for t in np.linspace(0, 1, 6)]
        strokes.append(Stroke((*points, points[-1]), float(rng.uniform(0.01, 0.15)), float(rng.uniform(0.3, 1)),
                              int(rng.choice([-1, 1])), i % 4 == 3))
    return (*strokes, Stroke((Point(0.7, 0.2, 0.0),), 0.1, 5.0))


@pytest.mark.parametrize(("bands", "sheets"), [(1, 2), (6, 8), (7, 5), (3, 300), (200, 3)])
def test_replay_equals_the_reference(bands: int, sheets: int) -> None:
    strokes = some_strokes(bands)
    width, height = layer_size(bands, sheets)
    layer = np.zeros((height, width))
    for s in strokes:
        layer = reference.paint(layer, [list(p) for p in s.points], s.size, s.strength, s.sign, s.erase)
    want = reference.area_mean(layer, bands, sheets)
    got = np.array(Recording(bands, sheets, strokes).replay())
    assert got.shape == (bands, sheets)
    assert np.abs(layer).max() == 3
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_a_layer_has_whole_cells_for_every_sheet_and_band() -> None:
    for bands in range(1, 400, 7):
        for sheets in range(2, 600, 11):
            width, height = layer_size(bands, sheets)
            assert width % sheets == 0 == height % bands
            assert width > 128
            assert height > 80
    assert layer_size(6, 8) == (256, 156)


def test_records_come_back_equal_and_replay_to_the_bit() -> None:
    recording = Recording(6, 8, some_strokes(3))
    again = Recording.from_json(json.loads(json.dumps(recording.to_json())))
    assert again == recording
    assert again.replay() == recording.replay() == recording.replay()


def test_turns_are_cyclic() -> None:
    def at(x: float) -> list[list[float]]:
        return Recording(6, 8, (Stroke((Point(x, 0.5, 0.0),), 0.1, 2.0),)).replay()

    assert at(0.25) == at(1.25) == at(-0.75)
    np.testing.assert_allclose(np.roll(at(0.25), 2, axis=1), at(0.5), atol=1e-7)


def test_nothing_painted_is_neutral() -> None:
    assert Recording(2, 3, ()).replay() == [[0.0] * 3] * 2


GOOD = Recording(6, 8, some_strokes(5, 1)).to_json()


def changed(key: str, value: Any) -> dict[str, Any]:
    return {**GOOD, "strokes": [{**GOOD["strokes"][0], key: value}]}


@pytest.mark.parametrize(("record", "sentence"), [
    (None, "no recording of version 1"), ({**GOOD, "version": 2}, "no recording"), ({**GOOD, "bands": 0}, "bands is 0"),
    ({**GOOD, "sheets": 8.0}, r"sheets is 8\.0"), ({**GOOD, "strokes": {}}, "list of strokes"),
    ({**GOOD, "strokes": [1]}, "list of strokes"), ({"version": 1, "strokes": []}, "lacks 'bands'"),
    ({**GOOD, "strokes": [{}]}, "lacks 'points'"), ({**GOOD, "strokes": GOOD["strokes"] * 4097}, "at most 4096"),
    (changed("points", []), "1 to 65536 points"), (changed("points", [[0.1, 0.2]]), "x, y and a time"),
    (changed("points", [[0.1, float("nan"), 0]]), "within 64"), (changed("points", [[65, 0, 0]]), "within 64"),
    (changed("points", [[0, 0, 10**400]]), "finite time"), (changed("points", [[0, 0, 1], [0, 0, 0]]), "must not fall"),
    (changed("size", 0), "size is 0"), (changed("size", 10**400), "size is 1000"), (changed("size", True), "size is T"),
    (changed("strength", 6.1), r"strength is 6\.1"), (changed("sign", 0), "sign is 0"),
    (changed("sign", True), "sign is True"), (changed("erase", 1), "erase is 1"),
    ({**GOOD, "strokes": [{**GOOD["strokes"][0], "erase": True, "strength": 1.5}]}, r"strength is 1\.5"),
])
def test_hostile_records_get_a_sentence(record: Any, sentence: str) -> None:
    with pytest.raises(StrokeError, match=sentence):
        Recording.from_json(record)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6)


@given(st.sampled_from(sorted(GOOD["strokes"][0])), anything)
@settings(max_examples=300, deadline=None)
def test_a_changed_record_is_a_recording_or_a_stroke_error(key: str, value: Any) -> None:
    try:
        recording = Recording.from_json(changed(key, value))
    except StrokeError:
        return
    assert all(0 < s.size <= 1 and s.sign in (1, -1) and s.points for s in recording.strokes)
