"""The index of runs says what the files say, whatever happens to either of them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.runs import index as module
from core.runs.compare import summary
from core.runs.heartbeat import Heartbeat
from core.runs.index import RunIndex
from core.runs.journal import Journal
from core.runs.store import RunFolder, RunStore

SETTINGS = {"model": "rnn", "preset": "tiny", "steps": 4, "baselines": {"unigram": 4.0}}


def fill(folder: RunFolder, steps: int) -> None:
    """Rows as a trainer writes them."""
    with Journal(folder.metrics) as journal:
        for step in range(1, steps + 1):
            journal.append({"step": step, "split": "train", "bits": 4 - 0.1 * step, "measured": {"peak_bytes": step}})
        journal.append({"step": steps, "split": "final", "bits": 3.5, "interval": [3.4, 3.6]})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("ZSPACE_CACHE", str(tmp_path / "cache"))
    store = RunStore(tmp_path / "runs")
    for number in range(4):
        folder = store.create({**SETTINGS, "seed": number})
        fill(folder, number + 1)
        Heartbeat(folder.heartbeat).beat(number + 1, "finished")
        os.utime(folder.config, (1000 + number, 1000 + number))
    return store


def by_files(store: RunStore) -> list[dict[str, Any]]:
    """The list without the index: every file read now."""
    return [summary(folder) for folder in store.list()]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs whose files are read from now on."""
    seen: list[str] = []
    read = module.read_entry
    monkeypatch.setattr(module, "read_entry", lambda folder: (seen.append(folder.id), read(folder))[1])
    return seen


def test_the_index_equals_the_files_after_every_change(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    index = RunIndex(store.root)
    assert index.summaries() == by_files(store)
    seen = reads(monkeypatch)
    assert RunIndex(store.root).summaries() == by_files(store)  # another process's, from the same file
    assert seen == []
    first, second, third, _ = store.list()
    fill(first, 2)  # rows
    Heartbeat(second.heartbeat).beat(9, "stopped")  # state only
    with Journal(third.inputs, shared=True) as journal:  # paint
        journal.append({"kind": "patch"})
    assert index.summaries() == by_files(store)
    assert sorted(seen) == sorted([first.id, second.id, third.id])
    assert {s["run"]: s["status"] for s in index.summaries()}[second.id] == "stopped"
    shutil.rmtree(first.path)  # a run that is gone, and a new one
    new = store.create(SETTINGS)
    seen.clear()
    assert index.summaries() == by_files(store)
    assert seen == [new.id]
    new.write_config({**new.read_config(), "steps": 7})  # replaced as a whole
    assert index.summaries() == by_files(store)
    assert RunIndex(store.root.parent / "none").summaries() == []


def test_a_killed_process_shows_though_no_file_changed(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.list()[0]
    script = ("import sys; from pathlib import Path; from core.runs.store import *; from core.runs.heartbeat import *; "
              "Heartbeat(RunFolder(Path(sys.argv[1])).heartbeat).beat(1); print(flush=True); sys.stdin.read()")
    process = subprocess.Popen([sys.executable, "-c", script, str(folder.path)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    index = RunIndex(store.root)
    assert index.summaries()[0]["status"] == "running"
    process.kill()
    process.communicate()
    seen = reads(monkeypatch)
    assert index.summaries()[0]["status"] == "interrupted"
    assert seen == []


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 4000, "row", None])
def test_a_broken_or_missing_index_is_made_anew(store: RunStore, content: bytes | str | None) -> None:
    index = RunIndex(store.root)
    assert index.summaries() == by_files(store)
    if content is None:
        index.file.unlink()
    elif isinstance(content, bytes):
        index.file.write_bytes(content)
    else:
        database = sqlite3.connect(index.file)
        with database:
            database.execute("UPDATE runs SET entry = '{'")
        database.close()
    assert index.summaries() == by_files(store)
    assert RunIndex(store.root).summaries() == by_files(store)


def test_a_run_that_cannot_be_read_says_why_until_it_can(store: RunStore) -> None:
    index, folder = RunIndex(store.root), store.list()[0]
    whole = folder.config.read_bytes()
    for content, reason in ((b"{", "not JSON"), (b'{"schema": "zspace.run.v1"}', "KeyError: 'model'")):
        folder.config.write_bytes(content)
        os.utime(folder.config, (2000, 2000))
        for _ in range(2):
            found = index.summaries()[0]
            assert (found["run"], found["status"]) == (folder.id, "unreadable")
            assert reason in found["reason"]
    folder.config.write_bytes(whole)
    assert index.summaries() == by_files(store)


def test_where_no_index_can_be_kept_the_files_are_read_and_it_is_said(
        store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root.parent / "taken").write_text("a file")
    monkeypatch.setenv("ZSPACE_CACHE", str(store.root.parent / "taken"))
    with pytest.warns(RuntimeWarning, match=r"listed without their index.*ZSPACE_CACHE"):
        assert RunIndex(store.root).summaries() == by_files(store)


def test_other_code_reads_every_run_again(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    RunIndex(store.root).summaries()
    monkeypatch.setattr(module, "_CODE", "other")
    seen = reads(monkeypatch)
    RunIndex(store.root).summaries()
    assert len(seen) == 4


BOTH = """
import json, sys
from core.runs.index import RunIndex
from core.runs.store import RunStore
store, index = RunStore(sys.argv[1]), RunIndex(sys.argv[1])
for number in range(12):
    store.create(json.loads(sys.argv[2]))
    index.summaries()
"""


def test_processes_at_once_lose_nothing(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    RunIndex(store.root).file.parent.mkdir(exist_ok=True)
    both = [subprocess.Popen([sys.executable, "-W", "error", "-c", BOTH, str(store.root), json.dumps(SETTINGS)])
            for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(store.list()) == 4 + 2 * 12
    index = RunIndex(store.root)
    assert index.summaries() == by_files(store)
    seen = reads(monkeypatch)
    assert index.summaries() == by_files(store)
    assert seen == []
