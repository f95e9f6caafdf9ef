"""Evaluating a run's newest checkpoint: its held-out part, or any other text, recorded in the run's folder."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.backends import current_backend
from core.baselines import baselines
from core.data import Corpus
from core.evaluate import report, score
from core.generate import generate
from core.memorisation import GRAM, found_grams
from core.runs.config import RunConfig, environment
from core.runs.files import write_atomic
from core.runs.journal import io_error
from core.runs.opening import load_model
from core.runs.store import RunFolder
from core.texts import read_text

SEED = 0
GENERATED = 2000  # characters
PIECES = 32  # of the scored text, as long as what is generated


def evaluate_run(folder: RunFolder, window: int | None = None, text: str | None = None,
                 checkpoint: str = "latest") -> dict[str, Any]:
    """Evaluate a checkpoint on the current backend, and write evaluations/ID.json into the run's folder.

    Parameters
    ----------
    window : int, optional
        Characters a window; those of training by default.
    text : str, optional
        Path or pattern of another text to score with the run's vocabulary, instead of what the run holds out.
    checkpoint : str
        "latest" or "best".

    Returns
    -------
    dict
        What is in the file: the fields of `core.evaluate.Report`, ``memorisation`` (see `memorised`), ``baselines`` of
        the same text, ``scored`` (which text: its whole files, how many characters it has and how many of them the
        vocabulary does not know), the ``environment``, and under ``measured`` what depends on the clock: characters
        scored and generated a second.

    Raises
    ------
    RunError, CorpusError
        The run has no such checkpoint, its own text has changed, or a text cannot be read.
    ValueError
        The text has fewer than two characters, or the window none.
    """
    record = folder.read_config()
    config = RunConfig.from_json(record)
    model, parameters, corpus, step = load_model(folder, checkpoint)
    if text is None:
        whole = corpus.files[len(corpus.files) - len(corpus.held_out):]
        source: dict[str, Any] = {
            "text": None, "split": config.split, "files": [vars(file) for file in whole], "notes": []}
    else:
        characters, files, notes = read_text(text)
        corpus = replace(corpus, validation=corpus.encode(characters))
        source = {"text": str(text), "split": None, "files": [vars(file) for file in files], "notes": notes}
    symbols, window = corpus.validation, config.window if window is None else window
    score(model, parameters, symbols[: window + 1], window)  # kernels are compiled before the clock runs
    began = time.perf_counter()
    scores = score(model, parameters, symbols, window)
    scored = time.perf_counter()
    length = min(GENERATED, len(symbols))
    drawn = [d.symbol for d in generate(model, parameters, corpus.train[-1:], length, SEED)]
    generated = time.perf_counter()
    found = {
        "id": uuid.uuid4().hex[:12], "run": folder.id, "step": step, "checkpoint": checkpoint, "window": window,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "scored": {**source, "characters": len(symbols), "unknown": int(np.count_nonzero(symbols == 0))},
        **asdict(report(scores, SEED)), "memorisation": memorised(np.array(drawn), corpus),
        "baselines": record["baselines"] if text is None else baselines(corpus),
        "environment": environment(current_backend().describe()),
        "measured": {"seconds": generated - began,
                     "scored_per_second": len(scores.nats) / (scored - began),
                     "generated_per_second": length / (generated - scored)},
    }
    try:
        folder.evaluations.mkdir(exist_ok=True)
    except OSError as error:
        raise io_error(folder.evaluations, "make the folder", error) from error
    write_atomic(folder.evaluations / f"{found['id']}.json", json.dumps(found, indent=1).encode() + b"\n")
    return found


def memorised(generated: NDArray[Any], corpus: Corpus) -> dict[str, Any] | None:
    """How much of a generated text is found in the training part, beside pieces of the validation part as long.

    Returns
    -------
    dict, optional
        ``gram``: characters of an n-gram; ``generated``: share of the generated n-grams that the training part holds;
        ``held_out``, ``range``: the same of up to `PIECES` pieces spread over the validation part, mean and 2.5 % and
        97.5 % points; ``pieces``, ``characters``: how many and how long; ``text``: what was generated. None where a
        text is too short to hold an n-gram.
    """
    length, held_out = len(generated), corpus.validation
    if length < GRAM:
        return None
    starts = np.linspace(0, len(held_out) - length, min(PIECES, len(held_out) // length)).astype(int)
    texts = np.stack([generated, *(held_out[at : at + length] for at in starts)])
    share, *pieces = found_grams(texts, corpus.train).mean(1).tolist()
    return {"gram": GRAM, "generated": share, "held_out": float(np.mean(pieces)),
            "range": np.quantile(pieces, [0.025, 0.975]).tolist(), "pieces": len(pieces), "characters": length,
            "text": corpus.decode(generated)}
