"""One open page: what it is sent, what it asks for, and what is refused.

Frames go out at 10 Hz at most and two in flight: a page that does not answer gets nothing more until it does, and then
the newest. So nothing queues, whoever is slow. What comes in is hostile until `canvas.codec` and this file have
checked it; whoever sends nonsense is told so, counted, and disturbs nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from typing import Any

import numpy as np

from canvas import codec
from canvas.codec import Message, Refusal
from core.disk import SIDE
from core.errors import ZSpaceError
from workbench.asks import kind_in, number_in, run_in, view_in
from workbench.bucket import TokenBucket
from workbench.controller import Answer, CommandError, Controller, homology, snapshot
from workbench.disk import Disk
from workbench.news import News
from workbench.projection import Projection
from workbench.watch import RunWatch, open_watch
from workbench.writing import Writing

log = logging.getLogger(__name__)
IN_FLIGHT = 2
QUIET_SECONDS = 0.5  # a page hears from the server at least this often, so that it can tell a dead one
COMMANDS_PER_SECOND, COMMAND_BURST = 20.0, 40.0


class Session:
    """The server's half of one page.

    Parameters
    ----------
    controller : Controller
    send : callable
        Takes bytes for the page.
    """

    def __init__(self, controller: Controller, send: Callable[[bytes], None]) -> None:
        self.controller, self._send = controller, send
        self.closed = False
        self._open = False  # nothing is sent, and nothing started, before a real page has said hello
        # the run to turn to and its twin, handed over by a command's thread
        self._next: tuple[RunWatch | None, RunWatch | None] | None = None
        self._news: News | None = None  # of the run shown
        self.writing: Writing | None = None
        self.projection: Projection | None = None  # while the page looks at it
        self._disk: Disk | None = None
        self._batch, self._received = 0, 0
        self._in_flight: dict[int, float] = {}
        self._latencies: deque[float] = deque(maxlen=32)
        self._drops, self._last_sent = 0, 0.0
        self._refused: Counter[str] = Counter()
        self._refusal: dict[str, Any] | None = None
        self._bucket = TokenBucket(COMMANDS_PER_SECOND, COMMAND_BURST)
        self._tasks: set[asyncio.Task[None]] = set()
        self._shown: dict[str, Any] = {}  # of the status

    @property
    def watch(self) -> RunWatch | None:
        """Of the run shown."""
        news = self._news  # once: another thread may ask while the page turns to another run
        return None if news is None else news.watch

    # --- going out ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Send what is new, if the page keeps up."""
        if self._next is not None and not self.closed:
            (watch, twin), self._next, self._open, self._shown = self._next, None, True, {}
            self.projection, self._news = None, None if watch is None else News(watch, twin)
        if not self._open or self.closed:
            return
        try:
            self.controller.keep_working()
            if self.watch is not None:
                self.watch.poll()
            if len(self._in_flight) >= IN_FLIGHT:
                self._drops += 1
                return
            self._send_batch()
        except (ZSpaceError, Refusal) as error:
            log.warning("page: %s", error)
            self._reply({"type": "problem", "reason": str(error)})
            self._news = None

    def _send_batch(self) -> None:
        parts, now = self._fresh(), time.monotonic()
        status = self._status()
        changed = {k: v for k, v in status.items() if k not in ("now", "hud")} != self._shown
        if not (parts or changed or self._refusal) and now - self._last_sent < QUIET_SECONDS:
            return
        self._shown = {k: v for k, v in status.items() if k not in ("now", "hud")}
        if self._refusal:
            status["refusal"], self._refusal = self._refusal, None
        self._batch += 1
        self._in_flight[self._batch], self._last_sent = now, now
        self._send(b"".join([codec.encode(codec.text("text", status, self._batch)), *parts]))

    def _status(self) -> dict[str, Any]:
        """The first message of every batch; its sequence is the batch's."""
        waits = sorted(self._latencies)
        return {
            "type": "status", "now": time.time(), "run": None if self.watch is None else self.watch.folder.id,
            "state": {} if self.watch is None else self.watch.state, "queue": self._queue(),
            "hud": {"latency": waits[len(waits) // 2] if waits else None, "drops": self._drops,
                    "refused": dict(self._refused)},
        }

    def _queue(self) -> list[dict[str, Any]]:
        """Queue items that are not over, and the last that failed."""
        items = self.controller.queue.items()
        open_ = [i for i in items if i.state in ("waiting", "preparing", "running")]
        failed = [i for i in items if i.state == "failed"][-1:]
        return [{"id": i.id, "state": i.state, "run": i.run, "reason": i.reason, "time": i.time,
                 "paths": list((i.settings or {}).get("paths", [])), "preset": (i.settings or {}).get("preset")}
                for i in [*failed, *open_]]

    def _fresh(self) -> list[bytes]:
        """Messages that this page does not have yet."""
        if self._news is None:
            return []
        written = None if self.writing is None else self.writing.news()
        parts = [codec.encode(codec.text("text", {"type": "writing", "news": written}))] if written else []
        parts += self._news.collect()
        if self.projection is not None and self.projection.watch is self.watch:
            parts += self.projection.news()
        return parts

    def _reply(self, answer: Answer) -> None:
        self._send(codec.encode(codec.text("text", answer)))

    # --- coming in ----------------------------------------------------------------------------------------------------

    def receive(self, data: Any) -> None:
        """One message from the page."""
        try:
            message = codec.decode(data, "server")
            self._check_order(message)
            if message.kind == "ack":
                self._latencies.append(time.monotonic() - self._in_flight.pop(message.sequence))
                return
            if not self._bucket.take():
                raise Refusal("rate", f"more than {COMMANDS_PER_SECOND:.0f} commands a second: wait a moment")
            self._obey(message)
        except Refusal as refusal:
            self._refused[refusal.code] += 1
            self._refusal = {"code": refusal.code, "reason": str(refusal)}

    def _check_order(self, message: Message) -> None:
        """Each command once, in order; each acknowledgement for a batch that waits for one."""
        if message.kind == "ack":
            if message.sequence not in self._in_flight:
                raise Refusal("sequence", f"batch {message.sequence} is not waiting for an answer: answer each once")
            return
        if message.sequence <= self._received:
            raise Refusal("sequence", f"message {message.sequence} came after {self._received}: number them upwards")
        self._received = message.sequence

    def _obey(self, message: Message) -> None:
        if message.kind == "patch":
            self._paint(message)
            return
        ask = message.json()
        do = ask.pop("do", None)
        command = COMMANDS.get(do) if isinstance(do, str) else None
        if command is None:
            raise Refusal("command", f"command {do!r:.40} is unknown: use one of {', '.join(COMMANDS)}")
        self._start(partial(command, self, ask), message.sequence)

    def _paint(self, message: Message) -> None:
        """A painted layer of the run that this page shows: on its atlas, which steers it, or on its disk."""
        news = self._news
        if news is None or message.frame != news.watch.frame.signature():
            raise Refusal("frame", f"the layer was painted on frame {message.frame[:12] or 'none'}, the run shown has "
                          "another: paint again on the chart as it is now")
        frame = news.watch.frame
        if message.chart == "disk":
            self._start(partial(self._paint_disk, message), message.sequence, self.controller.painting)
            return
        if message.shape != (frame.bands, frame.sheets):
            raise Refusal("shape", f"the layer has shape {message.shape}: the chart has {(frame.bands, frame.sheets)}")
        layer = np.frombuffer(message.values, "<f4").reshape(message.shape)

        def paint() -> Answer:
            answer = self.controller.paint(news.watch, layer, message.coherence)
            news.own_layer = answer["seq"]
            return answer

        self._start(paint, message.sequence, self.controller.painting)

    def _paint_disk(self, message: Message) -> Answer:
        """A painting on the disk; it belongs to this page, until a generation records what it comes to."""
        if message.shape != (SIDE, SIDE):
            raise Refusal("shape", f"the painting has shape {message.shape}: the disk has {(SIDE, SIDE)}")
        return self._disk_of(self._watched()).paint(np.frombuffer(message.values, "<f4").reshape(message.shape))

    def _disk_of(self, watch: RunWatch) -> Disk:
        """The disk of the shown run, made when it is first asked for."""
        if self._disk is None or self._disk.folder.path != watch.folder.path:
            self._disk = Disk(watch.folder)
        return self._disk

    def _start(self, work: Callable[[], Answer], sequence: int, threads: Executor | None = None) -> None:
        """Answer when the work is done."""
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(threads, work)  # off the event loop, so that no page waits for another's request
        # in a context without a current document Panel queues the reply behind the document's lock; with one it writes
        # at once, and where Bokeh is about to confirm the very message it looks again only after 10 ms
        task = loop.create_task(self._answer(job, sequence), context=Context())
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, job: asyncio.Future[Answer], sequence: int) -> None:
        try:
            answer: Answer = {"ok": True, **await job}
        except Refusal as refusal:
            self._refused[refusal.code] += 1
            answer = {"ok": False, "error": str(refusal), "code": refusal.code}
        except (ZSpaceError, ValueError) as error:
            self._refused["command"] += 1
            answer = {"ok": False, "error": str(error), "code": "command"}
        except Exception as error:
            log.exception("command failed")
            answer = {"ok": False, "error": f"the server failed ({type(error).__name__}): its log says more"}
        if not self.closed:
            self._reply({"type": "reply", "to": sequence, **answer})
            if self._next is not None:
                self.tick()

    # --- commands -----------------------------------------------------------------------------------------------------

    def hello(self, ask: Answer) -> Answer:
        """The page is there; show a run (the one at work by default)."""
        if not self._open:
            self.controller.start_first()
        self.hush({})
        watch, self.writing = self.controller.watch(run_in(ask, needed=False)), None
        self._next = watch, self._twin_of(watch)
        return {"run": watch.folder.id if watch else None, "choices": self.controller.choices()}

    def _twin_of(self, watch: RunWatch | None) -> RunWatch | None:
        """The watcher of a run's twin."""
        twin = None if watch is None else self.controller.twin_of(watch.folder)
        return None if twin is None else open_watch(twin)

    def ask_twin(self, ask: Answer) -> Answer:
        """Start the shown run's unpainted twin; its differences come with the next batches."""
        news = self._shown_news()
        answer = self.controller.twin(news.watch)
        news.twin = self._twin_of(news.watch)
        return answer

    def generate(self, ask: Answer) -> Answer:
        """Let the shown run write, and nothing else for this page; the text comes with the next batches."""
        self.hush({})
        watch, painted = self._watched(), ask.pop("disk", False)
        if not isinstance(painted, bool):
            raise Refusal("command", f"disk is {painted!r:.40}: give true or false")
        self.writing = self.controller.generate(watch, ask, self._disk_of(watch).wanted if painted else {})
        return {}

    def disk(self, ask: Answer) -> Answer:
        """Where the shown run's symbols lie; anew from its newest checkpoint, if the page asks for that."""
        disk = self._disk_of(self._watched())
        return disk.renew() if ask.get("renew") is True else disk.facts

    def project(self, ask: Answer) -> Answer:
        """What the page's Projector view shows from now on; where no source is named nothing, and at no cost."""
        view, now = view_in(ask), self.projection
        if view is None:
            self.projection = None
        elif now is not None and now.watch is self.watch and now.view.source == view.source:
            now.view = view
        else:
            self.projection, watch = None, self._watched()
            self.projection = Projection(watch, view, self._disk_of(watch) if view.source == "disk" else None)
        return {}

    def hush(self, ask: Answer) -> Answer:
        """End what writes for this page."""
        if self.writing is not None:
            self.writing.stop()
        return {}

    def close(self) -> None:
        """The page is gone."""
        self.closed, self._news, self.projection = True, None, None
        self.hush({})

    def look(self, ask: Answer) -> Answer:
        """Homology of a look."""
        step = ask.get("step")
        if step is not None and type(step) is not int:
            raise Refusal("command", f"step is {step!r:.40}: give a whole number")
        return homology(self._watched(), kind_in(ask), step)

    def snapshot(self, ask: Answer) -> Answer:
        """A picture of the atlas, sent as a file."""
        theme = ask.get("theme", "dark")
        if theme not in ("dark", "light"):
            raise Refusal("command", f"theme is {theme!r:.40}: use dark or light")
        watch = self._watched()
        data = snapshot(watch, theme, kind_in(ask))
        self._send(codec.encode(Message("file", sequence=watch.step, shape=(len(data),), dtype="u8", values=data)))
        return {"name": f"{watch.folder.id}-atlas-{watch.step}.png"}

    def _shown_news(self) -> News:
        news = self._news
        if news is None:
            raise CommandError("no run is shown: start one first")
        return news

    def _watched(self) -> RunWatch:
        return self._shown_news().watch


