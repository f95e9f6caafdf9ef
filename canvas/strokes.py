"""Recorded strokes as plain data, and their replay without a GPU; standard library only, for Pyodide too.

`static/brush.js` and `static/surface2d.js` do the same bit for bit, and the kernels to 1e-5. Points are in chart units:
x in turns along the sheets (cyclic: 1.25 is 0.25), y in 0..1 from the lowest band to the highest; a size is a brush's
radius in turns. So a recording replays on a layer of any size.
"""

from __future__ import annotations

import itertools
import math
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

VERSION = 2
LIMIT = 3.0  # log2 gain
FARTHEST = 64.0  # charts that a point may lie outside: a captured pointer leaves the canvas
LATEST = 1e15  # milliseconds: any clock's time, and none that a float cannot hold
HARDEST = 0.95  # share of the radius that is level: at 1 a dab's edge would be a cliff
MAX_GRID, MAX_STROKES, MAX_POINTS = 4096, 4096, 1 << 16
MAX_DABS = 1024  # of one event, and as many mirrored
SPACING = 1 / 8  # between dabs, in radii: the ridge of a line is level to 1 %
POINTS = {"brush": (1, MAX_POINTS), "line": (2, 2), "stamp": (2, 2), "lasso": (3, MAX_POINTS)}  # fewest and most
FIELDS = ("points", "size", "strength", "sign", "erase", "tool", "hardness", "mirror")


class StrokeError(ValueError):
    """A recorded stroke is malformed."""


class Point(NamedTuple):
    """Where the pointer was, in chart units, when, in milliseconds, and how firmly it was pressed, 0..1."""

    x: float
    y: float
    time: float
    pressure: float = 1.0


class Dab(NamedTuple):
    """A round mark in cells of the layer; the numbers are float32 values."""

    x: float
    y: float
    radius: float
    weight: float


class Span(NamedTuple):
    """Cells `start` to `end` - 1 of a row, at full weight."""

    row: int
    start: int
    end: int


class Deposit(NamedTuple):
    """One event: its marks, and what it adds or, as a share, takes away at full weight (a float32 value)."""

    dabs: Sequence[Dab]
    spans: Sequence[Span]
    amount: float


