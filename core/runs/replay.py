"""Replay: a fresh process repeats a run from run.json, the corpus and the input log, and every row must be equal."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.backends import open_backend
from core.errors import RunError
from core.runs.config import RunConfig, environment
from core.runs.events import comparable, first_difference
from core.runs.journal import read_records
from core.runs.store import RunFolder

Verdict = Literal["equal", "departs", "not comparable"]


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes
    ----------
    verdict : {"equal", "departs", "not comparable"}
    steps : int
        Steps repeated.
    step, field : optional
        The first step and field that depart.
    reason : str
        One sentence for people.
    """

    verdict: Verdict
    steps: int
    reason: str
    step: int | None = None
    field: str | None = None


def other_environment(there: dict[str, Any], here: dict[str, Any]) -> Replay | None:
    """Why two executions are not comparable, None where they are."""
    key = first_difference(there, here)
    if key is None:
        return None
    return Replay("not comparable", 0, f"{key} was {there.get(key)!r} and is {here.get(key)!r} here: only equal "
                  "hardware, versions and threads repeat bit for bit")


def replay(folder: RunFolder) -> Replay:
    """Repeat a run beside itself and compare its metrics and applied folds, bit for bit."""
    record = folder.read_config()
    config = RunConfig.from_json(record)
    here = environment(open_backend(config.backend, threads=config.threads).describe())
    there = {k: v for k, v in record["environment"].items() if k != "tuned"}  # variants compute the same bits
    if other := other_environment(there, here):
        return other
    rows = [row for path in (folder.metrics, folder.applied) for row in read_records(path)[0]]
    steps = max((r["step"] for r in rows), default=0)
    with tempfile.TemporaryDirectory(prefix="zspace-replay-") as name:
        again = RunFolder(Path(name) / folder.id)
        for part in (again.path, again.samples, again.generations, again.checkpoints):
            part.mkdir()
        shutil.copy(folder.config, again.config)
        shutil.copy(folder.inputs, again.inputs)
        if "initial" in record:
            shutil.copy(folder.initial, again.initial)
        done = subprocess.run([sys.executable, "-m", "core.runs.trainer", str(again.path), str(steps)],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"the replay of {folder.id} failed: {done.stderr.strip().splitlines()[-1]}")
        for kind in ("applied", "metrics"):
            found = _departure(_ordered(getattr(folder, kind)), _ordered(getattr(again, kind)), steps)
            if found is not None:
                step, field = found
                return Replay("departs", steps, f"{kind}.jsonl departs at step {step}, field {field!r}", step, field)
    return Replay("equal", steps, f"{steps} steps repeated, every row equal bit for bit")


def _ordered(path: Path) -> list[dict[str, Any]]:
    records, bad = read_records(path)
    if bad:
        raise RunError(f"{path}: {bad} broken lines: restore the file from a copy")
    return [comparable(r) for r in records]


def _departure(a: list[dict[str, Any]], b: list[dict[str, Any]], steps: int) -> tuple[int, str] | None:
    """Step and field of the first difference between recorded rows and repeated ones."""
    for x, y in zip(a, b, strict=False):
        field = first_difference(x, y)
        if field is not None:
            return min(x["step"], y["step"]), field
    if len(a) > len(b) or any(row["step"] < steps for row in b[len(a):]):  # a killed run may lack its last step's end
        return (a if len(a) > len(b) else b)[min(len(a), len(b))]["step"], "row"
    return None
