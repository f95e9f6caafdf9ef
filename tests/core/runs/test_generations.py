"""Recorded generations repeat bit for bit, and a desire's effect is what its files say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.desire import wish_scores
from core.dynamics import Phases
from core.effect import paired_shift
from core.generate import Sampling
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.generations import Writer, measure_desire, new_name, replay_generation
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer


@pytest.fixture(scope="module")
def folder(text: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that learned for a second: which letters there are, and hardly a word, so that it has a choice."""
    config = RunConfig.from_preset((str(text),), "tiny", threads=2, window=32, batch=8, steps=24, checkpoint_every=24,
                                   evaluate_every=24, sample_every=24, field_every=24)
    folder = create_run(tmp_path_factory.mktemp("learned") / "runs", config)
    send(folder, "start")
    Trainer(folder).run()
    return folder


@pytest.fixture(scope="module")
def writer(folder: RunFolder) -> Writer:
    return Writer(folder)


@pytest.fixture(scope="module")
def vowels(writer: Writer) -> Sampling:
    return Sampling(0.9, desire=wish_scores([("vowels", 1.0)], writer.corpus.vocabulary), strength=9.0)


def test_wanting_vowels_within_a_tenth_of_a_nat_raises_their_share(writer: Writer, vowels: Sampling) -> None:
    effect = measure_desire(writer, "the ", 80, range(7), vowels)
    assert effect.shift.p < 0.05
    assert 0 < effect.shift.interval[0] < effect.shift.difference < effect.shift.interval[1]
    assert set(effect.symbols) == set("aeiou")
    texts: dict[str, list[float]] = {"without": [], "tilted": []}
    costs = []
    for pair in effect.names:
        for arm, name in zip(texts, pair, strict=True):
            (head, *rows), bad = read_records(writer.folder.generations / f"{name}.jsonl")
            assert (bad, len(rows), head["prompt"]) == (0, 80, "the ")
            said = writer.corpus.decode([r["symbol"] for r in rows])
            texts[arm].append(sum(c in "aeiou" for c in said) / 80)
            costs += [r["kl"] for r in rows] if arm == "tilted" else []
            assert arm == "tilted" or not any(r["beta"] or r["kl"] for r in rows)
    assert effect.shift.without == pytest.approx(np.mean(texts["without"]))
    assert effect.shift.tilted == pytest.approx(np.mean(texts["tilted"]))
    assert (effect.kl_mean, effect.kl_largest) == pytest.approx((math.fsum(costs) / 560, max(costs)))
    assert 0.05 < effect.kl_largest <= 0.1


def test_a_recorded_generation_repeats_bit_for_bit(folder: RunFolder, writer: Writer, vowels: Sampling) -> None:
    name = new_name()
    how = replace(vowels, phases=Phases(10, 20), target_entropy=0.8, top_p=0.95)
    drawn = list(writer.record(name, "the ", 40, 7, how))
    path = folder.generations / f"{name}.jsonl"
    rows, _ = read_records(path)
    assert [r["symbol"] for r in rows[1:]] == [d.symbol for d in drawn]
    assert [r["phase"] for r in rows[1:]] == [d.phase for d in drawn]
    assert sum("d" in r for r in rows[1:]) == 31  # none while it observes, then one a symbol, for what is avoided moves
    assert replay_generation(folder, name).verdict == "equal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:21]) + lines[21][:9])  # killed in the middle of a row
    assert replay_generation(folder, name).reason.startswith("20 symbols of 40")
    changed = json.loads(lines[5])
    changed["kl"] = np.nextafter(changed["kl"], 1)
    path.write_bytes(b"".join([*lines[:5], json.dumps(changed).encode() + b"\n", *lines[6:]]))
    found = replay_generation(folder, name)
    assert (found.verdict, found.step, found.field) == ("departs", 4, "kl")


@pytest.mark.parametrize(("key", "value", "reason"), [
    ("parameters", "0" * 64, "holds other weights now"), ("step", 11, "the checkpoint of step 11 is gone"),
    ("environment", None, "kept no environment"), ("environment", {"backend": "cpu", "threads": 1}, "'cpu'|only equal"),
])
def test_what_cannot_be_compared_says_why(folder: RunFolder, writer: Writer, key: str, value: object,
                                          reason: str) -> None:
    name = new_name()
    list(writer.record(name, "a", 3, 0, Sampling()))
    path = folder.generations / f"{name}.jsonl"
    head, *rows = path.read_text().splitlines(keepends=True)
    record = json.loads(head)
    record[key] = value
    if value is None:
        del record[key]
    path.write_text(json.dumps(record) + "\n" + "".join(rows))
    found = replay_generation(folder, name)
    assert found.verdict == "not comparable"
    assert any(part in found.reason for part in reason.split("|"))


def test_what_is_refused_leaves_no_file_behind(folder: RunFolder, writer: Writer, vowels: Sampling) -> None:
    before = sorted(folder.generations.iterdir())
    for prompt, sentence in (("the é", "prompt: 'é' is not among the"), ("~ #", "'#', '~' are not among the"),
                             ("\N{REPLACEMENT CHARACTER}", "is not among"), ("", "the prompt is empty")):
        with pytest.raises(ValueError, match=sentence):
            next(writer.record(new_name(), prompt, 5, 0, Sampling()))
    with pytest.raises(ValueError, match="an effect over 5 seeds"):
        measure_desire(writer, "a", 5, range(5), vowels)
    with pytest.raises(ValueError, match="nothing is wanted"):
        measure_desire(writer, "a", 5, range(8), Sampling())
    for name in ("../inputs", "0" * 12):
        with pytest.raises(RuntimeError, match="has no generation"):
            replay_generation(folder, name)
    assert sorted(folder.generations.iterdir()) == before


def test_the_paired_test_is_exact_by_hand() -> None:
    found = paired_shift([0.1, 0.2, 0.3, 0.4, 0.2, 0.3], [0.2, 0.4, 0.4, 0.3, 0.5, 0.5])
    assert (found.without, found.tilted, found.difference) == pytest.approx((0.25, 23 / 60, 2 / 15))
    sums = [sum(s * d for s, d in zip(signs, (1, 2, 1, -1, 3, 2), strict=True))
            for signs in np.array(np.meshgrid(*[[1, -1]] * 6)).reshape(6, -1).T]
    assert found.p == pytest.approx(sum(abs(s) >= 8 for s in sums) / 64)
    same = paired_shift([0.1] * 6, [0.1] * 6)
    assert (same.interval, same.p) == ((0, 0), 1)
