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

TRANSITION_SAMPLES = 1 << 14  # frequencies over which two banks of filters are compared


@dataclass(frozen=True)
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
        The signal itself, where it is kept; not part of the JSON form.
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
        """
        out = ZAtlas(self.capacity)
        for chart in self:
            if chart.signal is not None:
                seen = measure_field(chart.signal, frame)
            else:
                bands, sheets = transition(chart.frame, frame)
                rho = np.full(frame.shape, np.nan)
                rho[:, :, 0] = bands.T @ chart.field.rho[:, :, 0] @ sheets
                seen = Field(frame, rho, None)
            out.append(Chart(frame, seen, chart.step, chart.time, chart.provenance, chart.signal))
        return out

    def to_json(self) -> dict[str, Any]:
        """Lossless but for the signals: floats keep all digits, missing values are null."""
        return {"capacity": self.capacity, "charts": [
            {"frame": c.frame.to_json(), "rho": [[[None if np.isnan(v) else v for v in s] for s in b]
                                                 for b in c.field.rho.tolist()],
             "features": None if c.field.features is None else list(c.field.features),
             "step": c.step, "time": c.time, "provenance": c.provenance} for c in self]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ZAtlas:
        """An atlas from `to_json`'s form."""
        atlas = cls(record["capacity"])
        for c in record["charts"]:
            frame = ZFrame.from_json(c["frame"])
            features = None if c["features"] is None else FeatureSample(*c["features"])
            seen = Field(frame, np.array(c["rho"], np.float64).reshape(frame.shape), features)
            atlas.append(Chart(frame, seen, c["step"], c["time"], c["provenance"]))
        return atlas

    def save_npz(self, path: Path) -> None:
        """Write the history as one .npz of plain arrays, beside first and then renamed; signals are not kept."""
        from core.runs.store import write_atomic

        buffer = io.BytesIO()
        record = self.to_json()
        rho = {f"rho{i}": chart.field.rho for i, chart in enumerate(self)}
        head = {**record, "charts": [{k: v for k, v in c.items() if k != "rho"} for c in record["charts"]]}
        np.savez_compressed(buffer, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **rho)  # type: ignore[arg-type]
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load_npz(cls, path: Path) -> ZAtlas:
        """Read what `save_npz` wrote; no pickle is ever loaded."""
        with np.load(path, allow_pickle=False) as data:
            head = json.loads(data["head"].tobytes())
            for i, chart in enumerate(head["charts"]):
                chart["rho"] = data[f"rho{i}"]
        return cls.from_json(head)


def transition(old: ZFrame, new: ZFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How echo 0's energy moves between frames.

    Returns
    -------
    (bands, sheets)
        P[b, b'] = sum_f H_b^2 H'_b'^2 / sum_f H_b^2 and the share of each old sheet's arc in each new one; every row
        sums to one, so energy is conserved.
    """
    squared, onto = old.filters(TRANSITION_SAMPLES) ** 2, new.filters(TRANSITION_SAMPLES) ** 2
    bands = squared @ onto.T / squared.sum(axis=1, keepdims=True)
    # arcs around each centre, in fractions of the circle; shifts of a whole turn cover the wrap
    a, b = (np.arange(old.sheets) / old.sheets)[:, None], (np.arange(new.sheets) / new.sheets)[None]
    half_a, half_b = 0.5 / old.sheets, 0.5 / new.sheets
    overlap = sum(np.maximum(0, np.minimum(a + half_a, b + turn + half_b) - np.maximum(a - half_a, b + turn - half_b))
                  for turn in (-1, 0, 1))
    return bands, overlap * old.sheets
