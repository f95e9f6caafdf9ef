"""Sweeps: cells are ordinary runs, and nothing is lost or done twice when a worker dies or somebody ends the sweep."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, KilledWorker, LocalCluster

from core.data import read_corpus
from core.errors import RunError, ZSpaceError
from core.runs import sweep as module
from core.runs.config import RunConfig
from core.runs.events import comparable
from core.runs.heartbeat import Heartbeat
from core.runs.journal import Journal, read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder, RunStore
from core.runs.sweep import Cell, Sweep, connect, expand, find_run, parse_grid
from core.runs.trainer import Trainer

SMALL = {"window": [16], "batch": [4], "steps": [12], "checkpoint_every": [100], "sample_every": [100],
         "evaluate_every": [100], "field_every": [6], "digest_every": [2], "warmup": [4],
         "capacity": [3]}
ANY_PORT = "127.0.0.1:0"  # for the cluster's own pages


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Of a scheduler and one worker in this process, reached over TCP."""
    with (LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp",
                       dashboard_address=ANY_PORT) as cluster, Client(cluster) as client):
        yield client


@pytest.fixture
def configs(text: Path) -> Callable[..., list[RunConfig]]:
    """Cells of a few quick steps."""
    return lambda seeds=1, **grid: expand([str(text)], {**SMALL, **grid}, seeds, threads=1)


@pytest.fixture
def prepare(text: Path, tmp_path: Path) -> Callable[[list[RunConfig]], Sweep]:
    digest = read_corpus(str(text)).digest
    return lambda configs: Sweep(tmp_path / "runs", configs, digest)


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def states(sweep: Sweep) -> list[str]:
    return [cell.state for cell in sweep.cells]


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [comparable(row) for row in read_records(folder.metrics)[0]]


def test_a_grid_is_every_combination_with_every_seed() -> None:
    grid = parse_grid(["model=rnn,scan", "rate=0.01,1", "steps=7", "recompute=true"])
    assert grid == {"model": ["rnn", "scan"], "rate": [0.01, 1.0], "steps": [7], "recompute": [True]}
    assert type(grid["rate"][1]) is float
    cells = expand(["/text"], grid, 2, threads=3)
    assert [(c.model, c.rate, c.seed) for c in cells] == [
        (m, r, s) for m in ("rnn", "scan") for r in (0.01, 1.0) for s in (0, 1)]
    assert {(c.steps, c.recompute, c.threads, c.preset, c.paths) for c in cells} == {
        (7, True, 3, "tiny", ("/text",))}
    assert len(expand(["/text"], {"rate": [0.01, 0.01]}, 1, threads=1)) == 1


@pytest.mark.parametrize(("words", "seeds", "sentence"), [
    (["depth=3"], 1, "'depth' is no setting of a run: choose one of model, preset, backend"),
    (["seed=3"], 1, "'seed' is no setting"), (["rate"], 1, "a value is missing: write rate=A,B"),
    (["rate=1,"], 1, "a value is missing"), (["rate=1", "rate=2"], 1, "rate is given twice"),
    (["steps=1.5"], 1, "steps is 1.5: it must be a whole number"), (["model=gpt"], 1, "model 'gpt' is unknown"),
    (["rate=0"], 1, "rate is 0"), ([], 0, "--seeds is 0: give at least 1"),
])
def test_a_grid_that_no_run_can_have_is_refused(words: list[str], seeds: int, sentence: str) -> None:
    with pytest.raises(ZSpaceError, match=sentence):
        expand(["/text"], parse_grid(words), seeds, threads=1)


