"""Runs that wait their turn: a queue on disk, and one detached process that works through it.

``ROOT/queue.jsonl`` holds what was asked for and what became of it. The `seq` of a record that asks is the item's
number: {"kind": "add", "settings"}, {"kind": "go_on", "run"}; the others name it in `of`: "cancel", "begin" (work on it
has begun), "run" (with the id of its folder), "end" (with a state and, where there is one, a reason). The order in the
log decides between a cancel and a begin that meet.

``python -m core.runs.work ROOT`` is the worker. It holds ``ROOT/worker.lock`` while it works and says more in
``ROOT/worker.log``; whoever asked may die meanwhile.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.backends import choose
from core.errors import RunError, ZSpaceError
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.journal import Follower, Journal, io_error
from core.runs.opening import create_run
from core.runs.store import RunFolder, RunStore
from core.runs.trainer import Trainer
from core.texts import find_texts

OPEN = ("waiting", "preparing", "running")
TRIES = 3  # of preparing a run: what kills its worker each time must not do so for ever


@dataclass(frozen=True)
class Item:
    """One thing asked of the queue.

    Attributes
    ----------
    id : int
        Its number.
    state : str
        "waiting", "preparing" (the text is being read), "running", "cancelled", or its end: "finished", "stopped",
        "failed" or "interrupted".
    settings : dict, optional
        Of a new run; None where a run goes on.
    run : str, optional
        Id of the run, once there is one.
    reason : str, optional
        One sentence on a bad end.
    time : float
        Unix time at which it was asked for.
    """

    id: int
    state: str
    settings: dict[str, Any] | None
    run: str | None
    reason: str | None
    time: float


class WorkQueue:
    """The queue of one folder of runs; several processes and threads may hold one each.

    Parameters
    ----------
    root
        The folder under which the runs live; made by the first `add`.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.path, self.store = self.root / "queue.jsonl", RunStore(root)
        self._items: dict[int, Item] = {}
        self._begun: Counter[int] = Counter()
        self._follower, self._mutex = Follower(self.path), threading.Lock()

    def add(self, settings: Mapping[str, Any]) -> int:
        """Ask for a new run.

        Parameters
        ----------
        settings : mapping
            Arguments of `RunConfig.from_preset`, as JSON takes them: paths, preset, threads, and what shall differ
            from the defaults.

        Returns
        -------
        int
            Number of the item.

        Raises
        ------
        RunError, BackendError, CorpusError
            A setting that no run can have, or a path without text; nothing is written then.
        """
        config = _configuration(settings)
        choose(config.backend)
        try:
            for path in config.paths:
                find_texts(path)
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise io_error(self.root, "queue a run", error) from error
        return self._append({"kind": "add", "settings": {**settings, "paths": config.paths}})

    def go_on(self, run: str) -> int:
        """Ask for the rest of a stopped, interrupted or failed run.

        Raises
        ------
        RunError
            There is no such run, it is at work or finished, or it waits in the queue already.
        """
        folder = self.store.open(run)
        if any(i.run == folder.id and i.state in ("waiting", "preparing") for i in self.items()):
            raise RunError(f"run {folder.id} is in the queue already: wait for its turn")
        _check_unfinished(folder)
        return self._append({"kind": "go_on", "run": folder.id})

    def cancel(self, item: int) -> None:
        """Take back what still waits.

        Raises
        ------
        RunError
            There is no such item, or it does not wait any more.
        """
        state = self._state(item)
        if state == "waiting":
            self._append({"kind": "cancel", "of": item})
            state = self._state(item)
            if state == "cancelled":
                return
        raise RunError(f"item {item} of the queue is {state}: only what waits can be cancelled, a run can be stopped")

    def items(self) -> list[Item]:
        """Everything that was ever asked for, oldest first; only what is new in the log is read."""
        with self._mutex:
            for record in self._follower.poll():
                self._apply(record)
            return list(self._items.values())

    def ensure_worker(self) -> bool:
        """Start the worker where there is something to do and nobody does it.

        Returns
        -------
        bool
            Whether one was started; never a second one, however many call at once.
        """
        if not any(item.state in OPEN for item in self.items()):
            return False
        lock = _take_lock(self.root)
        if lock is None:
            return False
        try:
            # the worker is born with the lock, so that nobody starts another one while it wakes up
            with open(self.root / "worker.log", "ab") as log:
                worker = subprocess.Popen(
                    [sys.executable, "-m", "core.runs.work", str(self.root.absolute()), str(lock)], pass_fds=(lock,),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        except OSError as error:
            raise io_error(self.root, "start the worker", error) from error
        finally:
            os.close(lock)
        threading.Thread(target=worker.wait, daemon=True).start()  # else it stays a zombie when it ends
        return True

    def _state(self, item: int) -> str:
        """What an item's state is now."""
        found = next((i.state for i in self.items() if i.id == item), None)
        if found is None:
            raise RunError(f"{self.path} holds no item {item}: choose one that waits")
        return found

    def _append(self, record: dict[str, Any]) -> int:
        with Journal(self.path, shared=True) as journal:
            return int(journal.append({**record, "time": time.time()})["seq"])

    def _apply(self, record: dict[str, Any]) -> None:
        """One record of the log; what does not fit the item's state is void."""
        kind = record.get("kind")
        if kind in ("add", "go_on"):
            self._items[record["seq"]] = Item(record["seq"], "waiting", record.get("settings"), record.get("run"), None,
                                              record["time"])
        item = self._items.get(record.get("of", 0))
        if item is None or item.state not in OPEN:
            return
        if kind == "cancel" and item.state == "waiting":
            item = replace(item, state="cancelled")
        elif kind == "begin":
            item = replace(item, state="preparing")
            self._begun[item.id] += 1
        elif kind == "run":
            item = replace(item, state="running", run=record["run"])
        elif kind == "end":
            item = replace(item, state=record["state"], reason=record.get("reason"))
        self._items[item.id] = item


class _Worker:
    """The one process that holds the lock."""

    def __init__(self, queue: WorkQueue) -> None:
        self.queue, self.ending = queue, False
        self.trainer: Trainer | None = None

    def end(self, *_: object) -> None:
        """Leave the run at work with a checkpoint, and then the queue."""
        self.ending = True
        if self.trainer is not None:
            self.trainer.interrupted = True

    def next(self) -> Item | None:
        """The oldest item to be worked on; one that a dead worker had begun waits again."""
        return next((i for i in self.queue.items() if i.state in ("waiting", "preparing")), None)

    def settle(self) -> None:
        """Write the end of what a dead worker left open."""
        for item in self.queue.items():
            if item.state == "running":
                self._end(item, *self._fate(str(item.run)))
            elif item.state == "preparing" and self.queue._begun[item.id] >= TRIES:
                self._end(item, "failed", f"the worker died {TRIES} times while it prepared this run: give it less "
                          f"text or more memory, {self.queue.root / 'worker.log'} may say more")

    def work_on(self, item: Item) -> None:
        """Bring one item to its end, whatever it is."""
        self.queue._append({"kind": "begin", "of": item.id})
        if self.queue._state(item.id) != "preparing":  # cancelled just before
            return
        state, reason = "failed", None
        try:
            state = self._train(item)
        except Exception as error:
            traceback.print_exc()
            said = " ".join(str(error).split())
            reason = said if isinstance(error, ZSpaceError) else f"{type(error).__name__}: {said}"
        finally:
            self.trainer = None
        self._end(item, state, reason)

    def _train(self, item: Item) -> str:
        """Make or open the run, and train it."""
        if item.settings is None:
            folder = self.queue.store.open(str(item.run))
            _check_unfinished(folder)
        else:
            folder = create_run(self.queue.root, _configuration(item.settings))
        self.queue._append({"kind": "run", "of": item.id, "run": folder.id})
        send(folder, "start")
        self.trainer = Trainer(folder)
        for warning in self.trainer.warnings:
            print(warning, file=sys.stderr)
        if self.ending:  # asked while the text was read
            self.trainer.interrupted = True
        return self.trainer.run()

    def _fate(self, run: str) -> tuple[str, str | None]:
        """How a run ended whose worker died."""
        try:
            status = self.queue.store.open(run).status()
        except RunError as error:
            return "failed", str(error)
        if status in ("finished", "stopped", "failed"):
            return status, None
        return "interrupted", f"the process that trained run {run} was killed: go on with it"

    def _end(self, item: Item, state: str, reason: str | None) -> None:
        self.queue._append({"kind": "end", "of": item.id, "state": state, **({"reason": reason} if reason else {})})


def work(root: Path, lock: int | None = None) -> None:
    """Work through a queue until nothing waits, or until SIGTERM.

    Parameters
    ----------
    root : Path
        The folder of runs.
    lock : int, optional
        Descriptor of the worker's lock where the starter holds it already.
    """
    if lock is not None:
        os.set_inheritable(lock, False)
    worker = _Worker(WorkQueue(root))
    signal.signal(signal.SIGTERM, worker.end)
    while not worker.ending and any(item.state in OPEN for item in worker.queue.items()):
        if lock is None:
            lock = _take_lock(root)
        if lock is None:
            return
        worker.settle()
        while not worker.ending and (item := worker.next()):
            worker.work_on(item)
        os.close(lock)
        lock = None  # and look once more: what was added until now found the lock taken


def _configuration(settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a run, paths made absolute."""
    paths = settings.get("paths")
    if not isinstance(paths, list | tuple) or not paths or not all(isinstance(p, str | Path) for p in paths):
        raise RunError(f"paths is {paths!r:.80}: give a list of at least one text file, folder or pattern")
    try:
        return RunConfig.from_preset(**{**settings, "paths": tuple(os.path.abspath(p) for p in paths)})
    except TypeError as error:
        raise RunError(f"these settings do not make a run ({error}): give what RunConfig.from_preset takes") from error


def _check_unfinished(folder: RunFolder) -> None:
    """Refuse a run that nobody can go on with."""
    status = folder.status()
    if status in ("running", "paused"):
        raise RunError(f"run {folder.id} is {status}: it is at work already")
    if status == "finished":
        raise RunError(f"run {folder.id} is finished: start a new run")


def _take_lock(root: Path) -> int | None:
    """The worker's lock, None where somebody holds it."""
    try:
        descriptor = os.open(root / "worker.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise io_error(root / "worker.lock", "open the lock", error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to worker.log
    work(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