def _cancel(session: Session, ask: Answer) -> Answer:
    session.controller.queue.cancel(number_in(ask))
    return {}


def _compare(session: Session, ask: Answer) -> Answer:
    runs = ask.get("runs")
    if not isinstance(runs, list) or not all(isinstance(r, str) and len(r) <= 200 for r in runs):
        raise Refusal("command", "compare needs a list of runs")
    return session.controller.compare(runs)


def _steer(do: str) -> Callable[[Session, Answer], Answer]:
    return lambda session, ask: session.controller.steer(do, run_in(ask))


COMMANDS: dict[str, Callable[[Session, Answer], Answer]] = {
    "hello": Session.hello, "look": Session.look, "snapshot": Session.snapshot, "twin": Session.ask_twin,
    "generate": Session.generate, "hush": Session.hush, "disk": Session.disk,
    "project": Session.project,
    "start": lambda s, ask: s.controller.start(ask), "go_on": lambda s, ask: s.controller.go_on(run_in(ask)),
    "cancel": _cancel, "compare": _compare, "runs": lambda s, ask: s.controller.runs(),
    "doctor": lambda s, ask: s.controller.doctor(), "folders": lambda s, ask: s.controller.folders(),
    **{do: _steer(do) for do in ("pause", "resume", "stop", "save")},
}
