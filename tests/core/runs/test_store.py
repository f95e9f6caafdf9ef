"""Run folders: names, paths that may not escape, whole files, and a status that is true of a killed process."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import core.runs.heartbeat
import core.runs.store
from core.errors import RunError
from core.runs.failpoints import VARIABLE
from core.runs.files import write_atomic
from core.runs.heartbeat import Heartbeat
from core.runs.store import RunFolder, RunStore

BEATER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from core.runs.heartbeat import Heartbeat
    from core.runs.store import RunFolder

    Heartbeat(RunFolder(Path(sys.argv[1])).heartbeat).beat(12, sys.argv[2])
    print("beating", flush=True)
    if sys.argv[2] in ("running", "paused"):
        time.sleep(60)
    """
)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def beating(folder: RunFolder, state: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", BEATER, str(folder.path), state], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"beating\n"
    return process


def test_create_makes_every_file_that_a_reader_opens(store):
    folder = store.create({"model": {"family": "rnn", "width": 64}, "seed": 7})
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d\d", folder.id)
    assert folder.path == store.root / folder.id
    config = json.loads((folder.path / "run.json").read_text())
    assert config["schema"] == "zspace.run.v1"
    assert config["id"] == folder.id
    assert (config["model"], config["seed"]) == ({"family": "rnn", "width": 64}, 7)
    assert folder.read_config() == config
    for name in ("inputs.jsonl", "applied.jsonl", "metrics.jsonl"):
        assert (folder.path / name).read_bytes() == b""
    for name in ("samples", "generations", "checkpoints"):
        assert (folder.path / name).is_dir()
    names = [folder.config, folder.inputs, folder.applied, folder.metrics, folder.samples, folder.generations]
    names += [folder.checkpoints, folder.atlas, folder.live, folder.heartbeat]
    assert [path.name for path in names] == [
        *("run.json", "inputs.jsonl", "applied.jsonl", "metrics.jsonl", "samples", "generations"),
        *("checkpoints", "atlas.npz", "live.bin", "heartbeat.json"),
    ]
    assert store.open(folder.id) == RunFolder(folder.path.resolve())


def test_a_taken_name_is_passed_over_and_running_out_is_an_error(store, monkeypatch):
    monkeypatch.setattr(core.runs.store.secrets, "choice", lambda words: words[0])
    numbers = iter([5, 5, 5, 6])
    monkeypatch.setattr(core.runs.store.secrets, "randbelow", lambda limit: next(numbers))
    first, second = store.create({}), store.create({})
    assert first.id.endswith("-05")
    assert second.id.endswith("-06")
    assert first.id[:-3] == second.id[:-3]
    monkeypatch.setattr(core.runs.store.secrets, "randbelow", lambda limit: 5)
    with pytest.raises(RunError, match="1000 names"):
        store.create({})


@pytest.mark.parametrize("config", [{"schema": "x"}, {"id": 1}, {"lr": float("nan")}, {"x": object()}])
def test_a_bad_configuration_makes_no_folder(store, config):
    with pytest.raises(RunError, match="configuration"):
        store.create(config)
    assert not store.root.exists()


def test_list_is_newest_first_and_leaves_out_what_is_no_run(store, tmp_path):
    assert store.list() == []
    folders = [store.create({"n": n}) for n in range(3)]
    for age, folder in enumerate(folders):
        os.utime(folder.config, (1000 + age, 1000 + age))
    (store.root / "half-made-00").mkdir()
    (store.root / "notes.txt").write_text("x")
    outside = RunStore(tmp_path / "elsewhere").create({})
    (store.root / "link-link-00").symlink_to(outside.path)
    assert [folder.id for folder in store.list()] == [folder.id for folder in reversed(folders)]


def test_open_takes_an_id_or_a_path_inside(store, tmp_path, monkeypatch):
    folder = store.create({})
    monkeypatch.chdir(tmp_path)
    for name in (folder.id, folder.path, str(folder.path) + "/", f"runs/{folder.id}", f"runs/x/../{folder.id}"):
        assert store.open(name).path == folder.path.resolve()


@pytest.mark.parametrize(
    "attempt",
    [
        *("..", "/", "/etc", ".", "", "{root}", "link-out", "{root}/link-out", "{root}/chain"),
        *("../elsewhere/{other}", "runs/../elsewhere/{other}", "{root}/../elsewhere/{other}"),
        *("../runs-and-more/{other}", "{root}-and-more/{other}"),
    ],
)
def test_no_path_escapes_the_root(store, tmp_path, monkeypatch, attempt):
    store.create({})
    elsewhere = RunStore(tmp_path / "elsewhere").create({})
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "runs-and-more")  # the root's name is a part of its name
    (store.root / "link-out").symlink_to(elsewhere.path)
    (store.root / "chain").symlink_to(store.root / "link-out")
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "runs/../elsewhere" / elsewhere.id / "run.json").is_file()  # without the check it would open
    with pytest.raises(RunError, match="leads out of the runs folder"):
        store.open(attempt.format(root=store.root, other=elsewhere.id))


@pytest.mark.parametrize("attempt", ["marsh-wren-99", "a\0b", "x" * 5000, "loop", "{id}/checkpoints", "~"])
def test_what_is_no_run_is_a_clear_error(store, monkeypatch, attempt):
    folder = store.create({})
    monkeypatch.chdir(store.root)
    (store.root / "loop").symlink_to(store.root / "loop")
    with pytest.raises(RunError, match=r"holds no run|cannot name a run"):
        store.open(attempt.format(id=folder.id))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": "zspace.run.v9"}', r"'zspace\.run\.v9'.*'zspace\.run\.v1'"),
        (b"{}", "schema None"),
        (b"[1]", "holds a list"),
        (b'{"schema":', "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_an_unreadable_configuration_says_why(store, content, message):
    folder = store.create({})
    folder.config.write_bytes(content)
    with pytest.raises(RunError, match=message):
        folder.read_config()


def test_an_unwritable_root_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="could not make a run folder"):
        RunStore(tmp_path / "file" / "runs").create({})


