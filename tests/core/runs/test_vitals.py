"""A run's z metrics: each from its measurement, by hand."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

from core.array import asarray
from core.backends import open_backend, use_backend
from core.inference.posterior import decode_zspace_embedding
from core.nn.families import build
from core.runs.config import RunConfig
from core.runs.control import Painter, send
from core.runs.opening import create_run
from core.runs.trainer import Trainer
from core.runs.vitals import BAND_BASIS, Vitals, relative_change
from tests.serving import records

LATENT = [0.12, -0.03, 0.48, -0.2]
ROW = {"state_power": 4.0, "gradient_norm": 0.5, "bands": {"gradient": [0.5, 0.3, 0.2]}}


def vitals(losses: list[float], pace: list[float]) -> Vitals:
    found = Vitals(np.arange(10), 16)
    for loss, speed in zip(losses, pace, strict=True):
        found.step(loss, speed)
    return found


def look(found: Vitals, **changes: Any) -> dict[str, Any]:
    asked = {"latent": LATENT, "response": 0.7, "row": ROW, "update": 0.01, "fold": np.zeros((2, 3)), **changes}
    return found.look(**asked)


def test_every_observation_follows_its_formula() -> None:
    z = look(vitals([2.0, 3.0, 1.0], [100.0, 400.0, 300.0]))
    seen = z["observed"]
    assert seen["speed"] == 0.75
    assert seen["memory"] == pytest.approx(1.098612 / 2.098612)  # ln 3: the root of a power of 4 is 2
    assert seen["stability"] == pytest.approx(1 / (1 + np.std([2, 3, 1]) / 2))
    assert seen["drs"] == pytest.approx(1 - math.exp(-0.7))
    assert (seen["gradient"], seen["gradient_basis"]) == ([0.5, 0.3, 0.2], BAND_BASIS)
    psi = z["telemetry"]["psi"]
    assert psi["loss"] == pytest.approx(2 / math.log(16))
    assert (psi["grad_norm"], psi["update_ratio"], psi["act_drift"]) == (pytest.approx(1 / 3), 0.01, 0.0)
    assert psi["health"] == pytest.approx(1 - (2 / math.log(16) + 1 / 3 + 0.01) / 4)


def test_a_text_that_is_known_by_heart_and_states_that_vanish_end_no_run() -> None:
    found = vitals([0.0, 0.0], [1.0, 1.0])
    for _ in range(2):
        z = look(found, row={**ROW, "state_power": 0.0})
        assert (z["observed"]["stability"], z["observed"]["memory"]) == (1.0, 0.0)
        assert z["telemetry"]["psi"]["act_drift"] == 0


def test_the_posterior_is_the_latents_with_what_was_observed() -> None:
    z = look(vitals([2.0, 3.0], [1.0, 1.0]))
    prior, seen = decode_zspace_embedding(LATENT).metrics, z["observed"]
    names = ("speed", "memory", "stability", "drs")
    assert z["posterior"] == {**prior, **{k: seen[k] for k in names}}
    assert z["residual"] == pytest.approx(math.sqrt(sum((seen[k] - prior[k]) ** 2 for k in names) / 4))
    assert z["confidence"] <= math.exp(-z["residual"])
    assert sum(z["barycentric"]) == pytest.approx(1)


def test_painting_is_the_canvas_energy_and_states_that_move_are_drift() -> None:
    found = vitals([2.0], [1.0])
    assert look(found)["telemetry"]["canvas"]["energy"] == 0
    painted = look(found, fold=np.array([[3.0, -6.0], [0.0, 1.5]]), row={**ROW, "state_power": 12.0})["telemetry"]
    assert painted["canvas"]["energy"] == pytest.approx((1 + 1 + 0 + 0.25) / 4)  # a gain is clipped at 3
    assert painted["psi"]["act_drift"] == pytest.approx((12 - 4) / (12 + 4))


def test_the_response_is_the_divergence_after_the_changed_character() -> None:
    model, text = build("rnn", "tiny", 9), np.array([1, 5, 2, 8, 3, 0, 4, 7])
    with use_backend(open_backend("cpu", threads=1)):
        p = {k: asarray(v * (20.0 if k == "head" else 1.0)) for k, v in model.initial_parameters(3).items()}
        found = Vitals(text, 9).response(model, p)
        changed = text.copy()
        changed[4] = 4
        logs = []
        for tokens in (text, changed):
            x, _, _ = model.states(p, asarray(tokens[None].astype(np.int32)), model.initial_state(1))
            logs.append(log_softmax(model.logits(p, x).numpy()[0].astype(np.float64), axis=-1))
    want = rel_entr(*np.exp(logs)).sum(-1)
    assert np.all(want[:4] < 1e-12)  # nothing before the change
    assert found == pytest.approx(want[4:].mean(), rel=1e-6)
    assert found > 1e-4


def test_the_relative_change_is_that_of_the_whole_vector() -> None:
    before = {"a": np.array([3.0, 4.0]), "b": np.array([12.0])}
    after = {"a": np.array([3.0, 4.0]), "b": np.array([25.0])}
    with use_backend(open_backend("cpu", threads=1)):
        arrays = ({k: asarray(v) for k, v in x.items()} for x in (before, after))
        assert relative_change(*arrays) == pytest.approx(1.0)


def test_a_run_publishes_them_at_every_look_and_painting_shows(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the tide comes in and goes out again, and so it goes. " * 60)
    folder = create_run(tmp_path / "runs", RunConfig.from_preset(
        (str(text),), "tiny", threads=1, steps=30, window=32, batch=4, field_every=5))
    send(folder, "start")
    Trainer(folder, until=15).run()
    send(folder, "start")
    with closing(Painter(folder)) as painter:
        painter.paint(np.full((painter.frame.bands, painter.frame.sheets), 2.0, np.float32))
    Trainer(folder).run()
    rows = {r["step"]: r["measured"]["z"] for r in records(folder.metrics) if "z" in r.get("measured", {})}
    assert sorted(rows) == [5, 10, 15, 20, 25, 30]
    energy = [rows[n]["telemetry"]["canvas"]["energy"] for n in sorted(rows)]
    assert energy[:3] == [0, 0, 0]
    assert all(e > 0 for e in energy[3:])
    for z in rows.values():
        assert all(0 <= z["observed"][k] <= 1 for k in ("speed", "memory", "stability", "drs"))
        assert sum(z["observed"]["gradient"]) == pytest.approx(1)
