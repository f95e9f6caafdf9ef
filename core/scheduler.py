"""Painted layers and the scheduler that folds them into training."""

from __future__ import annotations

import base64
import binascii
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import PatchError

LIMITS = {"atlas": 3.0, "disk": 1.0}  # largest |relation|: log2 gain, and attraction
TENSION_FLOOR = 2.0**-20
MAX_CELLS = 1 << 16
Layer = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Patch:
    """The whole painted layer of one chart: absolute, not a difference.

    Parameters
    ----------
    relation : array of float32 [rows, columns]
        Finite. Atlas chart: log2 gain per band and sheet, clipped to [-3, 3]. Disk chart: [-1, 1].
    coherence, tension : float
        Trust, and relative change against the layer last sent; finite, > 0.
    depth : int
        Strokes so far.
    chart, frame : str
        Chart name and the signature of the frame it was painted on.
    sequence : int
    time : float
        Unix time in seconds.

    Raises
    ------
    PatchError
        Anything outside its range.
    """

    relation: Layer
    coherence: float
    tension: float
    depth: int
    chart: str
    frame: str
    sequence: int
    time: float

    def __post_init__(self) -> None:
        if self.chart not in LIMITS:
            raise PatchError(f"chart {self.chart!r} is unknown: use one of {', '.join(LIMITS)}")
        layer = np.asarray(self.relation)
        if layer.ndim != 2 or not 0 < layer.size <= MAX_CELLS or layer.dtype.kind not in "fiu":
            raise PatchError(f"a layer has numbers in rows and columns, at most {MAX_CELLS} cells, "
                             f"got shape {layer.shape} of {layer.dtype}")
        if not np.isfinite(layer).all():
            raise PatchError(f"the layer holds {np.count_nonzero(~np.isfinite(layer))} values that are not finite")
        for name in ("coherence", "tension"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < math.inf:
                raise PatchError(f"{name} is {value!r}: it must be a number above 0")
        for name in ("depth", "sequence"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << 53:
                raise PatchError(f"{name} is {value!r}: it must be a whole number of at least 0")
        if not isinstance(self.frame, str) or not _is_number(self.time) or not math.isfinite(self.time):
            raise PatchError("a patch needs the frame's signature as text and a finite time")
        limit = LIMITS[self.chart]
        clipped = np.clip(layer, -limit, limit).astype(np.float32)
        clipped.flags.writeable = False
        object.__setattr__(self, "relation", clipped)

    @property
    def weight(self) -> float:
        """coherence / (1 + tension)."""
        return self.coherence / (1 + self.tension)

    def to_record(self) -> dict[str, Any]:
        """As JSON; float32 values keep every bit (base64, little-endian)."""
        data = _base64(self.relation, "<f4")
        return {"chart": self.chart, "frame": self.frame, "shape": list(self.relation.shape), "relation": data,
                "coherence": self.coherence, "tension": self.tension, "depth": self.depth,
                "sequence": self.sequence, "time": self.time}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Patch:
        """From `to_record`'s form, whoever wrote it.

        Raises
        ------
        PatchError
            Missing keys, wrong types or sizes, or values out of range.
        """
        try:
            shape, text = record["shape"], record["relation"]
            rest = {k: record[k] for k in ("coherence", "tension", "depth", "chart", "frame", "sequence", "time")}
        except KeyError as error:
            raise PatchError(f"the patch lacks {error}") from error
        sizes_fit = isinstance(shape, list) and len(shape) == 2 and all(
            type(s) is int and 0 < s <= MAX_CELLS for s in shape)
        if not (sizes_fit and shape[0] * shape[1] <= MAX_CELLS and isinstance(text, str)):
            raise PatchError(f"the patch has shape {shape!r:.60}: two whole numbers with at most {MAX_CELLS} cells")
        if not isinstance(rest["chart"], str):
            raise PatchError(f"chart is {rest['chart']!r:.60}: it must be text")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise PatchError(f"the relation is not base64: {error}") from error
        if len(data) != 4 * shape[0] * shape[1]:
            raise PatchError(f"the relation has {len(data)} bytes, shape {shape} needs {4 * shape[0] * shape[1]}")
        return cls(relation=np.frombuffer(data, "<f4").reshape(shape).astype(np.float32), **rest)


def _base64(values: NDArray[Any], kind: str) -> str:
    """The bytes of values as text."""
    return base64.b64encode(values.astype(kind).tobytes()).decode()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def relative_change(new: NDArray[Any], old: NDArray[Any]) -> float:
    """A layer's tension: |new - old| / (|new| + |old|) in the L2 norm, at least 2^-20."""
    a, b = np.asarray(new, np.float64), np.asarray(old, np.float64)
    moved, size = _length(a - b), _length(a) + _length(b)
    return max(moved / size if size else 0.0, TENSION_FLOOR)


def _length(a: NDArray[np.float64]) -> float:
    """L2 norm without BLAS, whose threads would be woken for it and waited for."""
    return math.sqrt(float(np.sum(a * a)))


@dataclass(frozen=True)
class Fold:
    """What a queue of layers comes to.

    Attributes
    ----------
    relation : array of float64
        Weighted mean of the layers.
    amplitude : float
        Its L2 norm.
    pattern : array of float64
        relation / amplitude; zero where the amplitude is.
    """

    relation: NDArray[np.float64]

    @property
    def amplitude(self) -> float:
        return _length(self.relation)

    @property
    def pattern(self) -> NDArray[np.float64]:
        return self.relation / self.amplitude if self.amplitude else self.relation

    def to_record(self) -> dict[str, Any]:
        """As JSON; float64 values keep every bit (base64, little-endian)."""
        return {"amplitude": self.amplitude, "shape": list(self.relation.shape),
                "relation": _base64(self.relation, "<f8")}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Fold:
        """From `to_record`'s form."""
        values = np.frombuffer(base64.b64decode(record["relation"]), "<f8")
        return cls(values.reshape(record["shape"]).astype(np.float64))


def fold_layers(layers: Sequence[tuple[float, Layer]]) -> Fold:
    """Fold at least one (weight, layer), oldest first; equal layers give that layer exactly."""
    newest = layers[-1][1].astype(np.float64)
    moved, total = np.zeros_like(newest), 0.0
    for weight, relation in layers:  # around the newest, so that equal layers leave no rounding behind
        moved += weight * (relation - newest)
        total += weight
    return Fold(newest + moved / total)


class Scheduler:
    """One bounded queue of layers a chart; a queue starts full of the unpainted layer.

    At each step boundary one layer enters every queue: the newest that came, or, where none came, the newest there is
    once more. So a fold settles `capacity` boundaries after the last stroke, whatever the rate of sending.

    Parameters
    ----------
    charts : mapping of str to (rows, columns)
    capacity : int
        Length of each queue, >= 1: the damping.
    """

    def __init__(self, charts: Mapping[str, tuple[int, int]], capacity: int = 8) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: a queue holds at least one layer")
        neutral = 1 / (1 + TENSION_FLOOR)
        self.charts, self.capacity = dict(charts), capacity
        self._queues = {name: deque([(neutral, np.zeros(shape, np.float32))] * capacity, maxlen=capacity)
                        for name, shape in charts.items()}
        self._new: dict[str, Patch] = {}
        self._lock = threading.Lock()

    def push(self, patch: Patch) -> None:
        """Offer a layer; at the next boundary the newest offered one counts.

        Raises
        ------
        PatchError
            Unknown chart, or another shape.
        """
        if patch.chart not in self.charts:
            raise PatchError(f"chart {patch.chart!r} is not scheduled here: use one of {', '.join(self.charts)}")
        if patch.relation.shape != self.charts[patch.chart]:
            raise PatchError(f"the layer has shape {patch.relation.shape}, chart {patch.chart!r} has "
                             f"{self.charts[patch.chart]}")
        with self._lock:
            self._new[patch.chart] = patch

    def boundary(self) -> None:
        """A step boundary: one layer enters every queue."""
        with self._lock:
            for name, queue in self._queues.items():
                patch = self._new.pop(name, None)
                queue.append(queue[-1] if patch is None else (patch.weight, patch.relation))

    def fold(self, chart: str) -> Fold:
        """sum w_i R_i / sum w_i in float64, oldest first; a queue of equal layers gives that layer exactly."""
        with self._lock:
            layers = tuple(self._queues[chart])
        return fold_layers(layers)

    def moved(self, charts: Mapping[str, tuple[int, int]], move: Callable[[Layer], NDArray[Any]]) -> Scheduler:
        """The same queues on charts of other sizes, every layer put through `move`."""
        out = Scheduler(charts, self.capacity)
        with self._lock:
            for name, queue in self._queues.items():
                out._queues[name].extend((weight, move(r).astype(np.float32)) for weight, r in queue)
        return out

    def state(self) -> dict[str, Any]:
        """The queues as JSON, every bit kept."""
        with self._lock:
            return {name: [[weight, _base64(r, "<f4")] for weight, r in queue]
                    for name, queue in self._queues.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        with self._lock:
            for name, layers in state.items():
                self._queues[name].extend(
                    (weight, np.frombuffer(base64.b64decode(text), "<f4").reshape(self.charts[name]))
                    for weight, text in layers)
