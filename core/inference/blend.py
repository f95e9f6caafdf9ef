"""Partials blended into one: six ways to fuse what several observers say, with an audit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Any

import numpy as np

from core.inference.names import GRADIENT, PRIMARY
from core.inference.partials import Observed, Partial, ZSpacePartialBundle, merged, observed
from core.inference.posterior import ALPHA, LONGEST, decode_zspace_embedding
from core.inference.projection import SMOOTHING, ZSpaceInference, apply_observed, checked_smoothing
from core.inference.rows import SAME, blend_rows, shares
from core.inference.telemetry import Merged, Telemetry, frame_of, merge, receipt

KIND = "spiraltorch.zspace_partial_fusion"
CONTRACT = KIND + ".v3"
CYCLE_BASIS = "spiraltorch.zspace.canonical_metric_cycle.v1"
CYCLE_FORMULA = "g_i=m_(i mod 5),m=[speed,memory,stability,frac,drs]"
ALIGNMENTS = ("strict", "pad_zero")
Partials = Sequence[Partial | None]
Telemetries = Telemetry | Sequence[Telemetry | None]


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    half = [share / 2 for share in shares(weights)]  # rounding must not carry the largest floats beyond the floats
    return min(max(2 * math.fsum(map(mul, values, half)), min(values)), max(values))


def _sum(values: Sequence[float], weights: Sequence[float]) -> float:
    """Without the rounding of partial sums (Shewchuk 1997); NaN where the result is none."""
    try:
        return math.fsum(map(mul, values, weights))
    except (OverflowError, ValueError):  # beyond the floats, or infinities of both signs
        return math.nan


def _median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value at half of the weight, or the middle between its neighbours where a half ends exactly."""
    below, ordered = 0.0, sorted(zip(values, shares(weights), strict=True))
    for (value, share), (following, _) in pairwise(ordered):
        below += share
        if abs(below - 0.5) <= SAME:
            return value / 2 + following / 2
        if below > 0.5:
            return value
    return ordered[-1][0]


STRATEGIES: dict[str, Callable[[Sequence[float], Sequence[float]], float]] = {  # of one metric; rows.py has arrays'
    "mean": _mean, "last": lambda values, _: values[-1], "max": lambda values, _: max(values),
    "min": lambda values, _: min(values), "median": _median, "sum": _sum,
}


@dataclass
class Fused:
    """What partials became, and what an audit needs."""

    scalars: dict[str, float]
    gradient: tuple[float, ...] | None
    basis: str | None
    cycled: bool  # the gradient is made of the metrics
    telemetry: Merged | None  # None where nobody gave any
    active: list[tuple[int, Observed]]
    weights: list[float | None]  # of each partial; None for a None


