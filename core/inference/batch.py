"""Decode, blend and infer for many latents at once: the same formulas along an axis, on the host or on a backend.

Values of the host (anything that NumPy takes) are computed with NumPy in float64; an `Array` is computed where it lies
and in its own type, and so are the values that come with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core.array import Array
from core.inference.blend import checked_strategy, checked_weights
from core.inference.names import BASIS, GRADIENT, PRIMARY, canonical
from core.inference.partials import ZSpacePartialBundle, one_basis
from core.inference.posterior import ALPHA, LATENT_BASIS, LONGEST, checked_alpha, multiplicity, spectral_sums
from core.inference.projection import SMOOTHING, checked_smoothing
from core.inference.rows import Rows, blend_rows, checked_rows, functions_of

Values = ArrayLike | Array


@dataclass(frozen=True, eq=False)
class ZSpaceDecodedMany:
    """What `decode_many` found; see `ZSpaceDecoded` for the meaning.

    Attributes
    ----------
    z_state : array [N, D]
        As given, without a copy where it was float64.
    gradient : array [N, D]
    metrics : mapping of str to array [N]
    gradient_basis : str
    barycentric : array [N, 3]
    energy, spectral_energy, parseval_relative_error : array [N]
    frac_energy, fractional_energy_ratio, spectral_centroid : array [N]
    spectral_bins : int
    """

    z_state: Rows
    metrics: Mapping[str, Rows]
    gradient: Rows
    gradient_basis: str
    barycentric: Rows
    energy: Rows
    spectral_energy: Rows
    parseval_relative_error: Rows
    frac_energy: Rows
    fractional_energy_ratio: Rows
    spectral_centroid: Rows
    spectral_bins: int


@dataclass(frozen=True, eq=False)
class ZSpaceInferredMany:
    """What `infer_many` found; see `ZSpaceInference` for the meaning.

    Attributes
    ----------
    metrics, applied : mapping of str to array [N]
    control_gradient : array [N, M], optional
    control_gradient_basis : str, optional
    barycentric : array [N, 3]
    residual, confidence, telemetry_reliability : array [N]
    residual_metric_count : int
    prior : ZSpaceDecodedMany
        The latents alone; the posterior's gradient is theirs.
    """

    metrics: Mapping[str, Rows]
    control_gradient: Rows | None
    control_gradient_basis: str | None
    barycentric: Rows
    residual: Rows
    residual_metric_count: int
    confidence: Rows
    telemetry_reliability: Rows
    prior: ZSpaceDecodedMany
    applied: Mapping[str, Rows]


def decode_many(z_states: Values, *, alpha: float = ALPHA) -> ZSpaceDecodedMany:
    """Decode N latents of one length.

    Parameters
    ----------
    z_states : array_like or Array [N, D]
        D from 1 to 4096.
    alpha : float
        Order of the fractional energy, finite and above 0.

    Raises
    ------
    ValueError
        Another shape or order, or host values that are not finite.
    """
    x = checked_rows("the latents", z_states, (None, None), squares=True)
    n = x.shape[1]
    if not 1 <= n <= LONGEST or not x.shape[0]:
        raise ValueError(f"the latents have shape {tuple(x.shape)}: give at least one, of 1 to {LONGEST} values")
    xp, alpha = functions_of(x), checked_alpha(alpha)
    whole, energy, motion, bend, gradient = xp.walk(x)
    none = xp.put(np.zeros(x.shape[0]), x)
    motion, bend = motion * (1 / max(n - 1, 1)), bend * (1 / max(n - 2, 1))
    total, high, moment, lifted = xp.spectral_sums(x, xp.put(_weights(n, alpha), x))
    tiny = xp.put(np.finfo(x.dtype).tiny, x)  # under the sums of zeros, which are all 0
    some, held = xp.maximum(total, tiny), xp.maximum(energy, tiny)
    ratio = lifted / held
    metrics = {
        "speed": xp.tanh(motion + xp.sqrt(energy) * (1 / (4 * n))),
        "memory": xp.tanh(whole * (1 / n) + energy * (1 / (4 * n))),
        "stability": xp.tanh((1.0 / (bend + 1.0) + 1.0 / (motion + 1.0)) * 1.5 - 1.0),
        "frac": xp.tanh(ratio), "drs": xp.tanh((high * 2.0 - total) / some) if n > 1 else none,
    }
    return ZSpaceDecodedMany(
        x, metrics, gradient, LATENT_BASIS, _barycentric(metrics, True).transpose(), energy, total,
        xp.absolute(total - energy) / held, lifted, ratio, moment / some, n // 2 + 1)


@lru_cache(maxsize=64)
def _weights(n: int, alpha: float) -> Rows:
    """`spectral_sums` over real and imaginary parts in turn, [4, 2 (n // 2 + 1)]."""
    return np.repeat(spectral_sums(n, alpha) * (multiplicity(n) / n), 2, axis=1)


def _barycentric(metrics: Mapping[str, Rows], bounded: bool = False) -> Rows:
    """As `core.inference.posterior.barycentric`, [3, N]; bounded metrics need no care for what is large."""
    rows = [metrics[name].reshape(1, -1) for name in ("speed", "memory", "stability")]
    xp = functions_of(rows[0])
    three = xp.concat(rows, 0)
    if bounded:
        part = xp.log1p(xp.exp(three))
        return part / part.sum(axis=0, keepdims=True)
    top = three.max(axis=0, keepdims=True)
    scaled = xp.softplus(three) / xp.maximum(top, xp.put(1.0, top))
    part = xp.where(xp.greater(xp.put(-20.0, top), top) + three * 0.0, xp.exp(three - top), scaled)
    return part / part.sum(axis=0, keepdims=True)


def _named(metrics: Mapping[str, Any], like: Rows, basis: str | None = None,
           at: int = 0) -> tuple[dict[str, Rows], Rows | None, str | None]:
    """Scalars [N], gradient [N, M] and basis of what was observed of N latents, numbers standing for all of them."""
    count, xp = like.shape[0], functions_of(like)
    scalars: dict[str, Rows] = {}
    gradient = None
    basis = one_basis(metrics, basis)
    for key, value in metrics.items():
        if key == BASIS:
            continue
        try:
            name = canonical(key)
        except KeyError as error:
            raise ValueError(f"partial {at}: {error.args[0]}") from None
        if name in scalars or (name == GRADIENT and gradient is not None):
            raise ValueError(f"partial {at}: {key!r} and another name both mean {name!r}: give one of them")
        if name == GRADIENT:
            gradient = checked_rows(key, value, (count, None))
            gradient = gradient if isinstance(gradient, Array) else xp.put(gradient, like)
            continue
        one = np.full(count, value, np.float64) if isinstance(value, (int, float)) else value
        found = checked_rows(key, one, (count,))
        scalars[name] = found if isinstance(found, Array) else xp.put(found, like)
    if basis is not None and gradient is None:
        raise ValueError(f"partial {at}: the gradient basis {basis!r} has no gradient: give one, or drop the basis")
    return scalars, gradient, basis


def blend_many(partials: Sequence[Mapping[str, Any] | ZSpacePartialBundle | None], *,
               weights: Sequence[float] | None = None, strategy: str = "mean") -> dict[str, Any]:
    """Blend partials of N latents each, as `blend_zspace_partials` does for one.

    Parameters
    ----------
    partials : sequence of mapping, ZSpacePartialBundle or None
        Metrics by name or alias: arrays [N], or numbers, which stand for all latents; `gradient` [N, M].
    weights : sequence of float, optional
        One for each partial, in place of the bundles' own; 0 or less leaves it out.
    strategy : str
        "mean", "sum", "median", "last", "max" or "min".

    Returns
    -------
    dict
        Arrays by canonical name; `gradient` and `gradient_basis` if any.

    Raises
    ------
    ValueError
        As `blend_zspace_partials`, with gradients of one length; or no array among all values.
    """
    checked_strategy(strategy, "strict", None)
    bundles = [None if p is None else p if isinstance(p, ZSpacePartialBundle) else ZSpacePartialBundle(p)
               for p in partials]
    own = [1.0 if b is None else b.weight for b in bundles]
    given = checked_weights(own if weights is None else weights, len(own))
    active = {i: b for i, b in enumerate(bundles) if b is not None and given[i] > 0}
    like = _like([value for b in active.values() for key, value in b.metrics.items() if key != BASIS])
    spoken: dict[str, list[tuple[Rows, float]]] = {}
    bases = set()
    for i, bundle in active.items():
        scalars, gradient, basis = _named(bundle.metrics, like, bundle.gradient_basis, i)
        if gradient is not None:
            scalars[GRADIENT] = gradient
            bases.add(basis)
        for name, values in scalars.items():
            spoken.setdefault(name, []).append((values, given[i]))
    if len(bases) > 1 or len({values.shape for values, _ in spoken.get(GRADIENT, [])}) > 1:
        raise ValueError(f"the gradients have the bases {', '.join(map(str, bases))} and the shapes "
                         f"{', '.join(str(tuple(v.shape)) for v, _ in spoken[GRADIENT])}: bring them to one of each")
    out = {name: blend_rows([v for v, _ in said], [w for _, w in said], strategy) for name, said in spoken.items()}
    for name, values in out.items():
        if not isinstance(values, Array) and not np.isfinite(values).all():
            raise ValueError(f"{name!r} fused by {strategy} is beyond the floats: scale it or its weights")
    return {**out, BASIS: bases.pop()} if bases - {None} else out


def _like(values: Sequence[Any]) -> Rows:
    """An array as all shall be: one of the array layer if any is."""
    arrays: list[Rows] = [v for v in values if isinstance(v, Array)]
    arrays = arrays or [np.asarray(v, np.float64) for v in values if not isinstance(v, (int, float))]
    if not arrays:
        raise ValueError("there is no array among the partials' values, so the number of latents is unknown: give one "
                         "[N], or call blend_zspace_partials")
    return arrays[0]


def infer_many(z_states: Values, partial: Mapping[str, Any] | None = None, *, alpha: float = ALPHA,
               smoothing: float = SMOOTHING, telemetry: Mapping[str, Any] | None = None) -> ZSpaceInferredMany:
    """Decode N latents and project what was observed of each, as `infer_from_partial` does for one.

    Parameters
    ----------
    z_states : array_like or Array [N, D]
        D from 1 to 4096.
    partial : mapping, optional
        Metrics by name or alias: arrays [N], or numbers, which stand for all latents; `gradient` [N, M] with
        `gradient_basis`. What `blend_many` returns is one.
    alpha, smoothing : float
        As in `infer_from_partial`.
    telemetry : mapping, optional
        Flat: names to arrays [N] or numbers.

    Raises
    ------
    ValueError
        As `decode_many` and `infer_from_partial`.
    """
    smoothing, prior = checked_smoothing(smoothing), decode_many(z_states, alpha=alpha)
    x = prior.z_state
    xp, scalars, gradient, basis = functions_of(x), *_named(partial or {}, x)
    if gradient is not None and basis is None:
        raise ValueError("the observed gradients name no basis: say what their coordinates are with gradient_basis")
    metrics = {**prior.metrics, **scalars}
    off = [scalars[name] - prior.metrics[name] for name in PRIMARY if name in scalars]
    none = xp.put(np.zeros(x.shape[0]), x)
    residual = xp.sqrt(sum((d * d for d in off), none) * (1 / max(len(off), 1)))
    mixed = prior.barycentric.transpose() * smoothing + _barycentric(metrics) * (1 - smoothing)
    reliability = none + 1.0 if not telemetry else _reliability(telemetry, x)
    return ZSpaceInferredMany(
        metrics, gradient, basis, (mixed / mixed.sum(axis=0, keepdims=True)).transpose(), residual, len(off),
        xp.exp(-residual) * reliability, reliability, prior, scalars)


def _reliability(telemetry: Mapping[str, Any], x: Rows) -> Rows:
    """clamp(1 + 0.25 focus, 0.75, 1) / (1 + variance) of each latent's telemetry [N]."""
    xp, count = functions_of(x), x.shape[0]
    readings = []
    for name, value in telemetry.items():
        if isinstance(value, Mapping):
            raise ValueError(f"telemetry {name!r} is nested: give flat names to numbers or arrays [N]")
        one = np.full(count, value, np.float64) if isinstance(value, (int, float)) else value
        found = checked_rows(f"telemetry {name!r}", one, (count,))
        readings.append((found if isinstance(found, Array) else xp.put(found, x)).reshape(1, -1))
    table = xp.concat(readings, 0)
    m = table.shape[0]
    off = table - table.sum(axis=0, keepdims=True) * (1 / m)
    variance = (off * off).sum(axis=0) * (1 / m)
    balance = table.sum(axis=0) / (xp.absolute(table).sum(axis=0) + 1e-9)  # positive - negative over their sum
    focus = xp.tanh(balance * 1.5)
    one = xp.put(1.0, x)
    clamped = -xp.maximum(-xp.maximum(focus * 0.25 + 1.0, one * 0.75), -one)
    return clamped / (variance + 1.0)
