"""What the notebook's widgets share: news to their views, and answers to what those ask.

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
from typing import Any

from canvas import codec
from canvas.codec import Message, Refusal
from core.errors import ZSpaceError
from core.frame import ZFrame
from core.runs.live import Look
from workbench import modules
from workbench.session import IN_FLIGHT
from workbench.sources import Facts, Source

try:
    import anywidget
except ImportError as error:
    raise ImportError("the notebook's widgets need anywidget: pip install 'zspace-workbench[notebook]'") from error

TICK_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # between batches that nobody answers
MOST_UNANSWERED = 3600  # then nobody is there


class Widget(anywidget.AnyWidget):
    """What both widgets do: news to the views, answers to what they ask.

    Parameters
    ----------
    source : Source, optional
    """

    _css = modules.stylesheet()

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
                parts.append(said({"type": "problem", "reason": problem}))
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
        return [said({"type": "facts", "title": title, "frame": frame.to_json(), "signature": frame.signature()})]

    # --- coming in ----------------------------------------------------------------------------------------------------

    def _receive(self, _: Any, content: Any, buffers: Sequence[memoryview]) -> None:
        """One message from a view."""
        self._context = contextvars.copy_context()
        try:
            message = codec.decode(buffers[0] if len(buffers) == 1 else None, "server")
        except Refusal as refusal:
            self._send_bytes(said({"type": "problem", "reason": str(refusal)}))
            return
        if message.kind == "ack":
            with self._gate:
                self._unanswered.discard(message.sequence)
            return
        try:
            answer = {"ok": True, **self._obey(message)}
        except (ZSpaceError, Refusal) as error:
            answer = {"ok": False, "error": str(error)}
        self._send_bytes(said({"type": "reply", "to": message.sequence, **answer}))
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


def said(content: Facts) -> bytes:
    """A text to the views."""
    return codec.encode(codec.text("text", content))
