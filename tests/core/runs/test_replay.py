"""A fresh process repeats a run to the bit; a flipped bit is found; `kill -9` at any instant loses nothing."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from core.runs.control import paint
from core.runs.events import comparable
from core.runs.journal import read_records
from core.runs.replay import replay
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.core.runs.test_trainer import LAYER, run

Make = Callable[..., RunFolder]
FAILPOINTS = ["journal.before:3", "journal.half:4", "journal.after:5", "journal.half:40", "checkpoint.half:1",
              "checkpoint.before_replace:1", "checkpoint.after_replace:1", "atomic.half:2", "atomic.before_replace:3",
              "atomic.after_replace:2"]


def painted_run(make_run: Make) -> RunFolder:
    folder = make_run()
    run(folder, {7: lambda: paint(folder, LAYER), 15: lambda: paint(folder, -LAYER, coherence=0.5)})
    return folder


def test_a_painted_run_replays_to_the_bit_in_a_fresh_process(make_run: Make) -> None:
    result = replay(painted_run(make_run))
    assert (result.verdict, result.steps) == ("equal", 24)


def test_one_flipped_bit_in_a_recorded_patch_is_found_and_its_step_named(make_run: Make) -> None:
    folder = painted_run(make_run)
    lines = folder.inputs.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"kind":"patch"' in line)
    record = json.loads(lines[at])
    data = bytearray(base64.b64decode(record["relation"]))
    data[4 * 5] ^= 1  # the lowest bit of one float32
    record["relation"] = base64.b64encode(data).decode()
    lines[at] = json.dumps(record)
    folder.inputs.write_text("\n".join(lines) + "\n")
    result = replay(folder)
    assert (result.verdict, result.step, result.field) == ("departs", 8, "fold")


def test_one_flipped_bit_in_a_recorded_row_is_found(make_run: Make) -> None:
    folder = make_run()
    run(folder)
    lines = folder.metrics.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if '"step":9,"split":"train"' in line)
    record = json.loads(lines[at])
    record["loss"] = float(np.nextafter(record["loss"], 9.0))
    lines[at] = json.dumps(record)
    folder.metrics.write_text("\n".join(lines) + "\n")
    result = replay(folder)
    assert (result.verdict, result.step, result.field) == ("departs", 9, "loss")


@pytest.mark.long
def test_a_run_killed_between_its_two_rows_of_a_step_replays(make_run: Make) -> None:
    folder = make_run()
    run(folder, {11: lambda: paint(folder, LAYER)}, until=12)
    lines = folder.metrics.read_text().splitlines(keepends=True)
    assert '"step":12,' in lines[-1]
    folder.metrics.write_text("".join(lines[:-1]))  # applied.jsonl has its row of step 12 already
    assert replay(folder).verdict == "equal"


def test_another_machine_is_not_comparable(make_run: Make) -> None:
    folder = make_run(steps=1)
    run(folder)
    record = json.loads(folder.config.read_text())
    record["environment"]["device"] = "another processor"
    folder.config.write_text(json.dumps(record))
    result = replay(folder)
    assert result.verdict == "not comparable"
    assert "device was 'another processor'" in result.reason


def start(folder: RunFolder, failpoint: str | None = None) -> subprocess.Popen[bytes]:
    """The trainer in a process of its own."""
    environment = {**os.environ, **({"ZSPACE_FAILPOINT": failpoint} if failpoint else {})}
    return subprocess.Popen([sys.executable, "-m", "core.runs.trainer", str(folder.path)], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("anywhere", [4, pytest.param(20, marks=pytest.mark.long)])
def test_kills_lose_nothing_and_resume_equals_the_uninterrupted_run(make_run: Make, anywhere: int) -> None:
    plan: list[str | None] = [*FAILPOINTS, *[None] * anywhere]
    steps = 20 * len(plan)
    folder = make_run(steps=steps, checkpoint_every=8, evaluate_every=100)
    rng, acknowledged, killed = random.Random(5), [], 0
    rng.shuffle(plan)
    for turn, failpoint in enumerate(plan):
        acknowledged.append(paint(folder, LAYER * rng.uniform(-1, 1))["seq"])
        before = folder.metrics.stat().st_size
        process = start(folder, failpoint)
        if failpoint is None:
            deadline = time.monotonic() + 60
            while folder.metrics.stat().st_size <= before and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.002)  # until it has computed at least one new row
            time.sleep(rng.uniform(0, 0.04))
            process.kill()
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode == -signal.SIGKILL, f"turn {turn}, {failpoint}: {output}"
        killed += 1
        assert folder.status() in ("interrupted", "created")
        records, bad = read_records(folder.inputs)
        seen = [r["seq"] for r in records]
        assert seen == sorted(set(seen))
        assert set(acknowledged) <= set(seen)
        assert bad <= 1
    assert killed == len(plan) == 10 + anywhere
    last = Trainer(folder)
    reached = last.step
    assert last.run() == "finished"
    assert reached < steps
    taken = {seq for r in read_records(folder.applied)[0] for seq in r["seq"]}
    assert set(acknowledged) <= taken
    result = replay(folder)  # never interrupted, from the seed
    assert result.verdict == "equal", result.reason
    done = [r["step"] for r in map(comparable, read_records(folder.metrics)[0]) if r["split"] == "train"]
    assert done == list(range(1, steps + 1))


@pytest.mark.parametrize("gone", ["newest", "all"])
def test_resume_from_an_older_checkpoint_or_none_meets_the_rows(make_run: Make, gone: str) -> None:
    folder = make_run()
    run(folder, {5: lambda: paint(folder, LAYER)}, until=20)
    paths = sorted(folder.checkpoints.glob("step-*.safetensors"))
    for path in paths if gone == "all" else paths[-1:]:
        path.unlink()
    trainer = Trainer(folder)
    assert trainer.step == (0 if gone == "all" else int(paths[-2].stem.split("-")[1]))
    trainer.run()
    assert replay(folder).verdict == "equal"
