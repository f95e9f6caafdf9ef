"""Partials made of other evidence: canvas snapshots, alone and with coherence, and elliptic samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.inference.blend import blend_zspace_partials
from core.inference.coherence import check_gains, coherence_partial_from_diagnostics, read, row_of
from core.inference.names import BASIS, ELLIPTIC_SOURCES, GRADIENT
from core.inference.partials import ZSpacePartialBundle, number
from core.inference.telemetry import Summary, flatten, summarise

SNAPSHOT = ("canvas", "hypergrad", "realgrad", "summary", "patch")
VECTORS = ("rotor_transport", "flow_vector", "lie_log")  # of an elliptic sample, the first that is there leads
TINY = 1e-9


# --- canvas -----------------------------------------------------------------------------------------------------------


def canvas_partial_from_snapshot(snapshot: Any, *, hyper_gain: float = 2.5, memory_gain: float = 2.0,
                                 stability_gain: float = 2.5, patch_gain: float = 1.5) -> dict[str, float]:
    """What a canvas and its gradients say of a latent.

    With the L2 norms C, H and R of canvas, hypergrad and realgrad and their shares c, h, r of C + H + R + 1e-9: speed =
    tanh(hyper_gain h + mean H / 2), memory = tanh(memory_gain c + mean C), stability = tanh(stability_gain (1 - |h -
    r|) - 1.25), frac = tanh(patch_gain linf) of the patch, of the canvas where there is none, drs = tanh(2.5 (h - r));
    and the metrics named ``canvas_*``, ``canvas_patch_*``, ``hypergrad_*`` and ``realgrad_*``, whose energy is the L2
    norm and whose balance is the share.

    Parameters
    ----------
    snapshot : object or mapping
        Attributes or entries `canvas`, `hypergrad`, `realgrad`, `patch`: numbers of any library and shape; and
        `summary`, with ``hypergrad`` and ``realgrad`` of l1, l2, linf and mean, which replace those of the numbers.

    Raises
    ------
    ValueError
        The snapshot has none of these, a value is not finite, or a gain is below 0 or not finite.
    """
    check_gains(hyper_gain=hyper_gain, memory_gain=memory_gain, stability_gain=stability_gain, patch_gain=patch_gain)
    if all(read(snapshot, name) is None for name in SNAPSHOT):
        raise ValueError(f"the snapshot, a {type(snapshot).__name__}, has none of {', '.join(SNAPSHOT)}: give at least "
                         "one, as an attribute or an entry")
    canvas, patch = (summarise(row_of(read(snapshot, name), name)) for name in ("canvas", "patch"))
    hyper, real = (_norms(snapshot, name) for name in ("hypergrad", "realgrad"))
    whole = canvas.l2 + hyper["l2"] + real["l2"] + TINY
    c, h, r = canvas.l2 / whole, hyper["l2"] / whole, real["l2"] / whole
    peak = patch.linf if patch.count else canvas.linf
    metrics = {
        "speed": math.tanh(hyper_gain * h + 0.5 * hyper["mean"]), "memory": math.tanh(memory_gain * c + canvas.mean),
        "stability": math.tanh(stability_gain * (1 - abs(h - r)) - 1.25), "frac": math.tanh(patch_gain * peak),
        "drs": math.tanh(2.5 * (h - r)), "canvas_energy": canvas.l2, "canvas_mean": canvas.mean,
        "canvas_peak": canvas.linf, "canvas_balance": c, "canvas_l1": canvas.l1, "canvas_l2": canvas.l2,
        "canvas_linf": canvas.linf, "canvas_pixels": float(canvas.count)}
    for family, norms, share in (("hypergrad", hyper, h), ("realgrad", real, r)):
        metrics |= {f"{family}_norm": norms["l2"], f"{family}_balance": share}
        metrics |= {f"{family}_{name}": value for name, value in norms.items()}
    if patch.count:
        metrics |= {"canvas_patch_energy": patch.l2, "canvas_patch_mean": patch.mean, "canvas_patch_peak": patch.linf,
                    "canvas_patch_balance": patch.l2 / (patch.l2 + canvas.l2 + TINY),
                    "canvas_patch_pixels": float(patch.count)}
    return metrics


def _norms(snapshot: Any, name: str) -> dict[str, float]:
    """Of a gradient; its summary comes before its values."""
    found: Summary = summarise(row_of(read(snapshot, name), name))
    told = read(read(snapshot, "summary"), name)
    values = {n: read(told, n) for n in ("l1", "l2", "linf", "mean")}
    return {n: getattr(found, n) if v is None else number(f"summary {name} {n}", v) for n, v in values.items()}


def canvas_coherence_partial(snapshot: Any, diagnostics: Any, *, coherence: Any = None, contour: Any = None,
                             strategy: str = "mean", gradient_alignment: str = "strict",
                             weights: Sequence[float] | None = None, canvas_kwargs: Mapping[str, Any] | None = None,
                             coherence_kwargs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A canvas's partial and that of coherence, in this order, blended (see `blend_zspace_partials`)."""
    parts = [canvas_partial_from_snapshot(snapshot, **(canvas_kwargs or {})), coherence_partial_from_diagnostics(
        diagnostics, coherence=coherence, contour=contour, **(coherence_kwargs or {}))]
    return blend_zspace_partials(parts, weights=weights, strategy=strategy, gradient_alignment=gradient_alignment)


