"""What the Projector view of a page shows: a canvas of the run shown, through a `CanvasProjector` on the server.

It exists while somebody looks, is fed with what the run's watcher has anyway, each relation at its own time, and makes
one picture a tick until the picture is at rest. Nothing is asked of the training process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from canvas import codec
from canvas.codec import Message
from canvas.palettes import palette_table
from canvas.picture import Picture
from canvas.projector import CanvasProjector
from canvas.spectra import power
from canvas.vectors import CHANNELS
from core.backends import Backend, open_backend
from core.disk import SIDE
from workbench.disk import Disk
from workbench.watch import RunWatch

SOURCES = ("painted", "state", "gradient", "disk")
SUBJECTS = ("relation", *CHANNELS)  # that a spectrum can be of
LIVE = ("running", "paused")
REST = 20  # half-lives: 2^-20 of a change is left then
FLOOR = 1e-12  # of a power, of the strongest one
THUMB = 32  # cells along an edge of a disk's thumbnail


@dataclass(frozen=True)
class View:
    """What a page wants to see; `workbench.asks.view_in` checks it."""

    source: str
    palette: str
    of: str
    axis: str
    window: str


class Push(NamedTuple):
    """A relation that the canvas takes: when it came in Unix seconds, and at which step."""

    time: float
    step: int
    relation: NDArray[np.floating[Any]]
    coherence: float = 1.0
    tension: float = 1.0


class Projection:
    """A canvas of the run shown, in messages for one page.

    The layers painted on the atlas are folded as the run's queue is deep; of the field of states or gradients, and of
    the disk, the newest is shown. While a run is at work its time is ours; the picture of one that is over stands as
    at its last relation.

    Parameters
    ----------
    watch : RunWatch
    view : View
    disk : Disk, optional
        That of the page, where the view is of it.
    """

    def __init__(self, watch: RunWatch, view: View, disk: Disk | None = None) -> None:
        self.watch, self.view, self._disk = watch, view, disk
        self._shape = (SIDE, SIDE) if disk else (watch.frame.bands, watch.frame.sheets)
        self.capacity = watch.record["capacity"] if view.source == "painted" else 1
        self._now = 0.0
        self.projector = CanvasProjector(*reversed(self._shape), capacity=self.capacity, palette=view.palette,
                                         clock=lambda: self._now, backend=_cpu())
        self._taken, self._epoch, self._step = 0, watch.field_epoch, 0
        self._moved, self._sent = 0.0, (-1.0, view)
        self._patches_sent = ""
        self._take()

    def news(self) -> list[bytes]:
        """Messages that the page lacks: a picture of this moment, and the patches that came."""
        moved = self._take()
        if self._disk or self.watch.state["status"] in LIVE:
            self._now = max(self._now, time.time())
        parts = self._patches()
        at_rest = self._now - self._moved > REST * self.projector.half_life
        sent_now, sent_view = self._sent
        if moved or self.view != sent_view or sent_now < 0 or (self._now > sent_now and not at_rest):
            self._sent = self._now, self.view
            parts += self._picture()
        return parts

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _take(self) -> bool:
        """Push what came since the last call, oldest first; whether anything did."""
        if self._epoch != self.watch.field_epoch and self.view.source in ("state", "gradient"):  # the run began anew
            self._epoch, self._taken = self.watch.field_epoch, 0
            self.projector.clear_queue()
        fresh = self._fresh()
        for push in fresh:
            self._now = self._moved = max(self._now, push.time)
            self._step = push.step
            self.projector.push_patch(push.relation, coherence=push.coherence, tension=push.tension)
        return bool(fresh)

    def _fresh(self) -> list[Push]:
        watch, source = self.watch, self.view.source
        if source == "painted":
            return [Push(p.patch.time, p.step, p.relation, p.patch.coherence, p.patch.tension)
                    for p in self._since(watch.strokes, watch.stroke_count)]
        if self._disk:
            return [Push(p.time, 0, p.values) for p in self._since(self._disk.paintings, self._disk.painted)]
        looks = self._since(watch.fields, watch.field_count)
        return [Push(x.time, x.step, x.rho[:, :, 0]) for x in looks if x.kind == source]

    def _since(self, kept: Any, count: int) -> list[Any]:
        """Those of the kept that were not taken yet."""
        fresh, self._taken = count - self._taken, count
        return list(kept)[-fresh:] if fresh else []

    def _picture(self) -> list[bytes]:
        """The text, and where something was pushed six layers, the buffer and the spectrum that belong to it."""
        self.projector.set_palette(self.view.palette)
        picture = self.projector.refresh()
        metrics = self.projector.emit_atlas_frame(refresh=False)["metrics"]
        said = {"type": "projection", **vars(self.view), "blank": picture.blank, "step": self._step,
                "capacity": self.capacity, "shown": picture.shown, "metrics": metrics, "scale": _scale(picture.palette)}
        if picture.blank:
            return [codec.encode(codec.text("text", said))]
        decibels, peak = self._spectrum(picture)
        fields = np.concatenate([[picture.relation], np.moveaxis(picture.vectors.numpy(), 2, 0), [picture.trail]])
        image = Message("image", "atlas", 0, (*picture.relation.shape, 4), "u8", picture.rgba)
        return [codec.encode(codec.text("text", {**said, "peak": peak})), _layers(fields), codec.encode(image),
                _layers(decibels[None])]

    def _spectrum(self, picture: Picture) -> tuple[NDArray[np.float64], float]:
        """Power of what the view asks for in decibels below the strongest, at least -120, and the strongest."""
        how = {"axis": self.view.axis, "window": self.view.window}
        if self.view.of == "relation":
            found = picture.power_spectrum(**how)
        else:
            channel = CHANNELS.index(self.view.of)
            found = power(picture.vector_spectrum(**how)).numpy()[..., channel].astype(np.float64)
        peak = float(found.max())
        return 10 * np.log10(np.maximum(found / (peak or 1.0), FLOOR)), peak

    # --- what came ----------------------------------------------------------------------------------------------------

    def _patches(self) -> list[bytes]:
        """The last painted layers as they came in, if anything about them is new."""
        if self._disk:
            layers = [p.values for p in self._disk.paintings]
            told: list[dict[str, Any]] = [{"time": p.time} for p in self._disk.paintings]
        else:
            arrived = [a for a in self.watch.arrived if a.patch.relation.shape == self._shape]
            layers = [a.patch.relation for a in arrived]
            told = [{"time": a.patch.time, "seq": a.seq, "step": a.step, "refused": a.refused, "weight": a.patch.weight}
                    for a in arrived]
        for one, layer in zip(told, layers, strict=True):
            one |= {"bytes": layer.nbytes, "energy": float(np.mean(np.square(layer, dtype=np.float64)))}
        if str(told) == self._patches_sent:
            return []
        self._patches_sent = str(told)
        thumbs = np.stack([_thumbnail(x) for x in layers]) if layers else np.zeros((0, *self._shape))
        said = {"type": "patches", "source": self.view.source, "patches": told}
        return [codec.encode(codec.text("text", said)), _layers(thumbs)]


@cache
def _cpu() -> Backend:
    """A page's small pictures are no work for the device that trains."""
    return open_backend("cpu")


def _layers(values: NDArray[np.floating[Any]]) -> bytes:
    """Of whatever chart the text before them is about."""
    return codec.encode(Message("layers", "atlas", 0, values.shape, "f32", values.astype("<f4").tobytes()))


def _scale(palette: str) -> list[str]:
    """A palette in 18 colours, lowest first."""
    return ["#" + bytes(rgb).hex() for rgb in palette_table(palette)[::15, :3]]


def _thumbnail(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    """A chart's layer as it is; of a disk, means of blocks."""
    if layer.shape != (SIDE, SIDE):
        return layer
    step = SIDE // THUMB
    return layer.reshape(THUMB, step, THUMB, step).mean(axis=(1, 3))
