"""Journals: what was acknowledged is there, whatever kills the writer."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import core.runs.journal
from core.errors import RunError
from core.runs.failpoints import VARIABLE
from core.runs.journal import Follower, Journal, encode_record, read_records

WRITER = textwrap.dedent(
    """
    import os, sys
    from core.runs.journal import Journal

    journal = Journal(sys.argv[1], shared=sys.argv[2] == "shared")
    first, count = int(sys.argv[3]), int(sys.argv[4])
    for n in range(first, first + count):
        journal.append({"n": n, "text": "\u00e6\u6f22\U0001f426" * 50})
        os.write(1, b"%d\\n" % n)
    """
)


def writer(path: Path, mode: str, first: int, count: int, failpoint: str | None = None) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if failpoint is not None:
        environment[VARIABLE] = failpoint
    command = [sys.executable, "-c", WRITER, str(path), mode, str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def plain_lines(path: Path) -> list[dict]:
    """Every line through the standard parser, without the code under test."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]


@pytest.mark.parametrize("mode", ["single", "shared"])
def test_killed_at_every_fail_point_no_acknowledged_record_is_lost(tmp_path, mode):
    path = tmp_path / "log.jsonl"
    acknowledged: list[int] = []
    following = 0
    torn = 0
    for name, count in [("before", 1), ("before", 3), ("half", 1), ("half", 4), ("after", 1), ("after", 2)]:
        process = writer(path, mode, following, 100, f"journal.{name}:{count}")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        acknowledged += [int(line) for line in output.split()]
        assert len(output.split()) == count - 1
        records, bad = read_records(path)
        assert bad == (name == "half")
        numbers = [record["n"] for record in records]
        assert set(acknowledged) <= set(numbers)
        assert numbers == list(range(following + count - 1 + (name == "after")))
        following = len(numbers)
        torn += name == "half"
        with Journal(path, shared=mode == "shared"):
            pass
        assert [line["n"] for line in plain_lines(path)] == numbers
    pieces = (tmp_path / "log.jsonl.torn").read_bytes().split(b"\n")[:-1]
    assert len(pieces) == torn == 2
    for piece in pieces:
        with pytest.raises(ValueError, match=r"Unterminated|decode"):
            json.loads(piece.decode())
    if mode == "shared":
        assert [line["seq"] for line in plain_lines(path)] == list(range(1, following + 1))


def test_killed_from_outside_at_random_instants(tmp_path):
    path = tmp_path / "log.jsonl"
    chance = random.Random(5)
    following = 0
    for _ in range(5):
        process = writer(path, "shared", following, 10**9)
        assert process.stdout is not None
        seen = [int(process.stdout.readline())]
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        seen += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        process.wait()
        process.stdout.close()
        with Journal(path, shared=True):
            pass
        numbers = [line["n"] for line in plain_lines(path)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) - (seen[-1] + 1) in (0, 1)  # at most the one whose acknowledgement was under way
        following = len(numbers)
    assert following > 5


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cut", range(1, 4))
def test_a_last_line_torn_inside_a_character_is_set_aside(tmp_path, shared, cut):
    path = tmp_path / "log.jsonl"
    tail = '{"bird":"\U0001f426'.encode()[: -4 + cut]
    path.write_bytes(b'{"seq":1,"bird":"wren"}\n' + tail)
    assert read_records(path) == ([{"seq": 1, "bird": "wren"}], 1)
    follower = Follower(path)
    assert follower.poll() == [{"seq": 1, "bird": "wren"}]
    with Journal(path, shared=shared) as journal:
        journal.append({"bird": "æ"})
    assert (tmp_path / "log.jsonl.torn").read_bytes() == tail + b"\n"
    assert [line["bird"] for line in plain_lines(path)] == ["wren", "æ"]
    assert [record["bird"] for record in follower.poll()] == ["æ"]
    assert follower.bad == 0


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n"')
    with Journal(path) as journal:
        assert path.read_bytes() == b""
        journal.append({"n": 0})
    assert path.read_bytes() == b'{"n":0}\n'