def test_cells_are_ordinary_runs_and_finished_ones_are_not_repeated(
        client: Client, configs: Callable[..., list[RunConfig]], prepare: Callable[[list[RunConfig]], Sweep],
        make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    cells = configs(seeds=2)
    sweep, seen = prepare(cells), []
    sweep.run(client, lambda now: seen.append([c.state for c in now]))
    assert states(sweep) == ["finished", "finished"]
    assert seen[0] == ["waiting", "waiting"]
    store = RunStore(sweep.root)
    folders = [store.open(str(c.run)) for c in sweep.cells]
    assert [f.read_config()["seed"] for f in folders] == [0, 1]
    by_hand = make_run(**{k: v[0] for k, v in SMALL.items()})  # as `zspace train` makes it
    Trainer(by_hand).run()
    assert rows(folders[0]) == rows(by_hand)
    monkeypatch.setattr(module, "train_cell", None)  # nothing is to be trained any more
    more = prepare([replace(c, threads=2, paths=("/moved",)) for c in cells])
    assert [c.run for c in more.cells] in ([f.id for f in folders], [by_hand.id, folders[1].id])
    more.run(client)
    assert states(more) == ["finished", "finished"]


def test_what_is_not_this_cell_is_not_taken_for_it(configs: Callable[..., list[RunConfig]], tmp_path: Path,
                                                   make_run: Callable[..., RunFolder]) -> None:
    folder = make_run(steps=5)
    record = folder.read_config()
    config, digest, root = RunConfig.from_json(record), record["corpus"]["digest"], tmp_path / "runs"
    (root / "half-made-00").mkdir()

    def found(**changes: Any) -> RunFolder | None:
        return find_run(root, replace(config, **changes), digest)

    assert found() == found(threads=7) == found(backend="auto") == folder
    assert found(seed=1) is found(rate=0.5) is found(backend="cuda") is found(model="scan") is None
    assert find_run(root, config, "another text") is None
    Trainer(folder).run()
    newer = make_run(steps=5)
    assert found() == folder  # the finished one
    with Journal(folder.inputs, shared=True) as journal:
        journal.append({"kind": "patch"})
    assert found() == newer
    newer.write_config({**newer.read_config(), "twin": {"of": folder.id, "step": 3}})
    assert found() is None


def test_an_ended_sweep_leaves_checkpoints_and_the_next_call_goes_on(
        client: Client, configs: Callable[..., list[RunConfig]], prepare: Callable[[list[RunConfig]], Sweep]) -> None:
    cells = configs(seeds=2, steps=[1500])
    sweep = prepare(cells)
    work = threading.Thread(target=sweep.run, args=(client,))
    work.start()
    until(lambda: any(c.step > 5 for c in sweep.cells))
    sweep.ending = True
    work.join(30)
    assert sorted(states(sweep)) == ["stopped", "waiting"]
    (folder,) = RunStore(sweep.root).list()
    assert folder.status() == "stopped"
    step = rows(folder)[-1]["step"]
    assert (folder.checkpoints / f"step-{step:08d}.safetensors").exists()
    before = rows(folder)
    short = prepare(cells)
    work = threading.Thread(target=short.run, args=(client,))
    work.start()
    until(lambda: any(c.step > step for c in short.cells))
    short.ending = True
    work.join(30)
    assert rows(folder)[: len(before)] == before
    assert rows(folder)[len(before)]["step"] == step + 1


def test_a_run_that_fails_says_why_and_the_others_finish(
        client: Client, configs: Callable[..., list[RunConfig]], prepare: Callable[[list[RunConfig]], Sweep],
        monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(root: Path, config: RunConfig) -> RunFolder:
        if config.seed < 2:
            raise (RunError, ZeroDivisionError)[config.seed]("one\nover nothing")
        return create_run(root, config)

    monkeypatch.setattr(module, "create_run", stumble)
    sweep = prepare(configs(seeds=3))
    sweep.run(client)
    assert states(sweep) == ["failed", "failed", "finished"]
    assert [c.reason for c in sweep.cells] == ["one over nothing", "ZeroDivisionError: one over nothing", None]


def test_a_killed_worker_loses_nothing(configs: Callable[..., list[RunConfig]],
                                       prepare: Callable[[list[RunConfig]], Sweep]) -> None:
    sweep = prepare(configs(steps=[60], checkpoint_every=[10]))
    with connect(None, 1) as client:
        work = threading.Thread(target=sweep.run, args=(client,))
        work.start()
        until(lambda: RunStore(sweep.root).list())
        (folder,) = RunStore(sweep.root).list()
        until(lambda: list(folder.checkpoints.glob("*.safetensors")))
        beat = folder.read_heartbeat()
        assert beat is not None
        assert beat["pid"] != os.getpid()
        os.kill(beat["pid"], signal.SIGKILL)
        until(lambda: folder.status() == "interrupted")
        work.join(60)
    assert (sweep.cells[0].state, sweep.cells[0].run) == ("finished", folder.id)
    assert RunStore(sweep.root).list() == [folder]
    again = folder.read_heartbeat()
    assert again is not None
    assert again["pid"] != beat["pid"]
    # rows after the checkpoint were computed again, which the trainer takes only if they are equal bit for bit
    assert [r["step"] for r in rows(folder) if r["split"] == "train"] == list(range(1, 61))


def test_a_scheduler_elsewhere_is_used_if_its_workers_fit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    address = client.scheduler.address
    with connect(address, 1) as other:
        assert other.submit(len, "abc").result(10) == 3
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    with pytest.raises(RunError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 .*`dask scheduler`"), \
            connect("tcp://127.0.0.1:9", 1):
        pass
    for workers, threads, sentence in ((0, 1, "has no workers: start some"), (1, 3, "has 3 threads, but a process")):
        with LocalCluster(n_workers=workers, threads_per_worker=threads, processes=False, protocol="tcp",
                          dashboard_address=ANY_PORT) as cluster, pytest.raises(RunError, match=sentence), \
                connect(cluster.scheduler_address, 1):
            pass


def test_old_news_does_not_undo_an_end(prepare: Callable[[list[RunConfig]], Sweep],
                                       configs: Callable[..., list[RunConfig]]) -> None:
    sweep = prepare(configs())
    news = {"cell": 0, "run": "marsh-wren-07", "step": 3, "bits": 2.0}
    sweep._hear((0.0, news))
    assert (sweep.cells[0].state, sweep.cells[0].step) == ("running", 3)
    sweep.cells[0] = Cell(sweep.cells[0].config, "marsh-wren-07", "finished", 12)
    sweep._hear((0.0, news))
    assert sweep.cells[0].state == "finished"


@pytest.mark.parametrize(("status", "error", "reason"), [
    ("error", KilledWorker("task", None, 3), "4 workers died that this run was given to"),  # type: ignore[arg-type]
    ("cancelled", None, "the scheduler lost this run's task"),
])
def test_a_task_without_an_end_says_what_became_of_it(prepare: Callable[[list[RunConfig]], Sweep],
                                                      configs: Callable[..., list[RunConfig]], status: str,
                                                      error: Exception | None, reason: str) -> None:
    sweep = prepare(configs())
    sweep._settle(0, SimpleNamespace(status=status, exception=lambda: error))  # type: ignore[arg-type]
    assert sweep.cells[0].state == "failed"
    assert str(sweep.cells[0].reason).startswith(reason)
    assert "the same call goes on with it" in str(sweep.cells[0].reason)


def test_another_process_that_trains_a_cell_is_waited_for(
        client: Client, configs: Callable[..., list[RunConfig]], prepare: Callable[[list[RunConfig]], Sweep]) -> None:
    sweep = prepare(configs())
    folder = create_run(sweep.root, sweep.cells[0].config)
    heart = Heartbeat(folder.heartbeat)
    heart.beat(0)
    work = threading.Thread(target=sweep.run, args=(client,))
    work.start()
    time.sleep(0.5)
    assert rows(folder) == []
    heart.beat(0, "stopped")
    work.join(30)
    assert states(sweep) == ["finished"]
    assert sweep.cells[0].run == folder.id
    with closing(Journal(folder.metrics)):
        assert rows(folder)[-1]["step"] == 12
