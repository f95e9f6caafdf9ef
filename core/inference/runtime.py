"""Inference that goes on: a runtime that remembers observations, a pipeline that gathers partials, a decorator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from types import MappingProxyType
from typing import Any, overload

from core.inference.blend import audit, blend_zspace_partials, checked_strategy, checked_weights, fuse
from core.inference.names import BASIS, GRADIENT, is_metric
from core.inference.partials import Observed, Partial, ZSpacePartialBundle, merged, number
from core.inference.posterior import ALPHA, ZSpacePosterior
from core.inference.projection import (
    SMOOTHING,
    ZSpaceInference,
    apply_observed,
    checked_smoothing,
    infer_from_partial,
    seen_in,
)
from core.inference.telemetry import Telemetry, flatten, frame_of
from core.session import note_inference

TOPOS_BASIS = "spiraltorch.topos.control_signal.axes.v1"
TOPOS_AXES = ("openness", "guard_strength", "stability_hint", "exploration_hint", "depth_pressure", "volume_pressure")


class ZSpaceInferenceRuntime:
    """A latent whose observations come one by one; each call infers with all that is known.

    A call that raises changes nothing. Within a session, the last inference is its feedback (`st.z.feedback`).

    Parameters
    ----------
    z_state : sequence of float [n]
        1 to 4096 finite values.
    alpha, smoothing : float
        As in `infer_from_partial`.
    accumulate : bool
        Keep earlier observations beside new ones (True), or replace them (False).
    telemetry : mapping or ZSpaceTelemetryFrame, optional
        To begin with; what calls bring is merged into it.

    Raises
    ------
    ValueError, TypeError
        As `infer_from_partial`.
    """

    def __init__(self, z_state: Sequence[float], *, alpha: float = ALPHA, smoothing: float = SMOOTHING,
                 accumulate: bool = True, telemetry: Telemetry | None = None) -> None:
        self._posterior = ZSpacePosterior(z_state, alpha=alpha)
        self._smoothing, self.accumulate = checked_smoothing(smoothing), accumulate
        self._seen: Observed = {}, None, None
        self._telemetry = {} if telemetry is None else flatten(telemetry)

    @property
    def posterior(self) -> ZSpacePosterior:
        """The latent."""
        return self._posterior

    @property
    def smoothing(self) -> float:
        return self._smoothing

    @property
    def cached_observations(self) -> Mapping[str, Any]:
        """The observations by canonical name, with the gradient if any."""
        scalars, gradient, _ = self._seen
        return MappingProxyType(merged(scalars, gradient, None))

    @property
    def gradient_basis(self) -> str | None:
        """Of the cached gradient."""
        return self._seen[2]

    @property
    def telemetry(self) -> Mapping[str, float]:
        """The merged telemetry, flat."""
        return MappingProxyType(self._telemetry)

    def set_telemetry(self, telemetry: Telemetry | None) -> None:
        """Replace the telemetry; None forgets it."""
        self._telemetry = {} if telemetry is None else flatten(telemetry)

    def clear(self) -> None:
        """Forget the observations; the telemetry stays."""
        self._seen = {}, None, None

    def update(self, partial: Mapping[str, Any] | None = None, *, gradient_basis: str | None = None,
               telemetry: Telemetry | None = None) -> ZSpaceInference:
        """Take observations and telemetry in, and infer.

        Raises
        ------
        ValueError, TypeError
            As `infer_from_partial`; nothing is taken in then.
        """
        scalars, gradient, basis = seen_in(partial, gradient_basis)
        if self.accumulate:
            before, vector, its = self._seen
            scalars = {**before, **scalars}
            gradient, basis = (vector, its) if gradient is None else (gradient, basis)
        told = self._telemetry if telemetry is None else dict(sorted({**self._telemetry, **flatten(telemetry)}.items()))
        found = apply_observed(self._posterior.decode(), (scalars, gradient, basis), self._smoothing,
                               frame_of(told) if told else None)
        self._seen, self._telemetry = (scalars, gradient, basis), told
        note_inference(found)
        return found

    infer = update


class ZSpaceInferencePipeline:
    """Partials gathered from many sides, then blended and projected at once.

    Parameters
    ----------
    z_state : sequence of float [n]
        1 to 4096 finite values.
    alpha, smoothing, strategy, gradient_alignment, metric_gradient_dimension
        As in `infer_with_partials`.
    telemetry : mapping or ZSpaceTelemetryFrame, optional
        Merged after the partials' own.

    Raises
    ------
    ValueError, TypeError
        As `infer_with_partials`.
    """

    def __init__(self, z_state: Sequence[float], *, alpha: float = ALPHA, smoothing: float = SMOOTHING,
                 strategy: str = "mean", gradient_alignment: str = "strict",
                 metric_gradient_dimension: int | None = None, telemetry: Telemetry | None = None) -> None:
        checked_strategy(strategy, gradient_alignment, metric_gradient_dimension)
        self.posterior = ZSpacePosterior(z_state, alpha=alpha)
        self.smoothing, self.strategy = checked_smoothing(smoothing), strategy
        self.gradient_alignment = gradient_alignment
        self.metric_gradient_dimension = metric_gradient_dimension
        self._partials: list[ZSpacePartialBundle] = []
        self.set_telemetry(telemetry)

    def set_telemetry(self, telemetry: Telemetry | None) -> None:
        """Replace the pipeline's own telemetry; None forgets it."""
        self._telemetry = None if telemetry is None else flatten(telemetry)

    def clear(self) -> None:
        """Forget the gathered partials; the telemetry stays."""
        self._partials.clear()

    def add_partial(self, partial: Partial, *, weight: float | None = None, origin: str | None = None,
                    telemetry: Mapping[str, Any] | None = None,
                    gradient_basis: str | None = None) -> ZSpacePartialBundle:
        """Gather a mapping or a bundle; what is named here replaces the bundle's own.

        Raises
        ------
        ValueError, TypeError
            As `ZSpacePartialBundle.resolved` and `core.inference.telemetry.merge`; nothing is gathered then.
        """
        bundle = partial if isinstance(partial, ZSpacePartialBundle) else ZSpacePartialBundle(partial)
        changes = {"weight": weight, "origin": origin, "telemetry": telemetry, BASIS: gradient_basis}
        bundle = replace(bundle, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
        bundle.resolved()
        checked_weights([bundle.weight], 1)
        if bundle.telemetry is not None:
            flatten(bundle.telemetry)
        self._partials.append(bundle)
        return bundle

    def add_canvas_snapshot(self, snapshot: Any, **kwargs: Any) -> ZSpacePartialBundle:
        """Gather `canvas_partial_from_snapshot(snapshot, **kwargs)`."""
        from core.inference.derived import canvas_partial_from_snapshot

        return self.add_partial(canvas_partial_from_snapshot(snapshot, **kwargs), origin="canvas")

    def add_coherence_diagnostics(self, diagnostics: Any, **kwargs: Any) -> ZSpacePartialBundle:
        """Gather `coherence_partial_from_diagnostics(diagnostics, **kwargs)`."""
        from core.inference.coherence import coherence_partial_from_diagnostics

        return self.add_partial(coherence_partial_from_diagnostics(diagnostics, **kwargs), origin="coherence")

    def add_dlpack_weights(self, weights: Any, **kwargs: Any) -> ZSpacePartialBundle:
        """Gather `weights_partial_from_dlpack(weights, **kwargs)`."""
        from core.inference.dlpack import weights_partial_from_dlpack

        return self.add_partial(weights_partial_from_dlpack(weights, **kwargs))

    def add_compat_weights(self, weights: Any, *, adapter: str | None = None, **kwargs: Any) -> ZSpacePartialBundle:
        """Gather `weights_partial_from_compat(weights, adapter=adapter, **kwargs)`."""
        from core.inference.dlpack import weights_partial_from_compat

        return self.add_partial(weights_partial_from_compat(weights, adapter=adapter, **kwargs))

    def add_elliptic_telemetry(self, telemetry: Any, *, gradient_alignment: str | None = None,
                               **kwargs: Any) -> ZSpacePartialBundle:
        """Gather `elliptic_partial_from_telemetry(telemetry, **kwargs)`, aligned as the pipeline is by default."""
        from core.inference.derived import elliptic_partial_from_telemetry

        alignment = self.gradient_alignment if gradient_alignment is None else gradient_alignment
        return self.add_partial(elliptic_partial_from_telemetry(telemetry, gradient_alignment=alignment, **kwargs))

    def add_topos_control(self, topos: Mapping[str, Any] | None = None, *, bundle_weight: float = 1.0,
                          origin: str | None = "topos:control", telemetry_prefix: str = "topos",
                          gradient_dim: int = len(TOPOS_AXES), **signal_options: Any) -> ZSpacePartialBundle:
        """Gather a control signal: its metrics by name, and all its readings as telemetry under the prefix.

        Parameters
        ----------
        topos : mapping, optional
            Readings by name; those that `TOPOS_AXES` name, if all are there, make the gradient, in that order.
        gradient_dim : int
            The gradient's length: fewer axes, or zeros after them.
        signal_options
            More readings; they overwrite those of `topos`.
        """
        signal = {**(topos or {}), **signal_options}
        metrics, _ = _sorted_out(signal)
        if all(axis in signal for axis in TOPOS_AXES):
            metrics |= {GRADIENT: _fitted([number(axis, signal[axis]) for axis in TOPOS_AXES], gradient_dim),
                        BASIS: TOPOS_BASIS}
        return self.add_partial(ZSpacePartialBundle(metrics, bundle_weight, origin, {telemetry_prefix: signal}))

    def add_geometry_probes(self, probes: Mapping[str, Mapping[str, Any]] | Iterable[Mapping[str, Any]], *,
                            max_probes: int | None = None, bundle_weight: float = 1.0,
                            telemetry_prefix: str = "geometry", gradient_dim: int = 8, include_consensus: bool = False,
                            consensus_only: bool = False, consensus_weight: float | None = None,
                            consensus_strategy: str = "mean", consensus_origin: str = "geometry:consensus",
                            return_metadata: bool = False) -> Any:
        """Gather probes: of each its metrics by name, the rest as telemetry, and if asked their consensus.

        Parameters
        ----------
        probes : mapping of name to probe, or iterable of probes
            A probe is a mapping of readings; `gradient` and `gradient_basis` may be among them.
        max_probes : int, optional
            Take the first so many.
        gradient_dim : int
            Gradients are cut to this length, or filled up with zeros.
        include_consensus, consensus_only : bool
            Gather the probes' blend by `consensus_strategy` as well, or it alone.
        return_metadata : bool
            Return a pair: the bundles, and the counts `probe_count`, `used_count` and `consensus`.

        Returns
        -------
        list of ZSpacePartialBundle

        Raises
        ------
        ValueError, TypeError
            As `add_partial`; nothing is gathered then.
        """
        named = list(probes.items()) if isinstance(probes, Mapping) else [(str(i), p) for i, p in enumerate(probes)]
        made = []
        for name, probe in named[:max_probes]:
            metrics, rest = _sorted_out(probe)
            if GRADIENT in metrics:
                metrics[GRADIENT] = _fitted(metrics[GRADIENT], gradient_dim)
            made.append(ZSpacePartialBundle(metrics, bundle_weight, f"geometry:{name}",
                                            {telemetry_prefix: {name: rest}}))
        agreed: list[ZSpacePartialBundle] = []
        if made and (include_consensus or consensus_only):
            blend = blend_zspace_partials(made, strategy=consensus_strategy)
            weight = bundle_weight if consensus_weight is None else consensus_weight
            agreed = [ZSpacePartialBundle(blend, weight, consensus_origin)]
        before = len(self._partials)
        try:
            bundles = [self.add_partial(b) for b in ([] if consensus_only else made) + agreed]
        except (ValueError, TypeError):
            del self._partials[before:]
            raise
        counts = {"probe_count": len(named), "used_count": len(made), "consensus": bool(agreed)}
        return (bundles, counts) if return_metadata else bundles

    def infer(self, *, strategy: str | None = None, gradient_alignment: str | None = None,
              weights: Sequence[float] | None = None, clear: bool = True,
              telemetry: Telemetry | None = None) -> ZSpaceInference:
        """Blend what was gathered and project it.

        Parameters
        ----------
        strategy, gradient_alignment : str, optional
            In place of the pipeline's.
        weights : sequence of float, optional
            In place of the bundles'.
        clear : bool
            Forget the gathered partials afterwards; not when this raises.
        telemetry : mapping or ZSpaceTelemetryFrame, optional
            Merged last, for this call.

        Raises
        ------
        ValueError, TypeError
            As `infer_with_partials`.
        """
        strategy, alignment = strategy or self.strategy, gradient_alignment or self.gradient_alignment
        readings = [t for t in (self._telemetry, telemetry) if t is not None]
        fused = fuse(self._partials, weights, strategy, alignment, self.metric_gradient_dimension, readings)
        frame = None if fused.telemetry is None else frame_of(fused.telemetry.payload)
        found = apply_observed(self.posterior.decode(), (fused.scalars, fused.gradient, fused.basis), self.smoothing,
                               frame, audit(fused, self._partials, strategy, alignment))
        if clear:
            self.clear()
        note_inference(found)
        return found

    def infer_and_step(self, trainer: Any, *, strategy: str | None = None, gradient_alignment: str | None = None,
                       weights: Sequence[float] | None = None, clear: bool = True, telemetry: Telemetry | None = None,
                       prefer_applied: bool = True,
                       adapter: Callable[[ZSpaceInference], Any] | None = None) -> tuple[ZSpaceInference, float]:
        """Infer, and let a trainer step on it.

        Parameters
        ----------
        trainer
            Has ``step(metrics, *, prefer_applied)``, as `ZSpaceTrainer`; with an adapter, ``step(metrics)``.
        adapter : callable, optional
            Makes of the inference what the trainer takes.

        Returns
        -------
        (inference, loss)

        Raises
        ------
        TypeError
            The trainer cannot step.
        ValueError
            As `infer`. Whatever raises, the gathered partials stay.
        """
        if not callable(getattr(trainer, "step", None)):
            raise TypeError(f"a {type(trainer).__name__} cannot step: pass a ZSpaceTrainer, or anything with step(...)")
        found = self.infer(strategy=strategy, gradient_alignment=gradient_alignment, weights=weights, clear=False,
                           telemetry=telemetry)
        loss = float(trainer.step(adapter(found)) if adapter else trainer.step(found, prefer_applied=prefer_applied))
        if clear:
            self.clear()
        return found, loss


def _sorted_out(readings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Readings that are metrics by their names, and the others."""
    metrics = {k: v for k, v in readings.items() if k == BASIS or is_metric(k)}
    return metrics, {k: v for k, v in readings.items() if k not in metrics}


def _fitted(values: Iterable[float], length: int) -> list[float]:
    """So many values: cut, or zeros added."""
    found = list(values)[:length]
    return found + [0.0] * (length - len(found))


Compiled = Callable[..., ZSpaceInference]


@overload
def compile_inference(fn: Callable[..., Mapping[str, Any] | None], *, alpha: float = ..., smoothing: float = ...,
                      gradient_basis: str | None = ...) -> Compiled: ...
@overload
def compile_inference(fn: None = None, *, alpha: float = ..., smoothing: float = ...,
                      gradient_basis: str | None = ...) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile_inference(fn: Callable[..., Mapping[str, Any] | None] | None = None, *, alpha: float = ALPHA,
                      smoothing: float = SMOOTHING, gradient_basis: str | None = None) -> Any:
    """Make of ``fn(*args, **kwargs) -> observations`` an inference ``f(z, *args, telemetry=None, **kwargs)``.

    Use it on a function or as a decorator, with or without arguments.

    Parameters
    ----------
    fn : callable
        Returns a mapping of observed metrics, or None for nothing observed.
    alpha, smoothing, gradient_basis
        As in `infer_from_partial`.

    Raises
    ------
    TypeError
        No callable; when called, what `fn` returns is no mapping.
    """
    if fn is None:
        return lambda given: compile_inference(given, alpha=alpha, smoothing=smoothing, gradient_basis=gradient_basis)
    if not callable(fn):
        raise TypeError(f"compile_inference got a {type(fn).__name__}: give it a function, or use it as a decorator")

    @wraps(fn)
    def infer(z_state: Sequence[float], /, *args: Any, telemetry: Telemetry | None = None,
              **kwargs: Any) -> ZSpaceInference:
        partial = fn(*args, **kwargs)
        if partial is not None and not isinstance(partial, Mapping):
            raise TypeError(f"{getattr(fn, '__name__', fn)} returned a {type(partial).__name__}: a compiled inference "
                            "returns a mapping of metrics, or None")
        return infer_from_partial(z_state, partial, alpha=alpha, smoothing=smoothing, gradient_basis=gradient_basis,
                                  telemetry=telemetry)
    return infer
