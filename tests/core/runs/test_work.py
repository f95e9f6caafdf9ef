"""The queue of runs: one worker, in order, whatever dies; what fails says why and the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import core.runs.work
from core.errors import RunError, ZSpaceError
from core.runs.control import send
from core.runs.heartbeat import Heartbeat
from core.runs.journal import Journal, read_records
from core.runs.replay import replay
from core.runs.store import RunFolder, RunStore
from core.runs.work import TRIES, Item, WorkQueue, work

Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def queue(tmp_path: Path) -> WorkQueue:
    return WorkQueue(tmp_path / "runs")


@pytest.fixture
def settings(text: Path) -> Settings:
    def make(**changes: Any) -> dict[str, Any]:
        return {"paths": [str(text)], "preset": "tiny", "threads": 2, "window": 16, "batch": 4, "steps": 6,
                "evaluate_every": 50, "sample_every": 500, "checkpoint_every": 50, "warmup": 2, **changes}

    return make


@pytest.fixture
def here() -> Iterator[Callable[[WorkQueue], None]]:
    """Works through a queue in this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda queue: work(queue.root)
    signal.signal(signal.SIGTERM, before)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def item(queue: WorkQueue, number: int) -> Item:
    return next(i for i in queue.items() if i.id == number)


def states(queue: WorkQueue) -> list[str]:
    return [i.state for i in queue.items()]


def run_of(queue: WorkQueue, number: int) -> RunFolder:
    return queue.store.open(str(item(queue, number).run))


def paused(queue: WorkQueue, number: int) -> RunFolder:
    """An item's run, once it waits in the middle of its steps."""
    until(lambda: item(queue, number).run is not None)
    folder = run_of(queue, number)
    until(lambda: any(r["split"] == "train" for r in read_records(folder.metrics)[0]))
    send(folder, "pause")
    until(lambda: folder.status() == "paused")
    return folder


def pid(folder: RunFolder) -> int:
    beat = folder.read_heartbeat()
    assert beat is not None
    return int(beat["pid"])


