"""Saving on request: the state before the boundary, at once while paused, once a request, and nothing departs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import core.runs.trainer
from core.runs.checkpoint import load_checkpoint, save_checkpoint
from core.runs.control import paint, send
from core.runs.journal import read_records
from core.runs.replay import replay
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.scheduler import Scheduler
from tests.core.runs.test_replay import start
from tests.core.runs.test_trainer import LAYER, rows, run

Make = Callable[..., RunFolder]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps of the checkpoints that this process writes."""
    steps: list[int] = []

    def note(folder: RunFolder, step: int, *rest: object, **named: object) -> Path:
        steps.append(step)
        return save_checkpoint(folder, step, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(core.runs.trainer, "save_checkpoint", note)
    return steps


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def checkpoint(folder: RunFolder, step: int) -> Path:
    return folder.checkpoints / f"step-{step:08d}.safetensors"


def test_a_save_keeps_the_state_before_its_boundary_and_changes_no_row(make_run: Make, saved: list[int]) -> None:
    plain, folder = make_run(), make_run()
    run(plain, {5: lambda: paint(plain, LAYER)})
    saved.clear()

    def ask() -> None:
        send(folder, "rate", scale=1.0)
        paint(folder, LAYER)
        send(folder, "save")
        send(folder, "save")

    run(folder, {5: ask}, until=7)
    assert saved == [5, 7]
    arrays, meta = load_checkpoint(checkpoint(folder, 5))
    assert not arrays["fold"].any()
    assert meta["scheduler"] == Scheduler({"atlas": LAYER.shape}, 3).state()  # unpainted still
    checkpoint(folder, 7).unlink()
    saved.clear()
    resumed = Trainer(folder)
    assert resumed.step == 5
    resumed.run()
    assert saved == [8, 16, 24]  # the request is met by the checkpoint that it comes from
    assert rows(folder) == rows(plain)
    assert replay(folder).verdict == "equal"


def test_a_save_while_paused_is_there_at_once_and_the_run_stays_paused(make_run: Make, saved: list[int]) -> None:
    plain, folder = make_run(), make_run()
    run(plain)
    saved.clear()
    found: list[object] = []

    def ask() -> None:
        for _ in range(2):
            send(folder, "save")
            until(checkpoint(folder, 5).exists)
            time.sleep(0.2)  # some more turns of the loop that waits
            found.append((list(saved), folder.status()))
        send(folder, "resume")

    def pause() -> None:
        send(folder, "pause")
        threading.Thread(target=lambda: (until(lambda: folder.status() == "paused"), ask())).start()

    run(folder, {5: pause})
    assert found == [([5], "paused")] * 2
    assert saved == [5, 8, 16, 24]
    assert rows(folder) == rows(plain)
    taken = next(r for r in read_records(folder.applied)[0] if r["step"] == 6)
    kinds = {r["seq"]: r["kind"] for r in read_records(folder.inputs)[0]}
    assert [kinds[seq] for seq in taken["seq"]] == ["pause", "save", "save", "resume"]
    assert replay(folder).verdict == "equal"


@pytest.mark.parametrize("before", [0, 10])
def test_killed_while_paused_after_a_save_it_goes_on_from_there(make_run: Make, before: int) -> None:
    folder = make_run(steps=300, checkpoint_every=300, evaluate_every=100)
    if before == 0:
        send(folder, "pause")
    process = start(folder)
    if before:
        until(lambda: folder.metrics.stat().st_size > 3000)
        send(folder, "pause")
    until(lambda: folder.status() == "paused")
    step = max(r["step"] for r in read_records(folder.metrics)[0])
    assert (step > 0) == (before > 0)
    assert not checkpoint(folder, step).exists()
    paint(folder, LAYER)
    send(folder, "save")
    until(checkpoint(folder, step).exists)
    assert folder.status() == "paused"
    process.kill()
    output = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, output
    trainer = Trainer(folder, until=step + 9)
    assert trainer.step == step
    send(folder, "resume")
    trainer.run()
    assert replay(folder).verdict == "equal"
    first = next(r for r in read_records(folder.applied)[0] if r["fold"]["atlas"]["amplitude"])
    assert first["step"] == step + 1


def test_a_save_whose_boundary_was_logged_before_the_process_died_is_still_made(make_run: Make) -> None:
    folder = make_run()
    send(folder, "save")
    process = start(folder, "checkpoint.half:1")
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == -signal.SIGKILL, output
    assert "boundary" in {r["kind"] for r in read_records(folder.inputs)[0]}
    assert not list(folder.checkpoints.glob("step-*.safetensors"))
    run(folder, until=3)
    assert sorted(p.name for p in folder.checkpoints.glob("step-*.safetensors")) == ["step-00000000.safetensors",
                                                                                "step-00000003.safetensors"]
    checkpoint(folder, 3).unlink()
    run(folder)  # from step 0, whose rows are there already
    assert replay(folder).verdict == "equal"
