"""What decides how a run trains: optimiser, schedule, accumulation, patience, the best checkpoint, the way back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import core.runs.trainer
from core.array import Array, asarray, checkpoint, grad
from core.backends import open_backend, use_backend
from core.errors import RunError
from core.evaluate import BATCH, evaluate
from core.frame import ZFrame
from core.functions import exp, sqrt
from core.nn.families import build
from core.nonfinite import Origin, find_nonfinite
from core.runs.checkpoint import latest_checkpoint, load_checkpoint
from core.runs.config import RATES, RunConfig
from core.runs.control import paint, send
from core.runs.events import comparable
from core.runs.journal import read_records
from core.runs.opening import load_model
from core.runs.replay import replay
from core.runs.step import loss_and_gradients
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.twin import make_twin
from tests.core.here import wgpu_here
from tests.core.runs.test_trainer import LAYER, applied, rows, run

Make = Callable[..., RunFolder]
RAGE = {"rate": 6e3, "warmup": 12}  # the tiny model does not survive it on this text, but the half of it
overflows = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def losses(folder: RunFolder) -> list[float]:
    return [r["loss"] for r in rows(folder) if r["split"] == "train"]


def rollbacks(folder: RunFolder) -> list[dict[str, Any]]:
    return [{"step": r["step"], **r["rollback"]} for r in applied(folder) if "rollback" in r]


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["hypergrad", "realgrad"])
def test_every_optimiser_learns_and_resumes(make_run: Make, optimiser: str) -> None:
    folder, whole = make_run(optimiser=optimiser), make_run(optimiser=optimiser)
    run(folder, until=12)
    run(folder)
    run(whole)
    assert rows(folder) == rows(whole)
    assert losses(folder)[-1] < losses(folder)[0] - 0.3


@pytest.mark.long
@pytest.mark.parametrize("settings", [{"optimiser": "hypergrad"}, {"optimiser": "realgrad"}, {"schedule": "cosine"},
                                      {"accumulate": 3}, {"storage": "float16"}])
def test_every_setting_replays(make_run: Make, settings: dict[str, Any]) -> None:
    folder = make_run(**settings)
    run(folder)
    assert replay(folder).verdict == "equal"


@pytest.mark.long
def test_hypergrad_mends_what_a_bad_rate_spoils_and_spoils_no_good_one(make_run: Make) -> None:
    """Bits per character after 300 steps, at the preset's rate and at a hundredth of it."""
    final = {}
    for optimiser in ("adam", "hypergrad"):
        for rate in (1e-2, 1e-4):
            folder = make_run(optimiser=optimiser, rate=rate, steps=300)
            run(folder)
            final[optimiser, rate] = rows(folder)[-1]["bits"]
    assert final["hypergrad", 1e-2] < final["adam", 1e-2] + 0.02
    assert final["hypergrad", 1e-4] < final["adam", 1e-4] - 0.5


def test_the_rate_of_hypergrad_is_in_its_rows(make_run: Make) -> None:
    folder = make_run(optimiser="hypergrad", rate=1e-4, steps=6)
    run(folder)
    factors = [r["rate_factor"] for r in rows(folder) if r["split"] == "train"]
    assert factors[0] == 1
    assert factors[-1] > 1  # far too small a rate: the steps go on in one direction


def test_hypergrad_keeps_symbols_on_the_ball_and_moves_them_along_geodesics(make_run: Make) -> None:
    """Beside Adam, which pulls back what leaves it: another way from the same start, as good."""
    folders = {name: make_run(optimiser=name, curvature=-1.0) for name in ("adam", "hypergrad")}
    for folder in folders.values():
        run(folder)
        points = load_model(folder)[1]["embedding"].numpy()
        assert np.linalg.norm(points, axis=1).max() < 1
    final = {name: rows(folder)[-1]["bits"] for name, folder in folders.items()}
    assert final["hypergrad"] != final["adam"]
    assert final["hypergrad"] < final["adam"] + 0.1


def test_realgrad_starts_from_a_rate_of_its_own() -> None:
    made = [RunConfig.from_preset(("a",), "tiny", threads=1, optimiser=name).rate for name in ("adam", "realgrad")]
    assert made[1] == made[0] * RATES["realgrad"]
    assert RunConfig.from_preset(("a",), "tiny", threads=1, optimiser="realgrad", rate=0.5).rate == 0.5


