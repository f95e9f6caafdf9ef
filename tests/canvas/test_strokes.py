"""Recordings replay to what the reference paints, keep their form, and refuse what is malformed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canvas.strokes import Point, Recording, Stroke, StrokeError, layer_size
from tests.kernels import reference

VECTORS = json.loads((Path(__file__).parent / "strokes.json").read_text())
TOOLS = ("brush", "brush", "line", "stamp", "lasso")


def some_strokes(seed: int, count: int = 11, largest: float = 0.15) -> tuple[Stroke, ...]:
    """Strokes of every tool that cross the seam, leave the chart, stand still, saturate, erase, press and mirror."""
    rng, strokes = np.random.default_rng(seed), []
    for i in range(count):
        start, way = rng.uniform([-0.5, 0], [1.5, 1]), rng.uniform(-4, 4, 2) * largest
        points = [Point(*(start + way * t), 1000 * t, rng.uniform(0.2, 1)) for t in np.linspace(0, 1, 6).tolist()]
        tool = TOOLS[i % len(TOOLS)]
        if tool == "lasso":
            points = [p._replace(x=p.x + dx, y=p.y + dy)
                      for p, (dx, dy) in zip(points, rng.uniform(-0.3, 0.3, (6, 2)).tolist(), strict=True)]
        points = [points[0], points[-1]] if tool in ("line", "stamp") else [*points, points[-1]]
        strokes.append(Stroke(tuple(points), rng.uniform(0.01, largest), rng.uniform(0.3, 1), int(rng.choice([-1, 1])),
                              i % 7 == 6, tool, rng.uniform(0, 0.95) if i % 2 else 0.0,
                              rng.uniform(0, 1) if i % 3 == 2 else None))
    return (*strokes, Stroke((Point(0.7, 0.2, 0.0),), 0.1, 5.0))


def as_arguments(stroke: Stroke) -> dict[str, Any]:
    """For `reference.paint`."""
    return Recording(1, 1, (stroke,)).to_json()["strokes"][0]


@pytest.mark.parametrize(("bands", "sheets"), [(1, 2), (6, 8), (7, 5), (3, 300), (200, 3)])
def test_replay_equals_the_reference(bands: int, sheets: int) -> None:
    strokes = some_strokes(bands)
    width, height = layer_size(bands, sheets)
    layer = np.zeros((height, width))
    for s in strokes:
        layer = reference.paint(layer, **as_arguments(s))
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
    assert again.layer().tobytes() == recording.layer().tobytes()
    assert again.replay() == recording.replay()


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_the_vectors_replay_to_their_relation(vector: dict[str, Any]) -> None:
    """Their relations were computed by the float64 reference."""
    recording = Recording.from_json(vector["recording"])
    np.testing.assert_allclose(recording.replay(), vector["relation"], atol=1e-6)
    assert recording.to_json() == vector["recording"]


@pytest.mark.parametrize("hardness", [0.0, 0.3, 0.95])
def test_a_path_comes_out_alike_however_often_the_pointer_reports(hardness: float) -> None:
    def middle(count: int) -> float:
        points = tuple(Point(x, 0.5, 0.0) for x in np.linspace(0.2, 0.8, count).tolist())
        layer = Recording(1, 2, (Stroke(points, 0.05, 1.0, hardness=hardness),)).layer()
        return float(np.reshape(layer, (160, 256))[79:81, 110:146].mean())

    for count in (25, 49, 385):
        assert middle(count) == pytest.approx(1, abs=0.02)


def test_a_line_is_level_and_a_harder_edge_is_wider() -> None:
    def across(hardness: float) -> np.ndarray[Any, Any]:
        stroke = Stroke((Point(0.3, 0.5, 0), Point(0.7, 0.5, 9)), 0.05, 2.0, tool="line", hardness=hardness)
        layer = np.reshape(Recording(1, 2, (stroke,)).layer(), (160, 256))
        np.testing.assert_allclose(layer[79, 90:166], layer[79, 128], rtol=0.01)
        return layer[:, 128]

    assert across(0.0).max() == pytest.approx(2, rel=0.01)
    assert (across(0.9) > 1).sum() > (across(0.0) > 1).sum()


def test_a_stamp_of_a_cell_fills_that_cell_and_the_mirror_its_image() -> None:
    def stamped(mirror: float | None) -> np.ndarray[Any, Any]:
        corners = (Point(3 / 8, 2 / 6, 0), Point(4 / 8, 3 / 6, 0))
        return np.array(Recording(6, 8, (Stroke(corners, 0.1, 1.5, -1, tool="stamp", mirror=mirror),)).replay())

    want = np.zeros((6, 8))
    want[2, 3] = -1.5
    np.testing.assert_array_equal(stamped(None), want)
    want[2, 5] = -1.5  # of the phases 135 and 225 degrees, each is the other's mirror image about 0
    np.testing.assert_array_equal(stamped(1 / 16), want)


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
    (None, "no recording of version 2"), ({**GOOD, "version": 1}, "no recording"), ({**GOOD, "bands": 0}, "bands is 0"),
    ({**GOOD, "sheets": 8.0}, r"sheets is 8\.0"), ({**GOOD, "strokes": {}}, "list of strokes"),
    ({**GOOD, "strokes": [1]}, "list of strokes"), ({"version": 2, "strokes": []}, "lacks 'bands'"),
    ({**GOOD, "strokes": [{}]}, "lacks 'points'"), ({**GOOD, "strokes": GOOD["strokes"] * 4097}, "at most 4096"),
    (changed("points", []), "brush has 1 to 65536 points"), (changed("points", [[0.1, 0.2]]), "x, y, a time and"),
    (changed("tool", "line"), "line has 2 points"), (changed("tool", ["line"]), "tool is"),
    (changed("tool", "x"), "tool is 'x'"),
    (changed("hardness", 1), "hardness is 1"), (changed("mirror", -0.1), r"mirror is -0\.1"),
    (changed("mirror", False), "mirror is False"), (changed("points", [[0, 0, 0, 1.1]]), r"pressure in 0\.\.1"),
    (changed("points", [[0.1, float("nan"), 0, 1]]), "within 64"), (changed("points", [[65, 0, 0, 1]]), "within 64"),
    (changed("points", [[0, 0, 10**400, 1]]), "finite time"),
    (changed("points", [[0, 0, 1, 1], [0, 0, 0, 1]]), "must not fall"),
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
@settings(max_examples=300)
def test_a_changed_record_is_a_recording_or_a_stroke_error(key: str, value: Any) -> None:
    try:
        recording = Recording.from_json(changed(key, value))
    except StrokeError:
        return
    assert all(0 < s.size <= 1 and s.sign in (1, -1) and s.points for s in recording.strokes)
