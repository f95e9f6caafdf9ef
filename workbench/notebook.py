"""The atlas and the canvas as Jupyter widgets: the page's own modules over the page's own wire format.

    from workbench.notebook import AtlasView, CanvasWidget

    AtlasView(run)                       # or an atlas, or a session; it follows what comes
    canvas = CanvasWidget(run=folder)    # every layer painted on it enters the run's input log
    canvas.observe(lambda change: print(change.new), "relation")

A thread a widget looks for news ten times a second, so that a cell that trains does not still its picture. Two batches
go out unanswered at full pace, as on the page (`workbench.session`), then one a second: a kernel that is busy cannot
take answers. What the browser sends is checked by `canvas.codec`.

JupyterLab 4.4 hands messages to a thread of the kernel beside the cell that runs (a subshell): painting reaches Python
meanwhile. ipykernel 7.4 sends a widget's messages to where it spoke from last, which at first is the cell that made it:
so all that is sent here is sent in the context of the last message that came.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray

from canvas import codec
from canvas.codec import Message, Refusal
from core.atlas import Chart, ZAtlas
from core.errors import PatchError, ZSpaceError
from core.field import Field
from core.frame import ZFrame
from core.runs.control import Painter
from core.runs.live import KINDS, Look
from core.runs.store import RunFolder
from core.session import Session
from workbench import modules
from workbench.session import IN_FLIGHT
from workbench.watch import open_watch

try:
    import anywidget
except ImportError as error:
    raise ImportError("the notebook's widgets need anywidget: pip install 'zspace-workbench[notebook]'") from error

TICK_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # between batches that nobody answers
MOST_UNANSWERED = 3600  # then nobody is there
STYLE = modules.stylesheet()
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


class Widget(anywidget.AnyWidget):
    """What both widgets do: news to the views, answers to what they ask.

    Parameters
    ----------
    source : Source, optional
    """

    _css = STYLE

    def __init__(self, source: Source | None) -> None:
        super().__init__()
        self._source = source
        self._gate = threading.RLock()  # the kernel's threads and the one below
        self._over = threading.Event()
        self._context = contextvars.Context()
        self._met = False  # whether a view said hello; before, whoever may be there gets the newest of all
        self._batch, self._unanswered, self._sent = 0, set[int](), 0.0
        self._problem = ""
        self._status: Facts = {}
        self._frame: ZFrame | None = None
        self._last: Look | None = None
        self.on_msg(self._receive)
        threading.Thread(target=self._beat, name=f"{type(self).__name__} news", daemon=True).start()

    def close(self) -> None:
        """Take the widget out of the notebook."""
        if hasattr(self, "_over"):  # ipywidgets also closes what failed in __init__
            self._over.set()
        super().close()

    # --- going out ----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self._tick()
            self._tell()

    def _tick(self) -> None:
        """Send what is new, if the views keep up."""
        with self._gate:
            late = not self._met or len(self._unanswered) >= IN_FLIGHT
            if late and (time.monotonic() - self._sent < PATIENCE_SECONDS or len(self._unanswered) >= MOST_UNANSWERED):
                return
            if not self._met:
                self._forget()
            try:
                parts, status = self._news(), self._source.status() if self._source else {"run": None}
                problem = ""
            except (ZSpaceError, Refusal) as error:
                parts, status, problem = [], self._status, str(error)
            if problem != self._problem:
                self._problem = problem
                parts.append(_text({"type": "problem", "reason": problem}))
            if not parts and status == self._status:
                return
            self._status = status
            self._batch, self._sent = self._batch + 1, time.monotonic()
            self._unanswered.add(self._batch)
            self._send_bytes(codec.encode(codec.text("text", {"type": "status", **status}, self._batch)), *parts)

    def _send_bytes(self, *parts: bytes) -> None:
        self._context.copy().run(self.send, {}, [b"".join(parts)])  # a copy, for two threads may send at once

    def _forget(self) -> None:
        """The views have nothing yet."""
        self._status, self._frame, self._last = {}, None, None

    def _news(self) -> list[bytes]:
        """Messages that the views do not have yet."""
        raise NotImplementedError

    def _facts(self, frame: ZFrame, title: str | None) -> list[bytes]:
        """How was looked, where that is new."""
        if frame == self._frame:
            return []
        self._frame = frame
        return [_text({"type": "facts", "title": title, "frame": frame.to_json(), "signature": frame.signature()})]

    # --- coming in ----------------------------------------------------------------------------------------------------

    def _receive(self, _: Any, content: Any, buffers: Sequence[memoryview]) -> None:
        """One message from a view."""
        self._context = contextvars.copy_context()
        try:
            message = codec.decode(buffers[0] if len(buffers) == 1 else None, "server")
        except Refusal as refusal:
            self._send_bytes(_text({"type": "problem", "reason": str(refusal)}))
            return
        if message.kind == "ack":
            with self._gate:
                self._unanswered.discard(message.sequence)
            return
        try:
            answer = {"ok": True, **self._obey(message)}
        except (ZSpaceError, Refusal) as error:
            answer = {"ok": False, "error": str(error)}
        self._send_bytes(_text({"type": "reply", "to": message.sequence, **answer}))
        self._tell()  # who observes may take long, or fail, and the browser need not know

    def _obey(self, message: Message) -> Facts:
        """Do what a view asks; gives back what to answer."""
        ask = message.json() if message.kind == "command" else {}
        if ask.get("do") == "hello":
            with self._gate:  # of several views all hear all of it again
                self._met, self._problem = True, ""
                self._unanswered.clear()
                self._forget()
            self._tick()
            return {}
        if ask.get("do") == "here":
            return {}
        raise Refusal("command", f"{ask.get('do')!r:.40} is not done here: say here, then hello")

    def _tell(self) -> None:
        """Tell Python what has changed."""


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
        self._from: Source = _source(of)
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
            parts.append(_text({"type": "history"}))
            fresh = looks if self._met else tuple({x.kind: x for x in looks}.values())
        self._last = looks[-1]
        return parts + [_frame(look, frame) for look in fresh]

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
        source = None if run is None else RunSource(_folder(run))
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
            parts.append(_frame(look, self.frame))
        if self.seq != self._seq_sent:
            self._seq_sent = self.seq
            parts += [_text({"type": "layer", "seq": self.seq}), codec.encode(Message(
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


# --- helpers ----------------------------------------------------------------------------------------------------------


def _source(of: Any) -> Source:
    """What to look at."""
    if isinstance(of, Session):
        return AtlasSource(of.atlas)
    if isinstance(of, ZAtlas):
        return AtlasSource(of)
    return RunSource(_folder(of))


def _folder(run: Any) -> RunFolder:
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


def _frame(look: Look, frame: ZFrame) -> bytes:
    """A look as a message; echoes that a warped atlas cannot know are left out."""
    rho = look.rho if np.isfinite(look.rho).all() else look.rho[:, :, :1]
    return codec.encode(Message("field", look.kind, look.step, rho.shape, "f32", rho.astype("<f4").tobytes(),
                                time=look.time, frame=frame.signature()))


def _text(said: Facts) -> bytes:
    return codec.encode(codec.text("text", said))


def _frozen(layer: ArrayLike) -> NDArray[np.float32]:
    """A copy that nobody writes to."""
    copy = np.array(layer, np.float32)
    copy.flags.writeable = False
    return copy