def test_schedules_set_the_rates_of_the_rows(make_run: Make) -> None:
    for shape, down in (("constant", 1.0), ("cosine", 0.5 * (1 + math.cos(math.pi * 6 / 8)))):
        folder = make_run(schedule=shape, steps=8)
        run(folder)
        rates = [r["rate"] for r in rows(folder) if r["split"] == "train"]
        assert rates[0] == pytest.approx(1e-2 / 4 * (1.0))
        assert rates[6] == pytest.approx(1e-2 * down)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"optimiser": "sgd"}, "optimiser 'sgd' is unknown: choose one of adam, hypergrad, realgrad"),
    ({"schedule": "step"}, "schedule 'step' is unknown: choose one of linear, cosine, constant"),
    ({"storage": "float8"}, "storage 'float8' is unknown: choose one of float32, float16"),
    ({"accumulate": 0}, "accumulate is 0: it must be above 0"),
    ({"patience": -1}, "patience is -1: it must be above 0"),
    ({"patience": 1.5}, "patience is 1.5: it must be a whole number"),
])
def test_a_bad_setting_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        RunConfig.from_preset(("a",), "tiny", threads=1, **changes)


@pytest.mark.parametrize(("name", "value"), [("model", "gpt"), ("preset", "giant"), ("optimiser", "sgd"),
                                             ("model", ["rnn"])])
def test_a_record_that_names_what_is_not_here_is_refused_in_one_sentence(make_run: Make, name: str, value: Any
                                                                         ) -> None:
    folder = make_run()
    folder.config.write_text(json.dumps({**folder.read_config(), name: value}))
    with pytest.raises(RunError, match=f"{name} .* is unknown: choose one of"):
        Trainer(folder)


def test_a_record_from_before_these_settings_trains_as_it_did(make_run: Make) -> None:
    new, old = make_run(steps=8), make_run(steps=8)
    record = old.read_config()
    for name in ("optimiser", "schedule", "accumulate", "patience", "storage"):
        del record[name]
    old.write_config(record)
    run(new)
    run(old)
    assert rows(old) == rows(new)


# --- accumulation and storage -----------------------------------------------------------------------------------------


def test_accumulated_batches_are_one_large_batch_in_the_memory_of_a_small_one(make_run: Make) -> None:
    large, parts = make_run(batch=12, window=64, steps=3), make_run(batch=4, window=64, accumulate=3, steps=3)
    run(large)
    run(parts)
    for a, b in zip(rows(large), rows(parts), strict=True):
        for key in ("loss", "bits", "gradient_norm"):
            if key in a:
                assert b[key] == pytest.approx(a[key], rel=1e-4)
    peaks = [max(r["measured"].get("peak_bytes", 0) for r in read_records(f.metrics)[0]) for f in (large, parts)]
    assert peaks[1] < 0.6 * peaks[0]


