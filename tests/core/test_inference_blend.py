"""Blending: each strategy by hand, its invariants, the audit, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.inference.blend import (
    CYCLE_BASIS,
    STRATEGIES,
    blend_zspace_partials,
    infer_with_partials,
    zspace_partial_fusion,
)
from core.inference.partials import ZSpacePartialBundle
from core.inference.projection import infer_from_partial
from core.inference.telemetry import frame_of

Bundle = ZSpacePartialBundle
FIVE = {"speed": 1, "memory": 2, "stability": 3, "frac": 4, "drs": 5}
values = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=7)
weights = st.floats(0.01, 100)


def blended(speeds: list[float], its: list[float] | None = None, strategy: str = "mean") -> Any:
    return blend_zspace_partials([{"speed": v} for v in speeds], weights=its, strategy=strategy).get("speed")


@pytest.mark.parametrize(("strategy", "want"), [
    ("mean", 13 / 4), ("sum", 13.0), ("median", 3.5), ("last", 2.0), ("max", 5.0), ("min", 1.0)])
def test_each_strategy_by_hand(strategy: str, want: float) -> None:
    found = blend_zspace_partials([{"speed": 1}, {"speed": 5, "memory": 7}, {"velocity": 2}], weights=[1, 2, 1],
                                  strategy=strategy)
    assert found == {"speed": want, "memory": 14.0 if strategy == "sum" else 7.0}


def test_a_sum_loses_nothing_on_the_way() -> None:
    assert blended([1e16, 1, -1e16], strategy="sum") == 1
    found = blend_zspace_partials([{"gradient": [v, 0.0]} for v in (1e16, 1.0, -1e16)], strategy="sum")
    assert found == {"gradient": [1.0, 0.0]}


def test_a_median_lies_in_the_middle_only_at_an_exact_half() -> None:
    assert blended([5, 3, 9], [1, 1, 1], "median") == 5
    assert blended([5, 3], [1, 3], "median") == 3
    assert blended([5, 3], [1, 1], "median") == 4
    assert blended([1, 2, 3], [0.1, 0.2, 0.3], "median") == 2.5  # up to rounding
    assert blended([1e308, 1.5e308], strategy="median") == pytest.approx(1.25e308)


def test_the_mean_of_the_largest_floats_stays_finite() -> None:
    big = 1.7976931348623157e308
    assert blended([big] * 3) == big
    assert blended([big, -big], [1e308, 1e308]) == 0
    assert blend_zspace_partials([{"gradient": [big]}] * 3) == {"gradient": [big]}


@given(values, st.data())
def test_a_mean_is_the_exact_one_and_within_its_values(v: list[float], data: st.DataObject) -> None:
    its = data.draw(st.lists(weights, min_size=len(v), max_size=len(v)))
    found = blended(v, its)
    assert min(v) <= found <= max(v)
    exact = sum(Fraction(a) * Fraction(w) for a, w in zip(v, its, strict=True)) / sum(map(Fraction, its))
    assert abs(Fraction(found) - exact) <= Fraction(max(map(abs, v))) * Fraction(1, 10**14) + Fraction(1, 10**300)


@given(values, st.data(), st.sampled_from([s for s in STRATEGIES if s != "sum"]), st.sampled_from([0.125, 4.0, 1024.0]))
def test_weights_scaled_together_change_nothing(v: list[float], data: st.DataObject, strategy: str, by: float) -> None:
    its = data.draw(st.lists(weights, min_size=len(v), max_size=len(v)))
    assert blended(v, its, strategy) == blended(v, [by * w for w in its], strategy)


@given(values, st.data(), st.sampled_from(list(STRATEGIES)), st.sampled_from([0.0, -1.0]))
def test_no_weight_is_absence(v: list[float], data: st.DataObject, strategy: str, none: float) -> None:
    v = [x / 1e10 for x in v]  # so that sums stay finite
    at = data.draw(st.integers(0, len(v)))
    with_it = [{"speed": x} for x in v]
    with_it.insert(at, {"speed": 1e300, "gradient": [1.0], "unheard": 3.0})  # type: ignore[dict-item]
    its = [1.0] * len(v)
    its.insert(at, none)
    assert blend_zspace_partials(with_it, weights=its, strategy=strategy) == {"speed": blended(v, None, strategy)}


@given(values, st.data(), st.sampled_from(["median", "max", "min", "sum"]))
def test_the_order_does_not_matter(v: list[float], data: st.DataObject, strategy: str) -> None:
    v = [x / 1e10 for x in v]
    pairs = data.draw(st.permutations([(x, 1.0 + i % 3) for i, x in enumerate(v)]))
    straight = blended(v, [1.0 + i % 3 for i in range(len(v))], strategy)
    assert blended([x for x, _ in pairs], [w for _, w in pairs], strategy) == pytest.approx(straight, rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=7), st.data(), st.sampled_from(list(STRATEGIES)))
def test_gradients_go_coordinate_by_coordinate(v: list[float], data: st.DataObject, strategy: str) -> None:
    its = data.draw(st.lists(weights, min_size=len(v), max_size=len(v)))
    found = blend_zspace_partials([{"gradient": [x, -x, 1.0]} for x in v], weights=its, strategy=strategy)
    for seen, column in zip(found["gradient"], (v, [-x for x in v], [1.0] * len(v)), strict=True):
        assert seen == pytest.approx(blended(column, its, strategy), rel=1e-12, abs=1e-9)


def test_bundles_bring_their_weights_and_explicit_ones_replace_them() -> None:
    bundles = [Bundle({"speed": 1}, weight=3), None, Bundle({"speed": 5}), {"speed": 9}]
    assert blend_zspace_partials(bundles) == {"speed": pytest.approx(3.4, rel=1e-15)}
    assert blend_zspace_partials(bundles, weights=[0, 1, 1, 0]) == {"speed": 5.0}
    assert blend_zspace_partials([]) == {}


def test_short_gradients_are_padded_when_asked() -> None:
    found = zspace_partial_fusion([{"gradient": [1, 2]}, {"gradient": [1]}], gradient_alignment="pad_zero")
    assert found["gradient"] == [1.0, 1.0]
    assert [s["gradient_padded"] for s in found["sources"]] == [False, True]
    assert (found["gradient_padded_source_count"], found["gradient_padding_applied"]) == (1, True)


def test_the_metrics_make_a_gradient_when_asked() -> None:
    found = zspace_partial_fusion([FIVE, {"gradient": [9.0], "gradient_basis": "b"}, {"gradient": [1.0, 2.0]}],
                                  metric_gradient_dimension=7)
    assert found["gradient"] == [1, 2, 3, 4, 5, 1, 2]
    assert found["gradient_basis"] == CYCLE_BASIS == "spiraltorch.zspace.canonical_metric_cycle.v1"
    assert found["gradient_source"] == "canonical_metrics"
    assert found["metric_gradient_projection_applied"] is True
    assert found["gradient_replaced_source_count"] == 2


@pytest.mark.parametrize(("partials", "options", "message"), [
    ([{"zzz": 1}], {}, "partial 0: unknown Z-space metric 'zzz'"),
    ([None, {"speed": 1, "velocity": 2}], {}, "partial 1: 'speed' and 'velocity' both mean 'speed'"),
    ([{"speed": 1}, {"speed": [1]}], {}, "partial 1: the metric 'speed' is"),
    ([{"gradient": 1}], {}, "'gradient' is 1: it must be a row"), ([{"gradient": []}], {}, "'gradient' is empty"),
    ([{"speed": 1, "gradient_basis": "b"}], {}, "the gradient basis 'b' has no gradient"),
    ([{"speed": math.nan}], {}, "the metric 'speed' is nan"),
    ([{"gradient": [1]}, {"gradient": [1], "gradient_basis": "b"}], {},
     "partial 1 has the basis 'b', that of partial 0 'unspecified'"),
    ([{"gradient": [1]}, {"gradient": [1, 2]}], {}, "has 2 values, that of partial 0 1: make them equal"),
    ([{"speed": 1}, None], {"weights": [1]}, "1 weights for 2 partials"),
    ([{"speed": 1}, None], {"weights": [1, math.nan]}, "the weight 1 is nan"),
    ([Bundle({"speed": 1}, weight=math.inf)], {}, "the weight 0 is inf"),
    ([{"speed": 1}], {"weights": ["heavy"]}, "the weights are .'heavy'.: they must be finite numbers"),
    ([], {"strategy": "zzz"}, "strategy is 'zzz': choose one of mean, last, max, min, median, sum"),
    ([], {"gradient_alignment": "q"}, "gradient_alignment is 'q': choose strict or pad_zero"),
    ([{"speed": 1}], {"metric_gradient_dimension": 3}, "memory, stability, frac, drs was not observed"),
    ([FIVE], {"metric_gradient_dimension": 0}, r"is 0: it must lie in 1\.\.4096"),
    ([FIVE], {"metric_gradient_dimension": 4097}, "is 4097"),
    ([{"speed": 1e308}] * 2, {"strategy": "sum"}, "the metric 'speed' fused by sum is beyond the floats"),
    ([{"gradient": [1e308]}] * 2, {"strategy": "sum"}, "the gradient fused by sum is beyond the floats"),
])
def test_what_cannot_be_blended(partials: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blend_zspace_partials(partials, **options)


@pytest.mark.parametrize("bad", [3, "a", [1.0]])
def test_a_partial_of_another_kind_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"partial 1 is a .*: give a mapping, a ZSpacePartialBundle or None"):
        blend_zspace_partials([None, bad])


def test_the_audit_tells_who_said_what() -> None:
    partials = [{"speed": 0.3, "gradient": [1, 2], "gradient_basis": "b"}, None,
                Bundle({"speed": 0.1, "drs": 1}, weight=0, telemetry={"x": 1}, origin="silent"),
                Bundle({"speed": 0.5}, weight=3, telemetry={"x": 1, "w": None}, origin="loud")]
    found = zspace_partial_fusion(partials, telemetry=[{"x": "3", "y": [1]}, None, {"x": 4}])
    assert found["metrics"] == {"speed": pytest.approx(0.45)}
    assert (found["gradient"], found["gradient_basis"], found["gradient_source"]) == ([1.0, 2.0], "b", "explicit")
    assert {k: found[k] for k in ("input_count", "active_count", "suppressed_count", "null_count", "gradient_dim",
                                  "gradient_input_count", "strategy", "gradient_alignment")} == {
        "input_count": 4, "active_count": 2, "suppressed_count": 1, "null_count": 1, "gradient_dim": 2,
        "gradient_input_count": 1, "strategy": "mean", "gradient_alignment": "strict"}
    keys = ("index", "origin", "weight", "status", "metric_count", "gradient_present", "telemetry_entry_count")
    assert [tuple(s[k] for k in keys) for s in found["sources"]] == [
        (0, None, 1.0, "active", 1, True, 0), (1, None, None, "null", 0, False, 0),
        (2, "silent", 0.0, "suppressed", 0, False, 0), (3, "loud", 3.0, "active", 1, False, 1)]
    assert found["telemetry"]["payload"] == {"x": 4.0}
    assert (found["telemetry"]["conflict_count"], found["telemetry"]["ignored_value_count"]) == (2, 2)
    empty = zspace_partial_fusion([])
    assert (empty["metrics"], empty["gradient_source"], empty["sources"]) == ({}, "none", [])
    assert empty["telemetry"]["summary"]["count"] == 0


def test_inference_is_the_blend_projected() -> None:
    z = [0.1, 0.2, 0.3, 0.4]
    bundle = Bundle({"speed": 0.1}, weight=2, telemetry={"x": 1, "y": 2})
    found = infer_with_partials(z, {"speed": 0.3}, bundle, None, telemetry={"x": 3})
    want = infer_from_partial(z, {"speed": 0.5 / 3}, telemetry=frame_of({"x": 3.0, "y": 2.0}))
    assert found.metrics == pytest.approx(want.metrics)
    assert (found.confidence, found.telemetry) == (pytest.approx(want.confidence), want.telemetry)
    assert found.fusion is not None
    assert found.fusion["null_count"] == 1
    assert infer_with_partials(z).confidence == 1
    cycled = infer_with_partials(z, FIVE, metric_gradient_dimension=3).control_gradient
    assert cycled is not None
    assert (cycled.values, cycled.basis) == ((1.0, 2.0, 3.0), CYCLE_BASIS)
    with pytest.raises(ValueError, match="names no basis"):
        infer_with_partials(z, {"gradient": [1.0]})
