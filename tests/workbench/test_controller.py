"""What a page may ask for, and what it is told when it may not."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from core.errors import RunError, ZSpaceError
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.work import WorkQueue
from tests.serving import records
from workbench.controller import CommandError, Controller, homology, snapshot
from workbench.watch import open_watch


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue, but let nobody work."""
    monkeypatch.setattr(WorkQueue, "ensure_worker", lambda self: False)


@pytest.mark.usefixtures("quiet")
def test_a_run_is_queued_with_what_was_asked(texts: Path, tmp_path: Path) -> None:
    controller = Controller(tmp_path / "runs", texts)
    number = controller.start({"paths": ["tide"], "preset": "small", "seed": 3, "steps": 12, "optimiser": "hypergrad",
                               "schedule": "cosine", "accumulate": 2, "patience": 5, "split": "file",
                               "dropout": 0.3})["queued"]
    item = next(i for i in controller.queue.items() if i.id == number)
    assert item.settings is not None
    asked = {k: item.settings[k] for k in ("preset", "seed", "steps", "backend", "optimiser", "schedule", "accumulate",
                                           "patience", "split", "dropout")}
    assert asked == {"preset": "small", "seed": 3, "steps": 12, "backend": "auto", "optimiser": "hypergrad",
                     "schedule": "cosine", "accumulate": 2, "patience": 5, "split": "file", "dropout": 0.3}
    assert item.settings["paths"] == [str(texts / "tide")]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("ask", "sentence"), [
    ({"paths": ["../secret.txt"]}, "lies outside"),
    ({"paths": ["out/secret.txt"]}, "lies outside"),
    ({"paths": ["/etc/passwd"]}, "lies outside"),
    ({"paths": ["~/x"]}, "lies outside"),
    ({"paths": ["tide\0"]}, "cannot name"),
    ({"paths": ["nowhere"]}, "'nowhere' is not in"),
    ({"paths": ["empty"]}, "holds no"),
    ({"paths": []}, "give 1 to 64 texts"),
    ({"paths": "tide"}, "give 1 to 64 texts"),
    ({"paths": [1]}, "give 1 to 64 texts"),
    ({}, "paths is None"),
    ({"paths": ["tide"], "preset": "giant"}, "preset 'giant' is unknown"),
    ({"paths": ["tide"], "model": "gpt"}, "model 'gpt' is unknown"),
    ({"paths": ["tide"], "backend": "abacus"}, "backend 'abacus' is unknown"),
    ({"paths": ["tide"], "seed": -1}, "seed is -1"),
    ({"paths": ["tide"], "seed": True}, "seed is True"),
    ({"paths": ["tide"], "steps": 0}, "steps is 0"),
    ({"paths": ["tide"], "steps": 1.5}, "steps is 1.5"),
    ({"paths": ["tide"], "optimiser": "sgd"}, "optimiser 'sgd' is unknown"),
    ({"paths": ["tide"], "optimiser": {}}, "optimiser is {}: give a text"),
    ({"paths": ["tide"], "schedule": 3}, "schedule is 3: give a text"),
    ({"paths": ["tide"], "accumulate": "4"}, "accumulate is '4'"),
    ({"paths": ["tide"], "accumulate": 0}, "accumulate is 0: it must be above 0"),
    ({"paths": ["tide"], "patience": -1}, "patience is -1"),
    ({"paths": ["tide"], "split": "half"}, "split 'half' is unknown"),
    ({"paths": ["tide"], "dropout": "0.1"}, "dropout is '0.1': give a number"),
    ({"paths": ["tide"], "dropout": 1}, "dropout is 1.0: it must be at least 0 and below 1"),
    ({"paths": ["tide"], "dropout": True}, "dropout is True: give a number"),
    ({"paths": ["tide"], "clip": 3}, "'clip' is no part of this command"),
])
def test_a_bad_wish_is_refused_in_one_sentence_and_nothing_is_queued(texts: Path, tmp_path: Path, ask: dict[str, Any],
                                                                     sentence: str) -> None:
    controller = Controller(tmp_path / "runs", texts)
    with pytest.raises(ZSpaceError) as refusal:
        controller.start(ask)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert controller.queue.items() == []


@pytest.mark.parametrize("run", ["../finished", "/etc", "no-such-run", "", "a/b"])
def test_runs_are_found_only_in_their_folder(controller: Controller, run: str) -> None:
    with pytest.raises(ZSpaceError):
        controller.watch(run)


