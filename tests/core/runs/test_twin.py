"""Twins: what a painted run would have been without paint, bit for bit, wherever it began and whatever happened."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.runs.store
from core.atlas import ZAtlas
from core.errors import RunError
from core.runs.checkpoint import load_checkpoint
from core.runs.compare import compare
from core.runs.control import paint, send
from core.runs.events import comparable
from core.runs.journal import Journal, read_records
from core.runs.replay import replay
from core.runs.store import RunFolder, RunStore
from core.runs.twin import make_twin
from core.scheduler import Patch
from tests.core.runs.test_replay import start
from tests.core.runs.test_save import checkpoint
from tests.core.runs.test_trainer import LAYER, applied, rows, run

Make = Callable[..., RunFolder]


def until(folder: RunFolder, step: int) -> list[dict[str, Any]]:
    return [r for r in rows(folder) if r["step"] <= step]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def parameters(folder: RunFolder) -> dict[str, bytes]:
    """All arrays at the end of a run of 24 steps."""
    return {k: v.tobytes() for k, v in load_checkpoint(checkpoint(folder, 24))[0].items()}


def refused_patch(folder: RunFolder) -> None:
    with Journal(folder.inputs, shared=True) as log:
        log.append({"kind": "patch", **Patch(LAYER, 1.0, 0.5, 1, "atlas", "another frame", 1, 0.0).to_record()})


def test_a_twin_is_what_the_run_would_have_been_without_paint(make_run: Make) -> None:
    plain, painted = make_run(sample_every=6), make_run(sample_every=6)
    run(plain)
    run(painted, {11: lambda: paint(painted, LAYER), 17: lambda: paint(painted, -LAYER)})
    before = files(painted.path)
    twin = make_twin(painted)
    assert files(painted.path) == before
    assert twin.path.parent == painted.path.parent
    assert twin.id in {f.id for f in RunStore(painted.path.parent).list()}
    config, other = twin.read_config(), painted.read_config()
    assert config.pop("twin") == {"of": painted.id, "step": 11}
    for name in ("id", "created"):
        del config[name], other[name]
    assert config == other
    assert rows(twin) == until(painted, 11) == until(plain, 11)
    assert read_records(twin.metrics)[0] == [r for r in read_records(painted.metrics)[0] if r["step"] <= 11]
    assert sorted(p.name for p in twin.samples.iterdir()) == [
        f"step-{n:08d}.{part}" for n in (0, 6) for part in ("bits.json", "txt")]
    assert {c.step for c in ZAtlas.load_npz(twin.atlas)} == {6}
    assert twin.status() == "created"
    process = start(twin)
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, output
    assert rows(twin) == rows(plain) != rows(painted)
    assert [comparable(r) for r in applied(twin)] == applied(plain)
    assert parameters(twin) == parameters(plain) != parameters(painted)
    assert files(twin.samples) == files(plain.samples)
    assert {c.step for c in ZAtlas.load_npz(twin.atlas)} == {6, 12, 18, 24}
    assert [replay(f).verdict for f in (painted, twin)] == ["equal", "equal"]
    beside = compare([painted, twin])
    assert set(beside["settings"]) == {"twin.of", "twin.step"}
    assert [row["step"] for row in beside["curves"]] == [0, 8, 16, 24]


def test_everything_but_paint_happens_again_and_pauses_stops_and_saves_do_not(make_run: Make) -> None:
    """The twin is made of a run at work, from the middle of a stroke; refused records steer neither run."""
    plain, painted = make_run(), make_run()
    rates = {3: 0.5, 8: 0.75, 12: 2.0, 19: 0.25}
    run(plain, {n: lambda scale=scale: send(plain, "rate", scale=scale) for n, scale in rates.items()})
    twins = []

    def at(n: int) -> None:
        if n == 3:
            send(painted, "save")  # at one boundary with the refused patch and a rate
            refused_patch(painted)
        if n == 7:
            for kind in ("pause", "save", "resume"):
                send(painted, kind)
        if n in (9, 10, 20):
            paint(painted, LAYER)
        if n in rates:
            send(painted, "rate", scale=rates[n])
        if n == 15:
            send(painted, "stop")
        if n == 21:
            twins.append(make_twin(painted))
            send(painted, "rate", scale=9.0)  # it comes too late for the twin

    calls = {n: lambda n=n: at(n) for n in range(1, 25)}
    assert run(painted, calls).step == 15
    send(painted, "start")
    run(painted, {n: call for n, call in calls.items() if n > 15})
    twin = twins[0]
    assert twin.read_config()["twin"]["step"] == 9
    kinds = [r["kind"] for r in read_records(twin.inputs)[0]]
    assert kinds == ["start", "boundary", "rate", "boundary", "rate", "boundary", "rate", "boundary", "start",
                     "boundary", "rate", "boundary"]
    assert [r["step"] for r in applied(twin)] == [1, 4, 9]
    send(twin, "start")
    run(twin)
    assert rows(twin) == rows(plain)
    assert [r["step"] for r in applied(twin)] == [1, 4, 9, 10, 13, 17, 20]
    assert [replay(f).verdict for f in (painted, twin)] == ["equal", "equal"]


@pytest.mark.parametrize("kept", ["step 0", "nothing"])
def test_painted_at_the_first_step_the_twin_begins_where_the_run_did(make_run: Make, kept: str) -> None:
    plain, painted = make_run(), make_run()
    run(plain)
    paint(painted, LAYER)
    run(painted)
    if kept == "nothing":
        checkpoint(painted, 0).unlink()
    twin = make_twin(painted)
    assert twin.read_config()["twin"]["step"] == 0
    assert checkpoint(twin, 0).exists() == (kept == "step 0")
    run(twin)
    assert rows(twin) == rows(plain)
    assert files(twin.samples) == files(plain.samples)
    assert replay(twin).verdict == "equal"


def test_without_the_last_unpainted_state_it_begins_at_an_older_one(make_run: Make) -> None:
    plain, painted = make_run(), make_run()
    run(plain)
    run(painted, {10: lambda: paint(painted, LAYER)}, until=12)
    checkpoint(painted, 10).write_bytes(b"")
    twin = make_twin(painted)
    assert twin.read_config()["twin"]["step"] == 8
    assert rows(twin) == until(plain, 8)
    run(twin)
    assert rows(twin) == rows(plain)


def test_the_last_unpainted_state_stays_whatever_comes_after(make_run: Make) -> None:
    plain, painted = (make_run(steps=40, checkpoint_every=2) for _ in range(2))
    run(plain)
    run(painted, {11: lambda: paint(painted, LAYER)}, until=17)
    whole = checkpoint(painted, 11).read_bytes()
    process = start(painted, "checkpoint.half:6")
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == -signal.SIGKILL, output
    paint(painted, -LAYER)
    run(painted)
    kept = sorted(int(p.stem.split("-")[1]) for p in painted.checkpoints.glob("step-*.safetensors"))
    assert kept == [10, 11, 36, 38, 40]  # 10: where the twin would go back to
    assert checkpoint(painted, 11).read_bytes() == whole
    assert replay(painted).verdict == "equal"
    twin = make_twin(painted)
    assert twin.read_config()["twin"]["step"] == 11
    run(twin)
    assert rows(twin) == rows(plain)


def test_killed_while_it_keeps_the_unpainted_state_it_keeps_it_when_it_goes_on(make_run: Make) -> None:
    plain, painted = make_run(), make_run()
    run(plain)
    run(painted, until=7)
    checkpoint(painted, 7).unlink()  # so that step 7 is computed again, from the seed
    paint(painted, LAYER)
    process = start(painted, "checkpoint.half:1")
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == -signal.SIGKILL, output
    assert not list(painted.checkpoints.glob("step-*.safetensors"))
    run(make_twin(painted))  # from the seed too
    run(painted)
    late = make_twin(painted)
    assert late.read_config()["twin"]["step"] == 7
    run(late)
    for twin in RunStore(painted.path.parent).list():
        assert twin == painted or rows(twin) == rows(plain)
    assert replay(painted).verdict == "equal"


def test_a_save_and_a_patch_at_one_boundary_are_one_checkpoint_and_it_stays(make_run: Make) -> None:
    painted = make_run(checkpoint_every=2)
    run(painted, {5: lambda: (send(painted, "save"), paint(painted, LAYER))})
    kept = sorted(int(p.stem.split("-")[1]) for p in painted.checkpoints.glob("step-*.safetensors"))
    assert kept == [4, 5, 20, 22, 24]


def test_nothing_painted_no_twin(make_run: Make) -> None:
    folder = make_run(steps=4)
    refused_patch(folder)
    run(folder, until=2)
    with pytest.raises(RunError, match=f"no layer has steered run {folder.id}.*paint first"):
        make_twin(folder)
    paint(folder, LAYER)  # written, but no step has taken it
    with pytest.raises(RunError, match="no layer has steered"):
        make_twin(folder)
    run(folder)
    twin = make_twin(folder)
    paint(twin, LAYER)
    with pytest.raises(RunError, match=f"{twin.id} is the twin of {folder.id}"):
        make_twin(twin)


@pytest.mark.parametrize("name", ["inputs.jsonl", "applied.jsonl", "metrics.jsonl", "atlas.npz", "run.json"])
def test_a_broken_file_is_named_and_nothing_is_left_behind(make_run: Make, name: str) -> None:
    folder = make_run(steps=8)
    run(folder, {3: lambda: paint(folder, LAYER)})
    path = folder.path / name
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(b"{\n" + data if name.endswith("jsonl") else data[:half] + bytes(9) + data[half + 9 :])
    with pytest.raises(RunError, match=f"{name}|broken file"):
        make_twin(folder)
    assert [p.name for p in folder.path.parent.iterdir()] == [folder.id]


def test_rows_without_their_numbers_are_a_broken_file(make_run: Make) -> None:
    folder = make_run(steps=4)
    run(folder, {1: lambda: paint(folder, LAYER)})
    folder.metrics.write_text('{"split":"train"}\n')
    with pytest.raises(RunError, match=r"broken file \(KeyError: 'step'\)"):
        make_twin(folder)


def test_a_torn_last_line_is_no_harm(make_run: Make) -> None:
    folder = make_run(steps=8)
    run(folder, {3: lambda: paint(folder, LAYER)}, until=6)
    for path in (folder.metrics, folder.applied):
        path.write_bytes(path.read_bytes() + b'{"step":7,')
    assert rows(make_twin(folder)) == until(folder, 3)


def test_a_name_that_is_taken_is_left_alone(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(steps=4)
    run(folder, {1: lambda: paint(folder, LAYER)})
    before, numbers = files(folder.path), itertools.count()
    place, bird, _ = folder.id.split("-")
    monkeypatch.setattr(core.runs.store.secrets, "choice", lambda names: place if place in names else bird)
    monkeypatch.setattr(core.runs.store.secrets, "randbelow", lambda n: (int(folder.id[-2:]) + next(numbers)) % n)
    assert make_twin(folder).id != folder.id
    assert files(folder.path) == before


def test_a_neutral_layer_leaves_the_run_equal_to_its_twin(make_run: Make) -> None:
    folder = make_run()
    run(folder, {9: lambda: paint(folder, np.zeros_like(LAYER))})
    twin = make_twin(folder)
    run(twin)
    assert rows(twin) == rows(folder)
    assert parameters(twin) == parameters(folder)
