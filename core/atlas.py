"""ZAtlas: the bounded, ordered history of what a session saw, and its move from one frame to another."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.field import FeatureSample, Field, measure_field
from core.frame import ZFrame

NODES_PER_OCTAVE = 256  # of the integral over frequency that compares two banks of filters


@dataclass(frozen=True, eq=False)
class Chart:
    """One look.

    Attributes
    ----------
    frame, field
        How it was looked, and what was seen.
    step : int
        Training step.
    time : float
        Unix time in seconds.
    provenance : dict
        Where the signal came from; JSON.
    signal : array, optional
        The signal itself, where it is kept.
    """

    frame: ZFrame
    field: Field
    step: int
    time: float
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    signal: NDArray[np.float64] | None = None


class ZAtlas:
    """The last `capacity` charts, oldest first.

    Parameters
    ----------
    capacity : int
        At least 1.
    """

    def __init__(self, capacity: int = 256) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: an atlas holds at least one chart")
        self._charts: deque[Chart] = deque(maxlen=capacity)

    @property
    def capacity(self) -> int:
        """Most charts it holds."""
        return self._charts.maxlen or 0

    @property
    def latest(self) -> Chart:
        """The newest chart; `IndexError` where there is none."""
        if not self._charts:
            raise IndexError("the atlas is empty: observe a signal first")
        return self._charts[-1]

    def append(self, chart: Chart) -> None:
        """Add a chart; the oldest gives way."""
        self._charts.append(chart)

    def __len__(self) -> int:
        return len(self._charts)

    def __iter__(self) -> Iterator[Chart]:
        return iter(tuple(self._charts))

    def warp(self, frame: ZFrame) -> ZAtlas:
        """The same history in another frame.

        Where a chart kept its signal the field is measured anew, exactly. Elsewhere echo 0 moves by `transition`,
        which keeps its energy and splits it as a flat spectrum inside each band would be; later echoes are missing.
        The curvature does not enter the density: frames that differ in nothing else share it as it is.

        Raises
        ------
        ValueError
            A kept signal is shorter than the new frame's longest lag.
        """
        out = ZAtlas(self.capacity)
        for chart in self:
            if dataclasses.replace(chart.frame, curvature=frame.curvature) == frame:
                seen = Field(frame, chart.field.rho, chart.field.features)
            elif chart.signal is not None:
                seen = measure_field(chart.signal, frame)
            else:
                bands, sheets = transition(chart.frame, frame)
                if chart.frame.edges == frame.edges:  # overlapping ramps or not: the same bands hold the same energy
                    bands = np.eye(frame.bands)
                rho = np.full(frame.shape, np.nan)
                rho[:, :, 0] = bands.T @ chart.field.rho[:, :, 0] @ sheets
                seen = Field(frame, rho, None)
            out.append(Chart(frame, seen, chart.step, chart.time, chart.provenance, chart.signal))
        return out

    def to_json(self) -> dict[str, Any]:
        """Lossless: floats keep all digits, missing values are null, a kept signal is a nested list."""
        return {"capacity": self.capacity, "charts": [
            {**_head(c),
             "rho": [[[None if np.isnan(v) else v for v in s] for s in b] for b in c.field.rho.tolist()],
             "signal": None if c.signal is None else c.signal.tolist()} for c in self]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ZAtlas:
        """An atlas from `to_json`'s form."""
        atlas = cls(record["capacity"])
        for c in record["charts"]:
            frame = ZFrame.from_json(c["frame"])
            features = None if c["features"] is None else FeatureSample(*c["features"])
            seen = Field(frame, np.array(c["rho"], np.float64), features)
            signal = None if c["signal"] is None else np.array(c["signal"], np.float64)
            atlas.append(Chart(frame, seen, c["step"], c["time"], c["provenance"], signal))
        return atlas

    def save_npz(self, path: Path) -> None:
        """Write the history as one .npz of plain arrays, beside first and then renamed.

        It holds `head` (JSON in UTF-8 bytes: capacity, and all of a chart but its arrays), and for chart i, oldest
        first, `rho{i}` and, where the signal is kept, `signal{i}`.
        """
        from core.runs.files import write_atomic

        charts, buffer = tuple(self), io.BytesIO()
        head = json.dumps({"capacity": self.capacity, "charts": [_head(c) for c in charts]}, allow_nan=False)
        arrays: dict[str, NDArray[Any]] = {"head": np.frombuffer(head.encode(), np.uint8)}
        arrays |= {f"rho{i}": c.field.rho for i, c in enumerate(charts)}
        arrays |= {f"signal{i}": c.signal for i, c in enumerate(charts) if c.signal is not None}
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load_npz(cls, path: Path) -> ZAtlas:
        """Read what `save_npz` wrote; no pickle is ever loaded."""
        with np.load(path, allow_pickle=False) as data:
            head = json.loads(data["head"].tobytes())
            for i, chart in enumerate(head["charts"]):
                chart["rho"] = data[f"rho{i}"]
                chart["signal"] = data.get(f"signal{i}")
        return cls.from_json(head)


def _head(chart: Chart) -> dict[str, Any]:
    """A chart's JSON without its arrays."""
    return {"frame": chart.frame.to_json(), "step": chart.step, "time": chart.time, "provenance": chart.provenance,
            "features": None if chart.field.features is None else list(chart.field.features)}


def transition(old: ZFrame, new: ZFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How echo 0's energy moves between frames.

    Returns
    -------
    (bands, sheets)
        P[b, b'] = sum_f H_b^2 H'_b'^2 / sum_f H_b^2, in the limit of dense frequencies, and the share of each old
        sheet's arc in each new one; every row sums to one, so energy is conserved.
    """
    return _band_transition(old, new), _sheet_transition(old.sheets, new.sheets)


def warp_layer(layer: NDArray[Any], old: ZFrame, new: ZFrame) -> NDArray[np.float64]:
    """A painted layer [B, S] of log2 gains in another frame [B', S'].

    A gain is no energy: a new cell takes the mean of the old gains over where its own energy lay, which is `transition`
    from the new frame to the old one. So a level layer stays level, and no gain leaves the range of the old ones.
    """
    bands, sheets = transition(new, old)
    if new.edges == old.edges:  # see `ZAtlas.warp`
        bands = np.eye(new.bands)
    return bands @ layer @ sheets.T


def _band_transition(old: ZFrame, new: ZFrame) -> NDArray[np.float64]:
    """See `transition`."""
    # trapezoids over a grid even in log2 f, as the ramps are; below half an octave under the lowest edge all is flat
    lowest = np.log2(min((*old.edges, *new.edges, 0.5))) - 1
    f = np.concatenate([[0.0], np.exp2(np.linspace(lowest, -1, 1 + int(np.ceil(-lowest * NODES_PER_OCTAVE))))])
    gaps = np.diff(f)
    squared = old.power(f) * (np.append(gaps, 0) + np.append(0, gaps)) / 2
    return squared @ new.power(f).T / squared.sum(axis=1, keepdims=True)


def _sheet_transition(old: int, new: int) -> NDArray[np.float64]:
    """Overlap of arcs around each centre, in fractions of the old arc; shifts of a whole turn cover the wrap."""
    a, b = (np.arange(old) / old)[:, None], (np.arange(new) / new)[None]
    half_a, half_b = 0.5 / old, 0.5 / new
    overlap = sum(np.maximum(0, np.minimum(a + half_a, b + turn + half_b) - np.maximum(a - half_a, b + turn - half_b))
                  for turn in (-1, 0, 1))
    return overlap * old
