"""Recorded strokes as plain data, and their replay to a relation without a GPU; standard library only, for Pyodide too.

`static/brush.js` does the same digit for digit, and the kernels to 1e-5. Points are in chart units: x in turns along
the sheets (cyclic: 1.25 is 0.25), y in 0..1 from the lowest band to the highest; a size is a brush's radius in turns.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

VERSION = 1
LIMIT = 3.0  # log2 gain
FARTHEST = 64.0  # charts that a point may lie outside: a captured pointer leaves the canvas
LATEST = 1e12  # seconds: any clock's time, and none that a float cannot hold
MAX_GRID, MAX_STROKES, MAX_POINTS = 4096, 4096, 1 << 16
MAX_STAMPS = 1024  # of one event
SPACING = 1 / 8  # between stamps, in radii: the ridge of a line is level to 1 %
REACH = 16 / 15  # integral of a stamp along its middle, in radii


class StrokeError(ValueError):
    """A recorded stroke is malformed."""


class Point(NamedTuple):
    """Where the pointer was, in chart units, and when, in seconds."""

    x: float
    y: float
    time: float


class Stamp(NamedTuple):
    """One dab in cells of the layer; the numbers are float32 values."""

    x: float
    y: float
    radius: float
    strength: float


class Deposit(NamedTuple):
    """One pointer event: its stamps, and what the heaviest adds or, as a share, takes away at full weight."""

    stamps: list[Stamp]
    amount: float


@dataclass(frozen=True)
class Stroke:
    """One stroke of a brush.

    Parameters
    ----------
    points : tuple of Point
        At least one; times do not fall.
    size : float
        Radius in turns, in (0, 1].
    strength : float
        Log2 gain of a click, in (0, 6]; for the eraser the share a click takes away, in (0, 1].
    sign : int
        1 or -1: paint more or less.
    erase : bool

    Raises
    ------
    StrokeError
        Anything outside its range.
    """

    points: tuple[Point, ...]
    size: float
    strength: float
    sign: int = 1
    erase: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.points, (list, tuple)) or not 0 < len(self.points) <= MAX_POINTS:
            raise StrokeError(f"a stroke has 1 to {MAX_POINTS} points")
        points = tuple(_point(p) for p in self.points)
        if any(later.time < earlier.time for earlier, later in itertools.pairwise(points)):
            raise StrokeError("the times of a stroke's points must not fall")
        object.__setattr__(self, "points", points)
        if not isinstance(self.erase, bool):
            raise StrokeError(f"erase is {self.erase!r:.60}: it is true or false")
        most = 1.0 if self.erase else 2 * LIMIT
        if not _is_number(self.size) or not 0 < self.size <= 1:
            raise StrokeError(f"size is {self.size!r:.60}: a radius lies in (0, 1] turns")
        if not _is_number(self.strength) or not 0 < self.strength <= most:
            raise StrokeError(f"strength is {self.strength!r:.60}: it lies in (0, {most:g}]")
        if type(self.sign) is not int or self.sign not in (1, -1):
            raise StrokeError(f"sign is {self.sign!r:.60}: it is 1 or -1")

    def deposits(self, width: int, height: int) -> Iterator[Deposit]:
        """What every pointer event that moved leaves on a layer of that many cells.

        Where the pointer comes down and where it is lifted it leaves half a dose, so a click leaves one; along a path
        the dose follows the length, so that a line comes out alike however often the pointer reports.
        """
        before: Point | None = None
        for here in self.points:
            if before is None or (here.x, here.y) != (before.x, before.y):
                yield self._deposit(before, here, width, height)
            before = here
        yield self._deposit(None, self.points[-1], width, height)

    def _deposit(self, before: Point | None, here: Point, width: int, height: int) -> Deposit:
        radius = self.size * width
        x, y = here.x * width, here.y * height
        from_x, from_y = (x, y) if before is None else (before.x * width, before.y * height)
        length = math.sqrt((x - from_x) * (x - from_x) + (y - from_y) * (y - from_y))
        count = min(MAX_STAMPS, max(1, math.ceil(length / (radius * SPACING))))
        dose = 0.5 if before is None else length / (length + REACH * radius)
        weight = 1.0 if self.erase else dose
        stamps = [_single(from_x + (x - from_x) * i / count, from_y + (y - from_y) * i / count, radius, weight)
                  for i in range(1, count + 1)]
        return Deposit(stamps, 1 - (1 - self.strength) ** dose if self.erase else self.sign * self.strength)


@dataclass(frozen=True)
class Recording:
    """Strokes on a chart of bands x sheets, oldest first.

    Raises
    ------
    StrokeError
        Anything outside its range.
    """

    bands: int
    sheets: int
    strokes: tuple[Stroke, ...]

    def __post_init__(self) -> None:
        for name in ("bands", "sheets"):
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= MAX_GRID:
                raise StrokeError(f"{name} is {getattr(self, name)!r:.60}: it must be a whole number in 1..{MAX_GRID}")
        if len(self.strokes) > MAX_STROKES:
            raise StrokeError(f"a recording has at most {MAX_STROKES} strokes, this one {len(self.strokes)}")
        object.__setattr__(self, "strokes", tuple(self.strokes))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` gives an equal recording back."""
        strokes = [{"points": [list(p) for p in s.points], "size": s.size, "strength": s.strength, "sign": s.sign,
                    "erase": s.erase} for s in self.strokes]
        return {"version": VERSION, "bands": self.bands, "sheets": self.sheets, "strokes": strokes}

    @classmethod
    def from_json(cls, record: Any) -> Recording:
        """From `to_json`'s form, whoever wrote it.

        Raises
        ------
        StrokeError
            Missing keys, wrong types, or values out of range.
        """
        if not isinstance(record, Mapping) or record.get("version") != VERSION:
            raise StrokeError(f"this is no recording of version {VERSION}")
        strokes = record.get("strokes")
        if not isinstance(strokes, list) or not all(isinstance(s, Mapping) for s in strokes):
            raise StrokeError("the recording lacks a list of strokes")
        if len(strokes) > MAX_STROKES:
            raise StrokeError(f"a recording has at most {MAX_STROKES} strokes, this one {len(strokes)}")
        try:
            made = tuple(Stroke(**{k: s[k] for k in ("points", "size", "strength", "sign", "erase")}) for s in strokes)
            return cls(record["bands"], record["sheets"], made)
        except KeyError as error:
            raise StrokeError(f"the recording lacks {error}") from error

    def replay(self) -> list[list[float]]:
        """The relation [bands][sheets] that the strokes leave: area means of the layer they paint."""
        width, height = layer_size(self.bands, self.sheets)
        layer = [0.0] * (width * height)
        for stroke in self.strokes:
            for stamps, amount in stroke.deposits(width, height):
                for cell, weight in _weights(stamps, width, height).items():
                    value = layer[cell]
                    layer[cell] = value * (1 - amount * weight) if stroke.erase else (
                        min(max(value + amount * weight, -LIMIT), LIMIT))
        return _area_mean(layer, width, self.bands, self.sheets)


