"""Coherence diagnostics over channels as metrics; what contradicts itself is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.foreign import tensors, to_host
from core.inference.partials import number

KIND = "spiraltorch.zspace_coherence_projection"
CONTRACT = f"{KIND}.v2"
CONTOUR = {"coherence_strength": (1.0, "strength"), "prosody_index": (1.0, "prosody"),
           "articulation_bias": (4.0, "articulation"), "timbre_spread": (math.inf, "timbre_spread")}


def read(source: Any, name: str) -> Any:
    """An entry of a mapping, or an attribute; None where there is none."""
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def row_of(values: Any, name: str) -> NDArray[np.float64]:
    """Numbers of any library, in one row; none for None."""
    given = tensors(() if values is None else values, name)
    row = np.concatenate([*(to_host(t, where).astype(np.float64).ravel() for where, t in given), np.zeros(0)])
    if not np.isfinite(row).all():
        raise ValueError(f"{name} holds values that are not finite: leave it out, or repair it first")
    return row


def check_gains(**gains: float) -> None:
    """Refuse gains below 0 or not finite."""
    for name, gain in gains.items():
        if not (isinstance(gain, (int, float)) and 0 <= gain < math.inf):
            raise ValueError(f"{name} is {gain!r:.40}: it must be finite and at least 0")


@dataclass(frozen=True)
class _Evidence:
    """Coherence diagnostics that do not contradict each other."""

    mean_coherence: float
    coherence_entropy: float
    energy_ratio: float
    z_bias: float
    fractional_order: float
    normalized_weights: tuple[float, ...] | None
    preserved_channels: int | None
    discarded_channels: int | None
    dominant_channel: int | None


def zspace_coherence_project(diagnostics: Any, *, coherence: Any = None, contour: Any = None, speed_gain: float = 1.0,
                             stability_gain: float = 1.0, frac_gain: float = 1.0, drs_gain: float = 1.0,
                             background_energy_ratio_max: float = 1e-5,
                             cascade_energy_ratio_min: float = 0.7) -> dict[str, Any]:
    """Coherence over N channels as metrics, with what follows from it.

    With weights p, H = -sum p ln p, its share Hn = H / ln N (0 for N = 1) and the concentration C = (sum p^2 - 1/N) /
    (1 - 1/N) (1 for N = 1); without weights H is the entropy told, and C = 1 - Hn. speed = tanh(speed_gain C), memory =
    tanh(z_bias), stability = tanh(stability_gain (1 - 2 Hn)), frac = tanh(frac_gain fractional_order), drs =
    tanh(drs_gain (energy_ratio - 1/2)).

    Parameters
    ----------
    diagnostics : object or mapping
        `mean_coherence`, `energy_ratio`, `fractional_order`, each in [0, 1]; `coherence_entropy` (or `entropy`), at
        most ln N; `z_bias`; optionally `normalized_weights` [N], each in [0, 1] and of sum one; `preserved_channels`,
        `discarded_channels`, `dominant_channel`; `coherence` [N]. Something must tell N.
    coherence, contour : optional
        The raw coherence, in place of the diagnostics' own; and a linguistic contour: `coherence_strength` and
        `prosody_index` in [0, 1], `articulation_bias` in [0, 4], `timbre_spread` at least 0.
    speed_gain, stability_gain, frac_gain, drs_gain : float
        At least 0.
    background_energy_ratio_max, cascade_energy_ratio_min : float
        Bounds between the labels.

    Returns
    -------
    dict
        `partial`, the metrics; `derived`, what they are made of; with weights `control` (spectral_radius = C,
        spectral_entropy = Hn, spectral_pressure = energy_ratio (1 - Hn)) and `classification`, whose label is
        background, symmetric_pulse, cascade_imbalance or diffuse_drift; `diagnostics`, `coherence`, `config`.

    Raises
    ------
    ValueError
        Something is missing, outside its range or not finite, or two things contradict each other by more than
        max(1e-6, 4 N eps of float32).
    """
    gains = {"speed_gain": speed_gain, "stability_gain": stability_gain, "frac_gain": frac_gain, "drs_gain": drs_gain}
    check_gains(**gains, background_energy_ratio_max=background_energy_ratio_max,
           cascade_energy_ratio_min=cascade_energy_ratio_min)
    given = read(diagnostics, "coherence") if coherence is None else coherence
    response = row_of(given, "coherence")
    e = _evidence(diagnostics)
    n = _channels(e, response)
    _check(e, response, n)
    p = np.zeros(0) if e.normalized_weights is None else np.array(e.normalized_weights) / sum(e.normalized_weights)
    entropy = _entropy(p) if len(p) else e.coherence_entropy
    share = min(entropy / math.log(n), 1.0) if n > 1 else 0.0
    focus = 1 - share
    if len(p):
        focus = (float(np.sum(p * p)) - 1 / n) / (1 - 1 / n) if n > 1 else 1.0
    derived = {"channels": n, "concentration": focus, "effective_channels": math.exp(entropy),
               "normalized_entropy": share, "weight_entropy": entropy,
               "weight_mass": float(sum(e.normalized_weights or ())),
               "distribution_source": "normalized_weights" if len(p) else "diagnostic_entropy",
               "response_mean": float(response.mean()) if len(response) else 0.0,
               "response_peak": float(response.max()) if len(response) else 0.0}
    preserved = int((p > 0).sum()) if len(p) else n if e.preserved_channels is None else e.preserved_channels
    partial = {
        "speed": math.tanh(speed_gain * focus), "memory": math.tanh(e.z_bias),
        "stability": math.tanh(stability_gain * (1 - 2 * share)), "frac": math.tanh(frac_gain * e.fractional_order),
        "drs": math.tanh(drs_gain * (e.energy_ratio - 0.5)), "coherence_mean": e.mean_coherence,
        "coherence_entropy": e.coherence_entropy, "coherence_entropy_residual": abs(e.coherence_entropy - entropy),
        "coherence_peak": float(p.max()) if len(p) else 0.0, "coherence_preserved": float(preserved),
        "coherence_discarded": float(n - preserved),
        **{f"coherence_{name}": getattr(e, name) for name in ("energy_ratio", "z_bias", "fractional_order")},
        **{f"coherence_{name}": float(v) for name, v in derived.items() if not isinstance(v, str)}}
    if e.dominant_channel is not None:
        partial["coherence_dominant"] = float(e.dominant_channel)
    if contour is not None:
        partial |= {f"coherence_{short}": _number(contour, name, most, "the contour")
                    for name, (most, short) in CONTOUR.items()}
    out = {"kind": KIND, "contract_version": CONTRACT, "partial": partial, "derived": derived,
           "diagnostics": asdict(e), "coherence": response.tolist(), "config": gains}
    if len(p):
        out["control"] = {"channels": n, "effective_channels": math.exp(entropy), "energy_ratio": e.energy_ratio,
                          "spectral_radius": focus, "spectral_entropy": share,
                          "spectral_pressure": e.energy_ratio * (1 - share)}
        out["classification"] = {"energy_ratio": e.energy_ratio, "label": _label(
            p, e.energy_ratio, background_energy_ratio_max, cascade_energy_ratio_min)}
    return out


def _number(source: Any, name: str, most: float, whose: str, least: float = 0.0) -> float:
    """A finite number within bounds."""
    value = read(source, name)
    if value is None:
        raise ValueError(f"{name} is missing from {whose}: give it")
    found = number(name, value)
    if not least <= found <= most:
        bounds = f"lie in [{least:g}, {most:g}]" if most < math.inf else f"be at least {least:g}"
        raise ValueError(f"{name} is {found}: it must {bounds}")
    return found


def _evidence(diagnostics: Any) -> _Evidence:
    """Each field within its own range."""
    mean, ratio, order = (_number(diagnostics, name, 1.0, "the diagnostics")
                          for name in ("mean_coherence", "energy_ratio", "fractional_order"))
    alias = "entropy" if read(diagnostics, "coherence_entropy") is None else "coherence_entropy"
    if read(diagnostics, alias) is None:
        raise ValueError("coherence_entropy is missing from the diagnostics: give it")
    weights = read(diagnostics, "normalized_weights")
    counts: list[int | None] = []
    for name in ("preserved_channels", "discarded_channels", "dominant_channel"):
        value = read(diagnostics, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0):
            raise ValueError(f"{name} is {value!r:.40}: it must be a whole number, at least 0")
        counts.append(None if value is None else int(value))
    return _Evidence(
        mean, _number(diagnostics, alias, math.inf, "the diagnostics"), ratio,
        _number(diagnostics, "z_bias", math.inf, "the diagnostics", -math.inf), order,
        None if weights is None else tuple(row_of(weights, "normalized_weights").tolist()), *counts)


def _channels(e: _Evidence, response: NDArray[np.float64]) -> int:
    """N, by everything that tells it."""
    told = {"normalized_weights": None if e.normalized_weights is None else len(e.normalized_weights),
            "coherence": len(response) or None}
    kept, left = e.preserved_channels, e.discarded_channels
    if kept is not None and left is not None:
        told["preserved_channels + discarded_channels"] = kept + left
    elif e.normalized_weights is None and not len(response) and kept is not None:
        told["preserved_channels"] = kept
    known = {name: n for name, n in told.items() if n is not None}
    if not known or not all(known.values()):
        raise ValueError("nothing tells the number of channels, or there are none: give normalized_weights, coherence, "
                         "or preserved_channels and discarded_channels")
    if len(set(known.values())) > 1:
        raise ValueError("the channels disagree, " + ", ".join(f"{n} by {name}" for name, n in known.items())
                         + ": they must be one number")
    return next(iter(known.values()))


def _check(e: _Evidence, response: NDArray[np.float64], n: int) -> None:
    """Refuse what contradicts itself."""
    near = max(1e-6, 4 * n * float(np.finfo(np.float32).eps))
    p = np.array(e.normalized_weights or ())
    if len(p):
        if outside := [i for i, w in enumerate(p) if not 0 <= w <= 1]:
            raise ValueError(f"normalized_weights[{outside[0]}] is {p[outside[0]]}: each must lie in [0, 1]")
        if abs(p.sum() - 1) > near:
            raise ValueError(f"normalized_weights sum to {p.sum()}: they must sum to one")
        if abs(e.coherence_entropy - _entropy(p / p.sum())) > near:
            raise ValueError(f"coherence_entropy is {e.coherence_entropy}, but that of normalized_weights is "
                             f"{_entropy(p / p.sum())}: give one or the other, or make them agree")
    if e.coherence_entropy > math.log(n) + near:
        raise ValueError(f"coherence_entropy is {e.coherence_entropy}, above ln {n} = {math.log(n)}, the most that {n} "
                         "channels can have")
    for name, count, want in (("preserved_channels", e.preserved_channels, int((p > 0).sum())),
                              ("discarded_channels", e.discarded_channels, int((p == 0).sum()))):
        if len(p) and count is not None and count != want:
            raise ValueError(f"{name} is {count}, but by normalized_weights there are {want}: make them agree")
        if count is not None and count > n:
            raise ValueError(f"{name} is {count} of {n} channels: it cannot be more than there are")
    if e.dominant_channel is not None:
        if e.dominant_channel >= n:
            raise ValueError(f"dominant_channel is {e.dominant_channel} of {n} channels: they count from 0")
        if len(p) and p[e.dominant_channel] < p.max() - near:
            raise ValueError(f"dominant_channel is {e.dominant_channel} with weight {p[e.dominant_channel]}, but the "
                             f"largest weight is {p.max()}: name a channel that has it")
    if len(response) and abs(e.mean_coherence - response.mean()) > near * max(1.0, float(np.abs(response).max())):
        raise ValueError(f"mean_coherence is {e.mean_coherence}, but the mean of coherence is {response.mean()}: make "
                         "them agree")


def _entropy(p: NDArray[np.float64]) -> float:
    return -float(np.sum(p[p > 0] * np.log(p[p > 0]))) + 0.0


def _label(p: NDArray[np.float64], ratio: float, background: float, cascade: float) -> str:
    if ratio <= background:
        return "background"
    if p.max() - p.min() <= max(1e-6, 1e-4 * p.max()):
        return "symmetric_pulse"
    return "cascade_imbalance" if ratio >= cascade else "diffuse_drift"


def coherence_partial_from_diagnostics(diagnostics: Any, *, coherence: Any = None, contour: Any = None,
                                       speed_gain: float = 1.0, stability_gain: float = 1.0, frac_gain: float = 1.0,
                                       drs_gain: float = 1.0) -> dict[str, float]:
    """The `partial` of `zspace_coherence_project`."""
    partial: dict[str, float] = zspace_coherence_project(
        diagnostics, coherence=coherence, contour=contour, speed_gain=speed_gain, stability_gain=stability_gain,
        frac_gain=frac_gain, drs_gain=drs_gain)["partial"]
    return partial