def checked_strategy(strategy: str, gradient_alignment: str, dimension: int | None) -> None:
    """Raise ValueError for a choice that there is not."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}: choose one of {', '.join(STRATEGIES)}")
    if gradient_alignment not in ALIGNMENTS:
        raise ValueError(f"gradient_alignment is {gradient_alignment!r}: choose {' or '.join(ALIGNMENTS)}")
    if dimension is not None and (isinstance(dimension, bool) or not 1 <= dimension <= LONGEST):
        raise ValueError(f"metric_gradient_dimension is {dimension}: it must lie in 1..{LONGEST}")


def checked_weights(weights: Sequence[float], count: int) -> list[float]:
    """A finite weight for each partial, None entries included."""
    given = list(weights)
    if len(given) != count:
        raise ValueError(f"there are {len(given)} weights for {count} partials: give one for each, also for a None")
    try:
        found = [float(w) for w in given]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the weights are {given!r:.60}: they must be finite numbers") from None
    for i, w in enumerate(found):
        if not math.isfinite(w):
            raise ValueError(f"the weight {i} is {w}: weights must be finite; 0 leaves a partial out")
    return found


def fuse(partials: Partials, weights: Sequence[float] | None, strategy: str, gradient_alignment: str,
         dimension: int | None, telemetry: Telemetries | None = None) -> Fused:
    """Check and blend; see `zspace_partial_fusion`."""
    checked_strategy(strategy, gradient_alignment, dimension)
    own = [None if p is None else p.weight if isinstance(p, ZSpacePartialBundle) else 1.0 for p in partials]
    given: list[Any] = checked_weights([1.0 if w is None else w for w in own] if weights is None else weights, len(own))
    active, readings = [], []
    for i, (p, w) in enumerate(zip(partials, given, strict=True)):
        if p is None:
            given[i] = None
        elif isinstance(p, ZSpacePartialBundle):
            if w > 0:
                active.append((i, observed(p.metrics, p.gradient_basis, i)))
                readings.append(p.telemetry)
        elif not isinstance(p, Mapping):
            raise TypeError(f"partial {i} is a {type(p).__name__}: give a mapping, a ZSpacePartialBundle or None")
        elif w > 0:
            active.append((i, observed(p, None, i)))
            readings.append(None)
    readings.extend(telemetry if isinstance(telemetry, (list, tuple)) else [telemetry])  # type: ignore[list-item]
    spoken: dict[str, tuple[list[float], list[float]]] = {}  # values and weights of each metric
    for i, (scalars, _, _) in active:
        for name, value in scalars.items():
            values, its = spoken.setdefault(name, ([], []))
            values.append(value)
            its.append(given[i])
    reduce = STRATEGIES[strategy]
    fused = {name: reduce(values, its) for name, (values, its) in sorted(spoken.items())}
    for name, value in fused.items():
        if not math.isfinite(value):
            raise ValueError(f"the metric {name!r} fused by {strategy} is beyond the floats: scale it or its weights")
    if dimension is not None:
        gradient, basis = _cycle(fused, dimension), CYCLE_BASIS
    else:
        gradient, basis = _fuse_gradients(active, given, strategy, gradient_alignment)  # type: ignore[assignment]
    readings = [r for r in readings if r is not None]
    told = merge(*readings) if readings else None
    return Fused(fused, gradient, basis, dimension is not None, told, active, given)


def _fuse_gradients(active: list[tuple[int, Observed]], weights: Sequence[float], strategy: str,
                    alignment: str) -> tuple[tuple[float, ...] | None, str | None]:
    """Coordinate by coordinate; all bases must be the same."""
    vectors = [(i, gradient, basis) for i, (_, gradient, basis) in active if gradient is not None]
    if not vectors:
        return None, None
    first, start, basis = vectors[0]
    for i, gradient, other in vectors[1:]:
        if other != basis:
            raise ValueError(f"the gradient of partial {i} has the basis {other or 'unspecified'!r}, that of partial "
                             f"{first} {basis or 'unspecified'!r}: bring them to one basis")
        if len(gradient) != len(start) and alignment == "strict":
            raise ValueError(f"the gradient of partial {i} has {len(gradient)} values, that of partial {first} "
                             f"{len(start)}: make them equal, or pass gradient_alignment='pad_zero'")
    longest = max(len(gradient) for _, gradient, _ in vectors)
    rows = [np.array((*gradient, *(0.0,) * (longest - len(gradient)))) for _, gradient, _ in vectors]
    fused = blend_rows(rows, [weights[i] for i, _, _ in vectors], strategy)
    if not np.isfinite(fused).all():
        raise ValueError(f"the gradient fused by {strategy} is beyond the floats: scale it or its weights")
    return tuple(fused.tolist()), basis


def _cycle(metrics: Mapping[str, float], dimension: int) -> tuple[float, ...]:
    """The five primary metrics over and over, as a gradient."""
    if lacking := [name for name in PRIMARY if name not in metrics]:
        raise ValueError(f"metric_gradient_dimension={dimension} needs all of {', '.join(PRIMARY)}, and "
                         f"{', '.join(lacking)} was not observed")
    return tuple(metrics[PRIMARY[i % 5]] for i in range(dimension))


def blend_zspace_partials(partials: Partials, *, weights: Sequence[float] | None = None, strategy: str = "mean",
                          gradient_alignment: str = "strict",
                          metric_gradient_dimension: int | None = None) -> dict[str, Any]:
    """Blend partials into one mapping of metrics by canonical name, with `gradient` and `gradient_basis` if any.

    Parameters
    ----------
    partials : sequence of mapping, ZSpacePartialBundle or None
        None says nothing, but takes a place among the weights.
    weights : sequence of float, optional
        In place of the bundles' own. A partial of weight 0 or less is left out, its gradient and telemetry as well.
    strategy : str
        "mean" (weighted), "sum" of weight times value (without rounding of partial sums), "median" (weighted, the
        middle of two neighbours at an exact half), "last", "max" or "min". Gradients go coordinate by coordinate.
    gradient_alignment : str
        "strict" refuses gradients of unequal lengths, "pad_zero" fills the shorter up with zeros.
    metric_gradient_dimension : int, optional
        1 to 4096: replace all gradients by the five fused primary metrics, over and over up to this length.

    Raises
    ------
    ValueError
        An unknown metric, strategy or alignment, two names of one metric, a scalar for a gradient or the reverse, an
        empty gradient, a basis without gradient, bases or lengths that differ, a number of weights other than that of
        partials, anything not finite, or a primary metric missing for `metric_gradient_dimension`.
    TypeError
        A partial of another kind.
    """
    fused = fuse(partials, weights, strategy, gradient_alignment, metric_gradient_dimension)
    return merged(fused.scalars, fused.gradient, fused.basis)


def zspace_partial_fusion(partials: Partials, *, weights: Sequence[float] | None = None, strategy: str = "mean",
                          gradient_alignment: str = "strict", metric_gradient_dimension: int | None = None,
                          telemetry: Telemetries | None = None) -> dict[str, Any]:
    """Blend as `blend_zspace_partials` does, and say how.

    Parameters
    ----------
    telemetry : mapping, ZSpaceTelemetryFrame or a sequence of them, optional
        Merged after the active partials' own, which it overwrites.

    Returns
    -------
    dict
        `metrics`, `gradient` and `gradient_basis` (if any), `gradient_source` ("explicit", "canonical_metrics" or
        "none"), counts of inputs, the settings, `telemetry` (see `fuse_zspace_telemetry`) and `sources`: of each
        partial its index, origin, weight, status ("active", "suppressed" or "null") and what it gave.

    Raises
    ------
    ValueError, TypeError
        As `blend_zspace_partials` and `core.inference.telemetry.merge`.
    """
    fused = fuse(partials, weights, strategy, gradient_alignment, metric_gradient_dimension, telemetry)
    return audit(fused, partials, strategy, gradient_alignment)


def audit(fused: Fused, partials: Partials, strategy: str, gradient_alignment: str) -> dict[str, Any]:
    """What `zspace_partial_fusion` returns."""
    told = fused.telemetry or Merged({}, [])
    cycled, seen, length = fused.cycled, dict(fused.active), len(fused.gradient or ())
    entries = iter(told.sources)
    sources: list[dict[str, Any]] = []
    for i, (p, weight) in enumerate(zip(partials, fused.weights, strict=True)):
        scalars, gradient, basis = seen.get(i, ({}, None, None))
        told_here = i in seen and isinstance(p, ZSpacePartialBundle) and p.telemetry is not None
        source = {
            "index": i, "origin": p.origin if isinstance(p, ZSpacePartialBundle) else None, "weight": weight,
            "status": "null" if p is None else "active" if i in seen else "suppressed", "metric_count": len(scalars),
            "gradient_present": gradient is not None, "gradient_dim": len(gradient or ()),
            "gradient_padded": gradient is not None and not cycled and len(gradient) < length,
            "gradient_replaced_by_metric_projection": gradient is not None and cycled,
            "telemetry_entry_count": next(entries)["flattened_count"] if told_here else 0,
        }
        sources.append(source if basis is None else {**source, "gradient_basis": basis})
    states = [s["status"] for s in sources]
    out = {
        "kind": KIND, "contract_version": CONTRACT, "metrics": fused.scalars, "strategy": strategy,
        "gradient_alignment": gradient_alignment, "gradient_dim": length,
        "gradient_source": "none" if fused.gradient is None else "canonical_metrics" if cycled else "explicit",
        "gradient_input_count": sum(s["gradient_present"] for s in sources),
        "gradient_padded_source_count": sum(s["gradient_padded"] for s in sources),
        "gradient_padding_applied": any(s["gradient_padded"] for s in sources),
        "gradient_replaced_source_count": sum(s["gradient_replaced_by_metric_projection"] for s in sources),
        "metric_gradient_projection_applied": cycled, "input_count": len(sources),
        "active_count": states.count("active"), "suppressed_count": states.count("suppressed"),
        "null_count": states.count("null"), "sources": sources, "telemetry": receipt(told),
    }
    if fused.gradient is not None:
        out[GRADIENT] = list(fused.gradient)
    if fused.basis is not None:
        out["gradient_basis"] = fused.basis
    return {**out, "gradient_formula": CYCLE_FORMULA} if cycled else out


def infer_with_partials(z_state: Sequence[float], *partials: Partial | None, alpha: float = ALPHA,
                        smoothing: float = SMOOTHING, strategy: str = "mean", gradient_alignment: str = "strict",
                        metric_gradient_dimension: int | None = None, weights: Sequence[float] | None = None,
                        telemetry: Telemetries | None = None) -> ZSpaceInference:
    """Blend partials and project the result onto a latent; the inference's `fusion` is the audit of the blend.

    The parameters are those of `infer_from_partial` and `zspace_partial_fusion`, and so is what they raise.
    """
    prior, smoothing = decode_zspace_embedding(z_state, alpha=alpha), checked_smoothing(smoothing)
    fused = fuse(partials, weights, strategy, gradient_alignment, metric_gradient_dimension, telemetry)
    frame = None if fused.telemetry is None else frame_of(fused.telemetry.payload)
    return apply_observed(prior, (fused.scalars, fused.gradient, fused.basis), smoothing, frame,
                          audit(fused, partials, strategy, gradient_alignment))
