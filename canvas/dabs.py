"""Strokes on the disk as plain data, and the painting they leave; standard library only, for Pyodide too.

`static/dabs.js` does the same bit for bit, which is what the page's pointer paints with.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from canvas.strokes import FARTHEST, LATEST, StrokeError

SIDE = 128  # `core.disk.SIDE`, which comes with NumPy
AMOUNT = {"want": 0.5, "avoid": -0.5, "erase": 0.0, "clear": 0.0}  # that a dab adds in its middle, by tool
NOTHING = 0.02  # what an eraser leaves of less


@dataclass(frozen=True)
class DiskStroke:
    """One stroke on the disk.

    Parameters
    ----------
    tool : str
        "want" and "avoid" paint attraction and repulsion, "erase" takes them away; "clear" wipes the disk.
    size : float
        Radius of a dab, in those of the disk, in (0, 1].
    points : tuple of (float, float, float)
        Where the pointer was, x to the right and y upwards from the middle of the disk, within 64 radii, and
        when, in milliseconds. Dabs lie half a radius apart; a point nearer than that to the one before leaves none.

    Raises
    ------
    StrokeError
        Anything outside its range.
    """

    tool: str
    size: float
    points: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.tool not in AMOUNT:
            raise StrokeError(f"tool is {self.tool!r:.60}: it is one of {', '.join(AMOUNT)}")
        if not _is_within(self.size, 0, 1) or not self.size:
            raise StrokeError(f"size is {self.size!r:.60}: a radius lies in (0, 1]")
        for p in self.points:
            if not isinstance(p, (list, tuple)) or len(p) != 3 or not all(
                    _is_within(v, -most, most) for v, most in zip(p, (FARTHEST, FARTHEST, LATEST), strict=True)):
                raise StrokeError(f"a point is {p!r:.60}: it is x and y within {FARTHEST:g} radii, and a finite time")
        object.__setattr__(self, "points", tuple(map(tuple, self.points)))


def painted(strokes: Iterable[DiskStroke]) -> array[float]:
    """The painting that strokes leave, oldest first: `SIDE` x `SIDE` float32 in [-1, 1], row 0 at the top."""
    painting = array("f", bytes(4 * SIDE * SIDE))
    for stroke in strokes:
        if stroke.tool == "clear":
            painting = array("f", bytes(4 * SIDE * SIDE))
        last = None
        for x, y, _ in stroke.points:
            if last is None:
                _dab(painting, stroke, x, y)
            else:
                way_x, way_y = x - last[0], y - last[1]
                count = math.floor(math.sqrt(way_x * way_x + way_y * way_y) / (stroke.size / 2))
                if not count:
                    continue
                for i in range(1, count + 1):
                    _dab(painting, stroke, last[0] + way_x * i / count, last[1] + way_y * i / count)
            last = x, y
    return painting


def _dab(painting: array[float], stroke: DiskStroke, x: float, y: float) -> None:
    """A soft round spot around a point."""
    radius = stroke.size * SIDE / 2
    reach, column, row = math.ceil(radius), (1 + x) / 2 * SIDE - 0.5, (1 - y) / 2 * SIDE - 0.5
    for i in range(max(math.floor(row) - reach, 0), min(math.ceil(row) + reach, SIDE - 1) + 1):
        for j in range(max(math.floor(column) - reach, 0), min(math.ceil(column) + reach, SIDE - 1) + 1):
            fall = 1 - ((i - row) * (i - row) + (j - column) * (j - column)) / (radius * radius)
            if fall <= 0:
                continue
            weight, at = fall * fall, i * SIDE + j
            was = painting[at]
            if stroke.tool == "erase":
                painting[at] = 0.0 if abs(was) < NOTHING else was * (1 - weight)
            else:
                painting[at] = min(max(was + AMOUNT[stroke.tool] * weight, -1.0), 1.0)


def _is_within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
