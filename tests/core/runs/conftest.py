"""A small text and a small run, made anew for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder

WORDS = ["the", "tide", "turns", "under", "grey", "moon", "and", "nobody", "counts", "waves", "that", "come", "late"]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tide.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 1500)) + "\n")
    return path


@pytest.fixture
def make_run(text: Path, tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes a run of a few quick steps, with settings changed as asked."""

    def make(**changes: Any) -> RunFolder:
        settings = {"window": 16, "batch": 4, "steps": 24, "field_every": 6, "evaluate_every": 8, "sample_every": 24,
                    "checkpoint_every": 8, "digest_every": 2, "warmup": 4, "capacity": 3, **changes}
        folder = create_run(tmp_path / "runs", RunConfig.from_preset((str(text),), "tiny", threads=2, **settings))
        send(folder, "start")
        return folder

    return make