@pytest.mark.parametrize("do", ["pause", "resume", "stop", "save"])
def test_a_run_that_is_over_takes_no_orders(controller: Controller, finished: RunFolder, do: str) -> None:
    before = finished.inputs.read_bytes()
    with pytest.raises(CommandError, match=f"is finished, so it cannot {do}"):
        controller.steer(do, finished.id)
    with pytest.raises(ZSpaceError, match="is finished"):
        controller.go_on(finished.id)
    assert finished.inputs.read_bytes() == before


def test_runs_show_their_status_and_a_broken_one_its_reason(controller: Controller, finished: RunFolder) -> None:
    broken = finished.path.parent / "broken-run"
    broken.mkdir()
    for name, text in (("run.json", "{"), ("metrics.jsonl", ""), ("inputs.jsonl", ""), ("heartbeat.json", "{")):
        (broken / name).write_text(text)
    try:
        found = {r["run"]: r for r in controller.runs()["runs"]}
        shown = controller.watch()
    finally:
        shutil.rmtree(broken)
    assert shown is not None  # the newest that can be read
    assert shown.folder.id == finished.id
    assert found[finished.id]["status"] == "finished"
    assert found[finished.id]["step"] == 40
    assert found["broken-run"]["status"] == "unreadable"
    assert "not JSON" in found["broken-run"]["reason"]


def test_folders_lists_texts_inside_the_root_only(controller: Controller) -> None:
    assert [f["path"] for f in controller.folders()["folders"]] == ["tide"]


@pytest.mark.parametrize("number", [0, 1, 2, 33])
def test_compare_needs_some_different_runs(controller: Controller, finished: RunFolder, number: int) -> None:
    with pytest.raises(CommandError, match="mark 2 to 32 different"):
        controller.compare([finished.id] * number)


def test_homology_is_that_of_the_density_on_disk(finished: RunFolder) -> None:
    watch = open_watch(finished)
    look = watch.look("gradient", 20)
    assert look is not None
    answer = homology(watch, "gradient", 20)
    power = look.rho[:, :, 0]
    assert answer["threshold"] == pytest.approx(power.mean(), rel=1e-12)
    np.testing.assert_array_equal(np.array(answer["labels"]) > 0, power >= power.mean())
    with pytest.raises(CommandError, match="keeps no look"):
        homology(watch, "state", 21)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_snapshot_is_a_picture_in_the_theme(finished: RunFolder, theme: str) -> None:
    picture = imread(io.BytesIO(snapshot(open_watch(finished), theme, "state")))
    assert picture.shape[:2] == (720, 1280)
    assert (picture[2, 2, :3].mean() > 0.5) == (theme == "light")


def test_the_watch_says_what_the_files_say(finished: RunFolder) -> None:
    watch = open_watch(finished)
    rows = records(finished.metrics)
    train = [r for r in rows if r["split"] == "train"]
    assert watch.train.tail()[:, 1].tolist() == [r["step"] for r in train]
    assert watch.train.tail()[:, 2].tolist() == [r["bits"] for r in train]
    held = [r["bits"] for r in rows if r["split"] in ("validation", "final")]
    assert watch.validation.tail()[:, 2].tolist() == held
    looks = [r for r in train if "bands" in r]
    assert watch.looks.tail()[:, 2:8].tolist() == [r["bands"]["state"] for r in looks]
    assert watch.state["status"] == "finished"
    assert watch.state["step"] == 40
    assert watch.sample is not None
    assert (watch.sample.step, watch.saved) == (40, 40)
    assert len(watch.sample.bits) == len(watch.sample.text)
    assert sum(watch.state["streams"]["loss"]) == pytest.approx(1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_watch_says_where_a_diverging_run_went_back_to(texts: Path, tmp_path: Path) -> None:
    folder = create_run(tmp_path / "runs", RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=1, rate=1e30))
    send(folder, "start")
    with pytest.raises(RunError, match="start again with a rate below"):
        Trainer(folder).run()
    back = open_watch(folder).state["rollback"]
    assert (back["to"], back["rate_factor"]) == (0, 0.125)  # half the rate, three times
    assert back["step"] == [r["step"] for r in records(folder.applied) if "rollback" in r][-1]
    assert "became" in back["reason"]
