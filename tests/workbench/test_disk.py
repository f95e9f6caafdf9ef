"""The disk of a page: places of the run's symbols, scores of what is painted, and nothing from runs without weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.disk import SIDE, DiskChart, scores
from core.errors import PatchError, RunError
from core.runs.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from core.runs.config import RunConfig
from core.runs.opening import create_run
from core.runs.store import RunFolder
from workbench.disk import Disk


def test_the_places_are_those_of_the_newest_checkpoint(finished: RunFolder) -> None:
    facts = Disk(finished).facts
    path, _ = latest_checkpoint(finished)
    assert path is not None
    embedding = load_checkpoint(path)[0]["p.embedding"]
    assert "".join(facts["symbols"]) == finished.read_config()["corpus"]["vocabulary"][1:]
    np.testing.assert_array_equal(facts["places"], DiskChart.of(embedding).places(embedding)[1:])
    assert (facts["step"], facts["epoch"]) == (40, 0)


def test_what_is_painted_is_wanted_and_a_new_chart_turns_onto_the_old(finished: RunFolder) -> None:
    disk, painting = Disk(finished), np.zeros((SIDE, SIDE), np.float32)
    painting[:, SIDE // 2 :] = 0.5
    found = disk.paint(painting)["scores"]
    places = np.array([[0, 0], *disk.facts["places"]])
    assert found == scores(painting, places)[1:].tolist()
    assert disk.wanted == {s: d for s, d in zip(disk.facts["symbols"], found, strict=True) if d}
    before = disk.facts["places"]
    assert disk.renew()["epoch"] == 1
    np.testing.assert_allclose(disk.facts["places"], before, atol=1e-9)
    with pytest.raises(PatchError, match="128 x 128"):
        disk.paint(painting * 3)
    assert disk.wanted


def test_a_new_chart_reads_the_painting_where_symbols_lie_now(finished: RunFolder) -> None:
    disk, painting = Disk(finished), np.tile(np.linspace(-1, 1, SIDE, dtype=np.float32), (SIDE, 1))
    disk.paint(painting)
    path, _ = latest_checkpoint(finished)
    assert path is not None
    whole = path.read_bytes()
    arrays, meta = load_checkpoint(path)
    arrays["p.embedding"][1:] *= np.linspace(0.1, 3, len(arrays["p.embedding"]) - 1, dtype=np.float32)[:, None]
    try:
        save_checkpoint(finished, 40, arrays, meta)
        disk.renew()
    finally:
        path.write_bytes(whole)
    places = np.array([[0, 0], *disk.facts["places"]])
    assert list(disk.wanted.values()) == [float(d) for d in scores(painting, places) if d]


def test_a_run_without_a_checkpoint_says_what_to_do(texts: Path, tmp_path: Path) -> None:
    folder = create_run(tmp_path / "runs", RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=1))
    with pytest.raises(RunError, match="has no checkpoint yet: wait for its first, or save one"):
        Disk(folder)
