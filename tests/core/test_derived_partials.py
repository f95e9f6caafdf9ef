"""Partials of canvases, coherence and elliptic samples: formulas by hand, and evidence that contradicts itself."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.blend import blend_zspace_partials
from core.inference.coherence import coherence_partial_from_diagnostics, zspace_coherence_project
from core.inference.derived import (
    canvas_coherence_partial,
    canvas_partial_from_snapshot,
    elliptic_partial_from_telemetry,
)
from core.inference.names import ELLIPTIC_SOURCES, SCALARS
from core.inference.runtime import ZSpaceInferencePipeline

# --- canvas -----------------------------------------------------------------------------------------------------------

CANVAS = {"canvas": [[1.0, 2.0], [3.0, -4.0]], "hypergrad": [[0.1, 0.2]], "realgrad": np.array([[0.3, 0.1]])}


def test_a_canvas_by_hand() -> None:
    C, H, R = math.sqrt(30), math.sqrt(0.05), math.sqrt(0.1)
    whole = C + H + R + 1e-9
    want = {
        "speed": math.tanh(2.5 * H / whole + 0.5 * 0.15), "memory": math.tanh(2 * C / whole + 0.5),
        "stability": math.tanh(2.5 * (1 - (R - H) / whole) - 1.25), "frac": math.tanh(1.5 * 4),
        "drs": math.tanh(2.5 * (H - R) / whole),
        "canvas_energy": C, "canvas_mean": 0.5, "canvas_peak": 4, "canvas_balance": C / whole, "canvas_l1": 10,
        "canvas_l2": C, "canvas_linf": 4, "canvas_pixels": 4,
        "hypergrad_norm": H, "hypergrad_balance": H / whole, "hypergrad_mean": 0.15, "hypergrad_l1": 0.3,
        "hypergrad_l2": H, "hypergrad_linf": 0.2,
        "realgrad_norm": R, "realgrad_balance": R / whole, "realgrad_mean": 0.2, "realgrad_l1": 0.4, "realgrad_l2": R,
        "realgrad_linf": 0.3}
    for snapshot in (CANVAS, SimpleNamespace(**CANVAS), SimpleNamespace(**CANVAS, summary=None, patch=None)):
        assert canvas_partial_from_snapshot(snapshot) == pytest.approx(want, rel=1e-12)
    assert set(want) <= set(SCALARS)


def test_gains_patch_and_summary_of_a_canvas() -> None:
    C, H, R = math.sqrt(30), 5.0, 3.0
    whole = C + H + R + 1e-9
    found = canvas_partial_from_snapshot(
        {**CANVAS, "patch": [0.5, -0.6], "summary": {"hypergrad": {"l2": 5.0, "mean": 0.7, "l1": 9.0, "linf": 7.0},
                                                     "realgrad": SimpleNamespace(l2=3.0)}},
        hyper_gain=1.0, memory_gain=0.5, stability_gain=3.0, patch_gain=0.25)
    assert found["speed"] == pytest.approx(math.tanh(H / whole + 0.35))
    assert found["memory"] == pytest.approx(math.tanh(0.5 * C / whole + 0.5))
    assert found["stability"] == pytest.approx(math.tanh(3 * (1 - (H - R) / whole) - 1.25))
    assert found["frac"] == pytest.approx(math.tanh(0.25 * 0.6))  # the patch's peak, not the canvas's
    patch = math.sqrt(0.61)
    assert {k: v for k, v in found.items() if "patch" in k} == pytest.approx(
        {"canvas_patch_energy": patch, "canvas_patch_mean": -0.05, "canvas_patch_peak": 0.6, "canvas_patch_pixels": 2,
         "canvas_patch_balance": patch / (patch + C + 1e-9)})
    assert [found[f"hypergrad_{k}"] for k in ("norm", "l1", "linf")] == [5.0, 9.0, 7.0]
    assert [found[f"realgrad_{k}"] for k in ("norm", "l1", "mean")] == pytest.approx([3.0, 0.4, 0.2])


def test_an_empty_canvas_is_steady() -> None:
    found = canvas_partial_from_snapshot({"canvas": np.zeros((3, 3))})
    assert {k: v for k, v in found.items() if v} == {"stability": pytest.approx(math.tanh(1.25)), "canvas_pixels": 9}


@pytest.mark.parametrize(("snapshot", "options", "message"), [
    ({}, {}, "a dict, has none of canvas, hypergrad, realgrad, summary, patch"), (3, {}, "a int, has none of canvas"),
    ({"canvas": [1.0, math.nan]}, {}, "canvas holds values that are not finite"),
    ({"canvas": [1.0], "patch": [math.inf]}, {}, "patch holds values that are not finite"),
    ({"canvas": [1.0], "summary": {"hypergrad": {"l2": math.nan}}}, {}, "summary hypergrad l2' is nan"),
    (CANVAS, {"hyper_gain": -1}, "hyper_gain is -1: it must be finite and at least 0"),
    (CANVAS, {"patch_gain": math.nan}, "patch_gain is nan"),
])
def test_what_is_no_canvas(snapshot: Any, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        canvas_partial_from_snapshot(snapshot, **options)


# --- coherence --------------------------------------------------------------------------------------------------------

P = [0.5, 0.3, 0.2, 0.0]
H = -sum(p * math.log(p) for p in P if p)
WEIGHTS = {"mean_coherence": 0.25, "coherence_entropy": H, "energy_ratio": 0.4, "z_bias": 0.1, "fractional_order": 0.35,
           "normalized_weights": P}
BARE = {**WEIGHTS, "coherence_entropy": 0.6, "mean_coherence": 0.5}
del BARE["normalized_weights"]


def test_coherence_with_weights_by_hand() -> None:
    share, focus = H / math.log(4), (0.38 - 0.25) / 0.75
    full = {**WEIGHTS, "preserved_channels": 3, "discarded_channels": 1, "dominant_channel": 0}
    contour = {"coherence_strength": 0.5, "prosody_index": 0.4, "articulation_bias": 1.0, "timbre_spread": 0.2}
    found = zspace_coherence_project(SimpleNamespace(**full), coherence=[0.4, 0.3, 0.2, 0.1], contour=contour)
    metrics = {
        "speed": math.tanh(focus), "memory": math.tanh(0.1), "stability": math.tanh(1 - 2 * share),
        "frac": math.tanh(0.35), "drs": math.tanh(-0.1)}
    want = {
        "mean": 0.25, "entropy": H, "entropy_residual": 0.0, "energy_ratio": 0.4, "z_bias": 0.1,
        "fractional_order": 0.35, "channels": 4, "preserved": 3, "discarded": 1, "dominant": 0, "peak": 0.5,
        "concentration": focus, "effective_channels": math.exp(H), "normalized_entropy": share, "weight_entropy": H,
        "weight_mass": 1.0, "response_mean": 0.25, "response_peak": 0.4, "strength": 0.5, "prosody": 0.4,
        "articulation": 1.0, "timbre_spread": 0.2}
    assert found["partial"] == pytest.approx({**metrics, **{f"coherence_{k}": v for k, v in want.items()}}, abs=1e-12)
    assert len(want) == 22
    assert set(found["partial"]) <= set(SCALARS)
    assert found["control"] == pytest.approx(
        {"channels": 4, "effective_channels": math.exp(H), "energy_ratio": 0.4, "spectral_radius": focus,
         "spectral_entropy": share, "spectral_pressure": 0.4 * (1 - share)})
    assert coherence_partial_from_diagnostics(full, coherence=[0.4, 0.3, 0.2, 0.1], contour=contour) == found["partial"]


def test_coherence_without_weights_takes_the_entropy_as_told() -> None:
    for more in ({"coherence": [0.4, 0.6]}, {"preserved_channels": 1, "discarded_channels": 1}):
        found = zspace_coherence_project({**BARE, **more})
        share = 0.6 / math.log(2)
        assert found["partial"]["speed"] == pytest.approx(math.tanh(1 - share))
        assert found["derived"]["effective_channels"] == pytest.approx(math.exp(0.6))
        assert found["derived"]["distribution_source"] == "diagnostic_entropy"
        assert "control" not in found
        assert "classification" not in found
        assert "coherence_dominant" not in found["partial"]
    alias = {k: v for k, v in BARE.items() if k != "coherence_entropy"} | {"entropy": 0.6, "coherence": [0.4, 0.6]}
    assert zspace_coherence_project(alias)["partial"] == zspace_coherence_project({**BARE, "coherence": [0.4, 0.6]})[
        "partial"]


def test_one_channel_is_all_there_is() -> None:
    for one in ({"normalized_weights": [1.0]}, {"coherence": [0.5]}):
        found = zspace_coherence_project({**BARE, "coherence_entropy": 0.0, **one})["derived"]
        assert (found["concentration"], found["normalized_entropy"], found["effective_channels"]) == (1.0, 0.0, 1.0)


def test_coherence_gains() -> None:
    found = coherence_partial_from_diagnostics(WEIGHTS, speed_gain=2, stability_gain=0.5, frac_gain=3, drs_gain=4)
    assert found["speed"] == pytest.approx(math.tanh(2 * 0.13 / 0.75))
    assert found["stability"] == pytest.approx(math.tanh(0.5 * (1 - 2 * H / math.log(4))))
    assert found["frac"] == pytest.approx(math.tanh(1.05))
    assert found["drs"] == pytest.approx(math.tanh(-0.4))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40).filter(lambda w: sum(w) > 1e-3), st.floats(0, 1))
@settings(max_examples=100)
def test_coherence_identities(weights: list[float], ratio: float) -> None:
    p = np.array(weights) / sum(weights)
    h = -sum(x * math.log(x) for x in p if x > 0)
    given_ = {**WEIGHTS, "normalized_weights": p, "coherence_entropy": h, "energy_ratio": ratio}
    found, turned = (zspace_coherence_project({**given_, "normalized_weights": q}) for q in (p, p[::-1]))
    control = found["control"]
    assert -1e-9 <= control["spectral_radius"] <= 1 + 1e-9
    assert 0 <= control["spectral_entropy"] <= 1
    assert 1 - 1e-9 <= control["effective_channels"] <= len(p) + 1e-9
    assert 0 <= control["spectral_pressure"] <= ratio
    assert turned["control"] == pytest.approx(control)


@pytest.mark.parametrize(("weights", "ratio", "label"), [
    (P, 1e-5, "background"), ([0.25] * 4, 1e-6, "background"), ([0.25] * 4, 0.9, "symmetric_pulse"),
    ([0.25 + 1e-5, 0.25 - 1e-5, 0.25, 0.25], 0.4, "symmetric_pulse"), (P, 0.7, "cascade_imbalance"),
    (P, 0.69, "diffuse_drift"), (P, 2e-5, "diffuse_drift"),
])
def test_labels(weights: list[float], ratio: float, label: str) -> None:
    h = -sum(x * math.log(x) for x in weights if x)
    given_ = {**WEIGHTS, "normalized_weights": weights, "coherence_entropy": h, "energy_ratio": ratio}
    assert zspace_coherence_project(given_)["classification"]["label"] == label
    bounds = {"background_energy_ratio_max": 0.95, "cascade_energy_ratio_min": 1.0}
    assert zspace_coherence_project(given_, **bounds)["classification"]["label"] == "background"


@pytest.mark.parametrize(("change", "message"), [
    ({"coherence_entropy": 0.2}, r"coherence_entropy is 0\.2, but that of normalized_weights is 1\.0296"),
    ({"coherence_entropy": H + 2e-6}, "but that of normalized_weights is"),
    ({"preserved_channels": 2}, "preserved_channels is 2, but by normalized_weights there are 3"),
    ({"discarded_channels": 0}, "discarded_channels is 0, but by normalized_weights there are 1"),
    ({"preserved_channels": 2, "discarded_channels": 1}, "disagree, 4 by normalized_weights, 3 by preserved_channels"),
    ({"coherence": [0.25, 0.25]}, "the channels disagree, 4 by normalized_weights, 2 by coherence"),
    ({"dominant_channel": 2}, r"dominant_channel is 2 with weight 0\.2, but the largest weight is 0\.5"),
    ({"dominant_channel": 4}, "dominant_channel is 4 of 4 channels: they count from 0"),
    ({"coherence": [0.9, 0.3, 0.2, 0.0]}, r"mean_coherence is 0\.25, but the mean of coherence is 0\.35"),
    ({"normalized_weights": [0.5, 0.3, 0.1, 0.0]}, r"normalized_weights sum to 0\.9"),
    ({"normalized_weights": [1.5, -0.5]}, r"normalized_weights\[0\] is 1\.5: each must lie in \[0, 1\]"),
    ({"normalized_weights": [0.5, -0.5, 1.0]}, r"normalized_weights\[1\] is -0\.5"),
    ({"normalized_weights": [math.nan, 1.0]}, "normalized_weights holds values that are not finite"),
    ({"normalized_weights": []}, "nothing tells the number of channels, or there are none"),
    ({"normalized_weights": None, "coherence_entropy": 1.5, "coherence": [0.5, 0.0]}, r"1\.5, above ln 2 = 0\.693"),
    ({"normalized_weights": None}, "nothing tells the number of channels"),
    ({"normalized_weights": None, "preserved_channels": 3, "coherence": [0.5, 0.0], "coherence_entropy": 0.1},
     "preserved_channels is 3 of 2 channels"),
    ({"energy_ratio": 1.4}, r"energy_ratio is 1\.4: it must lie in \[0, 1\]"),
    ({"mean_coherence": -0.1}, r"mean_coherence is -0\.1: it must lie in \[0, 1\]"),
    ({"fractional_order": 1.1}, r"fractional_order is 1\.1"), ({"coherence_entropy": -0.1}, "must be at least 0"),
    ({"z_bias": math.nan}, "'z_bias' is nan"),
    ({"mean_coherence": None}, "mean_coherence is missing from the diagnostics"),
    ({"coherence_entropy": None}, "coherence_entropy is missing from the diagnostics"),
    ({"preserved_channels": -1}, "preserved_channels is -1: it must be a whole number"),
    ({"preserved_channels": 2.5}, r"preserved_channels is 2\.5"),
    ({"dominant_channel": True}, "dominant_channel is True"),
])
def test_inconsistent_evidence_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coherence_partial_from_diagnostics({**WEIGHTS, **change})


@pytest.mark.parametrize(("contour", "message"), [
    ({"coherence_strength": 1.5}, r"coherence_strength is 1\.5: it must lie in \[0, 1\]"),
    ({"prosody_index": -0.2}, r"prosody_index is -0\.2"), ({"articulation_bias": 5}, r"must lie in \[0, 4\]"),
    ({"timbre_spread": -1}, r"timbre_spread is -1\.0: it must be at least 0"),
    ({"prosody_index": None}, "prosody_index is missing from the contour: give it"),
])
def test_contours_outside_their_range(contour: dict[str, Any], message: str) -> None:
    whole = {"coherence_strength": 0.5, "prosody_index": 0.2, "articulation_bias": 1, "timbre_spread": 0}
    with pytest.raises(ValueError, match=message):
        coherence_partial_from_diagnostics(WEIGHTS, contour={**whole, **contour})


def test_coherence_gains_below_zero() -> None:
    for name in ("speed_gain", "stability_gain", "frac_gain", "drs_gain"):
        with pytest.raises(ValueError, match=f"{name} is -1: it must be finite and at least 0"):
            coherence_partial_from_diagnostics(WEIGHTS, **{name: -1})


def test_rounding_in_float32_is_no_contradiction() -> None:
    p = np.random.default_rng(0).random(1000).astype(np.float32)
    p /= p.sum()
    h = np.float32(-np.sum(p * np.log(p)))
    found = zspace_coherence_project({**WEIGHTS, "normalized_weights": p, "coherence_entropy": h})
    assert found["derived"]["channels"] == 1000


def test_canvas_and_coherence_blended() -> None:
    canvas, coherence = canvas_partial_from_snapshot(CANVAS), coherence_partial_from_diagnostics(WEIGHTS)
    both = canvas_coherence_partial(CANVAS, WEIGHTS)
    for name in ("speed", "memory", "stability", "frac", "drs"):
        assert both[name] == pytest.approx((canvas[name] + coherence[name]) / 2)
    assert both["canvas_l1"] == 10
    assert canvas_coherence_partial(CANVAS, WEIGHTS, weights=[1, 0]) == pytest.approx(canvas)
    strong = canvas_coherence_partial(CANVAS, WEIGHTS, strategy="max", canvas_kwargs={"hyper_gain": 9},
                                      coherence_kwargs={"speed_gain": 9})
    assert strong["speed"] == pytest.approx(math.tanh(9 * 0.13 / 0.75))


# --- elliptic ---------------------------------------------------------------------------------------------------------

SAMPLE: dict[str, Any] = {name: 0.1 * i for i, name in enumerate(ELLIPTIC_SOURCES, 1)} | {
    "rotor_transport": [0.1, 0.2, 0.3], "flow_vector": [0.4, 0.5], "lie_log": [0.7]}


def without(*names: str) -> dict[str, Any]:
    return {k: v for k, v in SAMPLE.items() if k not in names}


def test_an_elliptic_sample() -> None:
    for sample in (SAMPLE, SimpleNamespace(**SAMPLE), [SAMPLE]):
        partial = elliptic_partial_from_telemetry(sample, extra_telemetry={"more": {"a": 1}}, bundle_weight=0.5)
        assert partial.metrics["elliptic_alignment"] == SAMPLE["spin_alignment"]
        assert partial.metrics["gradient"] == [0.1, 0.2, 0.3]
        assert partial.gradient_basis == "spiraltorch.elliptic.rotor_transport.v1"
        assert (partial.origin, partial.weight) == ("elliptic", 0.5)
        assert partial.telemetry is not None
        readings = [0.1 * i for i in range(1, 13)]
        assert partial.telemetry["elliptic.mean"] == pytest.approx(np.mean(readings))
        assert partial.telemetry["elliptic.variance"] == pytest.approx(np.var(readings))
        assert partial.telemetry["elliptic.count"] == 12
        assert partial.telemetry["elliptic.curvature_radius"] == SAMPLE["curvature_radius"]
        assert partial.telemetry["elliptic.more.a"] == 1
        assert partial.resolved()["gradient"] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(("sample", "source", "basis", "gradient"), [
    (SAMPLE, "rotor_transport", "rotor_transport", [0.1, 0.2, 0.3]), (SAMPLE, "lie_log", "lie_log", [0.7]),
    (without("rotor_transport"), "rotor_transport", "flow_vector", [0.4, 0.5]),
    (without("rotor_transport", "flow_vector"), "rotor_transport", "lie_log", [0.7]),
    (without("lie_log"), "lie_log", "rotor_transport", [0.1, 0.2, 0.3]),
])
def test_which_vector_leads(sample: dict[str, Any], source: str, basis: str, gradient: list[float]) -> None:
    partial = elliptic_partial_from_telemetry(sample, gradient_source=source)
    assert partial.metrics["gradient"] == gradient
    assert partial.gradient_basis == f"spiraltorch.elliptic.{basis}.v1"
    assert elliptic_partial_from_telemetry(sample, gradient_basis="mine").gradient_basis == "mine"


def test_samples_are_aggregated() -> None:
    other = {**SAMPLE, "curvature_radius": 2.1, "rotor_transport": [0.3, 0.0, 0.1]}
    mean, most = (elliptic_partial_from_telemetry([SAMPLE, other], aggregate=how) for how in ("mean", "max"))
    assert mean.metrics["elliptic_curvature"] == pytest.approx((SAMPLE["curvature_radius"] + 2.1) / 2)
    assert mean.metrics["gradient"] == pytest.approx([0.2, 0.1, 0.2])
    assert most.metrics["elliptic_curvature"] == 2.1
    assert most.telemetry is not None
    assert (most.telemetry["elliptic.curvature_radius"], most.telemetry["elliptic.count"]) == (2.1, 24)
    ragged = [SAMPLE, {**SAMPLE, "rotor_transport": [1.0]}]
    padded = elliptic_partial_from_telemetry(ragged, gradient_alignment="pad_zero")
    assert padded.metrics["gradient"] == pytest.approx([0.55, 0.1, 0.15])
    bare = elliptic_partial_from_telemetry(without("rotor_transport", "flow_vector", "lie_log"))
    assert "gradient" not in bare.metrics
    assert bare.gradient_basis is None


@pytest.mark.parametrize(("telemetry", "options", "message"), [
    ([], {}, "there are no elliptic samples: give at least one"), ({}, {}, "sample 0 is a dict without a reading"),
    ([SAMPLE, 3], {}, "sample 1 is a int without a reading: give some of curvature_radius"),
    (SAMPLE, {"gradient_source": "zz"}, "gradient_source is 'zz': choose one of rotor_transport, flow_vector, lie_log"),
    (SAMPLE, {"aggregate": "zz"}, "zz"), ({**SAMPLE, "normal_bias": math.nan}, {}, "'normal_bias' is nan"),
    ({**SAMPLE, "rotor_transport": [math.inf]}, {}, "rotor_transport holds values that are not finite"),
    ([SAMPLE, {**SAMPLE, "rotor_transport": [1.0]}], {}, "pad_zero"),
    ([SAMPLE, without("rotor_transport")], {}, "basis"),
])
def test_what_is_no_elliptic_telemetry(telemetry: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        elliptic_partial_from_telemetry(telemetry, **options)


def test_the_pipeline_gathers_them_all() -> None:
    pipeline = ZSpaceInferencePipeline([0.12, -0.03, 0.48, -0.2])
    gathered = [pipeline.add_canvas_snapshot(CANVAS), pipeline.add_coherence_diagnostics(WEIGHTS),
                pipeline.add_dlpack_weights(np.array([0.4, -0.2, 0.1, 0.05])),
                pipeline.add_compat_weights([0.4], adapter="torch"), pipeline.add_elliptic_telemetry(SAMPLE)]
    found = pipeline.infer()
    want = blend_zspace_partials(gathered)
    for name in ("speed", "memory", "canvas_l1", "elliptic_alignment"):
        assert found.metrics[name] == pytest.approx(want[name])
    assert found.control_gradient is not None
    assert found.control_gradient.values == (0.1, 0.2, 0.3)
