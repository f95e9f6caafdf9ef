"""Inference that goes on: what is remembered, what a failure leaves, the pipeline, the decorator and the notation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core.inference.blend import infer_with_partials
from core.inference.derived import canvas_partial_from_snapshot
from core.inference.partials import ZSpacePartialBundle
from core.inference.projection import ZSpaceInference, infer_from_partial
from core.inference.runtime import (
    TOPOS_AXES,
    TOPOS_BASIS,
    ZSpaceInferencePipeline,
    ZSpaceInferenceRuntime,
    compile_inference,
)

Z = [0.12, -0.03, 0.48, -0.2]
observations = st.dictionaries(st.sampled_from(["speed", "mem", "stab", "frac", "drift"]), st.floats(-3, 3))


def state(runtime: ZSpaceInferenceRuntime) -> tuple[Any, ...]:
    return dict(runtime.cached_observations), runtime.gradient_basis, dict(runtime.telemetry)


def test_observations_gather_and_the_latest_counts() -> None:
    runtime = ZSpaceInferenceRuntime(Z, smoothing=0.5, telemetry={"x": 1})
    runtime.update({"velocity": 0.3, "grad": [1, 2]}, gradient_basis="b", telemetry={"y": {"z": 2}})
    found = runtime.infer({"mem": 0.1, "speed": 0.4})
    assert state(runtime) == ({"speed": 0.4, "memory": 0.1, "gradient": [1.0, 2.0]}, "b", {"x": 1.0, "y.z": 2.0})
    assert found == infer_from_partial(Z, {"speed": 0.4, "memory": 0.1, "gradient": [1, 2], "gradient_basis": "b"},
                                       smoothing=0.5, telemetry={"x": 1, "y": {"z": 2}})
    assert runtime.posterior.z_state == tuple(Z)
    assert (runtime.smoothing, runtime.accumulate) == (0.5, True)
    runtime.clear()
    assert state(runtime) == ({}, None, {"x": 1.0, "y.z": 2.0})
    runtime.set_telemetry({"q": 1})
    assert runtime.telemetry == {"q": 1.0}
    runtime.set_telemetry(None)
    assert runtime.update().telemetry is None


def test_without_accumulation_the_latest_is_all() -> None:
    runtime = ZSpaceInferenceRuntime(Z, accumulate=False)
    runtime.update({"speed": 0.3, "grad": [1]}, gradient_basis="b")
    assert runtime.update({"mem": 0.1}).applied == {"memory": 0.1}
    assert state(runtime) == ({"memory": 0.1}, None, {})


@settings(max_examples=40)
@given(st.lists(observations, min_size=1, max_size=5))
def test_one_by_one_is_as_all_at_once(parts: list[dict[str, float]]) -> None:
    runtime = ZSpaceInferenceRuntime(Z)
    for part in parts:
        found = runtime.update(part)
    whole: dict[str, float] = {}
    for part in parts:
        whole |= part
    assert found == infer_from_partial(Z, whole)


BAD: list[tuple[Any, dict[str, Any], type[Exception]]] = [
    ({"zzz": 1}, {}, ValueError), ({"speed": math.nan}, {}, ValueError), (3, {}, TypeError),
    ({"grad": [1, 2]}, {"telemetry": {"new": 1}}, ValueError),  # no basis
    ({"speed": 1}, {"gradient_basis": "c"}, ValueError), ({"speed": 9}, {"telemetry": {"a": math.inf}}, ValueError),
    ({"speed": 9}, {"telemetry": 3}, TypeError), (ZSpacePartialBundle({"speed": 1}), {}, TypeError),
]


@given(observations, st.sampled_from(BAD), st.booleans())
def test_a_failure_changes_nothing(part: dict[str, float], bad: tuple[Any, dict[str, Any], type[Exception]],
                                   accumulate: bool) -> None:
    runtime = ZSpaceInferenceRuntime(Z, accumulate=accumulate)
    runtime.update(part, telemetry={"x": 1})
    before = state(runtime)
    with pytest.raises(bad[2]):
        runtime.update(bad[0], **bad[1])
    assert state(runtime) == before
    assert runtime.update(part).applied == infer_from_partial(Z, part).applied


def test_a_runtime_refuses_what_an_inference_refuses() -> None:
    for options in ({"alpha": 0}, {"smoothing": -1}, {"telemetry": {"a": math.nan}}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}|telemetry"):
            ZSpaceInferenceRuntime(Z, **options)  # type: ignore[arg-type]


# --- pipeline ---------------------------------------------------------------------------------------------------------


def test_a_pipeline_blends_what_it_gathered_once() -> None:
    pipeline = ZSpaceInferencePipeline(Z, strategy="median", telemetry={"t": 1})
    assert pipeline.add_partial({"velocity": 0.3}, weight=2, origin="a") == ZSpacePartialBundle(
        {"velocity": 0.3}, 2, "a")
    bundle = ZSpacePartialBundle({"mem": 0.1}, telemetry={"t": 2, "u": 3})
    assert pipeline.add_partial(bundle) is not None
    found = pipeline.infer(clear=False, telemetry={"v": 4})
    assert found == infer_with_partials(Z, ZSpacePartialBundle({"speed": 0.3}, 2, "a"), bundle, strategy="median",
                                        telemetry=[{"t": 1}, {"v": 4}])
    assert pipeline.infer(weights=[0, 1]).applied == {"memory": 0.1}
    assert pipeline.infer().applied == {}


def test_a_pipeline_keeps_what_it_gathered_when_it_fails() -> None:
    pipeline = ZSpaceInferencePipeline(Z)
    pipeline.add_partial({"speed": 0.3})
    for bad, message in (({"zzz": 1}, "unknown"), ({"grad": [math.nan]}, "not finite")):
        with pytest.raises(ValueError, match=message):
            pipeline.add_partial(bad)
    with pytest.raises(ValueError, match="the weight 0 is nan"):
        pipeline.add_partial({"speed": 1}, weight=math.nan)
    with pytest.raises(ValueError, match="telemetry 'a' is inf"):
        pipeline.add_partial({"speed": 1}, telemetry={"a": math.inf})
    with pytest.raises(ValueError, match="2 weights for 1 partials"):
        pipeline.infer(weights=[1, 2])
    assert pipeline.infer().applied == {"speed": 0.3}


def test_a_pipeline_and_a_trainer_step_together() -> None:
    class Trainer:
        seen: Any = None

        def step(self, metrics: Any, prefer_applied: bool | None = None) -> float:
            self.seen = (metrics, prefer_applied)
            if metrics == "bad":
                raise ValueError("bad metrics")
            return 0.5

    trainer, pipeline = Trainer(), ZSpaceInferencePipeline(Z)
    pipeline.add_partial({"speed": 0.3})
    with pytest.raises(ValueError, match="bad metrics"):
        pipeline.infer_and_step(trainer, adapter=lambda _: "bad")
    found, loss = pipeline.infer_and_step(trainer, prefer_applied=False)
    assert (found.applied, loss, trainer.seen) == ({"speed": 0.3}, 0.5, (found, False))
    assert pipeline.infer_and_step(trainer)[0].applied == {}
    with pytest.raises(TypeError, match=r"a int cannot step: pass a ZSpaceTrainer"):
        pipeline.infer_and_step(3)


def test_a_pipeline_gathers_derived_partials() -> None:
    pipeline = ZSpaceInferencePipeline(Z)
    snapshot = SimpleNamespace(canvas=[[1.0, 2.0]], hypergrad=[0.1], realgrad=[0.2], summary=None, patch=None)
    canvas = pipeline.add_canvas_snapshot(snapshot, memory_gain=1.0)
    assert canvas == ZSpacePartialBundle(canvas_partial_from_snapshot(snapshot, memory_gain=1.0), origin="canvas")
    assert pipeline.add_dlpack_weights([1.0, 2.0]).origin == "dlpack"
    assert pipeline.add_compat_weights([1.0], label="mine").origin == "mine"
    elliptic = pipeline.add_elliptic_telemetry({"curvature_radius": 2.0}, bundle_weight=3.0)
    assert (elliptic.weight, elliptic.resolved()["elliptic_curvature"]) == (3.0, 2.0)
    p = np.array([0.5, 0.25, 0.25])
    coherence = pipeline.add_coherence_diagnostics({
        "mean_coherence": 1 / 3, "coherence_entropy": float(-(p * np.log(p)).sum()), "energy_ratio": 0.5,
        "z_bias": 0.1, "fractional_order": 0.4, "normalized_weights": p.tolist(), "preserved_channels": 3,
        "discarded_channels": 0, "dominant_channel": 0})
    assert coherence.origin == "coherence"
    fusion = pipeline.infer().fusion
    assert fusion is not None
    assert fusion["active_count"] == 5


def test_a_control_signal_becomes_metrics_gradient_and_telemetry() -> None:
    pipeline = ZSpaceInferencePipeline(Z)
    signal = dict(zip(TOPOS_AXES, (0.8, 0.6, 0.7, 0.3, 0.2, 0.1), strict=True))
    found = pipeline.add_topos_control({**signal, "speed": 0.5}, gradient_dim=8, openness=0.9)
    assert found.resolved() == {"speed": 0.5, "gradient": [0.9, 0.6, 0.7, 0.3, 0.2, 0.1, 0.0, 0.0],
                                "gradient_basis": TOPOS_BASIS}
    assert found.telemetry == {"topos": {**signal, "speed": 0.5, "openness": 0.9}}
    assert pipeline.add_topos_control({"memory": 0.5}, bundle_weight=2).resolved() == {"memory": 0.5}
    inference = pipeline.infer()
    assert inference.telemetry is not None
    assert inference.telemetry.payload["topos.openness"] == 0.9


def test_geometry_probes_are_gathered_alone_or_agreed_upon() -> None:
    probes = {"a": {"speed": 0.2, "gradient": [1.0, 2.0], "gradient_basis": "g", "level": 4}, "b": {"speed": 0.4}}
    pipeline = ZSpaceInferencePipeline(Z)
    found, counts = pipeline.add_geometry_probes(probes, gradient_dim=3, include_consensus=True, consensus_weight=5,
                                                 return_metadata=True)
    assert counts == {"probe_count": 2, "used_count": 2, "consensus": True}
    assert found[0] == ZSpacePartialBundle(
        {"speed": 0.2, "gradient": [1.0, 2.0, 0.0], "gradient_basis": "g"}, 1.0, "geometry:a",
        {"geometry": {"a": {"level": 4}}})
    assert (found[2].origin, found[2].weight, found[2].metrics["speed"]) == (
        "geometry:consensus", 5, pytest.approx(0.3))
    assert [b.origin for b in ZSpaceInferencePipeline(Z).add_geometry_probes(probes, consensus_only=True)] == [
        "geometry:consensus"]
    pipeline.clear()
    with pytest.raises(ValueError, match="the metric 'speed' is nan"):
        pipeline.add_geometry_probes([{"speed": 1}, {"speed": math.nan}])
    assert pipeline.infer().applied == {}
    assert len(pipeline.add_geometry_probes([{"speed": 1}] * 3, max_probes=2)) == 2


# --- compiled ---------------------------------------------------------------------------------------------------------


def test_a_function_becomes_an_inference() -> None:
    @compile_inference(smoothing=0.5, gradient_basis="b")
    def observe(speed: float, *, memory: float = 0.0) -> Mapping[str, Any]:
        return {"speed": speed, "memory": memory, "gradient": [1.0]}

    want = infer_from_partial(Z, {"speed": 0.3, "mem": 0.1, "gradient": [1.0]}, smoothing=0.5, gradient_basis="b",
                              telemetry={"a": 1})
    assert observe(Z, 0.3, memory=0.1, telemetry={"a": 1}) == want
    assert observe.__name__ == "observe"
    assert compile_inference(lambda: None)(Z) == infer_from_partial(Z, None)


def test_what_is_no_observation_is_refused() -> None:
    with pytest.raises(TypeError, match="returned a int: a compiled inference returns a mapping of metrics, or None"):
        compile_inference(lambda: 3)(Z)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="compile_inference got a int"):
        compile_inference(3)  # type: ignore[call-overload]


# --- notation ---------------------------------------------------------------------------------------------------------


def test_partials_in_short() -> None:
    z = core.z
    source = ZSpacePartialBundle({"velocity": 0.2, "grad": [1]}, 2.0, "o", {"a": 1}, "q")
    assert z.partial(source, speed=0.3) == ZSpacePartialBundle(
        {"speed": 0.3, "gradient": [1.0]}, 2.0, "o", {"a": 1}, "q")
    assert z.partial(source, gradient=[2], weight=1).gradient_basis is None
    assert z.partial(source, gradient_basis="r").gradient_basis == "r"
    assert z.partial({"mem": 1}, origin="x", telemetry={"b": 2}) == ZSpacePartialBundle(
        {"memory": 1.0}, origin="x", telemetry={"b": 2})
    assert z.partial(z.metrics(speed=0.5, gradient=[3])).resolved() == {
        "speed": 0.5, "memory": 0.0, "stability": 0.0, "drs": 0.0, "gradient": [3.0]}
    assert z.partial() == ZSpacePartialBundle({})
    assert z.bundle({"speed": 1}, {"speed": 3}, weights=[3, 1]) == z.blend({"speed": 1.5}) == {"speed": 1.5}
    with pytest.raises(TypeError, match="got 2 sources"):
        z.partial({}, {})
    with pytest.raises(TypeError, match="got a int: give a mapping, a ZMetrics or a ZSpacePartialBundle"):
        z.partial(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown Z-space metric 'zz'"):
        z.partial(zz=1)


def test_the_notation_knows_its_session_and_nothing_outside() -> None:
    z = core.z
    assert (z.signal(), z.snapshot(), z.feedback(), z.describe(), z.clear()) == (None, None, None, None, False)
    ZSpaceInferenceRuntime(Z).update({"speed": 0.1})  # no session, so nobody keeps it
    heard: list[dict[str, Any]] = []
    with core.zspace.session(backend="cpu") as session:
        session.telemetry.subscribe(heard.append)
        assert (z.signal(), z.snapshot(), z.feedback(), z.describe(), z.clear()) == (None, None, None, None, False)
        wave = np.sin(np.arange(64.0))
        session.observe(wave, step=3)
        runtime = ZSpaceInferenceRuntime(Z)
        found = runtime.update({"speed": 0.1})
        with core.zspace.session(backend="cpu"):
            assert z.feedback() is None
        assert z.feedback() is found
        np.testing.assert_array_equal(z.signal(), wave)
        assert z.snapshot() is session.atlas.latest
        told = z.describe(feedback=True)
        assert (told["step"], told["feedback"]) == (3, {"metrics": dict(found.metrics), "confidence": found.confidence})
        assert told["power"] == pytest.approx(float((wave**2).mean()), rel=1e-9)
        session.observe(wave, step=4)
        assert [t["step"] for t in z.describe(latest=False)] == [3, 4]
        pipeline = ZSpaceInferencePipeline(Z)
        assert isinstance(pipeline.infer(), ZSpaceInference)
        assert z.clear() is True
        assert (z.clear(), z.feedback()) == (False, None)
        with pytest.raises(ValueError, match="read-only"):
            z.signal()[0] = 1  # type: ignore[index]
    assert [e["kind"] for e in heard] == ["chart", "inference", "chart", "inference"]
    assert z.feedback() is None
