"""Where NaN or infinity first arose: a computation repeated launch by launch, each result looked at."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import core.array as tape
from core.array import Array
from core.backends import Backend, Buffer, use_backend
from core.primitives import Primitive, Shape

_ROOT = Path(__file__).resolve().parent.parent
_ENGINE = {_ROOT / "core" / name for name in ("array.py", "functions.py", "gradients.py", "nonfinite.py",
                                              "primitives.py", "ztensor.py")}


@dataclass(frozen=True)
class Origin:
    """The first result that is not finite.

    Attributes
    ----------
    tensor : str
        Type and shape of the result, or the name of a parameter.
    op : str
        The primitive, or "gradient of" the primitive that was differentiated.
    place : str
        File and line of the module that called it, such as "core/nn/rnn.py:56".
    source : str
        That line.
    """

    tensor: str
    op: str
    place: str
    source: str

    def __str__(self) -> str:
        return f"{self.tensor} out of {self.op} at {self.place} ({self.source})"


class _FoundError(Exception):
    def __init__(self, origin: Origin) -> None:
        super().__init__(str(origin))
        self.origin = origin


class _Watched:
    """A backend that runs every launch at once and looks at its result."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._made: dict[Buffer, tuple[str, str, str]] = {}  # op, place, source of what the tape may differentiate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def launch(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
               dtype: np.dtype[Any]) -> Buffer:
        out = self._backend.launch(primitive, inputs, params, shape, dtype)
        op, place, source = self._made[out] = self._caller(primitive.name)
        values = self._backend.read(out)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _FoundError(Origin(f"{dtype} {list(shape)}", op, place, source))
        return out

    def _caller(self, op: str) -> tuple[str, str, str]:
        """The op and the innermost line outside of the engine; in the backward pass, of what is differentiated."""
        for frame in _frames():
            if frame.f_code is tape._backward.__code__:
                known = self._made.get(frame.f_locals["out"].buffer)
                if known is not None:
                    return f"the gradient of {known[0]} ({op})", *known[1:]
            if Path(frame.f_code.co_filename) not in _ENGINE:
                return op, *line(frame.f_code.co_filename, frame.f_lineno)
        raise AssertionError("a launch has a caller")


def find_nonfinite(backend: Backend, parameters: Mapping[str, Array],
                   compute: Callable[[Mapping[str, Array]], object]) -> Origin | None:
    """Repeat a computation and find the first result in it that is not finite.

    Parameters
    ----------
    parameters : mapping of str to Array
        What it starts from.
    compute : callable
        Takes the parameters, on a backend that looks at every result, which is current as well.

    Returns
    -------
    Origin or None
        None where everything is finite this time.
    """
    watched: Any = _Watched(backend)
    copies = {name: Array(watched, p.buffer, p.shape, p.dtype, None, True) for name, p in parameters.items()}
    try:
        with use_backend(watched), np.errstate(all="ignore"):
            compute(copies)
    except _FoundError as found:
        return found.origin
    return None


def _frames() -> Iterator[FrameType]:
    """The callers, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def line(file: str, number: int) -> tuple[str, str]:
    """A line's place, as seen from the checkout, and its text."""
    path = Path(file)
    short = path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name
    return f"{short}:{number}", linecache.getline(file, number).strip()