def layer_size(bands: int, sheets: int) -> tuple[int, int]:
    """Width and height of a painted layer: about 256 x 160, whole numbers of cells for every sheet and band."""
    return sheets * max(1, 256 // sheets), bands * max(1, 160 // bands)


def _weights(stamps: list[Stamp], width: int, height: int) -> dict[int, float]:
    """The heaviest stamp at every cell that one reaches."""
    weights: dict[int, float] = {}
    for x, y, radius, strength in stamps:
        square = radius * radius
        for row in range(max(0, math.floor(y - radius)), min(height, math.floor(y + radius) + 1)):
            dy = row + 0.5 - y
            half = math.sqrt(max(square - dy * dy, 0.0))
            for column in range(math.ceil(x - half - 0.5), math.floor(x + half - 0.5) + 1):
                dx = column + 0.5 - x
                fall = max(1 - (dx * dx + dy * dy) / square, 0.0)
                cell = row * width + column % width
                weights[cell] = max(weights.get(cell, 0.0), strength * fall * fall)
    return weights


def _area_mean(layer: list[float], width: int, bands: int, sheets: int) -> list[list[float]]:
    """Means over the grid; the layer divides evenly, see `layer_size`."""
    across, along = width // sheets, len(layer) // width // bands
    rows = [[sum(layer[i : i + across]) for i in range(start, start + width, across)]
            for start in range(0, len(layer), width)]
    return [[sum(row[s] for row in rows[b * along : (b + 1) * along]) / (across * along) for s in range(sheets)]
            for b in range(bands)]


def _single(*values: float) -> Stamp:
    """Rounded to float32, as the kernels get them."""
    return Stamp(*struct.unpack("<4f", struct.pack("<4f", *values)))


def _point(values: Any) -> Point:
    if not isinstance(values, (list, tuple)) or len(values) != 3 or not all(_is_number(v) for v in values):
        raise StrokeError(f"a point is {values!r:.60}: it is x, y and a time")
    x, y, time = values
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST and abs(time) <= LATEST):
        raise StrokeError(f"a point is {values!r:.60}: it lies within {FARTHEST:g} charts, at a finite time")
    return Point(float(x), float(y), float(time))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