# --- elliptic ---------------------------------------------------------------------------------------------------------


def elliptic_partial_from_telemetry(telemetry: Any, *, bundle_weight: float = 1.0, origin: str | None = "elliptic",
                                    telemetry_prefix: str = "elliptic", aggregate: str = "mean",
                                    gradient_alignment: str = "strict", gradient_source: str = "rotor_transport",
                                    gradient_basis: str | None = None,
                                    extra_telemetry: Mapping[str, Any] | None = None) -> ZSpacePartialBundle:
    """Elliptic samples as one partial.

    Parameters
    ----------
    telemetry : object, mapping, or sequence of them
        Samples, with any of `core.inference.names.ELLIPTIC_SOURCES` (curvature_radius, spin_alignment, ...), and the
        vectors rotor_transport, flow_vector, lie_log.
    aggregate, gradient_alignment : str
        How the samples are blended, see `blend_zspace_partials`.
    gradient_source : str
        The vector that is the gradient; a sample without it gives the first of the others that it has.
    gradient_basis : str, optional
        Its basis; "spiraltorch.elliptic.<vector>.v1" by default.
    extra_telemetry : mapping, optional
        More readings under the prefix, beside the metrics and their statistics over all samples.

    Raises
    ------
    ValueError
        No sample, one without a reading, an unknown vector, and what `blend_zspace_partials` refuses.
    """
    if gradient_source not in VECTORS:
        raise ValueError(f"gradient_source is {gradient_source!r:.40}: choose one of {', '.join(VECTORS)}")
    many = isinstance(telemetry, Sequence) and not isinstance(telemetry, (str, bytes))
    parts: list[dict[str, Any]] = []
    readings: list[float] = []
    for i, sample in enumerate(telemetry if many else [telemetry]):
        found = {source: number(source, value) for source in ELLIPTIC_SOURCES
                 if (value := read(sample, source)) is not None}
        if not found:
            raise ValueError(f"elliptic sample {i} is a {type(sample).__name__} without a reading: give some of "
                             f"{', '.join(ELLIPTIC_SOURCES)}")
        readings += found.values()
        part: dict[str, Any] = {f"elliptic_{ELLIPTIC_SOURCES[source]}": value for source, value in found.items()}
        for name in (gradient_source, *VECTORS):
            if (vector := read(sample, name)) is not None:
                part[GRADIENT] = row_of(vector, name).tolist()
                part[BASIS] = gradient_basis or f"spiraltorch.elliptic.{name}.v1"
                break
        parts.append(part)
    if not parts:
        raise ValueError("there are no elliptic samples: give at least one")
    blended = blend_zspace_partials(parts, strategy=aggregate, gradient_alignment=gradient_alignment)
    statistics = summarise(readings)
    told: dict[str, Any] = {source: blended[f"elliptic_{name}"] for source, name in ELLIPTIC_SOURCES.items()
                            if f"elliptic_{name}" in blended}
    told |= {name: getattr(statistics, name) for name in (
        "mean", "variance", "energy", "amplitude", "balance", "focus", "count")}
    return ZSpacePartialBundle(blended, bundle_weight, origin,
                               flatten({telemetry_prefix: {**told, **(extra_telemetry or {})}}), blended.get(BASIS))