@dataclass(frozen=True)
class Stroke:
    """One stroke of a tool.

    Parameters
    ----------
    points : tuple of Point
        Brush: the path. Line: both ends. Stamp: two opposite corners of a rectangle. Lasso: the corners of what is
        filled, inside by the even-odd rule. Times do not fall.
    size : float
        Radius in turns, in (0, 1]; a fill has none.
    strength : float
        Log2 gain of a click, in (0, 6]; for an eraser the share a click takes away, in (0, 1].
    sign : int
        1 or -1: paint more or less.
    erase : bool
    tool : str
        "brush", "line", "stamp" or "lasso".
    hardness : float
        Share of the radius that is level, in [0, 0.95].
    mirror : float or None
        Where the axis is, in turns, across which every mark is repeated.

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
    tool: str = "brush"
    hardness: float = 0.0
    mirror: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.tool, str) or self.tool not in POINTS:
            raise StrokeError(f"tool is {self.tool!r:.60}: it is one of {', '.join(POINTS)}")
        fewest, most = POINTS[self.tool]
        if not isinstance(self.points, (list, tuple)) or not fewest <= len(self.points) <= most:
            count = str(most) if fewest == most else f"{fewest} to {most}"
            raise StrokeError(f"a stroke of the {self.tool} has {count} points")
        points = tuple(_point(p) for p in self.points)
        if any(later.time < earlier.time for earlier, later in itertools.pairwise(points)):
            raise StrokeError("the times of a stroke's points must not fall")
        object.__setattr__(self, "points", points)
        if not isinstance(self.erase, bool):
            raise StrokeError(f"erase is {self.erase!r:.60}: it is true or false")
        strongest = 1.0 if self.erase else 2 * LIMIT
        if not _is_number(self.size) or not 0 < self.size <= 1:
            raise StrokeError(f"size is {self.size!r:.60}: a radius lies in (0, 1] turns")
        if not _is_number(self.strength) or not 0 < self.strength <= strongest:
            raise StrokeError(f"strength is {self.strength!r:.60}: it lies in (0, {strongest:g}]")
        if type(self.sign) is not int or self.sign not in (1, -1):
            raise StrokeError(f"sign is {self.sign!r:.60}: it is 1 or -1")
        if not _is_number(self.hardness) or not 0 <= self.hardness <= HARDEST:
            raise StrokeError(f"hardness is {self.hardness!r:.60}: it lies in [0, {HARDEST}]")
        if self.mirror is not None and (not _is_number(self.mirror) or not 0 <= self.mirror <= 1):
            raise StrokeError(f"mirror is {self.mirror!r:.60}: an axis lies in [0, 1] turns")

    def deposits(self, width: int, height: int) -> Iterator[Deposit]:
        """What the stroke leaves on a layer of that many cells, event by event.

        A brush leaves half a dose where it comes down and half where it is lifted, so a click leaves one; along the
        path the dose follows the length, so that a path comes out alike however often the pointer reports. The other
        tools are one event at full dose; a fill takes no pressure.
        """
        first, last = self.points[0], self.points[-1]
        if self.tool == "brush":
            before: Point | None = None
            for here in self.points:
                if before is None or (here.x, here.y) != (before.x, before.y):
                    yield self._move(before, here, width, height)
                before = here
            yield self._move(None, last, width, height)
        elif self.tool == "line":
            yield self._dabs(first, last, last.pressure, width, height)
        else:
            corners = [(p.x, p.y) for p in self.points]
            if self.tool == "stamp":
                corners = [(first.x, first.y), (last.x, first.y), (last.x, last.y), (first.x, last.y)]
            yield Deposit((), fill(corners, self.mirror, width, height), self._amount(1.0))

    def _move(self, before: Point | None, here: Point, width: int, height: int) -> Deposit:
        """One pointer event of a brush; `before` is None where it comes down and where it is lifted."""
        if before is None:
            return self._dabs(here, here, 0.5 * here.pressure, width, height)
        radius = self.size * width
        length = _length((here.x - before.x) * width, (here.y - before.y) * height)
        dose = length / (length + reach(self.hardness) * radius) * here.pressure
        return self._dabs(before, here, dose, width, height)

    def _dabs(self, start: Point, end: Point, dose: float, width: int, height: int) -> Deposit:
        """Dabs from one point to another."""
        radius = self.size * width
        x, y, way_x, way_y = start.x * width, start.y * height, (end.x - start.x) * width, (end.y - start.y) * height
        count = min(MAX_DABS - 1, max(1, math.ceil(_length(way_x, way_y) / (radius * SPACING))))
        weight = 1.0 if self.erase else dose  # doses of erasing multiply
        dabs = []
        for i in range(count + 1):
            across, up = x + way_x * i / count, y + way_y * i / count
            dabs.append(_single(across, up, radius, weight))
            if self.mirror is not None:
                dabs.append(_single(2 * self.mirror * width - across, up, radius, weight))
        return Deposit(dabs, (), self._amount(dose))

    def _amount(self, dose: float) -> float:
        return to_float32(1 - (1 - self.strength) ** dose if self.erase else self.sign * self.strength)


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
        strokes = [{name: getattr(s, name) for name in FIELDS} | {"points": [list(p) for p in s.points]}
                   for s in self.strokes]
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
            return cls(record["bands"], record["sheets"], tuple(Stroke(**{k: s[k] for k in FIELDS}) for s in strokes))
        except KeyError as error:
            raise StrokeError(f"the recording lacks {error}") from error

    def layer(self) -> array[float]:
        """The painted layer, float32, row by row from the lowest band; `layer_size` says how many cells."""
        width, height = layer_size(self.bands, self.sheets)
        layer = array("f", bytes(4 * width * height))
        for stroke in self.strokes:
            for deposit in stroke.deposits(width, height):
                for cell, weight in _weights(deposit, stroke.hardness, width, height).items():
                    value = layer[cell]
                    layer[cell] = value * (1 - deposit.amount * weight) if stroke.erase else (
                        min(max(value + deposit.amount * weight, -LIMIT), LIMIT))
        return layer

    def replay(self) -> list[list[float]]:
        """The relation [bands][sheets] that the strokes leave: area means of the layer they paint, float32 values."""
        width, _ = layer_size(self.bands, self.sheets)
        return _area_mean(self.layer(), width, self.bands, self.sheets)


def layer_size(bands: int, sheets: int) -> tuple[int, int]:
    """Width and height of a painted layer: about 256 x 160, whole numbers of cells for every sheet and band."""
    return sheets * max(1, 256 // sheets), bands * max(1, 160 // bands)


def reach(hardness: float) -> float:
    """Integral of a dab's weight along its middle, in radii: of ((1 - x^2) / (1 - h^2))^2 at most 1, over -1..1."""
    h = hardness
    return 8 * (2 + 4 * h + 6 * h * h + 3 * h * h * h) / (15 * (1 + h) * (1 + h))


