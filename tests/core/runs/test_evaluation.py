"""An evaluation gives the figures of the run's own last row, of any other text, and leaves them in the run's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.baselines import bigram_bpc
from core.data import read_corpus
from core.errors import CorpusError, RunError
from core.runs import evaluation
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.evaluation import evaluate_run, memorised
from core.runs.journal import read_records
from core.runs.opening import create_run, load_model
from core.runs.store import RunFolder
from core.runs.trainer import Trainer

Make = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of a few steps."""
    config = RunConfig.from_preset((str(text),), "tiny", threads=2, steps=24, window=16, batch=4)
    folder = create_run(tmp_path_factory.mktemp("runs"), config)
    send(folder, "start")
    Trainer(folder).run()
    return folder


@pytest.fixture
def trained(finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it, with little to be generated."""
    monkeypatch.setattr(evaluation, "GENERATED", 100)
    return RunFolder(shutil.copytree(finished.path, tmp_path / finished.id))


def test_the_held_out_part_gives_the_run_s_last_row(trained: RunFolder) -> None:
    found = evaluate_run(trained)
    final, record = read_records(trained.metrics)[0][-1], trained.read_config()
    assert final["split"] == "final"
    for key in ("bits", "interval", "characters"):
        assert found[key] == pytest.approx(final[key], rel=1e-6)
    assert (found["step"], found["window"], found["baselines"]) == (24, 16, record["baselines"])
    assert found["scored"]["characters"] == record["corpus"]["validation"] == sum(
        b["characters"] for b in found["calibration"]) + 1
    assert [(o["first"], o["last"]) for o in found["context"]] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16)]
    assert all(rate > 0 for rate in found["measured"].values())
    again = evaluate_run(trained, window=40)
    assert again["context"][-1]["last"] == 40
    assert again["memorisation"] == found["memorisation"]  # one seed
    kept = {p.name: json.loads(p.read_text()) for p in trained.evaluations.iterdir()}
    for one in (found, again):
        assert kept.pop(f"{one['id']}.json") == json.loads(json.dumps(one))
    assert not kept


def test_another_text_is_scored_with_the_run_s_vocabulary(trained: RunFolder, tmp_path: Path) -> None:
    _, _, corpus, _ = load_model(trained)
    place = tmp_path / "held-out.txt"
    place.write_text(corpus.decode(corpus.validation))
    own, other = evaluate_run(trained), evaluate_run(trained, text=str(place))
    for key in ("bits", "accuracy", "calibration", "context", "memorisation"):
        assert other[key] == own[key]
    assert other["baselines"]["bigram"] == bigram_bpc(corpus)
    assert other["scored"]["files"][0]["name"] == "held-out.txt"
    place.write_text(corpus.decode(corpus.validation) + "Ω~" * 4)
    strange = evaluate_run(trained, text=str(place))
    assert strange["scored"]["unknown"] == own["scored"]["unknown"] + 8
    assert strange["bits"] > own["bits"]
    place.write_text("tide turns")
    assert evaluate_run(trained, text=str(place))["memorisation"] is None  # ten characters
    with pytest.raises(CorpusError, match="does not exist"):
        evaluate_run(trained, text=str(tmp_path / "nowhere"))
    place.write_text("x")
    with pytest.raises(ValueError, match="at least 2 characters"):
        evaluate_run(trained, text=str(place))


def test_a_text_learned_by_heart_stands_out(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PIECES", 5)
    corpus = read_corpus(text)
    seen, held_out = corpus.decode(corpus.train), corpus.decode(corpus.validation)

    def share(piece: str) -> float:
        return float(np.mean([piece[i : i + 12] in seen for i in range(len(piece) - 11)]))

    found = memorised(corpus.train[300:400], corpus)
    assert found is not None
    assert found["generated"] == 1
    assert found["text"] == seen[300:400]
    last = len(held_out) - 100
    pieces = [share(held_out[at : at + 100]) for at in (0, last // 4, last // 2, 3 * last // 4, last)]
    assert found["held_out"] == pytest.approx(np.mean(pieces))
    assert found["range"] == pytest.approx(np.quantile(pieces, [0.025, 0.975]))
    assert found["held_out"] < 0.9
    half = np.concatenate([corpus.train[300:356], corpus.encode("zqzqzqzqzqzq" * 4)[:44]])
    assert memorised(half, corpus)["generated"] == pytest.approx(45 / 89)  # type: ignore[index]


def test_what_cannot_be_evaluated_or_kept_is_refused(make_run: Make, trained: RunFolder) -> None:
    with pytest.raises(RunError, match="has no latest checkpoint"):
        evaluate_run(make_run())
    trained.evaluations.write_text("in the way")
    with pytest.raises(RunError, match="evaluations: could not make the folder"):
        evaluate_run(trained)
