"""The trainer as a pure function to rows: inputs take effect at boundaries, and repeat where they took effect."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.runs.readings
from core.array import asarray
from core.errors import PatchError, RunError
from core.frame import ZFrame
from core.runs.checkpoint import latest_checkpoint, load_checkpoint
from core.runs.compare import summary
from core.runs.control import paint, send
from core.runs.events import comparable
from core.runs.files import write_atomic
from core.runs.journal import Journal, read_records
from core.runs.opening import load_model
from core.runs.replay import replay
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.scheduler import Patch, Scheduler
from tests.core.test_inference_posterior import slow as slow_reading
from tests.serving import folded

Make = Callable[..., RunFolder]
FRAME = ZFrame.octaves()
LAYER = np.linspace(-3, 3, FRAME.bands * FRAME.sheets).reshape(FRAME.bands, FRAME.sheets).astype(np.float32)


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [comparable(r) for r in read_records(folder.metrics)[0]]


def applied(folder: RunFolder) -> list[dict[str, Any]]:
    return read_records(folder.applied)[0]


def run(folder: RunFolder, at: dict[int, Callable[[], object]] | None = None, until: int | None = None) -> Trainer:
    """Train, calling something after given steps."""
    calls = dict(at or {})

    def on_row(row: dict[str, Any]) -> None:
        if row["split"] == "train" and row["step"] in calls:
            calls.pop(row["step"])()

    trainer = Trainer(folder, until, on_row)
    trainer.run()
    return trainer


def test_a_run_leaves_everything_a_person_looks_for(make_run: Make) -> None:
    folder = make_run()
    run(folder)
    found = rows(folder)
    assert [r["step"] for r in found if r["split"] == "train"] == list(range(1, 25))
    assert [r["step"] for r in found if r["split"] == "validation"] == [0, 8, 16]
    final = found[-1]
    assert final["split"] == "final"
    assert final["interval"][0] < final["bits"] < final["interval"][1]
    assert final["characters"] == folder.read_config()["corpus"]["validation"] - 1
    assert final["bits"] < next(r["bits"] for r in found if r["split"] == "validation") - 0.5
    looked = next(r for r in found if r["step"] == 6 and r["split"] == "train")
    assert sum(looked["bands"]["state"]) == pytest.approx(1)
    assert set(looked["roundtable"]) == {"above", "here", "beneath"}
    assert len(next(r for r in found if "digest" in r)["digest"]["parameters"]) == 64
    assert folder.status() == "finished"
    assert folder.atlas.exists()


def test_samples_come_with_the_surprise_of_each_character(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, written = make_run(sample_every=9), []

    def note(path: Path, data: bytes) -> None:
        written.append(path.name)
        write_atomic(path, data)

    monkeypatch.setattr(core.runs.readings, "write_atomic", note)
    run(folder)
    steps = (0, 9, 18, 24)
    assert written == [f"step-{n:08d}.{part}" for n in steps for part in ("bits.json", "txt")]
    texts = [(folder.samples / f"step-{n:08d}.txt").read_text() for n in steps]
    bits = [json.loads((folder.samples / f"step-{n:08d}.bits.json").read_text()) for n in steps]
    assert [len(t) for t in texts] == [len(b) for b in bits] == [240] * 4
    assert np.mean(bits[0]) == pytest.approx(math.log2(len(folder.read_config()["corpus"]["vocabulary"])), rel=0.2)
    model, parameters, corpus, step = load_model(folder)  # the last, read again all at once
    assert step == 24
    symbols = corpus.encode("\n" + texts[-1])
    x, _, _ = model.states(parameters, asarray(symbols[None, :-1].astype(np.int32)), model.initial_state(1))
    scores = model.logits(parameters, x).numpy()[0].astype(np.float64)
    chosen = scores[np.arange(240), symbols[1:]]
    np.testing.assert_allclose(bits[-1], (np.log(np.exp(scores).sum(1)) - chosen) / math.log(2), rtol=0, atol=1e-4)


def test_the_z_metrics_are_those_of_the_tapped_activation_in_time(make_run: Make) -> None:
    folder = make_run(steps=6, window=20)
    trainer, seen = Trainer(folder), []
    states = trainer.model.states

    def listen(*args: Any, **named: Any) -> Any:
        found = states(*args, **named)
        if "gains" in named:  # a step of training, not a look's own question
            seen.append(found[2])
        return found

    trainer.model.states = listen  # type: ignore[method-assign]
    trainer.on_row = lambda row: seen.append(row) if "z" in row else None
    trainer.run()
    at = next(i for i, entry in enumerate(seen) if isinstance(entry, dict))
    tapped, row = seen[at - 1].numpy(), seen[at]
    series = [math.fsum(tapped[:4, t].astype(float).ravel()) / tapped[:4, t].size for t in range(20)]
    want = slow_reading(series, 0.35)
    assert row["z"] == pytest.approx({k: want[k] for k in ("speed", "memory", "stability", "frac", "drs")})


def test_first_loss_is_near_that_of_guessing(make_run: Make) -> None:
    folder = make_run(steps=1)
    run(folder)
    symbols = len(folder.read_config()["corpus"]["vocabulary"])
    assert rows(folder)[1]["loss"] == pytest.approx(math.log(symbols), rel=0.2)


def test_a_patch_takes_effect_at_the_next_boundary_and_settles(make_run: Make) -> None:
    folder = make_run()
    run(folder, {10: lambda: paint(folder, LAYER)})
    patch = next(r for r in read_records(folder.inputs)[0] if r["kind"] == "patch")
    log = applied(folder)
    first = next(r for r in log if patch["seq"] in r["seq"])
    assert first["step"] == 11
    assert [r["step"] for r in log] == [1, 11, 12, 13]  # the start, then capacity = 3 steps until the fold settles
    by_hand = Scheduler({"atlas": LAYER.shape}, 3)
    by_hand.push(Patch.from_record(patch))
    for row in log[1:]:
        by_hand.boundary()
        np.testing.assert_array_equal(folded(row), by_hand.fold("atlas").relation)
    np.testing.assert_array_equal(np.float32(folded(log[-1])), LAYER)


def test_painting_changes_what_is_learned_and_a_neutral_layer_does_not(make_run: Make) -> None:
    plain, neutral, painted = make_run(), make_run(), make_run()
    run(plain)
    run(neutral, {4: lambda: paint(neutral, np.zeros_like(LAYER))})
    run(painted, {4: lambda: paint(painted, LAYER)})
    assert rows(neutral) == rows(plain)
    departs = next(i for i, (a, b) in enumerate(zip(rows(painted), rows(plain), strict=True)) if a != b)
    assert rows(plain)[departs]["step"] == 5  # painted after step 4: its gradient norm is the first to differ


def test_pause_and_resume_leave_no_trace_in_the_rows(make_run: Make) -> None:
    plain, paused = make_run(), make_run()
    run(plain)
    states = []

    def pause() -> None:
        send(paused, "pause")
        threading.Timer(0.3, lambda: (states.append(paused.status()), send(paused, "resume"))).start()

    run(paused, {5: pause})
    assert states == ["paused"]
    assert rows(paused) == rows(plain)


def test_stop_then_resume_equals_an_uninterrupted_run(make_run: Make) -> None:
    plain, stopped = make_run(), make_run()
    run(plain)
    assert run(stopped, {11: lambda: send(stopped, "stop")}).step == 11
    assert stopped.status() == "stopped"
    send(stopped, "start")
    run(stopped)
    assert rows(stopped) == rows(plain)
    assert replay(stopped).verdict == "equal"


def test_a_stop_while_a_stroke_settles_comes_back_to_its_boundary(make_run: Make) -> None:
    plain, stopped = make_run(capacity=5), make_run(capacity=5)
    run(plain, {10: lambda: paint(plain, LAYER)})
    assert run(stopped, {10: lambda: paint(stopped, LAYER), 11: lambda: send(stopped, "stop")}).step == 11
    send(stopped, "start")
    run(stopped)
    assert rows(stopped) == rows(plain)
    assert replay(stopped).verdict == "equal"


def test_learning_rate_is_an_input_like_any_other(make_run: Make) -> None:
    folder = make_run()
    run(folder, {3: lambda: send(folder, "rate", scale=0.5)})
    rates = {r["step"]: r["rate"] for r in rows(folder) if r["split"] == "train"}
    assert rates[3] == pytest.approx(1e-2 * (3 / 4) * (1 - 2 / 24))
    assert rates[5] == pytest.approx(0.5 * 1e-2 * (1 - 4 / 24))
    with pytest.raises(RunError, match="scale is -1"):
        send(folder, "rate", scale=-1)


def test_a_hostile_patch_in_the_log_is_rejected_and_named_and_harms_nothing(make_run: Make) -> None:
    plain, attacked = make_run(), make_run()
    run(plain)
    with Journal(attacked.inputs, shared=True) as log:
        log.append({"kind": "patch", "chart": "atlas", "shape": [10**9, 10**9], "relation": "AAAA"})
        log.append({"kind": "patch", **Patch(LAYER, 1.0, 0.5, 1, "atlas", "another frame", 1, 0.0).to_record()})
        log.append({"kind": "rate", "scale": "fast"})
        log.append({"kind": "no such thing"})
    run(attacked)
    reasons = [r["reason"] for r in applied(attacked)[0]["rejected"]]
    assert "lacks" in reasons[0]
    assert "painted on frame" in reasons[1]
    assert "scale is 'fast'" in reasons[2]
    assert len(reasons) == 3
    assert rows(attacked) == rows(plain)


def test_painting_is_refused_with_a_clear_word(make_run: Make) -> None:
    folder = make_run(steps=1)
    with pytest.raises(PatchError, match=r"shape \(2, 2\).*needs numbers of shape \(6, 8\)"):
        paint(folder, np.zeros((2, 2)))
    with pytest.raises(PatchError, match="not finite"):
        paint(folder, np.full_like(LAYER, np.nan))
    with pytest.raises(PatchError, match="'moon' does not steer training"):
        paint(folder, LAYER, chart="moon")
    run(folder)
    with pytest.raises(RunError, match="is finished"):
        paint(folder, LAYER)


def test_a_checkpoint_holds_the_scheduler_to_the_bit(make_run: Make) -> None:
    folder = make_run(capacity=5)
    trainer = run(folder, {6: lambda: paint(folder, LAYER)}, until=8)
    path, _ = latest_checkpoint(folder)
    assert path is not None
    restored = Scheduler({"atlas": LAYER.shape}, 5)
    restored.restore(load_checkpoint(path)[1]["scheduler"])
    for scheduler in (restored, trainer.scheduler):
        scheduler.boundary()
    np.testing.assert_array_equal(restored.fold("atlas").relation, trainer.scheduler.fold("atlas").relation)
    assert 0 < restored.fold("atlas").amplitude < np.linalg.norm(LAYER)


def test_a_changed_corpus_is_named(make_run: Make, text: Any) -> None:
    folder = make_run()
    before = text.read_text()
    text.write_text(before + "more")
    try:
        with pytest.raises(RunError, match="has changed since run"):
            Trainer(folder)
    finally:
        text.write_text(before)


def test_a_recomputed_row_that_departs_stops_the_run(make_run: Make) -> None:
    folder = make_run()
    run(folder, until=12)
    for path in folder.checkpoints.glob("step-0000001*"):
        path.unlink()
    lines = folder.metrics.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if '"step":11,"split":"train"' in line)
    folder.metrics.write_text("".join([*lines[:at], lines[at].replace('"loss":', '"loss":1'), *lines[at + 1:]]))
    with pytest.raises(RunError, match="step 11, field 'loss' departs"):
        run(folder)
    assert folder.status() == "failed"


def test_recomputed_blocks_change_no_row_and_hold_less(make_run: Callable[..., RunFolder]) -> None:
    rows, peaks = [], []
    for recompute in (False, True):
        run = make_run(steps=6, window=128, recompute=recompute)
        Trainer(run).run()
        found = [r for r in read_records(run.metrics)[0] if r["split"] == "train"]
        rows.append([comparable(r) for r in found])
        peaks.append(max(r["measured"]["peak_bytes"] for r in found))
        assert summary(run)["peak_bytes"] == peaks[-1]
        assert all(r["measured"]["peak_resident_bytes"] > r["measured"]["peak_bytes"] for r in found)
    assert rows[0] == rows[1]
    assert peaks[1] < 0.8 * peaks[0]


def test_the_choice_of_backend_and_its_reason_are_recorded(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("ZSPACE_BACKEND", "cpu")
    run = make_run(backend="auto", steps=2)
    record = run.read_config()
    assert (record["backend"], record["backend_reason"]) == ("cpu", "ZSPACE_BACKEND")
    caplog.set_level("INFO", "core.runs.trainer")
    Trainer(run).run()
    assert f"run {run.id} on cpu (ZSPACE_BACKEND), from step 0" in caplog.messages
    assert make_run(steps=2).read_config()["backend_reason"] == "argument"
    with pytest.raises(RunError, match="recompute is 1: it must be true or false"):
        make_run(recompute=1)


def test_a_run_from_before_the_split_could_be_chosen_still_reads(make_run: Make) -> None:
    folder = make_run(steps=2)
    run(folder)
    record = folder.read_config()
    assert record.pop("split") == "contiguous"
    assert record["corpus"].pop("held_out") == []
    folder.write_config(record)
    assert load_model(folder)[3] == 2
