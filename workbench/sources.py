"""What a notebook's widgets show: where looks come from, and how they travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from canvas import codec
from canvas.codec import Message
from core.atlas import Chart, ZAtlas
from core.frame import ZFrame
from core.runs.live import KINDS, Look
from core.runs.store import RunFolder
from core.session import Session
from workbench.watch import open_watch

Facts = dict[str, Any]


class Source(Protocol):
    """Where looks come from."""

    title: str

    @property
    def frame(self) -> ZFrame | None:
        """How was looked, None before the first look."""

    def looks(self) -> tuple[Look, ...]:
        """What is kept of them, oldest first; a look is the same object at every call."""

    def status(self) -> Facts:
        """What the card's corner says: run, state, step."""


class RunSource:
    """A run's files, followed while it goes on or read when it is over."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.title, self.watch = folder, folder.id, open_watch(folder)
        self.frame: ZFrame | None = self.watch.frame

    def looks(self) -> tuple[Look, ...]:
        self.watch.poll()
        return tuple(self.watch.fields)

    def status(self) -> Facts:
        """And which painted layer is in force."""
        state, strokes = self.watch.state, self.watch.strokes
        force = {"seq": strokes[-1].seq, "step": strokes[-1].step} if strokes else None
        return {"run": self.folder.id, "state": state.get("status", ""), "step": self.watch.step, "force": force}


class AtlasSource:
    """The charts of an atlas that have its newest frame."""

    def __init__(self, atlas: ZAtlas) -> None:
        self.atlas, self.title = atlas, "Atlas"
        self._looks: WeakKeyDictionary[Chart, Look] = WeakKeyDictionary()

    @property
    def frame(self) -> ZFrame | None:
        return self.atlas.latest.frame if len(self.atlas) else None

    def looks(self) -> tuple[Look, ...]:
        frame = self.frame
        return tuple(self._looks.setdefault(c, Look(c.step, _kind(c), c.time, c.field.rho))
                     for c in self.atlas if c.frame == frame)

    def status(self) -> Facts:
        return {"run": None}


def source_of(of: Any) -> Source:
    """What to look at."""
    if isinstance(of, Session):
        return AtlasSource(of.atlas)
    if isinstance(of, ZAtlas):
        return AtlasSource(of)
    return RunSource(run_folder(of))


def run_folder(run: Any) -> RunFolder:
    """A run, by its folder."""
    if isinstance(run, str | Path):
        return RunFolder(Path(run))
    if not isinstance(run, RunFolder):
        raise TypeError(f"{type(run).__name__} is nothing to look at: give a run's folder, a ZAtlas or a Session")
    return run


def _kind(chart: Chart) -> str:
    """States unless the chart says otherwise."""
    kind = chart.provenance.get("signal")
    return kind if kind in KINDS else "state"


def look_message(look: Look, frame: ZFrame) -> bytes:
    """A look as a message; echoes that a warped atlas cannot know are left out."""
    rho = look.rho if np.isfinite(look.rho).all() else look.rho[:, :, :1]
    return codec.encode(Message("field", look.kind, look.step, rho.shape, "f32", rho.astype("<f4").tobytes(),
                                time=look.time, frame=frame.signature()))
