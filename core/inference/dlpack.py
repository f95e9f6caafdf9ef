"""Partials of weights: the statistics of any library's tensors, taken where they lie."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from core.foreign import locate, tensors
from core.inference.blend import infer_with_partials
from core.inference.partials import ZSpacePartialBundle
from core.inference.posterior import ALPHA
from core.inference.projection import SMOOTHING, ZSpaceInference
from core.inference.telemetry import NOTHING, Summary, Telemetry, flatten, summary_of

BLOCK = 1 << 20  # values that are looked at together, in float64
REPORTED = ("mean", "variance", "energy", "amplitude", "balance", "focus", "count")  # as telemetry


def summarise_weights(weights: Any) -> Summary:
    """What `core.inference.telemetry.summarise` says of all values together, NaN left out.

    A tensor on a CUDA device is summed there; a handful of numbers a block comes to the host. Sums are made in float64,
    block by block, and variances joined by Chan et al. 1983, so that neither size nor layout costs a copy.

    Parameters
    ----------
    weights
        Tensors of any library in nested lists, mappings and iterables, or numbers; see `core.foreign`.

    Raises
    ------
    ValueError
        An infinite value, values whose squares overflow, or numbers that are not real.
    TypeError, BackendError
        From `core.foreign`.
    """
    count, mean, spread = 0, 0.0, 0.0  # spread: the sum of squared distances from the mean
    energy = positive = negative = 0.0
    largest, smallest = -math.inf, math.inf
    for name, tensor in tensors(weights):
        xp, array = locate(tensor, name)
        with nullcontext() if xp is np else array.device:
            for block in _blocks(array):
                n, mean_here, spread_here, squares, above, below, high, low = _moments(xp, block)
                if not n:
                    continue
                if math.isinf(high) or math.isinf(low):
                    raise ValueError(f"{name} holds infinite values: the training that made it diverged, go back to "
                                     "finite weights or leave this tensor out")
                apart, before = mean_here - mean, count
                count += n
                mean += apart * n / count
                spread += spread_here + apart * apart * before * n / count
                energy, positive, negative = energy + squares, positive + above, negative + below
                largest, smallest = max(largest, high), min(smallest, low)
    return NOTHING if not count else summary_of(count, mean, spread / count, energy, positive, negative, largest,
                                                smallest)


def _moments(xp: Any, block: Any) -> tuple[int, float, float, float, float, float, float, float]:
    """Of a block but NaN: count, mean, squared distances from it, squares, sums above and below 0, max and min."""
    x = block.astype(xp.float64).ravel()
    x = x[~xp.isnan(x)]
    if not x.size:
        return 0, *(0.0,) * 7
    with np.errstate(over="ignore", invalid="ignore"):  # the caller tells
        mean = x.mean()
        off = x - mean
        found = xp.stack([mean, (off * off).sum(), (x * x).sum(), xp.maximum(x, 0).sum(), -xp.minimum(x, 0).sum(),
                          x.max(), x.min()])
    return int(x.size), *found.tolist()


def _blocks(array: Any) -> Iterator[Any]:
    """Views of an array, of at most `BLOCK` values each, whatever its layout."""
    if array.size <= BLOCK:
        yield array
        return
    axis = int(np.argmax(array.shape))
    half = array.shape[axis] // 2
    for part in (slice(None, half), slice(half, None)):
        yield from _blocks(array[(*itertools.repeat(slice(None), axis), part)])


def weights_partial_from_dlpack(weights: Any, *, bundle_weight: float = 1.0, label: str | None = None,
                                weight_gain: float = 1.25, stability_gain: float = 1.5, focus_gain: float = 1.0,
                                telemetry_prefix: str = "psi",
                                telemetry: Telemetry | None = None) -> ZSpacePartialBundle:
    """Weights or gradients as a partial.

    With the statistics of `summarise` over n values and A = max(1e-9, amplitude + energy / n): memory =
    tanh(weight_gain l2 / n), speed = tanh(mean + focus_gain balance), stability = tanh(stability_gain (1 - variance /
    A)), frac = tanh(linf / (l2 + 1e-9)), drs = tanh(balance), and ten ``import_*`` metrics.

    Parameters
    ----------
    weights
        See `summarise_weights`: a tensor, a state dict, nested lists, ...; NaN is left out.
    bundle_weight : float
        Of the partial in a blend.
    label : str, optional
        Its origin; "dlpack" by default.
    weight_gain, stability_gain, focus_gain : float
        Finite; one below 0 counts as 0.
    telemetry_prefix : str
        Before the statistics in the partial's telemetry.
    telemetry : mapping or ZSpaceTelemetryFrame, optional
        More of it, by its own names.

    Raises
    ------
    ValueError, TypeError, BackendError
        From `summarise_weights`, or a gain that is not finite.
    """
    return _partial(weights, label or "dlpack", telemetry_prefix, bundle_weight, weight_gain, stability_gain,
                    focus_gain, telemetry)


def weights_partial_from_compat(weights: Any, *, adapter: str | None = None, bundle_weight: float = 1.0,
                                label: str | None = None, weight_gain: float = 1.25, stability_gain: float = 1.5,
                                focus_gain: float = 1.0, telemetry_prefix: str = "psi",
                                telemetry: Telemetry | None = None) -> ZSpacePartialBundle:
    """`weights_partial_from_dlpack`, with the library's name in origin "compat:<adapter>" and telemetry prefix.

    Parameters
    ----------
    adapter : str, optional
        Such as "torch" or "jax". It names the library and chooses nothing: a tensor says itself where it lies.
    """
    origin, prefix = ("compat", telemetry_prefix) if adapter is None else (
        f"compat:{adapter}", f"{telemetry_prefix}.{adapter}")
    return _partial(weights, label or origin, prefix, bundle_weight, weight_gain, stability_gain, focus_gain, telemetry)


def _partial(weights: Any, origin: str, prefix: str, bundle_weight: float, weight_gain: float, stability_gain: float,
             focus_gain: float, telemetry: Telemetry | None) -> ZSpacePartialBundle:
    """See `weights_partial_from_dlpack`."""
    gains = {"weight_gain": weight_gain, "stability_gain": stability_gain, "focus_gain": focus_gain}
    for name, gain in gains.items():
        if not math.isfinite(gain):
            raise ValueError(f"{name} is {gain}: it must be finite")
    w, s, f = (max(0.0, float(gain)) for gain in gains.values())
    x = summarise_weights(weights)
    n = max(x.count, 1)
    scale = max(1e-9, x.amplitude + x.energy / n)
    metrics: dict[str, float] = {
        "speed": math.tanh(x.mean + f * x.balance), "memory": math.tanh(w * x.l2 / n),
        "stability": math.tanh(s * (1 - x.variance / scale)), "frac": math.tanh(x.linf / (x.l2 + 1e-9)),
        "drs": math.tanh(x.balance)}
    imported = ("l1", "l2", "linf", "mean", "variance", "energy", "count", "amplitude", "balance", "focus")
    metrics |= {f"import_{name}": float(getattr(x, name)) for name in imported}
    readings = {f"{prefix}.{name}": float(getattr(x, name)) for name in REPORTED}
    return ZSpacePartialBundle(metrics, bundle_weight, origin, readings | flatten(telemetry or {}))


def infer_weights_from_dlpack(z_state: Sequence[float], weights: Any, *, alpha: float = ALPHA,
                              smoothing: float = SMOOTHING, weight_gain: float = 1.25, stability_gain: float = 1.5,
                              focus_gain: float = 1.0, telemetry_prefix: str = "psi",
                              telemetry: Telemetry | None = None, label: str | None = None,
                              bundle_weight: float = 1.0) -> ZSpaceInference:
    """The posterior of a latent and weights: `weights_partial_from_dlpack`, then `infer_with_partials`.

    `telemetry` joins the statistics of the weights, which lower the confidence as all telemetry does.
    """
    partial = weights_partial_from_dlpack(
        weights, bundle_weight=bundle_weight, label=label, weight_gain=weight_gain, stability_gain=stability_gain,
        focus_gain=focus_gain, telemetry_prefix=telemetry_prefix)
    return infer_with_partials(z_state, partial, alpha=alpha, smoothing=smoothing, telemetry=telemetry)


def infer_weights_from_compat(z_state: Sequence[float], weights: Any, *, adapter: str | None = None,
                              alpha: float = ALPHA, smoothing: float = SMOOTHING, weight_gain: float = 1.25,
                              stability_gain: float = 1.5, focus_gain: float = 1.0, telemetry_prefix: str = "psi",
                              telemetry: Telemetry | None = None, label: str | None = None,
                              bundle_weight: float = 1.0) -> ZSpaceInference:
    """`infer_weights_from_dlpack` for `weights_partial_from_compat`."""
    partial = weights_partial_from_compat(
        weights, adapter=adapter, bundle_weight=bundle_weight, label=label, weight_gain=weight_gain,
        stability_gain=stability_gain, focus_gain=focus_gain, telemetry_prefix=telemetry_prefix)
    return infer_with_partials(z_state, partial, alpha=alpha, smoothing=smoothing, telemetry=telemetry)