def test_a_complete_object_without_newline_was_never_acknowledged(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n":0}\n{"n":1}')
    assert read_records(path) == ([{"n": 0}], 1)
    Journal(path).close()
    assert path.read_bytes() == b'{"n":0}\n'


def test_a_tail_torn_by_another_process_is_found_under_the_lock(tmp_path):
    path = tmp_path / "inputs.jsonl"
    with Journal(path, shared=True) as page:
        page.append({"who": "page"})
        process = writer(path, "shared", 0, 3, "journal.half:2")
        process.communicate(timeout=60)
        assert not path.read_bytes().endswith(b"\n")
        assert page.append({"who": "page"})["seq"] == 3
    assert [line["seq"] for line in plain_lines(path)] == [1, 2, 3]


def test_shared_writers_never_collide(tmp_path):
    path = tmp_path / "inputs.jsonl"
    processes = [writer(path, "shared", 1000 * who, 400) for who in range(2)]

    def steer(journal: Journal, who: int) -> None:
        for n in range(400):
            journal.append({"n": 1000 * who + n})

    with Journal(path, shared=True) as one, Journal(path, shared=True) as other:
        threads = [threading.Thread(target=steer, args=(j, w)) for j, w in [(one, 2), (one, 3), (other, 4)]]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # both write by now
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0
    lines = plain_lines(path)
    assert [line["seq"] for line in lines] == list(range(1, 2001))
    for who in range(5):  # each writer's own records keep their order
        assert [line["n"] for line in lines if line["n"] // 1000 == who] == [1000 * who + n for n in range(400)]


def test_a_second_single_writer_is_refused_until_the_first_is_gone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        with pytest.raises(RunError, match=r"metrics\.jsonl: another process"):
            Journal(path)
        process = writer(path, "single", 0, 1)
        assert process.communicate(timeout=60)[0] == b""
        assert process.returncode == 1
        journal.append({"n": 7})
    with Journal(path) as journal:
        journal.append({"n": 8})
    assert plain_lines(path) == [{"n": 7}, {"n": 8}]


def test_a_shared_writer_gives_up_on_a_lock_that_is_never_released(tmp_path, monkeypatch):
    monkeypatch.setattr(core.runs.journal, "LOCK_SECONDS", 0.05)
    path = tmp_path / "inputs.jsonl"
    with Journal(path), pytest.raises(RunError, match="another process"):
        Journal(path, shared=True)


@pytest.mark.parametrize("shared", [False, True])
def test_full_disk_leaves_no_half_record(tmp_path, monkeypatch, shared):
    path = tmp_path / "log.jsonl"
    real = os.write
    with Journal(path, shared=shared) as journal:
        journal.append({"n": 0})
        before = path.read_bytes()
        calls = []

        def full(descriptor: int, data: memoryview) -> int:
            calls.append(len(data))
            if len(calls) == 1:
                return real(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RunError, match=r"log\.jsonl: could not append .*No space left.*free space"):
            journal.append({"n": 1})
        monkeypatch.undo()
        assert len(calls) == 2
        assert path.read_bytes() == before
        journal.append({"n": 2})
    assert [line["n"] for line in plain_lines(path)] == [0, 2]
    if shared:
        assert [line["seq"] for line in plain_lines(path)] == [1, 2]


def test_the_kernels_own_partial_write_is_undone(tmp_path):
    """RLIMIT_FSIZE makes write(2) take a part and then fail, as a full disk does."""
    path = tmp_path / "log.jsonl"
    script = textwrap.dedent(
        """
        import resource, sys
        from core.errors import RunError
        from core.runs.journal import Journal

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        journal = Journal(sys.argv[1])
        try:
            for n in range(100):
                journal.append({"n": n, "text": "x" * 90})
        except RunError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            journal.append({"n": n, "text": str(error)})
        journal.close()
        """
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    lines = plain_lines(path)
    assert [line["n"] for line in lines] == list(range(len(lines)))
    assert 8 <= len(lines) <= 10  # nine lines of about 110 bytes fit in 1000
    assert "File too large" in lines[-1]["text"]
    assert not (tmp_path / "log.jsonl.torn").exists()


def test_missing_folder_and_missing_file_say_so(tmp_path):
    with pytest.raises(RunError, match=r"could not open the journal .*create its folder"):
        Journal(tmp_path / "none" / "log.jsonl")
    with pytest.raises(RunError, match="could not read the journal"):
        read_records(tmp_path / "log.jsonl")
    assert Follower(tmp_path / "log.jsonl").poll() == []


def test_a_closed_journal_refuses(tmp_path):
    journal = Journal(tmp_path / "log.jsonl")
    journal.close()
    journal.close()
    with pytest.raises(RunError, match="closed"):
        journal.append({})
    with pytest.raises(RunError, match="closed"):
        journal.sync()


def test_floats_keep_every_bit_and_numpy_becomes_numbers(tmp_path):
    values = np.random.default_rng(1).standard_normal(500) * 10.0 ** np.arange(-250, 250)
    single = np.float32(0.1)
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.append({"v": values, "s": single, "i": np.int64(2**62), "b": np.bool_(True), "z": -0.0, "t": (1, 2)})
    (line,) = plain_lines(path)
    assert np.array_equal(np.array(line["v"]).view(np.uint64), values.view(np.uint64))
    assert line["s"] == 0.100000001490116119384765625  # the exact value of float32(0.1)
    assert (line["i"], line["b"], line["t"]) == (2**62, True, [1, 2])
    assert math.copysign(1, line["z"]) == -1


def test_nonfinite_floats_are_null_and_named():
    line = encode_record({"loss": math.nan, "a/b": {"~": [1.0, math.inf, np.float32(-np.inf)]}})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(line, parse_constant=refuse) == {
        "loss": None,
        "a/b": {"~": [1.0, None, None]},
        "nonfinite": {"/loss": "nan", "/a~1b/~0/1": "inf", "/a~1b/~0/2": "-inf"},
    }


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({1: 2}, "The record has the key 1"),
        ({"a": {1: 2}}, "/a has the key 1"),
        ({"a": [1, {2}]}, "/a/1 is a set"),
        ({"a": 1j}, "/a is a complex"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": math.nan, "nonfinite": 1}, "belongs to the journal"),
    ],
)
def test_what_json_lacks_is_refused_and_leaves_the_file_alone(tmp_path, record, message):
    path = tmp_path / "log.jsonl"
    with Journal(path) as journal, pytest.raises(RunError, match=message):
        journal.append(record)
    assert path.read_bytes() == b""


def test_the_journal_numbers_shared_records_itself(tmp_path):
    with Journal(tmp_path / "inputs.jsonl", shared=True) as journal:
        with pytest.raises(RunError, match="seq=5"):
            journal.append({"seq": 5})
        assert journal.append({"kind": "pause"}) == {"seq": 1, "kind": "pause"}


def test_bad_lines_are_skipped_counted_and_keep_their_number(tmp_path):
    path = tmp_path / "inputs.jsonl"
    bad = [b"\xff\xfe", b"[1]", b"", b'{"a":NaN}', b'{"a":', b"[" * 100_000, b"1\r2"]
    path.write_bytes(b'{"seq":4}\n' + b"\n".join(bad) + b'\n{"u":"\xe2\x80\xa8\\n"}\n')
    good = [{"seq": 4}, {"u": "\u2028\n"}]
    assert read_records(path) == (good, len(bad))
    follower = Follower(path)
    assert follower.poll() == good
    assert follower.bad == len(bad)
    with Journal(path, shared=True) as journal:  # seven bad lines and one without a number may have been 5 to 12
        assert journal.append({})["seq"] == 13


def test_the_follower_returns_each_record_once_whatever_the_cuts(tmp_path):
    path = tmp_path / "log.jsonl"
    records = [{"n": n, "text": "漢\u2028字\r" * n} for n in range(6)]
    data = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
    follower = Follower(path)
    seen = []
    with open(path, "wb", buffering=0) as file:
        for start in range(0, len(data), 5):
            file.write(data[start : start + 5])
            new = follower.poll()
            assert len(seen) + len(new) == data[: start + 5].count(b"\n")
            seen += new
    assert seen == records
    assert follower.bad == 0
    assert follower.poll() == []
    path.write_bytes(b"")
    with pytest.raises(RunError, match=r"0 bytes, but \d+ were read"):
        follower.poll()


def test_fsync_at_most_every_two_seconds_on_demand_and_on_close(tmp_path, monkeypatch):
    synced = []
    clock = [100.0]
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(clock[0]))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    journal = Journal(tmp_path / "log.jsonl")
    for _ in range(41):  # ten seconds, four records a second
        journal.append({})
        clock[0] += 0.25
    assert synced == [102.0, 104.0, 106.0, 108.0, 110.0]
    journal.sync()
    journal.close()
    assert len(synced) == 7


def test_a_failed_fsync_is_not_swallowed(tmp_path, monkeypatch):
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Journal(tmp_path / "log.jsonl") as journal:
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(RunError, match=r"log\.jsonl: could not sync .*check the disk"):
            journal.sync()
        monkeypatch.undo()


@pytest.mark.parametrize("setting", ["journal.half", "journal.half:0", ":1", "journal.half:x"])
def test_a_misspelt_fail_point_is_an_error(tmp_path, monkeypatch, setting):
    monkeypatch.setenv(VARIABLE, setting)
    with Journal(tmp_path / "log.jsonl") as journal, pytest.raises(RunError, match="name:count"):
        journal.append({})
