"""Drift response: every number by hand, what more entropy, timing and risk must do, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import core as st
from core.drift import THRESHOLDS, DirectionQuery, FrameState, FrameThreshold, WordState

S = st.safety
FRAME = {"phi": 0.6, "c": 0.9, "S": 0.8, "a_den": 0.3, "a_con": 0.1, "b_den": 0.5, "b_con": 0.9, "kappa": 2.0,
         "kappa_slope": 0.3, "timing_scale": 1.5, "curvature_a_den": 0.1, "curvature_a_con": -0.2,
         "curvature_b_den": 0.3, "curvature_b_con": 0.4}
SETTINGS = {"name": "AI", "definition_entropy": 0.4, "beta": 1.2, "base_lambda": 1.3, "timing_signal": 0.7}
AXIS = {"value_components": [0.5, 0.2], "risk_components": [0.7, 0.4], "kappa_components": [0.5, 0.6],
        "value_curvature_components": [-0.3, 0.1], "risk_curvature_components": [0.2, 0.3],
        "kappa_slope_components": [0.1, 0.2]}


def word(**frames: Any) -> dict[str, Any]:
    return {**SETTINGS, "frames": frames}


WORD = word(Normative=FRAME)
A, B = 0.4 * 0.3 + 0.6 * 0.1, 0.4 * 0.5 + 0.6 * 0.9
BASE = 1.3 * B * 0.8 - A  # 0.5896
LIFT = 1.2 * 0.4 * 0.6
FACTOR = math.exp(LIFT * 0.7 * 1.5)


def test_one_frame_by_hand() -> None:
    found = S.drl_analyse_word(WORD)
    assert found["existence_load"] == pytest.approx(0.9 * BASE * (1 + LIFT), rel=1e-14)
    assert found["frame_hazards"] == {"Normative": pytest.approx(0.9 * BASE * FACTOR, rel=1e-14)}
    assert found["safe_radii"] == {"Normative": pytest.approx(min(0.9 / 2, 0.08 / (B * 0.8)), rel=1e-14)}
    assert (found["chi"], found["strict_mode"]) == (0, True)  # a radius of 0.135
    curved_a, curved_b = 0.4 * 0.1 - 0.6 * 0.2, 0.4 * 0.3 + 0.6 * 0.4
    assert found["frame_signatures"]["Normative"] == {
        "value_slope": pytest.approx(A), "risk_slope": pytest.approx(1.3 * B * 0.8), "net_slope": pytest.approx(-BASE),
        "value_curvature": pytest.approx(curved_a), "risk_curvature": pytest.approx(1.3 * curved_b * 0.8),
        "net_curvature": pytest.approx(curved_a - 1.3 * curved_b * 0.8), "kappa_slope": 0.3,
        "hazard_multiplier": pytest.approx(FACTOR), "timing_elasticity": pytest.approx(FACTOR * LIFT * 1.5),
        "safe_radius": found["safe_radii"]["Normative"], "tipping_radius": None}  # it would be negative
    assert found["direction_signatures"] == {}
    assert found["word"]["frames"]["Normative"]["phi"] == 0.6
    assert json.loads(json.dumps(found)) == found


def test_the_parts_agree_with_the_whole() -> None:
    found = S.drl_analyse_word(word(Normative=FRAME, Social={**FRAME, "c": 0.2}))
    both = WordState.read(word(Normative=FRAME, Social={**FRAME, "c": 0.2}))
    assert S.drl_existence_load(both) == found["existence_load"]
    assert S.drl_safe_radii(both) == found["safe_radii"]
    assert S.drl_frame_hazard(both, "Social") == S.drl_frame_hazard(both, {**FRAME, "c": 0.2})
    assert S.drl_frame_hazard(both, both.frames["Social"]) == found["frame_hazards"]["Social"]
    assert S.drl_analyze_word(both) == found
    assert S.drl_frame_summary(found) == {
        name: pytest.approx(found["frame_hazards"][name] / found["safe_radii"][name]) for name in both.frames}


def test_the_tipping_radius_is_where_the_net_value_is_gone() -> None:
    found = S.drl_analyse_word(word(Social={**FRAME, "a_con": 2.0}))
    signature = found["frame_signatures"]["Social"]
    assert found["frame_hazards"] == {"Social": 0.0}  # value outweighs risk
    radius = signature["tipping_radius"]
    assert radius == pytest.approx(0.5504 / 0.4544, rel=1e-12)
    assert signature["net_slope"] + signature["net_curvature"] * radius == pytest.approx(0, abs=1e-15)  # type: ignore[operator]
    flat = {**FRAME, "curvature_a_den": 0.0, "curvature_a_con": 0.0, "curvature_b_den": 0.0, "curvature_b_con": 0.0}
    assert S.drl_analyse_word(word(Social=flat))["frame_signatures"]["Social"]["tipping_radius"] is None


def test_a_direction_replaces_value_risk_and_kappa() -> None:
    query = {"Normative": [{"axis": "x", "weights": [1.0, 2.0]}]}
    found = S.drl_analyse_word(word(Normative={**FRAME, "directional_axes": {"x": AXIS}}), direction_queries=query)
    risk, base = 1.5, 1.3 * 1.5 * 0.8 - 0.9
    net_curvature = -0.1 - 1.3 * 0.8 * 0.8
    assert found["direction_signatures"]["Normative"]["x"] == {
        "value_slope": pytest.approx(0.9), "risk_slope": pytest.approx(1.3 * risk * 0.8),
        "net_slope": pytest.approx(-base), "value_curvature": pytest.approx(-0.1),
        "risk_curvature": pytest.approx(1.3 * 0.8 * 0.8), "net_curvature": pytest.approx(net_curvature),
        "kappa_slope": pytest.approx(0.5), "hazard_multiplier": pytest.approx(FACTOR),
        "timing_elasticity": pytest.approx(FACTOR * LIFT * 1.5),
        "safe_radius": pytest.approx(min(0.9 / 1.7, 0.08 / (risk * 0.8))), "tipping_radius": None,
        "hazard_base": pytest.approx(base), "hazard": pytest.approx(0.9 * base * FACTOR)}
    plain = S.drl_analyse_word(WORD)
    for name in ("existence_load", "frame_hazards", "safe_radii", "frame_signatures", "chi"):
        assert found[name] == plain[name]  # type: ignore[literal-required]  # directions leave the frames alone


def test_an_empty_row_of_an_axis_leaves_the_number_of_the_frame() -> None:
    axis = {**AXIS, "value_curvature_components": [], "risk_curvature_components": [], "kappa_slope_components": []}
    seen = word(Normative={**FRAME, "directional_axes": {"x": axis}})
    found = S.drl_analyse_word(seen, direction_queries={"Normative": [DirectionQuery("x", [1.0, 2.0])]})
    turned, frame = found["direction_signatures"]["Normative"]["x"], found["frame_signatures"]["Normative"]
    for name in ("value_curvature", "risk_curvature", "net_curvature", "kappa_slope"):
        assert turned[name] == pytest.approx(frame[name])


def test_the_recorded_penalty_is_met() -> None:
    recorded: Any = {"existence_load": 0.548959, "chi": 0, "strict_mode": True, "safe_radii": {"Normative": 0.151515},
                     "frame_hazards": {"Normative": 0.720051}, "direction_signatures": {},
                     "frame_signatures": {"Normative": {"tipping_radius": None}}}
    assert S.drl_trainer_penalty(recorded) == pytest.approx(0.989229, abs=2e-6)
    assert S.drl_frame_summary(recorded) == {"Normative": pytest.approx(0.720051 / 0.151515)}
    lenient = {**recorded, "strict_mode": False}
    assert S.drl_trainer_penalty(lenient) == pytest.approx(0.989229 / 1.25, abs=2e-6)
    assert S.drl_aggregate_penalty([recorded, lenient]) == pytest.approx(0.989229 * 1.8, abs=4e-6)
    assert S.drl_aggregate_penalty([]) == 0


def test_each_short_radius_is_penalised_once() -> None:
    metrics: Any = {
        "existence_load": 0.5, "chi": 2, "strict_mode": False, "safe_radii": {"a": 0.1, "b": 0.15, "c": 9.0},
        "frame_signatures": {"a": {"tipping_radius": 0.05}, "b": {"tipping_radius": None}},
        "direction_signatures": {"a": {"x": {"safe_radius": 0.02, "tipping_radius": 0.19},
                                       "y": {"safe_radius": 0.3, "tipping_radius": None}}}}
    assert S.drl_trainer_penalty(metrics) == pytest.approx(2.5 + 0.5 + 0.75 + 0.9 + 0.05)
    assert S.drl_trainer_penalty(metrics, 0.04) == pytest.approx(2.5 + 0.5)
    assert S.drl_trainer_penalty(metrics, 0.0) == 2.5


def test_what_makes_the_judgement_strict() -> None:
    mild = {**FRAME, "S": 0.05, "a_den": 0.0, "a_con": 0.0, "kappa": 0.5}  # radius 2, a hazard of 0.058
    assert not S.drl_analyse_word(word(Normative=mild))["strict_mode"]
    names = list(THRESHOLDS)
    for count in (3, 4):
        found = S.drl_analyse_word(word(**dict.fromkeys(names[:count], mild)), hazard_cut=0.01)
        assert (found["chi"], found["strict_mode"]) == (count, count == 4)
    loaded = S.drl_analyse_word(word(Normative={**mild, "c": 30.0}))
    assert loaded["existence_load"] >= 1
    assert loaded["strict_mode"]
    assert S.drl_analyse_word(word(Normative=mild), min_radius=3.0)["strict_mode"]
    assert not S.drl_analyse_word(WORD, min_radius=0.1)["strict_mode"]


def test_limits_are_given_or_the_recorded_ones() -> None:
    recorded = {"Physical": (0.05, 0.1, 0.8), "Normative": (0.1, 0.08, 0.9), "Social": (0.15, 0.06, 0.7),
                "Protocol": (0.02, 0.05, 0.95), "MetaLanguage": (0.08, 0.07, 0.75), "Mythic": (0.2, 0.05, 0.6)}
    assert S.drl_default_thresholds() == {
        name: {"tau": tau, "rho": rho, "hazard": hazard} for name, (tau, rho, hazard) in recorded.items()}
    own = {"Normative": {"tau": 0.5, "rho": 0.5, "hazard": 0.01}}
    found = S.drl_analyse_word(WORD, own)
    assert (found["chi"], found["safe_radii"]["Normative"]) == (1, pytest.approx(0.25))
    assert S.drl_safe_radii(WORD, {"Normative": FrameThreshold(0.5, 0.5, 0.01)}) == found["safe_radii"]
    assert S.drl_analyse_word(WORD, hazard_cut=0.1)["chi"] == 1


units, amounts = some.floats(0, 1), some.floats(0, 2)


@given(units, amounts, amounts, amounts, amounts, some.floats(0, 3), some.floats(0.1, 1))
@settings(max_examples=150)
def test_disagreement_timing_and_risk_never_soothe(phi: float, a: float, b: float, entropy: float, signal: float,
                                                   scale: float, more: float) -> None:
    def hazard(**changed: float) -> tuple[float, float]:
        given = {"entropy": entropy, "signal": signal, "b": b, **changed}
        frame = FrameState(phi, 0.7, 0.9, a, a, given["b"], given["b"], 1.0, timing_scale=scale)
        w = WordState("word", given["entropy"], {"Social": frame}, timing_signal=given["signal"])
        return S.drl_frame_hazard(w, "Social"), S.drl_existence_load(w)

    before = hazard()
    assert min(before) >= 0
    for after in (hazard(entropy=entropy + more), hazard(signal=signal + more), hazard(b=b + more)):
        assert after >= tuple(x * (1 - 1e-12) for x in before)
    quiet = hazard(signal=-1.0)[0]
    assert quiet == pytest.approx(0.7 * max(0, 0.9 * b - a), rel=1e-12)  # nothing presses: the bare hazard


def test_the_exponent_is_kept_within_thirty() -> None:
    pressed = S.drl_frame_hazard({**WORD, "timing_signal": 1e6}, "Normative")
    assert pressed == pytest.approx(0.9 * BASE * math.exp(30), rel=1e-14)
    soothed = S.drl_frame_hazard({**WORD, "timing_signal": 1e6, "beta": -1.0}, "Normative")
    assert soothed == pytest.approx(0.9 * BASE * math.exp(-30), rel=1e-14)


def test_flat_kappa_and_no_risk_leave_a_large_radius() -> None:
    calm = {**FRAME, "kappa": 0.0, "b_den": 0.0, "b_con": 0.0}
    assert S.drl_safe_radii(word(Normative=calm)) == {"Normative": pytest.approx(0.9e6)}
    assert S.drl_safe_radii(word(Normative={**calm, "kappa": 2.0})) == {"Normative": pytest.approx(0.45)}
    empty = S.drl_analyse_word(word())
    assert (empty["existence_load"], empty["chi"], empty["strict_mode"]) == (0, 0, False)
    assert S.drl_trainer_penalty(empty) == 0


@pytest.mark.parametrize(("bad", "message"), [
    (3, "WordState is read from a mapping, got 3"),
    ({"name": "AI"}, "WordState lacks the field definition_entropy"),
    ({**WORD, "mood": 1}, "WordState has no field mood: it has name, definition_entropy, frames"),
    ({**WORD, "frames": 3}, "frames must be a mapping by name, got 3"),
    ({**WORD, "beta": math.nan}, r"WordState\.beta is nan: give finite numbers"),
    ({**WORD, "definition_entropy": -1.0}, r"definition_entropy is -1\.0: it must be at least 0"),
    (word(Normative=3), "FrameState is read from a mapping"),
    (word(Normative={"phi": 0.5}), "FrameState lacks the field c"),
    (word(Normative={**FRAME, "phi": 1.5}), r"phi is 1\.5: it is a share, in \[0, 1\]"),
    (word(Normative={**FRAME, "phi": "a"}), r"FrameState\.phi is 'a': give finite numbers"),
    (word(Normative={**FRAME, "c": -0.1}), r"FrameState\.c is -0\.1: it must be at least 0"),
    (word(Normative={**FRAME, "kappa": math.inf}), r"FrameState\.kappa is inf"),
    (word(Normative={**FRAME, "directional_axes": [1]}), "directional_axes must be a mapping by name"),
    (word(Normative={**FRAME, "directional_axes": {"x": {**AXIS, "risk_components": [math.nan]}}}),
     r"DirectionalAxis\.risk_components is \(nan,\)"),
    (word(Folklore=FRAME), "the frame Folklore of AI has no limits: pass thresholds"),
])
def test_what_is_no_word_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        S.drl_analyse_word(bad)


def test_what_is_no_question_is_refused() -> None:
    turned = word(Normative={**FRAME, "directional_axes": {"x": AXIS}})
    for queries, message in (
        (3, "direction_queries must be a mapping by name"),
        ({"Normative": [{"axis": "x", "weights": [1.0]}]}, "1 weights for the 2 directions of the axis x of Normative"),
        ({"Normative": [{"axis": "y", "weights": [1.0, 2.0]}]}, "the axis y of Normative, which AI does not have"),
        ({"Social": [{"axis": "x", "weights": [1.0, 2.0]}]}, "the axis x of Social, which AI does not have"),
        ({"Normative": [{"axis": "x", "weights": [1.0, 2.0]}] * 2}, "the axis x of Normative twice: ask once"),
        ({"Normative": [{"axis": "x"}]}, "DirectionQuery lacks the field weights"),
    ):
        with pytest.raises(ValueError, match=message):
            S.drl_analyse_word(turned, direction_queries=queries)
    with pytest.raises(ValueError, match="AI is not read in the frame Social: it is in Normative"):
        S.drl_frame_hazard(WORD, "Social")
    with pytest.raises(ValueError, match="FrameThreshold lacks the field tau"):
        S.drl_analyse_word(WORD, {"Normative": {}})
