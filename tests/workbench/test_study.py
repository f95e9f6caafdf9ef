"""`zspace sweep` as a person at a shell uses it: what it leaves behind, Ctrl-C, and the same call again."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder, RunStore
from core.runs.trainer import Trainer
from tests.serving import wait_for
from workbench.cli import app

RATES, SEEDS = (0.001, 0.01), (0, 1)
GRID = {"steps": 12, "batch": 4, "window": 16, "evaluate_every": 6, "sample_every": 100}


def words(texts: Path, place: Path) -> list[str]:
    """The command, two rates by two seeds."""
    fixed = [word for name, value in GRID.items() for word in ("--grid", f"{name}={value}")]
    return ["sweep", str(texts / "tide"), "--grid", "rate=0.001,0.01", *fixed, "--seeds", "2",
            "--runs", str(place / "runs"), "--out", str(place / "out")]


def check(report: dict[str, Any], place: Path) -> None:
    """The report says what the runs say."""
    folders = RunStore(place / "runs").list()
    assert len(folders) == 4
    assert {f.status() for f in folders} == {"finished"}
    finals = {(f.read_config()["rate"], f.read_config()["seed"]): read_records(f.metrics)[0][-1]["bits"]
              for f in folders}
    best, other = report["groups"]
    assert best["label"] == "rate 0.01"
    assert best["bits"] == [finals[0.01, 0], finals[0.01, 1]]
    assert best["mean"] < other["mean"]
    assert best["steps"] == [12, 12]
    assert best["error"] == pytest.approx(stats.sem(best["bits"]), rel=1e-12)
    test = stats.ttest_rel(other["bits"], best["bits"])
    (minus,) = report["differences"]
    assert minus["pairs"] == 2
    assert minus["mean"] / minus["error"] == pytest.approx(test.statistic, rel=1e-9)
    assert report["versions"] == 1
    assert json.loads((place / "out/sweep.json").read_text()) == report
    table = list(csv.DictReader(io.StringIO((place / "out/table.csv").read_text())))
    assert [(r["rate"], float(r["bits_per_character"])) for r in table] == [
        ("0.01", best["mean"]), ("0.001", other["mean"])]
    assert (place / "out/curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len((place / "out/curves.csv").read_text().splitlines()) == 1 + 2 * 3  # steps 0, 6, 12


def test_a_sweep_ends_in_a_table_and_a_plot(texts: Path, tmp_path: Path) -> None:
    for rate in RATES:
        for seed in SEEDS:
            folder = create_run(tmp_path / "runs", RunConfig.from_preset(
                (str(texts / "tide"),), "tiny", threads=1, rate=rate, seed=seed, **GRID))
            send(folder, "start")
            Trainer(folder).run()
    before = {f.id: f.metrics.stat().st_mtime_ns for f in RunStore(tmp_path / "runs").list()}
    shown = CliRunner().invoke(app, words(texts, tmp_path))
    assert shown.exit_code == 0, shown.output
    assert "4 runs, 4 of them finished already" in shown.stdout  # though `zspace sweep` had not made them
    assert shown.stdout.index("rate 0.01") < shown.stdout.index("rate 0.001")
    assert "* " in shown.stdout  # a paired difference
    check(json.loads(CliRunner().invoke(app, [*words(texts, tmp_path), "--json"]).stdout), tmp_path)
    assert before == {f.id: f.metrics.stat().st_mtime_ns for f in RunStore(tmp_path / "runs").list()}


def alive(group: int) -> bool:
    """Whether a process of this group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def pid(folder: RunFolder) -> int:
    """Of the process that trains a run, or did."""
    beat = folder.read_heartbeat()
    assert beat is not None
    return int(beat["pid"])


@pytest.mark.long
def test_ctrl_c_stops_a_sweep_and_the_same_call_goes_on(texts: Path, tmp_path: Path) -> None:
    """A worker has been killed before that, so that one is hit by Ctrl-C that Dask started by itself."""
    store = RunStore(tmp_path / "runs")
    process = subprocess.Popen([sys.executable, "-m", "workbench.cli", *words(texts, tmp_path), "--workers", "1"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    wait_for(lambda: any(len(read_records(f.metrics)[0]) > 3 for f in store.list()))
    folder = store.list()[0]
    first = pid(folder)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: pid(folder) != first)  # a worker was born since
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    said = " ".join(process.communicate(timeout=60)[0].decode().split())
    assert process.returncode == 0, said
    assert "runs are not finished; the same call goes on with them" in said
    assert "Traceback" not in said
    wait_for(lambda: not alive(process.pid), 10)
    before = {f.id: (f.status(), f.metrics.read_bytes()) for f in store.list()}
    assert {status for status, _ in before.values()} <= {"stopped", "finished"}
    result = CliRunner().invoke(app, [*words(texts, tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    check(json.loads(result.stdout), tmp_path)
    for run, (_, rows) in before.items():
        assert store.open(run).metrics.read_bytes().startswith(rows)
