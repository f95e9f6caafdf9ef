"""Small texts and small finished runs for the server's own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.work import WorkQueue
from tests.serving import serving
from tests.workbench.hostile import SETTINGS
from workbench.controller import Controller

WORDS = ["the", "tide", "turns", "under", "grey", "moon", "and", "nobody", "counts", "waves", "that", "come", "late"]


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of texts: `tide` inside, `secret.txt` beside it and a link that leads there."""
    around = tmp_path_factory.mktemp("around")
    root = around / "texts"
    (root / "tide").mkdir(parents=True)
    (root / "tide/a.txt").write_text(" ".join(np.random.default_rng(0).choice(WORDS, 1500)) + "\n")
    (root / "empty").mkdir()
    (around / "secret.txt").write_text("the secret " * 1000)
    (root / "out").symlink_to(around)
    return root


@pytest.fixture(scope="session")
def finished(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of 40 steps that is over."""
    config = RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=2, window=16, batch=4, steps=40,
                                   field_every=5, evaluate_every=10, sample_every=20, checkpoint_every=20)
    folder = create_run(tmp_path_factory.mktemp("finished") / "runs", config)
    send(folder, "start")
    Trainer(folder).run()
    return folder


@pytest.fixture
def controller(finished: RunFolder, texts: Path) -> Controller:
    return Controller(finished.path.parent, texts)


@pytest.fixture
def attacked(tmp_path: Path, texts: Path) -> Any:
    """A server over a run that has just begun."""
    queue = WorkQueue(tmp_path / "runs")
    queue.add({"paths": [str(texts / "tide")], **SETTINGS})
    queue.ensure_worker()
    with serving(tmp_path / "runs", texts=texts) as server:
        yield server
