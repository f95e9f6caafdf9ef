"""What a run begins with, and how its text and its models are opened again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.array import Array, asarray
from core.backends import choose, open_backend
from core.baselines import baselines
from core.data import Corpus, read_corpus
from core.errors import RunError
from core.frame import ZFrame
from core.importing import parameters_from_torch
from core.runs.checkpoint import digest, find_checkpoint, load_checkpoint, parameters_of, save_initial
from core.runs.config import RunConfig, environment
from core.runs.events import Row
from core.runs.store import RunFolder, RunStore
from core.tuning import chosen


def create_run(root: Path | str, config: RunConfig, state: Mapping[str, Any] | None = None) -> RunFolder:
    """Read the text, measure the baselines, and lay out a new run's folder.

    Parameters
    ----------
    state : mapping, optional
        Weights of a PyTorch model to begin with, as `core.importing.parameters_from_torch` takes them; drawn from the
        seed by default. The folder keeps them, and run.json their digest, so that a replay begins alike.
    """
    name, reason = choose(config.backend)
    corpus = read_corpus(list(config.paths), window=config.window, split=config.split)
    backend = open_backend(name, threads=config.threads)
    initial = None if state is None else parameters_from_torch(config.build(corpus), state)
    folder = RunStore(root).create({
        **config.to_json(), "backend": name, "backend_reason": reason,
        "frame": ZFrame.octaves(curvature=config.curvature or -1.0).to_json(),
        "corpus": {"digest": corpus.digest, "files": [vars(f) for f in corpus.files], "notes": list(corpus.notes),
                   "held_out": list(corpus.held_out),
                   "train": len(corpus.train), "validation": len(corpus.validation),
                   "vocabulary": "".join(corpus.vocabulary)},
        "baselines": baselines(corpus),
        "environment": environment(backend.describe()),
        **({"initial": digest(initial)} if initial else {}),
    })
    if initial:
        save_initial(folder, initial)
    return folder


def record_tuned(folder: RunFolder) -> None:
    """Which variants of kernels the first step chose: for information, they all compute the same bits."""
    if found := chosen():
        record = folder.read_config()
        folder.write_config({**record, "environment": {**record["environment"], "tuned": found}})


def open_corpus(record: Row) -> Corpus:
    """The text that run.json names.

    Raises
    ------
    RunError
        It is no longer the text that the run began with.
    """
    config = RunConfig.from_json(record)
    corpus = read_corpus(list(config.paths), window=config.window, split=config.split)
    if corpus.digest != record["corpus"]["digest"]:
        raise RunError(f"the text in {', '.join(record['paths'])} has changed since run {record['id']} began: "
                       "restore it, or start a new run on it")
    return corpus


def load_model(folder: RunFolder, checkpoint: str | int = "latest") -> tuple[Any, dict[str, Array], Corpus, int]:
    """Model, parameters, corpus and step of a run's "latest" or "best" checkpoint, or of a step's.

    The model lies on the current backend.

    Raises
    ------
    RunError
        There is no such checkpoint.
    """
    record = folder.read_config()
    path = find_checkpoint(folder, checkpoint)
    if path is None:
        lack = {"latest": f"latest checkpoint: it keeps one every {record['checkpoint_every']} steps and when it stops",
                "best": f"best checkpoint: it keeps one where a validation loss, every {record['evaluate_every']} "
                        "steps, is the best so far"}
        raise RunError(f"run {folder.id} has no " + lack.get(
            str(checkpoint), f"checkpoint of step {checkpoint}: it keeps the newest and the best"))
    arrays, meta = load_checkpoint(path)
    corpus = open_corpus(record)
    parameters = {k: asarray(v) for k, v in parameters_of(arrays).items()}
    return RunConfig.from_json(record).build(corpus), parameters, corpus, meta["step"]
