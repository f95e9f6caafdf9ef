"""Names of metrics, and what is observed by them."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from core.inference.names import ALIASES, FAMILIES, PRIMARY, SCALARS, canonical
from core.inference.partials import ZMetrics, ZSpacePartialBundle, z_metrics
from core.inference.projection import infer_from_partial
from core.inference.telemetry import frame_of

ALIASES_OF = {
    "speed": "velocity", "memory": "mem", "stability": "stab", "frac": "fractality", "drs": "drift",
    "gradient": "grad", "elliptic_curvature": "curvature_radius", "elliptic_alignment": "spin_alignment",
}


@pytest.mark.parametrize(("name", "alias"), ALIASES_OF.items())
def test_aliases_in_any_case_mean_the_metric(name: str, alias: str) -> None:
    for spelt in (name, alias, alias.upper(), name.title()):
        assert canonical(spelt) == name


def test_the_families_are_whole() -> None:
    assert {name: len(members) for name, members in FAMILIES.items()} == {
        "elliptic": 12, "canvas": 8, "canvas_patch": 5, "hypergrad": 6, "realgrad": 6, "import": 10, "coherence": 22}
    assert len(set(SCALARS)) == len(SCALARS) == 5 + 69
    assert set(ALIASES.values()) == {*SCALARS, "gradient"}
    assert canonical("frac_reg") == "frac"


@pytest.mark.parametrize("name", ["", "alignment", "canvas", " speed ", "elliptic_speed", 3])
def test_an_unknown_name_is_refused(name: Any) -> None:
    with pytest.raises(KeyError, match="unknown Z-space metric"):
        canonical(name)


def test_metrics_by_keyword_are_zero_where_not_given() -> None:
    assert z_metrics() == ZMetrics(0.0, 0.0, 0.0)
    assert z_metrics(velocity=0.3, memory=None, DRIFT=0.1) == ZMetrics(0.3, 0.0, 0.0, drs=0.1)
    assert z_metrics(grad=[1, 2], gradient_basis="b", telemetry={"a": {"b": True}}) == ZMetrics(
        0.0, 0.0, 0.0, (1.0, 2.0), 0.0, {"a.b": 1.0}, "b")


def test_an_alias_overrides_its_keyword() -> None:
    assert z_metrics(speed=0.4, velocity=0.1).speed == 0.1
    assert z_metrics(velocity=0.1, speed=0.4).speed == 0.1


@pytest.mark.parametrize(("alias", "message"), [("foo", "unknown Z-space metric 'foo'"), ("frac", "'frac' is"),
                                                ("canvas_energy", "which ZMetrics lacks")])
def test_an_alias_of_no_primary_target_is_refused(alias: str, message: str) -> None:
    with pytest.raises(KeyError, match=message):
        z_metrics(**{alias: 0.4})


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.3", [0.3], 10**400])
def test_a_metric_is_one_finite_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the metric 'speed' is .*: it must be one finite number"):
        z_metrics(speed=value)


def test_metrics_come_out_of_mappings_and_inferences() -> None:
    assert ZMetrics.from_mapping({"velocity": 0.1, "frac": 0.3, "gradient": [1, 2]}) == ZMetrics(
        0.1, 0.0, 0.0, (1.0, 2.0))
    inference = infer_from_partial([0.1, 0.2], {"speed": 0.3}, telemetry={"a": 1})
    found = ZMetrics.from_payload(inference)
    assert found.speed == 0.3
    assert found.memory == inference.prior.metrics["memory"]
    assert (found.gradient, found.gradient_basis, found.telemetry) == (
        inference.gradient, inference.gradient_basis, {"a": 1.0})
    assert ZMetrics.from_payload(inference, prefer_applied=False).speed == inference.prior.metrics["speed"]
    assert ZMetrics.from_payload(found) is found
    assert ZMetrics.from_payload({"drift": 2}).drs == 2
    with pytest.raises(TypeError, match="metrics cannot come from a int"):
        ZMetrics.from_payload(3)  # type: ignore[arg-type]


def test_a_bundle_resolves_its_names() -> None:
    bundle = ZSpacePartialBundle({"velocity": 0.3, "grad": [1]}, telemetry={"a": {"b": 1}}, gradient_basis="q")
    assert bundle.resolved() == {"speed": 0.3, "gradient": [1.0], "gradient_basis": "q"}
    assert bundle.telemetry_payload() == {"a": {"b": 1}}
    assert ZSpacePartialBundle({}).telemetry_payload() is None
    assert ZSpacePartialBundle({}, telemetry=frame_of({"a": 1.0})).telemetry_payload() == {"a": 1.0}
    with pytest.raises(FrozenInstanceError):
        bundle.weight = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(("metrics", "basis", "message"), [
    ({"zz": 1}, None, "partial 0: unknown Z-space metric 'zz'"),
    ({"speed": 1, "velocity": 2}, None, "'speed' and 'velocity' both mean 'speed'"),
    ({"speed": [1.0]}, None, "the metric 'speed' is"), ({"speed": None}, None, "the metric 'speed' is None"),
    ({"speed": math.inf}, None, "the metric 'speed' is inf"),
    ({"gradient": 1.0}, None, "'gradient' is 1.0: it must be a row of finite numbers"),
    ({"gradient": []}, None, "'gradient' is empty"),
    ({"gradient": [1, math.nan]}, None, "'gradient' is not finite at entry 1"),
    ({"speed": 1}, "b", "the gradient basis 'b' has no gradient"),
    ({"gradient": [1], "gradient_basis": "a"}, "b", "'a' among the metrics and the 'b' given beside disagree"),
    ({"gradient": [1]}, "", "must be a name without blanks"), ({"gradient": [1]}, " b", "must be a name without"),
])
def test_what_a_bundle_may_not_hold(metrics: Any, basis: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ZSpacePartialBundle(metrics, gradient_basis=basis).resolved()


def test_a_bundle_of_no_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="partial 0 holds a int: give a mapping"):
        ZSpacePartialBundle(3).resolved()  # type: ignore[arg-type]


def test_the_primary_metrics_are_five() -> None:
    assert PRIMARY == ("speed", "memory", "stability", "frac", "drs")