def test_gradients_of_accumulated_batches_are_those_of_the_large_batch_to_rounding() -> None:
    model, frame = build("rnn", "tiny", 11), ZFrame.octaves()
    tokens = np.random.default_rng(0).integers(0, 11, (6, 33)).astype(np.int32)
    gains = np.ones((frame.bands, frame.sheets))
    found = []
    with use_backend(open_backend("cpu", threads=1)):
        p = {k: asarray(v, requires_grad=True) for k, v in model.initial_parameters(0).items()}
        for accumulate in (1, 3):
            config = RunConfig.from_preset(("a",), "tiny", threads=1, accumulate=accumulate)
            loss, grads, seen = loss_and_gradients(model, p, tokens, config, frame, gains, 1, look=True)
            found.append([loss.numpy(), *(g.numpy() for g in grads.values()), *(x.numpy()[:2] for x in seen)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-6 * np.abs(a).max())


def test_float16_storage_holds_less_and_departs_little(make_run: Make) -> None:
    full, half = (make_run(steps=4, window=128, storage=s) for s in ("float32", "float16"))
    run(full)
    run(half)
    assert losses(half)[0] == losses(full)[0]  # the forward pass is the same bit for bit
    np.testing.assert_allclose(losses(half), losses(full), rtol=2e-3)
    assert losses(half) != losses(full)
    peaks = [max(r["measured"].get("peak_bytes", 0) for r in read_records(f.metrics)[0]) for f in (full, half)]
    assert peaks[1] < 0.8 * peaks[0]


@pytest.mark.parametrize("family", ["rnn", "mixer", "conv", "wave", "scan"])
def test_gradients_from_float16_storage_are_right_to_its_precision(family: str) -> None:
    model, frame = build(family, "tiny", 11), ZFrame.octaves()
    tokens = np.random.default_rng(0).integers(0, 11, (2, 65)).astype(np.int32)
    gains = np.ones((frame.bands, frame.sheets))
    with use_backend(open_backend("cpu", threads=1)):
        p = {k: asarray(v, requires_grad=True) for k, v in model.initial_parameters(0).items()}
        full, half = (
            loss_and_gradients(model, p, tokens, RunConfig.from_preset(("a",), "tiny", threads=1, storage=storage),
                               frame, gains, 1, look=False)[1] for storage in ("float32", "float16"))
        for name, g in full.items():
            error = np.linalg.norm(half[name].numpy() - g.numpy()) / np.linalg.norm(g.numpy())
            assert error < 5e-3, name


def test_wgpu_keeps_the_same_float16_values_as_the_cpu() -> None:
    model, frame = build("rnn", "tiny", 11), ZFrame.octaves()
    tokens = np.random.default_rng(0).integers(0, 11, (2, 33)).astype(np.int32)
    config = RunConfig.from_preset(("a",), "tiny", threads=1, storage="float16")
    found = []
    for backend in (open_backend("cpu", threads=1), wgpu_here()):
        with use_backend(backend):
            p = {k: asarray(v, requires_grad=True) for k, v in model.initial_parameters(0).items()}
            _, grads, _ = loss_and_gradients(model, p, tokens, config, frame, np.ones((frame.bands, frame.sheets)), 1,
                                             look=False)
            found.append([g.numpy() for g in grads.values()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-3 * np.abs(a).max())


# --- the end of a run, and its best state -----------------------------------------------------------------------------


def test_patience_ends_a_run_that_gets_no_better(make_run: Make) -> None:
    changes = {"rate": 30.0, "warmup": 1, "steps": 40, "evaluate_every": 2, "patience": 3}  # nothing is learned
    folder, broken = make_run(**changes), make_run(**changes)
    trainer = run(folder)
    bits = {r["step"]: r["bits"] for r in rows(folder) if r["split"] == "validation"}
    best = min(bits, key=lambda n: bits[n])
    assert trainer.step == best + 6 < 40
    assert rows(folder)[-1]["split"] == "final"
    assert rows(folder)[-1]["reason"] == f"no better validation loss in 3 evaluations since step {best}"
    assert folder.status() == "finished"
    assert replay(folder).verdict == "equal"
    before = folder.metrics.read_bytes()
    assert Trainer(folder).run() == "finished"  # it is over, whoever asks again
    assert folder.metrics.read_bytes() == before
    run(broken, until=trainer.step - 1)
    run(broken)
    assert rows(broken) == rows(folder)


def test_a_run_that_gets_better_does_not_lose_patience(make_run: Make) -> None:
    folder = make_run(patience=1)
    assert run(folder).step == 24
    assert "reason" not in rows(folder)[-1]


def test_the_best_checkpoint_is_that_of_the_best_validation_loss(make_run: Make) -> None:
    folder = make_run(evaluate_every=4, rate=0.3, steps=40)
    with pytest.raises(RunError, match="has no best checkpoint"):
        load_model(folder, "best")
    run(folder)
    bits = {r["step"]: r["bits"] for r in rows(folder) if r["split"] == "validation"}
    with use_backend(open_backend("cpu", threads=2)):
        model, parameters, corpus, step = load_model(folder, "best")
        part = corpus.validation[: BATCH * 16 + 1]
        found = evaluate(model, parameters, part, 16).bits
        assert load_model(folder)[3] == 40
        assert load_model(folder, step)[3] == step  # by its number, too
    assert found == pytest.approx(min(bits.values()), abs=1e-9) if step < 40 else found < min(bits.values())
    assert step == 40 or bits[step] == min(bits.values())
    with pytest.raises(RunError, match="checkpoint 'first' is unknown: choose latest or best"):
        load_model(folder, "first")
    with pytest.raises(RunError, match="has no checkpoint of step 3: it keeps the newest and the best"):
        load_model(folder, 3)


# --- the way back -----------------------------------------------------------------------------------------------------


@overflows
def test_a_diverged_run_goes_back_with_half_the_rate_and_replays(make_run: Make, caplog: pytest.LogCaptureFixture
                                                                 ) -> None:
    folder = make_run(**RAGE)
    run(folder)
    found = rollbacks(folder)
    assert found
    assert folder.status() == "finished"
    assert {r["to"] for r in found} == {0}  # by the first checkpoint the loss is far above that of guessing
    assert [r["rate_factor"] for r in found] == [0.5**n for n in range(1, len(found) + 1)]
    steps = [r["step"] for r in rows(folder) if r["split"] == "train"]
    assert steps == [n for n in range(1, 25) if n not in {r["step"] for r in found}]
    assert all(math.isfinite(x) for x in losses(folder))
    after = found[-1]["step"] + 1
    rate = next(r["rate"] for r in rows(folder) if r["step"] == after)
    assert rate == pytest.approx(RAGE["rate"] * min(1, after / 12) * (1 - (after - 1) / 24) * found[-1]["rate_factor"])
    assert f"at step {found[0]['step']}, first not finite" in caplog.text
    assert found[0]["place"].startswith("core/nn/")
    assert replay(folder).verdict == "equal"


@overflows
def test_a_way_back_is_met_again_after_an_interruption(make_run: Make) -> None:
    whole, killed = make_run(**RAGE), make_run(**RAGE)
    run(whole)
    run(killed, until=rollbacks(whole)[0]["step"] + 1)
    for path in killed.checkpoints.glob("step-*"):
        if int(path.stem[5:]) > 8:
            path.unlink()
    run(killed)
    assert rows(killed) == rows(whole)
    assert rollbacks(killed) == rollbacks(whole)


@pytest.fixture
def stumble(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradients of steps 14 and 22 are not finite."""
    def wrapped(model: Any, p: Any, tokens: Any, config: Any, frame: Any, gains: Any, step: int, look: bool) -> Any:
        loss, grads, seen = loss_and_gradients(model, p, tokens, config, frame, gains, step, look)
        return loss, ({k: g * math.inf for k, g in grads.items()} if step in (14, 22) else grads), seen

    monkeypatch.setattr(core.runs.trainer, "loss_and_gradients", wrapped)


@overflows
@pytest.mark.usefixtures("stumble")
def test_it_goes_back_to_the_newest_good_checkpoint_whatever_else_was_saved(make_run: Make) -> None:
    folder = make_run()
    run(folder, {n: lambda: send(folder, "save") for n in (9, 10, 11, 12)})
    assert [(r["step"], r["to"]) for r in rollbacks(folder)] == [(14, 8), (22, 16)]


@overflows
@pytest.mark.usefixtures("stumble")
def test_a_twin_goes_back_to_where_its_run_would_have(make_run: Make) -> None:
    plain, painted = make_run(), make_run()
    run(plain)
    run(painted, {10: lambda: paint(painted, LAYER)})
    twin = make_twin(painted)
    run(twin)
    assert rollbacks(twin) == rollbacks(plain)
    assert rows(twin) == rows(plain) != rows(painted)
    assert [comparable(r) for r in applied(twin)] == applied(plain)


@overflows
def test_the_fourth_divergence_ends_the_run_in_one_sentence(make_run: Make) -> None:
    folder = make_run(rate=1e20)
    with pytest.raises(RunError) as refusal:
        run(folder)
    assert len(rollbacks(folder)) == 3
    sentence = str(refusal.value)
    assert "\n" not in sentence
    for part in ("became", "at step", "out of", "core/nn/", "went back 3 times", "rate below 1.25e+19"):
        assert part in sentence
    assert folder.status() == "failed"


@overflows
def test_no_checkpoint_of_the_rhythm_holds_what_is_not_finite(make_run: Make) -> None:
    """The last update before a checkpoint overflows: the loss has not shown it yet."""
    folder = make_run(steps=8, warmup=1, schedule="constant")
    trainer = Trainer(folder)
    step, kind = trainer.optimiser.step, type(trainer.optimiser)

    class Overflowing(kind):  # type: ignore[misc, valid-type]
        def step(self, parameters: Any, grads: Any, state: Any, rate: float, count: int) -> Any:
            new, after = step(parameters, grads, state, rate, count)
            p = trainer.packing.unpack(new)
            return trainer.packing.pack({**p, "norm": p["norm"] * math.inf}) if count == 8 else new, after

    trainer.optimiser = Overflowing()
    trainer.run()
    assert [(r["step"], r["to"], r["tensor"]) for r in rollbacks(folder)] == [(8, 0, "parameter norm")]
    path, _ = latest_checkpoint(folder)
    assert path is not None
    assert all(np.isfinite(v).all() for v in load_checkpoint(path)[0].values())


@overflows
@pytest.mark.parametrize("how", [lambda f, x: f(x), checkpoint])
def test_the_first_bad_value_is_named_with_op_and_line(how: Callable[..., Array]) -> None:
    """In the forward pass; and in the backward pass, where it is the line of what is differentiated."""
    backend = open_backend("cpu", threads=1)

    def origin(value: float) -> Origin | None:
        with use_backend(backend):
            x = asarray(np.array([4.0, value]), requires_grad=True)
            return find_nonfinite(backend, {"x": x}, lambda p: grad(how(curve, p["x"]).sum(), [p["x"]]))

    def curve(x: Array) -> Array:
        up = exp(x)
        return up + sqrt(x)

    first = curve.__code__.co_firstlineno
    assert origin(1.0) is None
    here = "tests/core/runs/test_training.py"
    assert origin(1000.0) == Origin("float64 [2]", "exp", f"{here}:{first + 1}", "up = exp(x)")
    found = origin(0.0)  # a root is vertical there
    assert found is not None
    assert found.op.startswith("the gradient of sqrt")
    assert (found.place, found.source) == (f"{here}:{first + 2}", "return up + sqrt(x)")