def workers(queue: WorkQueue) -> list[int]:
    """Living processes that work on this queue, as the system lists them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"core.runs.work" in words and os.fsencode(queue.root) in words:
            found.append(int(process.name))
    return found


def test_two_runs_are_worked_through_in_order_by_one_worker(queue: WorkQueue, settings: Settings) -> None:
    assert queue.items() == []
    assert not queue.ensure_worker()
    began = time.time()
    first, second = queue.add(settings()), queue.add(settings(seed=1))
    waiting = item(queue, first)
    assert (waiting.state, waiting.run, waiting.reason) == ("waiting", None, None)
    assert waiting.settings == settings()
    assert began <= waiting.time <= time.time()
    assert queue.ensure_worker()
    assert not queue.ensure_worker()
    until(lambda: states(queue) == ["finished", "finished"])
    folders = [run_of(queue, n) for n in (first, second)]
    assert pid(folders[0]) == pid(folders[1]) != os.getpid()
    assert [f.read_config()["seed"] for f in folders] == [0, 1]
    assert {f.status() for f in folders} == {"finished"}
    log = [json.loads(line) for line in (queue.root / "queue.jsonl").read_text().splitlines()]
    assert [(r["kind"], r.get("of")) for r in log] == [
        ("add", None), ("add", None), *((kind, n) for n in (first, second) for kind in ("begin", "run", "end"))]
    until(lambda: not workers(queue))
    assert not queue.ensure_worker()
    assert {f.id for f in RunStore(queue.root).list()} == {f.id for f in folders}
    assert WorkQueue(queue.root).items() == queue.items()
    assert (queue.root / "worker.log").read_text().splitlines() == [
        f"run {f.id} on cpu (argument), from step 0" for f in folders]


@pytest.mark.parametrize(("changes", "message"), [
    ({"preset": "huge"}, "preset 'huge' is unknown"), ({"steps": 0}, "steps is 0"), ({"model": "gpt"}, "model 'gpt'"),
    ({"steps": 1.5}, "steps is 1.5: it must be a whole number"), ({"backend": "tpu"}, "backend 'tpu' is unknown"),
    ({"paths": ["/no/such/text"]}, "/no/such/text does not exist"), ({"paths": []}, "paths is"),
    ({"paths": "text"}, "paths is 'text'"), ({"threads": None}, "threads is None"), ({"stepz": 3}, "stepz"),
])
def test_what_no_run_can_have_is_refused_before_anything_is_written(
        queue: WorkQueue, settings: Settings, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ZSpaceError, match=message):
        queue.add(settings(**changes))
    assert not queue.root.exists()


def test_what_fails_says_why_and_the_next_run_still_runs(
        queue: WorkQueue, settings: Settings, tmp_path: Path, here: Callable[[WorkQueue], None],
        monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00" * 100)
    create = core.runs.work.create_run

    def stumble(root: Path, config: Any) -> RunFolder:
        if config.seed == 7:
            raise ZeroDivisionError("one\nover nothing")
        return create(root, config)

    monkeypatch.setattr(core.runs.work, "create_run", stumble)
    bad, odd, good = queue.add(settings(paths=[str(binary)])), queue.add(settings(seed=7)), queue.add(settings())
    here(queue)
    assert states(queue) == ["failed", "failed", "finished"]
    assert "binary.txt" in str(item(queue, bad).reason)
    assert item(queue, odd).reason == "ZeroDivisionError: one over nothing"
    assert run_of(queue, good).status() == "finished"
    said = capfd.readouterr().err
    assert "CorpusError" in said
    assert "Traceback" in said


def test_only_what_waits_can_be_cancelled(queue: WorkQueue, settings: Settings,
                                          here: Callable[[WorkQueue], None]) -> None:
    first, second = queue.add(settings()), queue.add(settings())
    WorkQueue(queue.root).cancel(second)
    with pytest.raises(RunError, match=f"item {second} of the queue is cancelled: only what waits"):
        queue.cancel(second)
    with pytest.raises(RunError, match="holds no item 99"):
        queue.cancel(99)
    here(queue)
    assert states(queue) == ["finished", "cancelled"]
    with pytest.raises(RunError, match=f"item {first} of the queue is finished"):
        queue.cancel(first)
    assert len(queue.store.list()) == 1


def test_a_cancel_and_a_begin_that_meet_are_decided_by_the_log(queue: WorkQueue, settings: Settings) -> None:
    early, late = queue.add(settings()), queue.add(settings())
    with Journal(queue.path, shared=True) as log:
        for kind, of in (("cancel", early), ("begin", early), ("begin", late), ("cancel", late)):
            log.append({"kind": kind, "of": of, "time": 0.0})
    assert states(queue) == ["cancelled", "preparing"]


def test_a_killed_worker_leaves_its_run_interrupted_and_the_rest_goes_on(
        queue: WorkQueue, settings: Settings, here: Callable[[WorkQueue], None]) -> None:
    first, second = queue.add(settings(steps=200)), queue.add(settings())
    assert queue.ensure_worker()
    folder = paused(queue, first)
    with pytest.raises(RunError, match="is paused: it is at work already"):
        queue.go_on(folder.id)
    assert not queue.ensure_worker()
    os.kill(pid(folder), signal.SIGKILL)
    until(queue.ensure_worker)
    until(lambda: item(queue, second).state == "finished")
    dead = item(queue, first)
    assert (dead.state, dead.run) == ("interrupted", folder.id)
    assert "was killed: go on" in str(dead.reason)
    assert folder.status() == "interrupted"
    until(lambda: not workers(queue))
    rest = queue.go_on(folder.id)
    assert (item(queue, rest).state, item(queue, rest).run) == ("waiting", folder.id)
    with pytest.raises(RunError, match="is in the queue already"):
        queue.go_on(folder.id)
    here(queue)
    assert item(queue, rest).state == "finished"
    result = replay(folder)
    assert (result.verdict, result.steps) == ("equal", 200)
    with pytest.raises(RunError, match="is finished: start a new run"):
        queue.go_on(folder.id)
    with pytest.raises(RunError, match="holds no run"):
        queue.go_on("marsh-wren-99")


def test_a_killed_worker_is_settled_though_nothing_else_waits(queue: WorkQueue, settings: Settings) -> None:
    number = queue.add(settings(steps=200))
    assert queue.ensure_worker()
    os.kill(pid(paused(queue, number)), signal.SIGKILL)
    until(queue.ensure_worker)
    until(lambda: item(queue, number).state == "interrupted")


ASK = textwrap.dedent(
    """
    import os, sys
    from core.runs.work import WorkQueue

    reading, writing = os.pipe()
    children = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # the start: nobody holds the other end any more
            queue = WorkQueue(sys.argv[1])
            os._exit(sum(queue.ensure_worker() for _ in range(5)))
        children.append(child)
    os.close(writing)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    """
)


def test_ten_processes_that_ask_at_once_get_one_worker_which_outlives_them_and_ends_cleanly(
        queue: WorkQueue, settings: Settings, here: Callable[[WorkQueue], None]) -> None:
    first, second = queue.add(settings(steps=200)), queue.add(settings())
    done = subprocess.run([sys.executable, "-c", ASK, str(queue.root)], capture_output=True, text=True, check=True)
    assert sorted(json.loads(done.stdout)) == [0] * 9 + [1]
    folder = paused(queue, first)
    assert workers(queue) == [pid(folder)]
    by_hand = subprocess.run([sys.executable, "-m", "core.runs.work", str(queue.root)], capture_output=True, check=True)
    assert by_hand.stdout + by_hand.stderr == b""
    os.kill(pid(folder), signal.SIGTERM)
    until(lambda: not workers(queue))
    assert states(queue) == ["stopped", "waiting"]
    step = max(r["step"] for r in read_records(folder.metrics)[0])
    assert (folder.checkpoints / f"step-{step:08d}.safetensors").exists()
    rest = queue.go_on(folder.id)
    here(queue)
    assert [item(queue, n).state for n in (second, rest)] == ["finished", "finished"]


def test_the_worker_survives_the_death_of_the_server(queue: WorkQueue, settings: Settings) -> None:
    number = queue.add(settings(steps=200))
    script = ("import sys, time; from core.runs.work import WorkQueue; WorkQueue(sys.argv[1]).ensure_worker(); "
              "time.sleep(999)")
    server = subprocess.Popen([sys.executable, "-c", script, str(queue.root)], start_new_session=True)
    folder = paused(queue, number)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    assert folder.status() == "paused"
    send(folder, "resume")
    until(lambda: item(queue, number).state == "finished")


def leave_open(queue: WorkQueue, number: int, begun: int = 1, run: str | None = None) -> None:
    """What a worker wrote that died then."""
    with Journal(queue.path, shared=True) as log:
        for _ in range(begun):
            log.append({"kind": "begin", "of": number, "time": 0.0})
        if run is not None:
            log.append({"kind": "run", "of": number, "run": run, "time": 0.0})


def test_what_a_dead_worker_left_open_is_settled(queue: WorkQueue, settings: Settings,
                                                here: Callable[[WorkQueue], None]) -> None:
    runs = [queue.store.create({}) for _ in range(4)]
    for folder, state in zip(runs, ("finished", "stopped", "failed"), strict=False):
        Heartbeat(folder.heartbeat).beat(3, state)
    for folder in runs:
        leave_open(queue, queue.add(settings()), run=folder.id)
    gone, begun, poison = (queue.add(settings()) for _ in range(3))
    leave_open(queue, gone, run="marsh-wren-99")
    leave_open(queue, begun, TRIES - 1)
    leave_open(queue, poison, TRIES)
    assert states(queue) == ["running"] * 5 + ["preparing"] * 2
    here(queue)
    assert states(queue) == ["finished", "stopped", "failed", "interrupted", "failed", "finished", "failed"]
    assert "holds no run" in str(item(queue, gone).reason)
    assert f"died {TRIES} times" in str(item(queue, poison).reason)


def test_a_run_that_is_at_work_elsewhere_or_gone_by_its_turn_fails_with_a_word(
        queue: WorkQueue, here: Callable[[WorkQueue], None]) -> None:
    busy, gone = queue.store.create({}), queue.store.create({})
    for folder in (busy, gone):
        queue.go_on(folder.id)
    Heartbeat(busy.heartbeat).beat(0)
    shutil.rmtree(gone.path)
    here(queue)
    assert states(queue) == ["failed", "failed"]
    reasons = [str(i.reason) for i in queue.items()]
    assert reasons[0] == f"run {busy.id} is running: it is at work already"
    assert f"holds no run {gone.id!r}" in reasons[1]
