"""The atlas and the canvas as Jupyter widgets: the page's own modules over the page's own wire format.

    from workbench.notebook import AtlasView, CanvasWidget

    AtlasView(run)                       # or an atlas, or a session; it follows what comes
    canvas = CanvasWidget(run=folder)    # every layer painted on it enters the run's input log
    canvas.observe(lambda change: print(change.new), "relation")
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray

from canvas import codec
from canvas.codec import Message, Refusal
from core.atlas import ZAtlas
from core.errors import PatchError
from core.field import Field
from core.frame import ZFrame
from core.runs.control import Painter
from core.runs.live import Look
from core.runs.store import RunFolder
from core.session import Session
from workbench import modules
from workbench.sources import Facts, RunSource, Source, look_message, run_folder, source_of
from workbench.widget import Widget, said


class AtlasView(Widget):
    """The atlas, and how it changes, in a cell's output.

    Parameters
    ----------
    of : RunFolder, Path, str, ZAtlas or Session
        A run (its folder), whether it is at work or over; an atlas; or a session, of which it follows the atlas.

    Raises
    ------
    RunError
        The folder holds no run that this version reads.
    """

    _esm = modules.module("atlas_view.js")

    def __init__(self, of: RunFolder | Path | str | ZAtlas | Session) -> None:
        self._from: Source = source_of(of)
        super().__init__(self._from)

    def _news(self) -> list[bytes]:
        """All looks since the last batch; the history anew where that is not its beginning any more."""
        looks, frame = self._from.looks(), self._from.frame
        if frame is None or not looks:
            return [] if frame is None else self._facts(frame, self._from.title)
        parts = self._facts(frame, self._from.title)
        at = next((i for i in range(len(looks) - 1, -1, -1) if looks[i] is self._last), None)
        fresh = looks if at is None else looks[at + 1:]
        if at is None or parts:
            parts.append(said({"type": "history"}))
            fresh = looks if self._met else tuple({x.kind: x for x in looks}.values())
        self._last = looks[-1]
        return parts + [look_message(look, frame) for look in fresh]

    def _obey(self, message: Message) -> Facts:
        ask = message.json() if message.kind == "command" else {}
        if ask.get("do") != "look":
            return super()._obey(message)
        frame = self._from.frame
        look = next((x for x in reversed(self._from.looks())
                     if x.kind == ask.get("kind") and x.step == ask.get("step")), None)
        if look is None or frame is None:
            raise Refusal("command", f"no look at step {ask.get('step')!r:.40} is kept: take a newer one")
        h = Field(frame, look.rho, None).homology
        return {"kind": look.kind, "step": look.step, "b0": h.b0, "b1": h.b1, "labels": h.labels.tolist()}


class CanvasWidget(Widget):
    """A canvas to paint on in a cell's output; the layer is there in Python, and steers a run if one is given.

    Parameters
    ----------
    frame : ZFrame, optional
        Bands by sheets of the chart; octaves by default, a run's own with a run.
    run : RunFolder, Path or str, optional
        Folder of a run at work. Layers are appended to its input log and acknowledged once they are there; its states
        show under the paint.

    Attributes
    ----------
    relation : array of float32 [B, S], read-only
        The newest layer, log2 gains, 0 where nothing is painted. Observe it: ``canvas.observe(f, "relation")`` calls
        ``f`` with the array as ``change.new``, after the layer was acknowledged.
    seq : int
        The run's number of that layer, or how many there were without a run.

    Raises
    ------
    RunError
        The folder holds no run that this version reads.
    ValueError
        Both a frame and a run.
    """

    _esm = modules.module("canvas_widget.js")
    _kernels = traitlets.Dict(modules.kernels()).tag(sync=True)
    relation = traitlets.Instance(np.ndarray, read_only=True)

    def __init__(self, frame: ZFrame | None = None, *, run: RunFolder | Path | str | None = None) -> None:
        if frame is not None and run is not None:
            raise ValueError("a run has its own frame: give the run alone, or a frame alone")
        source = None if run is None else RunSource(run_folder(run))
        self._run, self._painter = source, None if source is None else Painter(source.folder)
        self.frame = (None if source is None else source.frame) or frame or ZFrame.octaves()
        self._layer = _frozen(np.zeros((self.frame.bands, self.frame.sheets)))
        self.seq = 0
        self._shown: Look | None = None
        self._seq_sent = 0
        self._telling = threading.RLock()  # each layer is told once, by whatever thread
        super().__init__(source)
        self.set_trait("relation", self._layer)

    @traitlets.default("relation")
    def _nothing_painted(self) -> NDArray[np.float32]:
        return self._layer

    def close(self) -> None:
        """Take the widget out of the notebook; the run's log is closed."""
        super().close()
        painter: Painter | None = getattr(self, "_painter", None)
        if painter is not None:
            painter.close()

    def paint(self, relation: ArrayLike) -> int:
        """Set the layer from Python, as if it had been painted by hand.

        Parameters
        ----------
        relation : array_like [B, S]
            The whole layer as log2 gains, 0 neutral, clipped to [-3, 3] where it is applied.

        Returns
        -------
        int
            `seq` of this layer.

        Raises
        ------
        PatchError
            Wrong shape, or values that are not finite numbers.
        RunError
            The run is finished, or its log cannot be written.
        """
        seq = self._append(np.asarray(relation))
        self._tell()
        return seq

    def show(self, field: Field | ArrayLike) -> None:
        """Show a measured field under the paint.

        Parameters
        ----------
        field : Field or array_like [B, S]
            Such as ``session.sample_field(x)``; or the power of every cell.

        Raises
        ------
        ValueError
            Wrong shape, or values that are not finite.
        """
        rho = field.rho[:, :, :1] if isinstance(field, Field) else np.asarray(field, np.float64)[..., None]
        if rho.shape != (*self._layer.shape, 1) or not np.isfinite(rho).all():
            raise ValueError(f"the field has shape {rho.shape[:2]}: the chart takes finite values of shape "
                             f"{self._layer.shape}, bands by sheets")
        with self._gate:
            self._shown = Look(self._shown.step + 1 if self._shown else 0, "state", time.time(), rho)

    # --- the layer ----------------------------------------------------------------------------------------------------

    def _append(self, relation: NDArray[Any], coherence: float = 1.0) -> int:
        """Take a layer on: into the run's log first."""
        if relation.dtype.kind not in "fiu" or relation.shape != self._layer.shape or not np.isfinite(relation).all():
            raise PatchError(f"the layer has shape {relation.shape} and type {relation.dtype}: the chart takes finite "
                             f"numbers of shape {self._layer.shape}, bands by sheets")
        with self._gate:
            self.seq = (self.seq + 1 if self._painter is None
                        else self._painter.paint(relation, coherence=coherence)["seq"])
            self._layer = _frozen(relation)
            return self.seq

    def _adopt(self) -> None:
        """A layer that somebody else painted on the run: the page, a shell."""
        newest = None if self._run is None else self._run.watch.newest
        if newest is not None and newest[0] > self.seq:
            self.seq, self._layer = newest[0], _frozen(newest[1])

    # --- views --------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        super()._forget()
        self._seq_sent = 0

    def _news(self) -> list[bytes]:
        """The newest field and the newest layer."""
        parts = self._facts(self.frame, None if self._run is None else self._run.title)
        look = self._shown
        if self._run is not None:
            looks = [x for x in self._run.looks() if x.kind == "state"]
            look = looks[-1] if looks else None
            self._adopt()
        if look is not None and look is not self._last:
            self._last = look
            parts.append(look_message(look, self.frame))
        if self.seq != self._seq_sent:
            self._seq_sent = self.seq
            parts += [said({"type": "layer", "seq": self.seq}), codec.encode(Message(
                "layers", "atlas", 0, (1, *self._layer.shape), "f32", self._layer.astype("<f4").tobytes()))]
        return parts

    def _obey(self, message: Message) -> Facts:
        if message.kind != "patch":
            return super()._obey(message)
        if message.chart != "atlas" or message.frame != self.frame.signature():
            raise Refusal("frame", "the layer was painted on another chart than this widget's: run its cell again")
        layer = np.frombuffer(message.values, "<f4")
        if message.shape != self._layer.shape:
            raise Refusal("shape", f"the layer has shape {message.shape}: the chart has {self._layer.shape}")
        return {"seq": self._append(layer.reshape(message.shape), message.coherence)}

    def _tell(self) -> None:
        with self._telling:
            if self.relation is not self._layer:
                self.set_trait("relation", self._layer)


def _frozen(layer: ArrayLike) -> NDArray[np.float32]:
    """A copy that nobody writes to."""
    copy = np.array(layer, np.float32)
    copy.flags.writeable = False
    return copy
