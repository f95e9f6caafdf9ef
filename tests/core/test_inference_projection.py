"""Observations on a latent: recorded numbers, the residual and the confidence by hand, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.inference.partials import ZSpacePartialBundle
from core.inference.posterior import LATENT_BASIS, ZSpacePosterior, decode_zspace_embedding
from core.inference.projection import ZSpaceControlGradient, infer_from_partial

GOLDEN = [0.12, -0.03, 0.48, -0.2]
finite = st.floats(-50, 50)
partials = st.dictionaries(st.sampled_from(["speed", "memory", "stability", "frac", "drs", "canvas_mean"]), finite)


def test_the_recorded_numbers_are_met() -> None:
    found = infer_from_partial(GOLDEN, {"speed": 0.3, "mem": -0.2}, telemetry={"psi": {"energy": 2, "focus": 0.4}})
    assert found.residual == pytest.approx(0.24233126609703365, rel=1e-15)
    assert found.residual_metric_count == 2
    assert found.telemetry is not None
    assert found.telemetry.variance == pytest.approx(0.64, rel=1e-15)
    assert found.telemetry.payload == {"psi.energy": 2.0, "psi.focus": 0.4}
    assert found.telemetry_reliability == pytest.approx(1 / 1.64, rel=1e-15)
    assert found.confidence == pytest.approx(0.4785342427598339, rel=1e-15)
    assert found.applied == {"speed": 0.3, "memory": -0.2}
    assert found.metrics == {**found.prior.metrics, "speed": 0.3, "memory": -0.2}


def test_nothing_observed_leaves_the_latent_as_it_is() -> None:
    for partial in (None, {}):
        found = infer_from_partial(GOLDEN, partial)
        prior = decode_zspace_embedding(GOLDEN)
        assert found.prior == prior
        assert found.metrics == prior.metrics
        assert found.barycentric == pytest.approx(prior.barycentric, rel=1e-15)
        assert (found.residual, found.residual_metric_count, found.confidence) == (0, 0, 1)
        assert (found.telemetry, found.fusion, found.control_gradient) == (None, None, None)


@pytest.mark.parametrize("smoothing", [0.0, 0.35, 1.0])
def test_smoothing_mixes_the_barycentric_coordinates(smoothing: float) -> None:
    found = infer_from_partial(GOLDEN, {"speed": 2.0, "stability": -1.0}, smoothing=smoothing)
    soft = [math.log1p(math.exp(m)) for m in (2.0, found.prior.metrics["memory"], -1.0)]
    want = [smoothing * p + (1 - smoothing) * s / sum(soft)
            for p, s in zip(found.prior.barycentric, soft, strict=True)]
    assert found.barycentric == pytest.approx(want, rel=1e-14)


@given(st.lists(finite, min_size=1, max_size=9), partials, st.dictionaries(st.text(max_size=3), finite, max_size=5))
def test_telemetry_never_raises_the_confidence(z: list[float], partial: dict[str, float],
                                               telemetry: dict[str, float]) -> None:
    plain, told = infer_from_partial(z, partial), infer_from_partial(z, partial, telemetry=telemetry)
    assert 0 <= told.confidence <= plain.confidence <= 1
    assert told.confidence == plain.confidence * told.telemetry_reliability
    assert (told.residual, told.metrics, told.barycentric) == (plain.residual, plain.metrics, plain.barycentric)
    assert math.fsum(told.barycentric) == pytest.approx(1, abs=1e-15)
    off = [v - plain.prior.metrics[k] for k, v in partial.items() if k != "canvas_mean"]
    rms = math.sqrt(math.fsum(d * d for d in off) / len(off)) if off else 0
    assert plain.residual == pytest.approx(rms, rel=1e-14)
    assert plain.confidence == pytest.approx(math.exp(-rms), rel=1e-12)


def test_telemetry_that_leans_to_the_negative_is_relied_on_less() -> None:
    found = infer_from_partial(GOLDEN, None, telemetry={"a": -1.0})
    assert found.telemetry_reliability == pytest.approx(1 + 0.25 * math.tanh(-1.5), rel=1e-8)
    assert infer_from_partial(GOLDEN, None, telemetry={}).telemetry_reliability == 1


def test_an_observed_gradient_stands_beside_the_latents_own() -> None:
    found = infer_from_partial(GOLDEN, {"gradient": [3, -4, 0, 0, 0], "gradient_basis": "b"})
    assert found.gradient == decode_zspace_embedding(GOLDEN).gradient
    assert found.gradient_basis == LATENT_BASIS
    assert found.control_gradient == ZSpaceControlGradient("partial", "b", (3.0, -4.0, 0.0, 0.0, 0.0), 5, 5.0, 4.0)
    assert infer_from_partial(GOLDEN, {"grad": [1]}, gradient_basis="c").control_gradient is not None
    assert found.as_dict()["control_gradient"] == {
        "source": "partial", "basis": "b", "values": [3.0, -4.0, 0.0, 0.0, 0.0], "dimension": 5, "l2": 5.0, "linf": 4.0}


@pytest.mark.parametrize(("partial", "options", "message"), [
    ({"gradient": [1, 2]}, {}, "the observed gradient of 2 values names no basis"),
    ({"gradient": [1], "gradient_basis": "b"}, {"gradient_basis": "c"}, "disagree"),
    ({"speed": 1}, {"gradient_basis": "c"}, "the gradient basis 'c' has no gradient"),
    ({"bogus": 1}, {}, "unknown Z-space metric 'bogus'"),
    ({"speed": [1]}, {}, "the metric 'speed' is"), ({"speed": 1, "velocity": 2}, {}, "both mean 'speed'"),
    ({}, {"smoothing": 2}, r"smoothing is 2: it must lie in \[0, 1\]"),
    ({}, {"smoothing": math.nan}, "smoothing is nan"), ({}, {"alpha": 0}, "alpha is 0"),
    ({}, {"telemetry": {"a": math.inf}}, "telemetry 'a' is inf"),
])
def test_what_cannot_be_projected(partial: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer_from_partial(GOLDEN, partial, **options)


@pytest.mark.parametrize(("partial", "telemetry", "message"), [
    (3, None, "partial 0 holds a int"), ([], None, "partial 0 holds a list"),
    (ZSpacePartialBundle({"speed": 1}), None, "pass bundles to infer_with_partials"),
    ({}, 3, "telemetry payload 0 is a int")])
def test_what_is_no_mapping_is_refused(partial: Any, telemetry: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        infer_from_partial(GOLDEN, partial, telemetry=telemetry)


def test_a_posterior_projects_again_and_again() -> None:
    posterior = ZSpacePosterior(GOLDEN)
    assert posterior.project({"speed": 0.3}) == infer_from_partial(GOLDEN, {"speed": 0.3})
    plain = posterior.project({"speed": 0.3}, telemetry={"a": 1}).as_dict()
    assert plain["prior"]["z_state"] == GOLDEN
    assert plain["telemetry"]["payload"] == {"a": 1.0}
    assert set(plain) == {"metrics", "gradient", "gradient_basis", "control_gradient", "barycentric", "residual",
                          "residual_metric_count", "confidence", "telemetry_reliability", "prior", "applied",
                          "telemetry", "fusion"}