@pytest.mark.parametrize(
    ("place", "survivor"), [("half", b"old"), ("before_replace", b"old"), ("after_replace", b"new!")]
)
def test_a_file_killed_while_replaced_is_old_or_new(tmp_path, place, survivor):
    path = tmp_path / "run.json"
    path.write_bytes(b"old")
    script = "import sys, pathlib; from core.runs.files import write_atomic as w; w(pathlib.Path(sys.argv[1]), b'new!')"
    environment = {**os.environ, VARIABLE: f"atomic.{place}:1"}
    process = subprocess.run([sys.executable, "-c", script, str(path)], env=environment, timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == survivor
    beside = tmp_path / ".run.json.tmp"
    assert (beside.read_bytes() if beside.exists() else None) == {"half": b"ne", "before_replace": b"new!"}.get(place)
    write_atomic(path, b"third")
    assert path.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_full_disk_leaves_the_old_file_and_no_half(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"run\.json: could not write .*No space left.*free space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_content_and_folder_are_synced_around_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    kind = {True: "folder", False: "file"}

    def note_sync(descriptor: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(f"sync {kind[target.is_dir()]} {target.read_bytes() if target.is_file() else ''}".strip())
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        events.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomic(tmp_path / "a", b"xyz")
    assert events == ["sync file b'xyz'", "replace", "sync folder"]


def test_before_the_first_heartbeat_a_run_is_created(store):
    assert store.create({}).status() == "created"


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_living_process_is_what_it_says_and_a_killed_one_is_interrupted(store, state):
    folder = store.create({})
    process = beating(folder, state)
    assert folder.status() == state
    beat = folder.read_heartbeat()
    assert beat is not None
    assert (beat["pid"], beat["step"]) == (process.pid, 12)
    process.kill()
    deadline = time.monotonic() + 10
    while folder.status() != "interrupted" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert folder.status() == "interrupted"  # a zombie still: nobody has waited for it
    assert Path(f"/proc/{process.pid}").exists()
    process.communicate()
    assert folder.status() == "interrupted"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_an_ended_run_stays_what_it_said(store, state):
    folder = store.create({})
    beating(folder, state).communicate(timeout=60)
    assert folder.status() == state


def rewrite(folder: RunFolder, **changes: object) -> None:
    beat = json.loads(folder.heartbeat.read_text())
    folder.heartbeat.write_text(json.dumps({**beat, **changes}))


@pytest.mark.parametrize(
    "changes", [{"start": 1}, {"boot_id": "another"}, {"pid": 1}, {"pid": 2**22 + 1}, {"pid": None}]
)
def test_a_reused_pid_or_another_boot_is_interrupted(store, changes):
    folder = store.create({})
    Heartbeat(folder.heartbeat).beat(0)
    assert folder.status() == "running"
    rewrite(folder, **changes)
    assert folder.status() == "interrupted"


def test_a_process_that_cannot_be_looked_up_is_judged_by_age(store, monkeypatch):
    folder = store.create({})
    Heartbeat(folder.heartbeat).beat(0)
    rewrite(folder, host="another machine", boot_id="another")
    assert folder.status() == "running"
    rewrite(folder, time=time.time() - 31)
    assert folder.status() == "interrupted"
    rewrite(folder, time=time.time() + 3600)
    assert folder.status() == "interrupted"
    Heartbeat(folder.heartbeat).beat(0, "paused")
    rewrite(folder, start=None, boot_id=None)
    monkeypatch.setattr(core.runs.heartbeat, "_boot_id", lambda: None)  # a system without /proc
    assert folder.status() == "paused"


def test_start_time_survives_a_command_name_with_parentheses(tmp_path):
    """Linux puts the command name in parentheses into the line, whatever it holds."""
    script = tmp_path / "a) Z (b c"
    script.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(script), "60"])
    try:
        for _ in range(500):  # the name is in place once exec(2) is through
            if "Z (b" in Path(f"/proc/{process.pid}/comm").read_text():
                break
            time.sleep(0.01)
        ticks = core.runs.heartbeat._start_time(process.pid)
        up = float(Path("/proc/uptime").read_text().split()[0])
        assert ticks is not None
        assert 0 <= up - ticks / os.sysconf("SC_CLK_TCK") < 30
    finally:
        process.kill()
        process.wait()
    assert core.runs.heartbeat._start_time(process.pid) is None


def test_beats_are_written_once_a_second_and_at_every_change(store, monkeypatch):
    folder = store.create({})
    clock = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    heartbeat = Heartbeat(folder.heartbeat)
    seen = []
    for step in range(30):  # 0.25 s a step
        heartbeat.beat(step, "paused" if step == 10 else "running")
        beat = folder.read_heartbeat()
        assert beat is not None
        seen.append(beat["step"])
        clock[0] += 0.25
    assert sorted(set(seen)) == [0, 4, 8, 10, 11, 15, 19, 23, 27]
    heartbeat.beat(30, "finished")
    assert folder.status() == "finished"


def test_an_unknown_state_and_a_broken_heartbeat_are_errors(store):
    folder = store.create({})
    with pytest.raises(RunError, match="cannot be 'asleep'"):
        Heartbeat(folder.heartbeat).beat(0, "asleep")
    for content in (b"", b'{"state": "asleep", "time": 1}', b'{"state": "running"}', b"[]"):
        folder.heartbeat.write_bytes(content)
        with pytest.raises(RunError, match=r"heartbeat\.json"):
            folder.status()
