"""`ZSpaceTrainer`: its objective, gradient and updates by hand, its states, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.partials import ZMetrics, ZSpacePartialBundle, z_metrics
from core.inference.posterior import LATENT_BASIS
from core.inference.projection import infer_from_partial
from core.inference.topos import HINTS, read_topos
from core.inference.trainer import ZSpaceTrainer, fractional_energy, step_many, stream_zspace_training

SAMPLE = {"speed": 0.8, "memory": 0.5, "stability": 0.6}
latents = st.lists(st.floats(-3, 3), min_size=1, max_size=33)


def by_definition(z: Any, alpha: float) -> float:
    """R as a double sum, no FFT."""
    n = len(z)
    if n <= 1:
        return 0.0
    top = n // 2
    powers = [abs(sum(v * np.exp(-2j * math.pi * k * i / n) for i, v in enumerate(z))) ** 2 for k in range(top + 1)]
    return sum((k / top) ** (2 * alpha) * p for k, p in enumerate(powers)) / (top + 1)


def adam_by_hand(gradients: list[list[float]], lr: float, beta1: float, beta2: float, eps: float) -> list[float]:
    z = m = v = np.zeros(len(gradients[0]))
    for n, g in enumerate(map(np.array, gradients), 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        z = z - lr * (m / (1 - beta1**n)) / (np.sqrt(v / (1 - beta2**n)) + eps)
    return list(z)


# --- objective and gradient -------------------------------------------------------------------------------------------


@given(latents, st.floats(0.05, 2))
@settings(max_examples=60)
def test_the_regulariser_and_its_gradient(z: list[float], alpha: float) -> None:
    energy, slope = fractional_energy(z, alpha)
    assert energy == pytest.approx(by_definition(z, alpha), rel=1e-9, abs=1e-12)
    for i in range(len(z)):
        step = np.zeros(len(z))
        step[i] = 1e-4
        up, down = (by_definition(np.array(z) + s, alpha) for s in (step, -step))
        assert slope[i] == pytest.approx((up - down) / 2e-4, rel=1e-5, abs=1e-6)


def test_a_single_value_has_no_spectrum() -> None:
    energy, slope = fractional_energy([3.0])
    assert (energy, slope.tolist()) == (0.0, [0.0])


def test_the_first_objective_and_the_first_step() -> None:
    trainer = ZSpaceTrainer()
    assert trainer.step({**SAMPLE, "gradient": [0.3, -0.2, 5.0, -1e-3]}) == pytest.approx(0.578063445712, abs=5e-13)
    np.testing.assert_allclose(trainer.state, [-0.01, 0.01, -0.01, 0.01], rtol=2e-5)  # -lr sign(g), but for eps
    assert trainer.last_optimizer_report is not None
    assert trainer.last_optimizer_report["objective"]["speed_term"] == pytest.approx(0.5 * math.tanh(0.8))


def test_every_term_of_the_objective() -> None:
    trainer = ZSpaceTrainer(3, alpha=0.5, lam_speed=0.1, lam_mem=0.2, lam_stab=0.3, lam_frac=0.4, lam_drs=0.5)
    z = [0.5, -1.0, 0.25]
    trainer.load_state_dict({"z": z}, strict=False)
    got = trainer.step(ZMetrics(1.0, -2.0, 0.5, drs=-0.7))
    want = (0.1 * math.tanh(1) + 0.2 * math.tanh(-2) + 0.3 * math.tanh(0.5) + 0.5 * math.tanh(-0.7)
            + 0.4 * by_definition(z, 0.5))
    assert got == pytest.approx(want, rel=1e-12)


def test_steps_are_adam_on_the_observed_gradient_and_the_regulariser() -> None:
    options = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
    trainer = ZSpaceTrainer(5, lam_frac=0.3, **options)
    used: list[list[float]] = []
    for observed in ([1.0, -2.0], [0.5] * 7, [], [-0.1, 0.2, 0.3, -4.0, 0.0]):
        slope = np.array([0.0] * 5)
        for i in range(5):
            step = np.eye(5)[i] * 1e-5
            up, down = (by_definition(np.array(trainer.state) + s, 0.35) for s in (step, -step))
            slope[i] = (up - down) / 2e-5
        seen = [math.tanh(observed[i % len(observed)]) if observed else 0.0 for i in range(5)]  # repeated, or cut
        used.append(list(np.array(seen) + 0.3 * slope / max(1, np.abs(slope).max())))
        trainer.step({"speed": 0.1, "gradient": observed})
    np.testing.assert_allclose(trainer.state, adam_by_hand(used, **options), rtol=1e-5)


def test_a_steep_regulariser_is_scaled_to_one() -> None:
    trainer = ZSpaceTrainer(4, lam_frac=0.25)
    trainer.load_state_dict({"z": [100.0, -100.0, 100.0, -100.0]}, strict=False)
    trainer.step({})
    report = trainer.last_optimizer_report
    assert report is not None
    assert max(map(abs, report["fractional_regularizer"]["raw_gradient"])) > 100
    np.testing.assert_allclose(report["gradient"]["applied"], [0.25, -0.25, 0.25, -0.25])


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3), st.lists(st.floats(-10, 10), min_size=3, max_size=3))
@settings(max_examples=30)
def test_observed_metrics_are_constants_to_z(a: list[float], b: list[float]) -> None:
    """They count in the objective alone."""
    states = []
    for metrics in (a, b):
        trainer = ZSpaceTrainer()
        for _ in range(3):
            trainer.step({**dict(zip(SAMPLE, metrics, strict=True)), "gradient": [0.2, -0.1]})
        states.append(trainer.state)
    assert states[0] == states[1]


def test_the_regulariser_alone_smooths() -> None:
    trainer = ZSpaceTrainer(16, lam_frac=1.0, lr=0.02)
    trainer.load_state_dict({"z": np.random.default_rng(0).standard_normal(16).tolist()}, strict=False)
    losses = [trainer.step({}) for _ in range(300)]
    assert losses[-1] < 1e-2 * losses[0]


def test_names_case_and_kinds_of_samples() -> None:
    kinds: list[Any] = [{"velocity": 0.3, "MEM": 0.1, "stab": 0.2, "grad": [0.5]},
                        z_metrics(speed=0.3, mem=0.1, stability=0.2, gradient=[0.5]),
                        ZMetrics(0.3, 0.1, 0.2, [0.5])]
    found = []
    for sample in kinds:
        trainer = ZSpaceTrainer()
        found.append((trainer.step(sample), trainer.state))
    assert found[0] == found[1] == found[2]


# --- topos control ----------------------------------------------------------------------------------------------------

TOPOS = {"closure_pressure": 0.3, "depth_pressure": 0.2, "volume_pressure": 0.6, "guard_strength": 0.4,
         "training_hints": {"learning_rate_scale": 0.5, "regularization_scale": 2, "clip_scale": 0.25,
                            "gradient_bias_scale": 0.3}}


def test_topos_control_by_hand() -> None:
    trainer = ZSpaceTrainer(2, lam_frac=0.1, topos_control_gain=0.5)
    z = np.array([0.2, -0.1])
    trainer.load_state_dict({"z": z.tolist()}, strict=False)
    objective = trainer.step({**SAMPLE, "gradient": [0.4, -0.9], "telemetry": {"topos": TOPOS, "other": 3}})
    energy = (z[0] - z[1]) ** 2 / 2  # n = 2: only k = 1 counts, of two bins
    plain = (0.5 * math.tanh(0.8) + 0.3 * math.tanh(0.5) + 0.2 * math.tanh(0.6))
    assert objective == pytest.approx(plain + 0.5 * math.tanh(0.6) + 0.15 * energy, rel=1e-12)
    slope = np.array([z[0] - z[1], z[1] - z[0]])
    g = np.tanh([0.4, -0.9]) + 0.15 * slope
    g = g + 0.15 * math.sqrt(np.mean(g**2)) * np.array([0.3 - 0.5, 0.6 - 0.5])  # closure, volume
    limit = math.sqrt(np.mean(g**2)) / (1 - 0.625)
    report = trainer.last_optimizer_report
    assert report is not None
    np.testing.assert_allclose(report["gradient"]["applied"], np.clip(g, -limit, limit), rtol=1e-12)
    assert report["adam"]["effective_learning_rate"] == pytest.approx(0.01 * 0.75)
    np.testing.assert_allclose(trainer.state, z - 0.0075 * np.sign(g), rtol=1e-6)
    assert trainer.last_topos_control["training_hints.clip_scale"] == 0.25
    assert trainer.last_telemetry["other"] == 3.0
    assert "other" not in trainer.last_topos_control


def test_a_strong_gradient_among_weak_ones_is_cut() -> None:
    telemetry = {"topos": {"training_hints": {"clip_scale": 0.25, "gradient_bias_scale": 0.0}}}
    trainer = ZSpaceTrainer(64, topos_control_gain=1.0)
    trainer.step({"gradient": [5.0] + [0.0] * 63, "telemetry": telemetry})
    report = trainer.last_optimizer_report
    assert report is not None
    rms = math.tanh(5) / 8
    np.testing.assert_allclose(report["gradient"]["applied"][0], rms / 0.75, rtol=1e-12)
    assert report["gradient"]["before_clip"][0] == pytest.approx(math.tanh(5))


def test_hints_and_scales_are_clamped() -> None:
    far = {f"topos.training_hints.{name}": 99.0 for name in HINTS}
    high = read_topos(far, 9.0)
    assert (high.learning_rate_scale, high.regularization_scale, high.clip_scale) == (1.25, 4.0, 1.0)
    assert high.gradient_bias_scale == pytest.approx(9 * 0.35)
    low = read_topos(dict.fromkeys(far, -99.0), 9.0)
    assert (low.learning_rate_scale, low.regularization_scale, low.clip_scale) == (0.1, 0.25, 0.25)
    assert low.gradient_bias_scale == 0
    assert read_topos({"topos.closure_pressure": 7.0}, 1.0).pressure == 1.0
    for nothing in (read_topos({"other": 1.0}, 1.0), read_topos(far, 0.0)):
        assert not nothing.active
        assert nothing.steer(np.array([2.0])).tolist() == [2.0]


def test_without_gain_topos_telemetry_changes_nothing() -> None:
    with_it, without = ZSpaceTrainer(), ZSpaceTrainer()
    assert with_it.step({**SAMPLE, "gradient": [1.0], "telemetry": {"topos": TOPOS}}) == without.step(
        {**SAMPLE, "gradient": [1.0]})
    assert with_it.state == without.state


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"z_dim": 0}, "z_dim is 0: it must be a whole number from 1 to 4096"),
    ({"z_dim": 4097}, "z_dim is 4097"), ({"z_dim": 2.5}, r"z_dim is 2\.5"), ({"z_dim": True}, "z_dim is True"),
    ({"alpha": 0}, r"alpha is 0\.0: it must be finite and above 0"), ({"lr": -1}, r"lr is -1\.0"),
    ({"lr": math.inf}, "lr is inf"), ({"eps": 0}, r"eps is 0\.0"),
    ({"beta1": 1}, r"beta1 is 1\.0: it must be at least 0 and below 1"), ({"beta2": -0.1}, r"beta2 is -0\.1"),
    ({"lam_speed": -1}, r"lam_speed is -1\.0: it must be finite and at least 0"),
    ({"lam_drs": math.nan}, "lam_drs is nan"),
    ({"topos_control_gain": -1}, r"topos_control_gain is -1\.0"),
    ({"gradient_projection": "x"}, "gradient_projection is 'x': choose one of tile_or_truncate, exact"),
])
def test_settings_outside_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ZSpaceTrainer(**options)


@pytest.mark.parametrize(("sample", "error", "message"), [
    ({"gradient": [1.0, 2.0, 3.0, 4.0], "gradient_basis": "theirs"}, ValueError, "basis is 'theirs', but z moves in"),
    ({"gradient": [1.0, 2.0], "gradient_basis": LATENT_BASIS}, ValueError, "2 values for z's 4: give 4$"),
    ({"speed": 1.0, "gradient_basis": LATENT_BASIS}, ValueError, "there is no gradient: give one, or no basis"),
    ({"speed": math.nan}, ValueError, "nan"), ({"gradient": [0.0, math.inf]}, ValueError, "not finite at entry 1"),
    (ZMetrics(math.inf, 0.0, 0.0), ValueError, "'speed' is inf"),
    (ZMetrics(0.0, 0.0, 0.0, [math.nan]), ValueError, "not finite at entry 0"),
    ({"telemetry": {"a": math.inf}}, ValueError, "'a' is inf"),
    ({"sped": 1.0}, KeyError, "unknown Z-space metric 'sped'"),
    ({"speed": 1.0, "velocity": 2.0}, ValueError, "both mean 'speed'"),
    (3.0, TypeError, "cannot come from a float"),
])
def test_a_refused_sample_changes_nothing(sample: Any, error: type[Exception], message: str) -> None:
    trainer = ZSpaceTrainer()
    trainer.step({**SAMPLE, "gradient": [0.4], "telemetry": {"a": 1}})
    before, report = trainer.state_dict(), trainer.last_optimizer_report
    with pytest.raises(error, match=message):
        trainer.step(sample)
    assert trainer.state_dict() == before
    assert trainer.last_optimizer_report is report


def test_exact_takes_gradients_of_the_latents_length_alone() -> None:
    trainer = ZSpaceTrainer(gradient_projection="exact")
    for gradient in ([1.0, 2.0], [1.0] * 5, []):
        with pytest.raises(ValueError, match=f"{len(gradient)} values for z's 4: give 4, or use gradient_projection="):
            trainer.step({"gradient": gradient})
    trainer.step({"gradient": [1.0] * 4, "gradient_basis": LATENT_BASIS})
    assert trainer.state_dict()["step"] == 1


@pytest.mark.parametrize("broken", [{"z": [1e200] * 4}, {"moment": [1e308] * 4}])
def test_an_overflow_is_told_and_changes_nothing(broken: dict[str, Any]) -> None:
    trainer = ZSpaceTrainer(eps=1e-300)
    trainer.load_state_dict(broken, strict=False)
    before = trainer.state_dict()
    with pytest.raises(ValueError, match=r"nothing was changed: reset\(\) or load"):
        trainer.step({})
    assert trainer.state_dict() == before


def test_a_batch_is_all_or_nothing() -> None:
    trainer, twin = ZSpaceTrainer(), ZSpaceTrainer()
    samples = [{"speed": 0.1 * i, "gradient": [0.1, -0.2]} for i in range(4)]
    assert trainer.step_batch(samples) == [twin.step(s) for s in samples]
    before, report = trainer.state_dict(), trainer.last_optimizer_report
    with pytest.raises(ValueError, match="nan"):
        trainer.step_batch([*samples, {"speed": math.nan}])
    assert (trainer.state_dict(), trainer.last_optimizer_report) == (before, report)


# --- inference --------------------------------------------------------------------------------------------------------


def test_infer_partial_is_inference_at_z() -> None:
    trainer = ZSpaceTrainer(alpha=0.5)
    trainer.load_state_dict({"z": [0.12, -0.03, 0.48, -0.2]}, strict=False)
    found = trainer.infer_partial({"speed": 0.3}, smoothing=0.2, telemetry={"a": 1.0})
    want = infer_from_partial([0.12, -0.03, 0.48, -0.2], {"speed": 0.3}, alpha=0.5, smoothing=0.2, telemetry={"a": 1.0})
    assert found == want == trainer.last_inference
    assert trainer.infer_partial(None, alpha=0.35).metrics["speed"] == pytest.approx(0.4463024613684294)


def test_step_partial_steps_with_what_it_infers() -> None:
    trainer, twin = ZSpaceTrainer(lam_drs=0.3), ZSpaceTrainer(lam_drs=0.3)
    for t in (trainer, twin):
        t.load_state_dict({"z": [0.12, -0.03, 0.48, -0.2]}, strict=False)
    bundle = ZSpacePartialBundle({"speed": 0.3, "gradient": [1.0]}, telemetry={"a": 2.0}, gradient_basis="theirs")
    got = trainer.step_partial(bundle, telemetry={"b": 1.0})
    decoded = {"memory": 0.10991043037290935, "stability": 0.672934550609384, "drs": 0.6413201743341207}
    want = (0.5 * math.tanh(0.3) + 0.3 * math.tanh(decoded["memory"]) + 0.2 * math.tanh(decoded["stability"])
            + 0.3 * math.tanh(decoded["drs"]) + 0.1 * by_definition([0.12, -0.03, 0.48, -0.2], 0.35))
    assert got == pytest.approx(want, rel=1e-12)
    # the observed gradient is not in z's coordinates, so z's own leads
    twin.step({"speed": 0.3, **decoded, "gradient": [-0.015, 0.18, -0.085, -0.24]})
    np.testing.assert_allclose(trainer.state, twin.state, rtol=1e-9)
    assert trainer.last_telemetry == {"a": 2.0, "b": 1.0}
    assert trainer.last_inference is not None
    assert trainer.last_inference.control_gradient is not None


def test_prefer_applied_chooses_between_observed_and_decoded() -> None:
    results = {}
    for prefer in (True, False):
        trainer = ZSpaceTrainer(lam_mem=0, lam_stab=0, lam_frac=0)
        results[prefer] = trainer.step_partial({"speed": 0.3}, prefer_applied=prefer)
    assert results == {True: pytest.approx(0.5 * math.tanh(0.3)), False: 0.0}  # z = 0 has no speed


def test_a_bundle_of_no_weight_observes_nothing() -> None:
    trainer = ZSpaceTrainer()
    assert trainer.infer_partial(ZSpacePartialBundle({"speed": 0.3}, weight=0.0)).residual_metric_count == 0


def test_a_failed_step_partial_changes_nothing() -> None:
    trainer = ZSpaceTrainer()
    before = trainer.state_dict()
    with pytest.raises(ValueError, match="gradient_basis"):
        trainer.step_partial({"gradient": [1.0]})
    assert (trainer.state_dict(), trainer.last_inference) == (before, None)


# --- states -----------------------------------------------------------------------------------------------------------


def trained(**options: Any) -> ZSpaceTrainer:
    trainer = ZSpaceTrainer(**options)
    trainer.step_batch([{"speed": 0.2, "gradient": [0.3, -0.1, 0.7], "telemetry": {"a": i}} for i in range(3)])
    return trainer


def test_a_state_survives_json_and_goes_on_alike() -> None:
    one, other = trained(lr=0.03, alpha=0.6, topos_control_gain=0.2), ZSpaceTrainer()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.state_dict() == one.state_dict()
    assert other.last_telemetry == {"a": 2.0}
    assert one.step({"gradient": [1.0]}) == other.step({"gradient": [1.0]})
    assert one.state == other.state


def test_a_state_is_a_copy() -> None:
    trainer = trained()
    before = trainer.state_dict()
    trainer.state[0] = trainer.state_dict()["z"][1] = trainer.last_telemetry["a"] = 99.0
    assert trainer.state_dict() == before


def test_a_loose_load_pads_cuts_and_keeps() -> None:
    trainer = trained()
    before = trainer.state_dict()
    trainer.load_state_dict({"z": [1, 2]}, strict=False)
    assert trainer.state_dict() == {**before, "z": [1.0, 2.0, 0.0, 0.0]}
    trainer.load_state_dict({"velocity": [1, 2, 3, 4, 5, 6], "hyperparams": {"lr": 0.5}}, strict=False)
    after = trainer.state_dict()
    assert (after["velocity"], after["hyperparams"]["lr"]) == ([1.0, 2.0, 3.0, 4.0], 0.5)
    assert after["moment"] == before["moment"]


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"contract_version": "other.v9"}, ValueError, "contract is 'other.v9', but this trainer reads"),
    ({"velocity": [-1.0, 0, 0, 0]}, ValueError, "velocity holds values that are not finite or below 0"),
    ({"z": [1.0, 2.0]}, ValueError, r"z has shape \(2,\) for a z of 4: give 4 values"),
    ({"moment": [math.nan] * 4}, ValueError, "moment holds values that are not finite: the state is broken"),
    ({"step": -1}, ValueError, "step is -1: it must be a whole number, at least 0"),
    ({"step": 1.5}, ValueError, r"step is 1\.5"),
    ({"hyperparams": {"lr": -1}}, ValueError, r"lr is -1\.0"),
    ({"hyperparams": {"lambda": [1, 2]}}, ValueError, "lambda holds 2 weights: give lam_speed"),
    ({"last_telemetry": {"a": math.inf}}, ValueError, "'a' is inf"),
    ({"z": None}, KeyError, "the state lacks z: give them, or load with strict=False"),
])
def test_a_refused_state_changes_nothing(change: dict[str, Any], error: type[Exception], message: str) -> None:
    trainer = trained()
    before, report = trainer.state_dict(), trainer.last_optimizer_report
    state = {k: v for k, v in {**before, **change}.items() if v is not None}
    with pytest.raises(error, match=message):
        trainer.load_state_dict(state)
    assert trainer.state_dict() == before
    assert trainer.last_optimizer_report is report


def test_reset_keeps_the_settings() -> None:
    trainer = trained(lr=0.5)
    trainer.reset()
    assert trainer.state_dict() == ZSpaceTrainer(lr=0.5).state_dict()
    assert (trainer.last_optimizer_report, trainer.last_inference, trainer.last_telemetry) == (None, None, {})


# --- streams ----------------------------------------------------------------------------------------------------------

STREAM = [{"speed": 0.1 * i, "gradient": [0.1 * i, -0.2]} for i in range(5)]


async def later(samples: list[Any]) -> AsyncIterator[Any]:
    for sample in samples:
        await asyncio.sleep(0)
        yield sample


@pytest.mark.parametrize("way", ["iterator", "async"])
def test_streams_step_as_they_come(way: str) -> None:
    want, trainer = ZSpaceTrainer(), ZSpaceTrainer()
    losses = [want.step(s) for s in STREAM]
    seen: list[tuple[int, list[float], float]] = []

    def note(i: int, state: list[float], loss: float) -> None:
        seen.append((i, state, loss))

    if way == "async":
        got = asyncio.run(_awaited(stream_zspace_training(trainer, later(STREAM), on_step=note)))
    else:
        got = stream_zspace_training(trainer, iter(STREAM), on_step=note)
    assert got == losses == [loss for _, _, loss in seen]
    assert [i for i, _, _ in seen] == [0, 1, 2, 3, 4]
    assert seen[-1][1] == trainer.state == want.state
    seen[-1][1][0] = 99.0  # a copy
    assert trainer.state == want.state


def test_step_many_returns_where_the_steps_lead() -> None:
    want = ZSpaceTrainer()
    want.step_batch(STREAM)
    assert step_many(ZSpaceTrainer(), STREAM) == want.state


async def _awaited(x: Any) -> Any:
    return await x


def test_a_stream_is_read_one_sample_at_a_time() -> None:
    trainer, drawn = ZSpaceTrainer(), []

    def source() -> Iterator[dict[str, float]]:
        while True:  # without end
            drawn.append(1)
            yield {"speed": 0.1}

    def stop(i: int, state: list[float], loss: float) -> None:
        assert len(drawn) == i + 1
        if i == 9:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        stream_zspace_training(trainer, source(), on_step=stop)
    assert trainer.state_dict()["step"] == len(drawn) == 10


def test_a_long_stream_keeps_one_number_a_step() -> None:
    """Samples of 32 KiB each: a thousand of them at once would be 32 MiB."""
    trainer = ZSpaceTrainer()
    tracemalloc.start()
    losses = stream_zspace_training(trainer, ({"speed": 0.1, "gradient": [float(i)] * 4096} for i in range(300)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(losses) == 300
    assert peak < 2 << 20


def test_a_bad_sample_ends_a_stream_and_leaves_the_steps_before() -> None:
    trainer = ZSpaceTrainer()
    with pytest.raises(ValueError, match="nan"):
        stream_zspace_training(trainer, [{"speed": 0.1}, {"speed": math.nan}, {"speed": 0.1}])
    assert trainer.state_dict()["step"] == 1
    with pytest.raises(ValueError, match="nan"):
        asyncio.run(_awaited(stream_zspace_training(trainer, later([{"speed": math.nan}]))))
