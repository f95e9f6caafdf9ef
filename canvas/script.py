"""What a script in the page's script pane paints; standard library only, and run nowhere but in the browser's Python.

A script sees the name `canvas`, a `Sketch`, and either paints strokes with it or defines a field::

    def field(t, x, y):
        return 2 * math.sin(6.28 * (x - t / 8)) * y

`t` is in seconds since the script was started, `x` in turns along the sheets and `y` in 0..1 from the lowest band to
the highest, in the middle of a cell; the value is a log2 gain, clipped to -3..3.
"""

from __future__ import annotations

import dis
import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from canvas.strokes import LIMIT, MAX_STROKES, Point, Recording, Stroke, StrokeError, to_float32

FILE = "script.py"
DEPTH = 8  # of the calls that an error names
LONGEST = 1000  # characters of its sentence
STRENGTH, ERASER = 1.5, 0.5  # of a tool that says none: what the page's tools begin with


class ScriptError(Exception):
    """A script that did not come to its end.

    Parameters
    ----------
    sentence : str
        What went wrong, as Python says it.
    line : int or None
        Of the script, from 1.
    calls : tuple of str
        Where that was, outermost call first, if not at the top.
    """

    def __init__(self, sentence: str, line: int | None, calls: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.line, self.calls = line, calls

    @classmethod
    def of(cls, error: BaseException, line: int | None = None) -> ScriptError:
        """What a script raised; `line` where it was outside of the script's own lines."""
        said = traceback.format_exception_only(error)
        if isinstance(error, SyntaxError) and error.filename == FILE:
            return cls(said[-1].strip(), error.lineno)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == FILE]
        calls = tuple(f"line {f.lineno}, in {f.name}" for f in frames if f.name != "<module>")[-DEPTH:]
        return cls("".join(said).strip()[:LONGEST], frames[-1].lineno if frames else line, calls)


class Sketch:
    """The canvas that a script paints on, stroke by stroke: what the page's tools do, no more and no less.

    A point is (x, y), (x, y, milliseconds) or (x, y, milliseconds, pressure) in chart units; tools and settings are
    those of `canvas.strokes.Stroke`. A strength that is not given is that of the page's tools: 1.5, an eraser's 0.5.

    Attributes
    ----------
    bands, sheets : int
        Of the chart.
    strokes : list of Stroke
        Painted so far, oldest first.
    """

    def __init__(self, bands: int, sheets: int) -> None:
        self.bands, self.sheets = bands, sheets
        self.strokes: list[Stroke] = []

    def stroke(self, points: Iterable[Sequence[float]], *, size: float = 0.06, strength: float | None = None,
               hardness: float = 0.0, sign: int = 1, erase: bool = False, mirror: float | None = None) -> None:
        """Move the brush along a path."""
        self._add("brush", points, size, strength, hardness, sign, erase, mirror)

    def line(self, start: Sequence[float], end: Sequence[float], *, size: float = 0.06, strength: float | None = None,
             hardness: float = 0.0, sign: int = 1, erase: bool = False, mirror: float | None = None) -> None:
        """Draw a straight line at one strength."""
        self._add("line", (start, end), size, strength, hardness, sign, erase, mirror)

    def stamp(self, corner: Sequence[float], opposite: Sequence[float], *, strength: float | None = None,
              sign: int = 1, erase: bool = False, mirror: float | None = None) -> None:
        """Fill a rectangle between two opposite corners."""
        self._add("stamp", (corner, opposite), 1.0, strength, 0.0, sign, erase, mirror)

    def lasso(self, corners: Iterable[Sequence[float]], *, strength: float | None = None, sign: int = 1,
              erase: bool = False, mirror: float | None = None) -> None:
        """Fill a polygon, inside by the even-odd rule."""
        self._add("lasso", corners, 1.0, strength, 0.0, sign, erase, mirror)

    def clear(self) -> None:
        """Wipe the layer."""
        self.stamp((0, 0), (1, 1), strength=1, erase=True)

    def _add(self, tool: str, points: Iterable[Sequence[float]], size: float, strength: float | None,
             hardness: float, sign: int, erase: bool, mirror: float | None) -> None:
        if len(self.strokes) == MAX_STROKES:
            raise StrokeError(f"a script paints at most {MAX_STROKES} strokes: join some into longer ones")
        if strength is None:
            strength = ERASER if erase else STRENGTH
        path = tuple(_point(p) for p in points)
        self.strokes.append(Stroke(path, size, strength, sign, erase, tool, hardness, mirror))


class Script:
    """A script that has run: what it painted, or the field that it defines.

    Parameters
    ----------
    text : str
    bands, sheets : int
        Of the chart.

    Attributes
    ----------
    recording : Recording
        The strokes.
    field : callable or None
        field(t, x, y).

    Raises
    ------
    ScriptError
        It does not compile, raises, defines a field and paints strokes as well, or paints more strokes than a recording
        holds.
    """

    def __init__(self, text: str, bands: int, sheets: int) -> None:
        sketch = Sketch(bands, sheets)
        names: dict[str, Any] = {"__name__": "__main__", "canvas": sketch, "math": math}
        try:
            exec(compile(text, FILE, "exec"), names)  # in the browser's sandbox; the server never imports this module
            self.recording = Recording(bands, sheets, tuple(sketch.strokes))
        except BaseException as error:
            raise ScriptError.of(error) from error
        field = names.get("field")
        self.field: Callable[[float, float, float], Any] | None = field if callable(field) else None
        if self.field and sketch.strokes:
            raise ScriptError("the script defines a field and paints strokes: leave one of them out", self._line)

    @property
    def moves(self) -> bool:
        """Whether the field looks at its time, so that it has to be painted again and again."""
        code = getattr(self.field, "__code__", None)
        if code is None or not code.co_varnames:
            return self.field is not None
        read = [i.argval for i in dis.get_instructions(code)]  # names, and pairs of names
        return any(code.co_varnames[0] in (names if isinstance(names, tuple) else (names,)) for names in read)

    def relation(self, t: float) -> list[list[float]]:
        """The field [bands][sheets] at a time, float32 values in -3..3.

        Raises
        ------
        ScriptError
            The field raises, or gives back something else than a finite number.
        """
        assert self.field is not None
        bands, sheets = self.recording.bands, self.recording.sheets
        rows = []
        for band in range(bands):
            row = []
            for sheet in range(sheets):
                x, y = (sheet + 0.5) / sheets, (band + 0.5) / bands
                try:
                    found = self.field(t, x, y)
                except BaseException as error:
                    raise ScriptError.of(error, self._line) from error
                try:
                    value = float(found)
                except Exception:
                    value = math.nan
                if not math.isfinite(value):
                    raise ScriptError(f"field({t:g}, {x:g}, {y:g}) is {found!r:.60}: it gives back a finite number, a "
                                      "log2 gain", self._line)
                row.append(to_float32(min(max(value, -LIMIT), LIMIT)))
            rows.append(row)
        return rows

    @property
    def _line(self) -> int | None:
        """Where the field is defined."""
        code = getattr(self.field, "__code__", None)
        return code.co_firstlineno if code is not None else None


def _point(given: Sequence[float]) -> Point:
    values = tuple(float(v) for v in given)
    if not 2 <= len(values) <= 4:
        raise StrokeError(f"a point is {values!r:.60}: it is (x, y), and a time and a pressure where they matter")
    x, y, time, pressure = *values, *(0.0, 1.0)[len(values) - 2:]
    return Point(x, y, time, pressure)
