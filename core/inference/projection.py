"""Observations projected onto a latent: they override its metrics, and how far they are off lowers the confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.inference.names import PRIMARY
from core.inference.partials import Observed, ZSpacePartialBundle, observed
from core.inference.posterior import ALPHA, ZSpaceDecoded, barycentric, decode_zspace_embedding
from core.inference.telemetry import Telemetry, ZSpaceTelemetryFrame, frame_of, merge

SMOOTHING = 0.35


@dataclass(frozen=True)
class ZSpaceControlGradient:
    """A gradient from outside: it never replaces the latent's own, and keeps its own length and basis.

    Attributes
    ----------
    source : str
        "partial".
    basis : str
    values : tuple of float
    dimension : int
    l2, linf : float
        Norms of the values.
    """

    source: str
    basis: str
    values: tuple[float, ...]
    dimension: int
    l2: float
    linf: float

    def as_dict(self) -> dict[str, Any]:
        """The attributes as a dictionary of plain lists and numbers."""
        return {**vars(self), "values": list(self.values)}


@dataclass(frozen=True)
class ZSpaceInference:
    """A latent's posterior together with what was observed.

    Attributes
    ----------
    metrics : mapping
        The latent's, overridden by the observed ones; by name.
    gradient, gradient_basis
        The latent's own.
    control_gradient : ZSpaceControlGradient, optional
        The observed one.
    barycentric : tuple of 3 float
        s times the latent's plus 1 - s times that of the overridden metrics, s being the smoothing.
    residual : float
        Root mean square of observed minus decoded, over the observed ones among the five primary metrics.
    residual_metric_count : int
        How many those are.
    confidence : float
        exp(-residual) telemetry_reliability, never above exp(-residual).
    telemetry_reliability : float
        clamp(1 + 0.25 focus, 0.75, 1) / (1 + variance) of the telemetry; 1 without.
    prior : ZSpaceDecoded
        The latent alone.
    applied : mapping
        The observed metrics.
    telemetry : ZSpaceTelemetryFrame, optional
    fusion : mapping, optional
        The audit of the blend that the observations come from.
    """

    metrics: Mapping[str, float]
    gradient: Sequence[float]
    gradient_basis: str
    control_gradient: ZSpaceControlGradient | None
    barycentric: tuple[float, float, float]
    residual: float
    residual_metric_count: int
    confidence: float
    telemetry_reliability: float
    prior: ZSpaceDecoded
    applied: Mapping[str, Any]
    telemetry: ZSpaceTelemetryFrame | None = None
    fusion: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The attributes as a dictionary of plain dictionaries, lists and numbers."""
        return {
            **vars(self), "metrics": dict(self.metrics), "gradient": list(self.gradient), "applied": dict(self.applied),
            "control_gradient": self.control_gradient and self.control_gradient.as_dict(),
            "prior": self.prior.as_dict(), "telemetry": self.telemetry and self.telemetry.as_dict(),
            "fusion": None if self.fusion is None else dict(self.fusion),
        }


def infer_from_partial(z_state: Sequence[float], partial: Mapping[str, Any] | None, *, alpha: float = ALPHA,
                       smoothing: float = SMOOTHING, gradient_basis: str | None = None,
                       telemetry: Telemetry | None = None) -> ZSpaceInference:
    """Decode a latent and project observations onto it.

    Parameters
    ----------
    z_state : sequence of float [n]
        1 to 4096 finite values.
    partial : mapping, optional
        Observed metrics by name or alias, and optionally `gradient` with `gradient_basis`; None observes nothing.
    alpha : float
        Order of the fractional energy, finite and above 0.
    smoothing : float
        How much of the latent's own barycentric coordinates stays, in [0, 1].
    gradient_basis : str, optional
        What the coordinates of the observed gradient are; needed with one, here or embedded.
    telemetry : mapping or ZSpaceTelemetryFrame, optional
        Readings whose spread lowers the confidence; see `core.inference.telemetry.merge`.

    Raises
    ------
    ValueError
        Anything outside its range, an observed gradient without basis, and what `observed` refuses.
    TypeError
        A partial or telemetry that is no mapping.
    """
    return project(decode_zspace_embedding(z_state, alpha=alpha), partial, smoothing, gradient_basis, telemetry)


def checked_smoothing(smoothing: float) -> float:
    """A share in [0, 1]."""
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}: it must lie in [0, 1]")
    return float(smoothing)


def project(prior: ZSpaceDecoded, partial: Mapping[str, Any] | None, smoothing: float = SMOOTHING,
            gradient_basis: str | None = None, telemetry: Telemetry | None = None) -> ZSpaceInference:
    """`infer_from_partial` on a decoded latent."""
    return apply_observed(prior, seen_in(partial, gradient_basis), checked_smoothing(smoothing),
                          None if telemetry is None else frame_of(merge(telemetry).payload))


def seen_in(partial: Mapping[str, Any] | None, gradient_basis: str | None) -> Observed:
    """`observed` of one partial; bundles have a weight, so they are for a blend."""
    if isinstance(partial, ZSpacePartialBundle):
        raise TypeError("the partial is a ZSpacePartialBundle, it must be a mapping of metrics to numbers: pass "
                        "bundles to infer_with_partials")
    return observed({} if partial is None else partial, gradient_basis)


def apply_observed(prior: ZSpaceDecoded, seen: Observed, smoothing: float, telemetry: ZSpaceTelemetryFrame | None,
                   fusion: Mapping[str, Any] | None = None) -> ZSpaceInference:
    """The posterior of checked observations."""
    scalars, gradient, basis = seen
    control = None
    if gradient is not None:
        if basis is None:
            raise ValueError(f"the observed gradient of {len(gradient)} values names no basis: say what its "
                             "coordinates are with gradient_basis=...")
        control = ZSpaceControlGradient("partial", basis, gradient, len(gradient), math.hypot(*gradient),
                                        max(map(abs, gradient)))
    metrics = {**prior.metrics, **scalars}
    off = [scalars[name] - prior.metrics[name] for name in PRIMARY if name in scalars]
    residual = math.hypot(*off) / math.sqrt(len(off)) if off else 0.0
    own = prior.barycentric
    new = barycentric(metrics["speed"], metrics["memory"], metrics["stability"])
    a, b, c = (smoothing * p + (1 - smoothing) * q for p, q in zip(own, new, strict=True))
    total = a + b + c  # 1 but for rounding
    reliability = 1.0 if telemetry is None else (
        min(max(1 + 0.25 * telemetry.focus, 0.75), 1.0) / (1 + telemetry.variance))
    return ZSpaceInference(
        MappingProxyType(metrics), prior.gradient, prior.gradient_basis, control, (a / total, b / total, c / total),
        residual, len(off), math.exp(-residual) * reliability, reliability, prior, MappingProxyType(scalars), telemetry,
        None if fusion is None else MappingProxyType(fusion))

