"""Strokes on the disk: the painting against its formula in NumPy, and bit for bit the page's own."""

from __future__ import annotations

import math
from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from canvas.dabs import SIDE, DiskStroke, painted
from canvas.strokes import StrokeError
from core import disk
from tests.canvas.javascript import blank_page, lacking
from tests.serving import absent


def some_strokes(seed: int, count: int = 12) -> list[DiskStroke]:
    """Of every tool; some begin or end off the disk."""
    rng = np.random.default_rng(seed)
    tools = rng.choice(["want", "want", "avoid", "erase"], count).tolist()
    return [DiskStroke(tool, float(rng.uniform(0.02, 0.5)), tuple(
        (*p, 16.0 * i) for i, p in enumerate(np.cumsum(rng.normal(0, 0.3, (int(rng.integers(1, 9)), 2)), 0).tolist())))
        for tool in tools]


def spot(x: float, y: float, size: float) -> np.ndarray[Any, Any]:
    """(1 - r^2)^2 about a point, r in radii of the dab."""
    middle = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    square = ((middle - x) ** 2 + (-middle[:, None] - y) ** 2) / size**2
    return np.where(square < 1, (1 - square) ** 2, 0)


def test_the_side_is_the_charts() -> None:
    assert SIDE == disk.SIDE


def test_a_stroke_is_dabs_half_a_radius_apart() -> None:
    want = np.zeros((SIDE, SIDE))
    for x in np.linspace(-0.5, 0.5, 21):  # radius 0.1
        want = np.minimum(want + 0.5 * spot(x, 0.25, 0.1), 1)
    want = np.maximum(want - 0.5 * spot(0.5, 0.3, 0.2), -1)
    unsure = np.abs(np.abs(want) - 0.02) < 1e-6  # where the eraser takes all
    erased = spot(-0.4, 0.2, 0.3)
    want = np.where((np.abs(want) < 0.02) & (erased > 0), 0, want * (1 - erased))
    got = np.reshape(painted([DiskStroke("want", 0.1, ((-0.5, 0.25, 0), (0.5 + 1e-12, 0.25, 16))),
                              DiskStroke("avoid", 0.2, ((0.5, 0.3, 20),)),
                              DiskStroke("erase", 0.3, ((-0.4, 0.2, 30),))]), (SIDE, SIDE))
    np.testing.assert_allclose(got[~unsure], want[~unsure], atol=1e-6)


def test_what_is_cleared_is_gone_and_a_point_too_near_leaves_nothing() -> None:
    one = DiskStroke("want", 0.2, ((0.0, 0.0, 0.0),))
    assert painted([*some_strokes(1), DiskStroke("clear", 1.0), one]) == painted([one])
    assert painted([DiskStroke("want", 0.2, ((0.0, 0.0, 0.0), (0.05, 0.05, 1.0)))]) == painted([one])


@pytest.mark.parametrize(("change", "sentence"), [
    ({"tool": "x"}, "tool is 'x'"), ({"size": 0}, "size is 0"), ({"size": True}, "size is True"),
    ({"size": 1.5}, r"size is 1\.5"), ({"points": ((0, 0),)}, "a point is"), ({"points": (3,)}, "a point is 3"),
    ({"points": ((math.nan, 0, 0),)}, "within 64"), ({"points": ((65, 0, 0),)}, "within 64"),
    ({"points": ((0, 0, math.inf),)}, "finite time")])
def test_what_is_no_stroke_gets_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StrokeError, match=sentence):
        DiskStroke(**{"tool": "want", "size": 0.1, "points": ((0, 0, 0),)} | change)


PAINT = """async (strokes) => {
    const {SIDE, paint} = await import("/dabs.js"), painting = new Float32Array(SIDE * SIDE);
    for (const stroke of strokes) paint(painting, stroke);
    return btoa(Array.from(new Uint8Array(painting.buffer), (c) => String.fromCharCode(c)).join("")); }"""


def test_the_page_paints_the_same_bits() -> None:
    if missing := lacking():
        absent(missing)
    with blank_page() as page:
        for seed in range(20):
            strokes = some_strokes(seed)
            found = page.evaluate(PAINT, [vars(s) for s in strokes])
            assert b64decode(found) == painted(strokes).tobytes()
    assert np.abs(painted(strokes)).max() == 1
