"""Drift response: how risky a word is in the frames it is read in, and what that costs as a trainer's `drs`.

A word is read in frames (physical, normative, social, ...). In each it has a value a and a risk b, as denoted (den) and
as connoted (con), mixed by phi. Where risk outweighs value there is a hazard, and timing raises it. The functions take
the states below or mappings of their fields, and give plain dictionaries that JSON can hold.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self, TypedDict

MIN_RADIUS = 0.2  # a smaller radius is penalised, and makes the judgement strict
STRICT_FRAMES = 4  # as many hazardous frames do so, too
STRICT_LOAD = 1.0
STRICT_FACTOR = 1.25  # of the penalty
LARGEST_EXPONENT = 30.0  # of the timing's factor
FLATTEST = 1e-9  # a net value of less curvature has no tipping point


class _Fields:
    """Fields that hold finite numbers or rows of them, but for those that a subclass names in `_other`."""

    _other: tuple[str, ...] = ()
    _not_negative: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in self._other:
                continue
            if isinstance(value, Sequence) and not isinstance(value, str):
                value = tuple(value)
                object.__setattr__(self, name, value)
            for number in value if isinstance(value, tuple) else (value,):
                if not isinstance(number, numbers.Real) or not math.isfinite(number):
                    raise ValueError(f"{type(self).__name__}.{name} is {value!r:.40}: give finite numbers")
                if name in self._not_negative and number < 0:
                    raise ValueError(f"{type(self).__name__}.{name} is {number}: it must be at least 0")

    @classmethod
    def read(cls, source: Self | Mapping[str, Any]) -> Self:
        """`source`, or the state of which it holds the fields."""
        if isinstance(source, cls):
            return source
        if not isinstance(source, Mapping):
            raise ValueError(f"{cls.__name__} is read from a mapping, got {source!r:.40}")
        known = fields(cls)  # type: ignore[arg-type]
        if unknown := source.keys() - {f.name for f in known}:
            raise ValueError(f"{cls.__name__} has no field {sorted(map(str, unknown))[0]}: it has "
                             f"{', '.join(f.name for f in known)}")
        for f in known:
            if f.name not in source and f.default is MISSING and f.default_factory is MISSING:
                raise ValueError(f"{cls.__name__} lacks the field {f.name}: give it")
        return cls(**source)


@dataclass(frozen=True)
class FrameThreshold(_Fields):
    """Limits of one frame: tau and rho bound the safe radius, a hazard from `hazard` on counts."""

    tau: float
    rho: float
    hazard: float


@dataclass(frozen=True)
class DirectionalAxis(_Fields):
    """Value, risk and kappa along the directions of one axis; a query weighs them. Empty rows leave the frame's number.
    """

    value_components: Sequence[float]
    risk_components: Sequence[float]
    kappa_components: Sequence[float]
    value_curvature_components: Sequence[float] = ()
    risk_curvature_components: Sequence[float] = ()
    kappa_slope_components: Sequence[float] = ()


@dataclass(frozen=True)
class FrameState(_Fields):
    """A word in one frame.

    Attributes
    ----------
    phi : float
        Share of the connotation, in [0, 1].
    c, S : float
        Weight of the frame and scale of its risk, at least 0.
    a_den, a_con, b_den, b_con : float
        Value and risk, denoted and connoted.
    kappa : float
        Steepness of the loss around the word; kappa_slope its change.
    timing_scale : float
        How much the word's timing signal counts here.
    curvature_a_den, curvature_a_con, curvature_b_den, curvature_b_con : float
        Change of value and risk with the radius.
    directional_axes : mapping of str to DirectionalAxis
    """

    _other = ("directional_axes",)
    _not_negative = ("c", "S")

    phi: float
    c: float
    S: float
    a_den: float
    a_con: float
    b_den: float
    b_con: float
    kappa: float
    kappa_slope: float = 0.0
    timing_scale: float = 1.0
    curvature_a_den: float = 0.0
    curvature_a_con: float = 0.0
    curvature_b_den: float = 0.0
    curvature_b_con: float = 0.0
    directional_axes: Mapping[str, DirectionalAxis] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.phi <= 1:
            raise ValueError(f"FrameState.phi is {self.phi}: it is a share, in [0, 1]")
        axes = {name: DirectionalAxis.read(axis) for name, axis in _mapping(self.directional_axes, "directional_axes")}
        object.__setattr__(self, "directional_axes", axes)


@dataclass(frozen=True)
class WordState(_Fields):
    """A word in its frames.

    Attributes
    ----------
    definition_entropy : float
        H, nats of disagreement between its definitions, at least 0.
    frames : mapping of str to FrameState
    beta, base_lambda : float
        How much the entropy raises hazards, and how much risk weighs against value.
    timing_signal : float
        Below 0 it counts as 0.
    """

    _other = ("name", "frames")
    _not_negative = ("definition_entropy",)

    name: str
    definition_entropy: float
    frames: Mapping[str, FrameState]
    beta: float = 1.0
    base_lambda: float = 1.0
    timing_signal: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = {name: FrameState.read(frame) for name, frame in _mapping(self.frames, "frames")}
        object.__setattr__(self, "frames", frames)


@dataclass(frozen=True)
class DirectionQuery(_Fields):
    """An axis of a frame, and the weights of its directions."""

    _other = ("axis",)

    axis: str
    weights: Sequence[float]


class DrlMetrics(TypedDict):
    """What `drl_analyse_word` found; hazards, radii and signatures by frame, directions by frame and axis."""

    word: dict[str, Any]
    existence_load: float
    chi: int
    strict_mode: bool
    frame_hazards: dict[str, float]
    safe_radii: dict[str, float]
    frame_signatures: dict[str, dict[str, float | None]]
    direction_signatures: dict[str, dict[str, dict[str, float | None]]]


THRESHOLDS = {
    "Physical": FrameThreshold(0.05, 0.1, 0.8), "Normative": FrameThreshold(0.1, 0.08, 0.9),
    "Social": FrameThreshold(0.15, 0.06, 0.7), "Protocol": FrameThreshold(0.02, 0.05, 0.95),
    "MetaLanguage": FrameThreshold(0.08, 0.07, 0.75), "Mythic": FrameThreshold(0.2, 0.05, 0.6),
}
Word = WordState | Mapping[str, Any]
Thresholds = Mapping[str, FrameThreshold | Mapping[str, float]]


def drl_default_thresholds() -> dict[str, dict[str, float]]:
    """The limits of the six frames that have some by default."""
    return {name: asdict(limits) for name, limits in THRESHOLDS.items()}


def drl_existence_load(word: Word) -> float:
    """sum c base (1 + beta H phi) over the frames, with base = max(0, lambda b S - a)."""
    w = WordState.read(word)
    return math.fsum(f.c * _hazard_base(w, f) * (1 + _lift(w, f)) for f in w.frames.values())


def drl_frame_hazard(word: Word, frame: str | FrameState | Mapping[str, Any]) -> float:
    """c base exp(beta H phi max(0, timing)) of a frame, by name or as it stands; the exponent is kept within 30."""
    w = WordState.read(word)
    if isinstance(frame, str) and frame not in w.frames:
        raise ValueError(f"{w.name} is not read in the frame {frame}: it is in {', '.join(w.frames) or 'none'}")
    f = w.frames[frame] if isinstance(frame, str) else FrameState.read(frame)
    return f.c * _hazard_base(w, f) * _timing(w, f)


def drl_safe_radii(word: Word, thresholds: Thresholds | None = None) -> dict[str, float]:
    """By frame, min((1 - tau) / kappa, rho / (b S)), kappa not below 1e-6 and b S not below 1e-9."""
    w = WordState.read(word)
    return {name: _safe_radius(f, limits) for name, f, limits in _limited(w, thresholds)}


def drl_analyse_word(word: Word, thresholds: Thresholds | None = None, *, hazard_cut: float | None = None,
                     min_radius: float = MIN_RADIUS,
                     direction_queries: Mapping[str, Iterable[DirectionQuery | Mapping[str, Any]]] | None = None,
                     ) -> DrlMetrics:
    """Everything about a word.

    Parameters
    ----------
    word : WordState or mapping
    thresholds : mapping of str to FrameThreshold, optional
        Limits for every frame of the word; `THRESHOLDS` by default.
    hazard_cut : float, optional
        From here on a frame's hazard counts in `chi`, in place of the thresholds' own.
    min_radius : float
        A safe radius up to here is judged strictly, as is chi >= 4 or a load >= 1.
    direction_queries : mapping of str to DirectionQuery, optional
        Frames, and which of their axes to weigh how.

    Raises
    ------
    ValueError
        A field that is missing, unknown or outside its range, a frame without limits, a query for a frame or axis that
        is not there, twice for one axis, or with another number of weights than the axis has directions.
    """
    w = WordState.read(word)
    limited = _limited(w, thresholds)
    hazards = {name: drl_frame_hazard(w, f) for name, f, _ in limited}
    radii = {name: _safe_radius(f, limits) for name, f, limits in limited}
    signatures = {name: _signature(w, f, limits) for name, f, limits in limited}
    limits_of = {name: limits for name, _, limits in limited}
    chi = sum(hazards[name] >= (limits_of[name].hazard if hazard_cut is None else hazard_cut) for name in hazards)
    directions: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, queries in _mapping(direction_queries or {}, "direction_queries"):
        for query in map(DirectionQuery.read, queries):
            seen, f = directions.setdefault(name, {}), _turned(w, name, query)
            if query.axis in seen:
                raise ValueError(f"direction_queries asks for the axis {query.axis} of {name} twice: ask once")
            base = _hazard_base(w, f)
            seen[query.axis] = {**_signature(w, f, limits_of[name]), "hazard_base": base,
                                "hazard": f.c * base * _timing(w, f)}
    load = drl_existence_load(w)
    strict = chi >= STRICT_FRAMES or min(radii.values(), default=math.inf) <= min_radius or load >= STRICT_LOAD
    return DrlMetrics(word=asdict(w), existence_load=load, chi=chi, strict_mode=strict, frame_hazards=hazards,
                      safe_radii=radii, frame_signatures=signatures, direction_signatures=directions)


drl_analyze_word = drl_analyse_word


def drl_frame_summary(metrics: DrlMetrics) -> dict[str, float]:
    """By frame, hazard / safe radius (not below 1e-6)."""
    return {name: hazard / max(metrics["safe_radii"][name], 1e-6) for name, hazard in metrics["frame_hazards"].items()}


def drl_trainer_penalty(metrics: DrlMetrics, min_radius: float = MIN_RADIUS) -> float:
    """What a word costs, to hand to a trainer as the metric `drs`.

    load + chi + sum (m - x) / m over those below m = min_radius among the least safe radius, the least tipping radius,
    and both again over the directions; times 1.25 if the judgement is strict.
    """
    turned = [s for axes in metrics["direction_signatures"].values() for s in axes.values()]
    groups = (metrics["safe_radii"].values(), _radii(metrics["frame_signatures"].values(), "tipping_radius"),
              _radii(turned, "safe_radius"), _radii(turned, "tipping_radius"))
    least = [min(group) for group in groups if group]
    short = math.fsum((min_radius - x) / min_radius for x in least if x < min_radius)
    penalty = metrics["existence_load"] + metrics["chi"] + short
    return penalty * STRICT_FACTOR if metrics["strict_mode"] else penalty


def drl_aggregate_penalty(metrics: Iterable[DrlMetrics], min_radius: float = MIN_RADIUS) -> float:
    """Sum of the penalties of several words."""
    return math.fsum(drl_trainer_penalty(m, min_radius) for m in metrics)


def _mapping(source: Any, name: str) -> list[tuple[str, Any]]:
    if not isinstance(source, Mapping):
        raise ValueError(f"{name} must be a mapping by name, got {source!r:.40}")
    return list(source.items())


def _limited(w: WordState, thresholds: Thresholds | None) -> list[tuple[str, FrameState, FrameThreshold]]:
    limits = THRESHOLDS if thresholds is None else {n: FrameThreshold.read(t) for n, t in thresholds.items()}
    if lacking := w.frames.keys() - limits.keys():
        raise ValueError(f"the frame {min(lacking)} of {w.name} has no limits: pass thresholds with tau, rho and "
                         "hazard for each frame")
    return [(name, f, limits[name]) for name, f in w.frames.items()]


def _mixed(f: FrameState, den: float, con: float) -> float:
    return (1 - f.phi) * den + f.phi * con


def _net(w: WordState, f: FrameState, value: float, risk: float) -> float:
    return value - w.base_lambda * risk * f.S


def _hazard_base(w: WordState, f: FrameState) -> float:
    return max(0.0, -_net(w, f, _mixed(f, f.a_den, f.a_con), _mixed(f, f.b_den, f.b_con)))


def _lift(w: WordState, f: FrameState) -> float:
    """beta H phi: how much the disagreement about the word raises its hazard."""
    return w.beta * w.definition_entropy * f.phi


def _timing(w: WordState, f: FrameState) -> float:
    exponent = _lift(w, f) * max(0.0, w.timing_signal * f.timing_scale)
    return math.exp(min(max(exponent, -LARGEST_EXPONENT), LARGEST_EXPONENT))


def _safe_radius(f: FrameState, limits: FrameThreshold) -> float:
    return min((1 - limits.tau) / max(f.kappa, 1e-6), limits.rho / max(_mixed(f, f.b_den, f.b_con) * f.S, 1e-9))


def _signature(w: WordState, f: FrameState, limits: FrameThreshold) -> dict[str, float | None]:
    a, b = _mixed(f, f.a_den, f.a_con), _mixed(f, f.b_den, f.b_con)
    curved_a = _mixed(f, f.curvature_a_den, f.curvature_a_con)
    curved_b = _mixed(f, f.curvature_b_den, f.curvature_b_con)
    slope, curvature = _net(w, f, a, b), _net(w, f, curved_a, curved_b)
    tipping = -slope / curvature if abs(curvature) >= FLATTEST else 0.0
    return {
        "value_slope": a, "risk_slope": w.base_lambda * b * f.S, "net_slope": slope, "value_curvature": curved_a,
        "risk_curvature": w.base_lambda * curved_b * f.S, "net_curvature": curvature, "kappa_slope": f.kappa_slope,
        "hazard_multiplier": _timing(w, f), "timing_elasticity": _timing(w, f) * _lift(w, f) * f.timing_scale,
        "safe_radius": _safe_radius(f, limits), "tipping_radius": tipping if tipping > 0 else None,
    }


def _turned(w: WordState, name: str, query: DirectionQuery) -> FrameState:
    """The frame with the numbers that it has in one direction, in which it has no connotation of its own."""
    if name not in w.frames or query.axis not in w.frames[name].directional_axes:
        raise ValueError(f"direction_queries asks for the axis {query.axis} of {name}, which {w.name} does not have")
    f = w.frames[name]
    axis = f.directional_axes[query.axis]

    def along(components: Sequence[float], otherwise: float) -> float:
        if components and len(components) != len(query.weights):
            raise ValueError(f"{len(query.weights)} weights for the {len(components)} directions of the axis "
                             f"{query.axis} of {name}: give one a direction")
        return math.fsum(x * y for x, y in zip(components, query.weights, strict=True)) if components else otherwise

    a = along(axis.value_components, _mixed(f, f.a_den, f.a_con))
    b = along(axis.risk_components, _mixed(f, f.b_den, f.b_con))
    curved_a = along(axis.value_curvature_components, _mixed(f, f.curvature_a_den, f.curvature_a_con))
    curved_b = along(axis.risk_curvature_components, _mixed(f, f.curvature_b_den, f.curvature_b_con))
    return FrameState(f.phi, f.c, f.S, a, a, b, b, along(axis.kappa_components, f.kappa),
                      along(axis.kappa_slope_components, f.kappa_slope), f.timing_scale, curved_a, curved_a, curved_b,
                      curved_b)


def _radii(signatures: Iterable[Mapping[str, float | None]], name: str) -> list[float]:
    return [x for s in signatures if (x := s[name]) is not None]
