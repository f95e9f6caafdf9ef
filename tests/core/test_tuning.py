"""The cache of kernel choices: who shares an entry, who measures, what survives crowds and broken files."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from core.runs.config import RunConfig
from core.runs.opening import create_run
from core.runs.replay import replay
from core.runs.trainer import Trainer
from core.tuning import Key, Tuner, bucket, cache_file, chosen, key, tuned

KEY = key("chain", "d1", "a cpu", "none", "float32", (100, 64))



def refuse(candidate: object) -> float:
    raise AssertionError(f"{candidate} was measured again")


def write_many(path: str, first: int) -> None:
    tuner = Tuner(Path(path))
    for i in range(first, first + 50):
        tuner.tuned(replace(KEY, kernel=f"k{i}"), [1, 2], lambda c: c)


def test_the_fastest_is_measured_once_and_known_ever_after(tmp_path: Path) -> None:
    tuner, calls = Tuner(tmp_path / "deep/tuning.json"), []

    def measure(c: int) -> float:
        calls.append(c)
        return abs(c - 3)

    assert tuner.tuned(KEY, [1, 3, 5], measure) == 3
    assert calls[:6] == [1, 3, 5, 1, 3, 5]  # in turn
    assert tuner.tuned(KEY, [1, 3, 5], refuse) == 3
    assert Tuner(tuner.path).tuned(KEY, [1, 3, 5], refuse) == 3
    assert Tuner(tuner.path).tuned(KEY, [1, 5], lambda c: c) == 1  # 3 is offered no more
    assert Tuner(tuner.path).tuned(replace(KEY, kernel="pair"), [(8, 8), (16, 4)], lambda c: c[1]) == (16, 4)
    assert Tuner(tuner.path).tuned(replace(KEY, kernel="pair"), [(8, 8), (16, 4)], refuse) == (16, 4)


@pytest.mark.parametrize(("n", "power"), [(0, 0), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (2**20 + 1, 2**21)])
def test_bucket_edges(n: int, power: int) -> None:
    assert bucket(n) == power


def test_keys_part_what_may_choose_differently(tmp_path: Path) -> None:
    assert key("chain", "d1", "a cpu", "none", "float32", (65, 33)) == KEY
    others: list[Key] = [replace(KEY, **{name: "other"}) for name in ("kernel", "source", "device", "driver", "dtype",
                                                                      "frame")]
    others.append(key("chain", "d1", "a cpu", "none", "float32", (129, 64)))
    tuner = Tuner(tmp_path / "tuning.json")
    for at, each in enumerate([KEY, *others]):
        assert tuner.tuned(each, [1, 2], lambda c, at=at: c if at % 2 else -c) == (1 if at % 2 else 2)
    again = Tuner(tuner.path)
    assert [again.tuned(each, [1, 2], refuse) for each in [KEY, *others]] == [2, 1, 2, 1, 2, 1, 2, 1]


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=write_many, args=(str(path), first)) for first in (0, 50)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert {e.key.kernel for e in Tuner(path).entries()} == {f"k{i}" for i in range(100)}
    assert {p.name for p in tmp_path.iterdir()} == {"tuning.json", "tuning.json.lock"}


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"version": 99, "entries": []}', '{"version": 1}', "\xff",
                                  '{"version": 1, "entries": [{"key": {}}]}', '{"version": 1, "entries": [3]}'])
def test_a_broken_file_is_set_aside_and_work_goes_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuning.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.warns(RuntimeWarning, match="cannot be read .* set aside as tuning.json.broken-"):
        assert Tuner(path).tuned(KEY, [1, 2], lambda c: c) == 1
    (aside,) = tmp_path.glob("tuning.json.broken-*")
    assert aside.read_bytes() == text.encode("latin-1")
    assert json.loads(path.read_text())["entries"][0]["choice"] == 1


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tuner = Tuner(tmp_path / "file/tuning.json")
    with pytest.warns(RuntimeWarning, match="is not kept: .* ZSPACE_CACHE names another folder"):
        assert tuner.tuned(KEY, [1, 2], lambda c: c) == 1
    assert tuner.tuned(KEY, [1, 2], refuse) == 1


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZSPACE_CACHE", str(tmp_path / "here"))
    assert cache_file() == tmp_path / "here/tuning.json"
    assert tuned(KEY, [4, 2], lambda c: c) == 2
    assert chosen() == {"chain float32 128x64": 2}
    monkeypatch.delenv("ZSPACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "zspace/tuning.json"
    assert chosen() == {}
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file() == tmp_path / ".cache/zspace/tuning.json"


def test_a_run_records_what_was_chosen_and_replays_wherever_else_is_chosen(monkeypatch: pytest.MonkeyPatch,
                                                                           tmp_path: Path) -> None:
    monkeypatch.setenv("ZSPACE_CACHE", str(tmp_path))
    (tmp_path / "a.txt").write_text("the tide turns under a grey moon and nobody counts the waves\n" * 60)
    config = RunConfig.from_preset((str(tmp_path / "a.txt"),), "tiny", threads=1, steps=2, batch=2, window=16)
    folder = create_run(tmp_path / "runs", config)
    tuned(KEY, [4, 2], lambda c: c)
    Trainer(folder).run()
    assert folder.read_config()["environment"]["tuned"] == {"chain float32 128x64": 2}
    assert replay(folder).verdict == "equal"