def fill(corners: list[tuple[float, float]], mirror: float | None, width: int, height: int) -> list[Span]:
    """Cells whose middle lies in a polygon in chart units, or in its mirror image, as spans row by row."""
    shape = [(x * width, y * height) for x, y in corners]
    shapes = [shape] if mirror is None else [shape, [(2 * mirror * width - x, y) for x, y in shape]]
    spans = []
    for row in range(height):
        inside = bytearray(width)
        for points in shapes:
            crossings = sorted(_crossings(points, row + 0.5))
            for left, right in zip(crossings[::2], crossings[1::2], strict=True):
                start, end = math.ceil(left - 0.5), math.ceil(right - 0.5)
                for column in range(start, min(end, start + width)):
                    inside[column % width] = 1
        edges = [c for c in range(width + 1) if (c < width and inside[c]) != (c > 0 and inside[c - 1])]
        spans += [Span(row, start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return spans


def _crossings(points: list[tuple[float, float]], y: float) -> Iterator[float]:
    """Where a polygon's border crosses a height."""
    ax, ay = points[-1]
    for bx, by in points:
        if (ay <= y) != (by <= y):
            yield ax + (y - ay) * (bx - ax) / (by - ay)
        ax, ay = bx, by


def _weights(deposit: Deposit, hardness: float, width: int, height: int) -> dict[int, float]:
    """The heaviest mark at every cell that one reaches."""
    weights = {row * width + column: 1.0 for row, start, end in deposit.spans for column in range(start, end)}
    soft = 1 - hardness * hardness
    for x, y, radius, weight in deposit.dabs:
        square = radius * radius
        for row in range(max(0, math.floor(y - radius)), min(height, math.floor(y + radius) + 1)):
            dy = row + 0.5 - y
            half = math.sqrt(max(square - dy * dy, 0.0))
            for column in range(math.ceil(x - half - 0.5), math.floor(x + half - 0.5) + 1):
                dx = column + 0.5 - x
                fall = min(max((1 - (dx * dx + dy * dy) / square) / soft, 0.0), 1.0)
                cell = row * width + column % width
                weights[cell] = max(weights.get(cell, 0.0), weight * fall * fall)
    return weights


def _area_mean(layer: array[float], width: int, bands: int, sheets: int) -> list[list[float]]:
    """Means over the grid; the layer divides evenly, see `layer_size`."""
    across, along = width // sheets, len(layer) // width // bands
    sums = [[0.0] * sheets for _ in range(bands)]
    for row in range(bands * along):
        into = sums[row // along]
        for column in range(width):
            into[column // across] += layer[row * width + column]
    return [[to_float32(value / (across * along)) for value in row] for row in sums]


def _length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)  # math.hypot rounds otherwise than the page's square root


def to_float32(value: float) -> float:
    """The float32 value next to a number."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _single(*values: float) -> Dab:
    """Rounded to float32, as the kernels get them."""
    return Dab(*struct.unpack("<4f", struct.pack("<4f", *values)))


def _point(values: Any) -> Point:
    if not isinstance(values, (list, tuple)) or len(values) != 4 or not all(_is_number(v) for v in values):
        raise StrokeError(f"a point is {values!r:.60}: it is x, y, a time and a pressure")
    x, y, time, pressure = values
    if not (abs(x) <= FARTHEST and abs(y) <= FARTHEST and abs(time) <= LATEST and 0 <= pressure <= 1):
        raise StrokeError(f"a point is {values!r:.60}: it lies within {FARTHEST:g} charts, at a finite time, its "
                          "pressure in 0..1")
    return Point(float(x), float(y), float(time), float(pressure))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
