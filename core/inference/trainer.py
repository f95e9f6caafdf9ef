"""`ZSpaceTrainer`: Adam on one latent vector z, led by gradients that others observe."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.inference.names import GRADIENT, canonical
from core.inference.partials import MEASURED, ZMetrics, ZSpacePartialBundle, number, numbers
from core.inference.posterior import LATENT_BASIS, LONGEST
from core.inference.projection import ZSpaceInference, infer_from_partial
from core.inference.telemetry import ZSpaceTelemetryFrame, flatten, merge
from core.inference.topos import PREFIX, read_topos

CONTRACT = "spiraltorch.zspace_meta_optimizer.v2"  # of a state: both sides read each other's
PROJECTIONS = ("tile_or_truncate", "exact")
VECTORS = ("z", "moment", "velocity")
WEIGHTS = ("lam_speed", "lam_mem", "lam_stab", "lam_frac", "lam_drs")
Sample: TypeAlias = "Mapping[str, Any] | ZMetrics | ZSpaceInference"
Partial: TypeAlias = "Mapping[str, Any] | ZSpacePartialBundle | None"
Telemetry: TypeAlias = "Mapping[str, Any] | ZSpaceTelemetryFrame | None"
OnStep: TypeAlias = "Callable[[int, list[float], float], object] | None"
Vector = NDArray[np.float64]


def fractional_energy(z: ArrayLike, alpha: float = 0.35) -> tuple[float, Vector]:
    """R(z) = mean_k (k / K)^(2 alpha) |X_k|^2 over k = 0 .. K = floor(n / 2), X the DFT of z, and its gradient.

    dR/dz_i = 2 / (K + 1) Re sum_k (k / K)^(2 alpha) conj(X_k) exp(-2 pi j k i / n). Both are 0 for a single value.
    """
    x = np.asarray(z, np.float64)
    n = len(x)
    if n <= 1:
        return 0.0, np.zeros(n)
    weight, spectrum = _heights(n, alpha), np.fft.rfft(x)
    energy = float(np.mean(weight * (spectrum.real**2 + spectrum.imag**2)))
    return energy, 2 / len(weight) * np.fft.fft(weight * spectrum.conj(), n).real


@lru_cache(maxsize=64)
def _heights(n: int, alpha: float) -> Vector:
    """(k / K)^(2 alpha)."""
    k = np.arange(n // 2 + 1)
    return (k / k[-1]) ** (2 * alpha)


@dataclass(frozen=True)
class _State:
    """Everything that a step changes; it is replaced as a whole, so what fails changes nothing."""

    z: Vector
    moment: Vector
    velocity: Vector
    step: int
    settings: dict[str, Any]
    telemetry: dict[str, float]


class ZSpaceTrainer:
    """Move a latent z, zeros at first, against gradients that are observed with each sample.

    A step takes g = P(tanh(observed gradient)) + lam_frac grad R / max(1, |grad R|_inf), lets topos control push and
    cut it (see `core.inference.topos`), and makes one bias-corrected Adam step (Kingma & Ba 2015). P repeats or cuts
    the gradient to z's length; an empty one is zeros. The step returns, for the z before it,

        J = lam_speed tanh(speed) + lam_mem tanh(memory) + lam_stab tanh(stability) + lam_drs tanh(drs)
            + topos_control_gain tanh(topos pressure) + lam_frac R(z).

    Speed, memory, stability and drs are measurements of something else than z: as functions of z they are constants, so
    they count in J and have no gradient. What moves z is the gradient observed beside them, and R. A metric that is
    missing counts 0.

    Parameters
    ----------
    z_dim : int
        Length D of z, 1 to 4096.
    alpha : float
        Order of R (see `fractional_energy`) and of the posterior in `infer_partial`, above 0.
    lam_speed, lam_mem, lam_stab, lam_frac, lam_drs : float
        Weights in J, at least 0.
    lr, beta1, beta2, eps : float
        Of Adam: lr and eps above 0, the betas from 0 to below 1.
    topos_control_gain : float
        How far telemetry named ``topos.*`` steers, at least 0.
    gradient_projection : {"tile_or_truncate", "exact"}
        "exact" refuses a gradient whose length is not D.

    Attributes
    ----------
    last_inference : ZSpaceInference or None
        The newest one made or taken.
    last_optimizer_report : dict or None
        Terms of J and what became of the gradient in the newest step.
    last_telemetry, last_topos_control : dict
        Flat telemetry of the newest step, and its ``topos.*`` part without that prefix.

    Raises
    ------
    ValueError
        A setting outside its range.
    """

    def __init__(self, z_dim: int = 4, *, alpha: float = 0.35, lam_speed: float = 0.5, lam_mem: float = 0.3,
                 lam_stab: float = 0.2, lam_frac: float = 0.1, lam_drs: float = 0.0, lr: float = 1e-2,
                 beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, topos_control_gain: float = 0.0,
                 gradient_projection: str = "tile_or_truncate") -> None:
        if type(z_dim) is not int or not 1 <= z_dim <= LONGEST:
            raise ValueError(f"z_dim is {z_dim!r:.40}: it must be a whole number from 1 to {LONGEST}")
        settings = _checked({"alpha": alpha, "lambda": (lam_speed, lam_mem, lam_stab, lam_frac, lam_drs), "lr": lr,
                             "beta1": beta1, "beta2": beta2, "eps": eps, "topos_control_gain": topos_control_gain,
                             "gradient_projection": gradient_projection})
        zeros = np.zeros(z_dim)
        self._state = _State(zeros, zeros, zeros, 0, settings, {})
        self.last_inference: ZSpaceInference | None = None
        self.last_optimizer_report: dict[str, Any] | None = None

    @property
    def state(self) -> list[float]:
        """A copy of z."""
        return self._state.z.tolist()

    @property
    def last_telemetry(self) -> dict[str, float]:
        """See the class."""
        return dict(self._state.telemetry)

    @property
    def last_topos_control(self) -> dict[str, float]:
        """See the class."""
        return {k.removeprefix(PREFIX): v for k, v in self._state.telemetry.items() if k.startswith(PREFIX)}

    # --- steps --------------------------------------------------------------------------------------------------------

    def step(self, metrics: Sample, *, prefer_applied: bool = True) -> float:
        """One update; returns J for the z before it.

        Parameters
        ----------
        metrics
            A mapping of metrics, with `telemetry` among them where there is any, a `ZMetrics`, or an inference, of
            which `prefer_applied` takes the metrics with the observations in, not those of its latent alone.

        Raises
        ------
        TypeError
            Something else.
        KeyError
            A metric that nobody knows.
        ValueError
            A gradient tagged with a basis other than z's own coordinates, of a wrong length, or missing where its basis
            is named; a number that is not finite. Nothing changes then.
        """
        observed = _observe(metrics, prefer_applied)
        old, s = self._state, self._state.settings
        telemetry = flatten(observed.telemetry or {})
        topos = read_topos(telemetry, s["topos_control_gain"])
        seen = self._gradient(observed)
        speed, memory, stability, frac, drs = s["lambda"]
        frac *= topos.regularization_scale
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            energy, slope = fractional_energy(old.z, s["alpha"])
            plain = seen + frac * slope / max(1.0, float(np.abs(slope).max()))
            gradient = topos.steer(plain)
            new = self._adam(gradient, s["lr"] * topos.learning_rate_scale)
        terms = {"speed_term": speed * math.tanh(observed.speed), "memory_term": memory * math.tanh(observed.memory),
                 "stability_term": stability * math.tanh(observed.stability),
                 "drift_response_term": drs * math.tanh(observed.drs),
                 "topos_term": s["topos_control_gain"] * math.tanh(topos.pressure), "fractional_term": frac * energy}
        objective = sum(terms.values())
        if not (math.isfinite(objective) and np.isfinite(new.z).all()):
            raise ValueError(f"the objective is {objective} where z reaches {np.abs(old.z).max():g} and would reach "
                             f"{np.abs(new.z).max():g}, so nothing was changed: reset() or load a state of smaller "
                             "numbers")
        self._state = replace(new, telemetry=telemetry)
        if isinstance(metrics, ZSpaceInference):
            self.last_inference = metrics
        self.last_optimizer_report = {
            "objective": {"objective_before": objective, **terms},
            "gradient": {"observed": list(observed.gradient or ()), "projected_normalized": seen.tolist(),
                         "before_clip": plain.tolist(), "applied": gradient.tolist(),
                         "projection": s["gradient_projection"]},
            "fractional_regularizer": {"energy": energy, "order": s["alpha"], "raw_gradient": slope.tolist()},
            "topos_control": asdict(topos),
            "adam": {"step": new.step, "effective_learning_rate": s["lr"] * topos.learning_rate_scale,
                     "parameter_delta": (new.z - old.z).tolist()}}
        return objective

    def _gradient(self, observed: ZMetrics) -> Vector:
        """The observed gradient, each value in (-1, 1), at the length of z."""
        g, basis, d = np.array(observed.gradient or ()), observed.gradient_basis, len(self._state.z)
        if basis is not None:
            if not len(g):
                raise ValueError(f"gradient_basis is {basis!r}, but there is no gradient: give one, or no basis")
            if basis != LATENT_BASIS:
                raise ValueError(f"the gradient's basis is {basis!r}, but z moves in its own coordinates, "
                                 f"{LATENT_BASIS!r}: convert it, or leave the basis out to have it fitted to z")
        if len(g) != d and (basis is not None or self._state.settings["gradient_projection"] == "exact"):
            raise ValueError(f"the gradient has {len(g)} values for z's {d}: give {d}" +
                             ("" if basis else ", or use gradient_projection='tile_or_truncate'"))
        return np.tanh(np.resize(g, d)) if len(g) else np.zeros(d)

    def _adam(self, g: Vector, rate: float) -> _State:
        """The state after z -= rate m / (sqrt(v) + eps), with m and v corrected for their start at 0."""
        old, s, n = self._state, self._state.settings, self._state.step + 1
        moment = s["beta1"] * old.moment + (1 - s["beta1"]) * g
        velocity = s["beta2"] * old.velocity + (1 - s["beta2"]) * g * g
        m, v = moment / (1 - s["beta1"] ** n), velocity / (1 - s["beta2"] ** n)
        return replace(old, z=old.z - rate * m / (np.sqrt(v) + s["eps"]), moment=moment, velocity=velocity, step=n)

    def step_batch(self, metrics: Iterable[Sample]) -> list[float]:
        """One step a sample, in order; returns their objectives. All or nothing: a bad sample undoes the others."""
        before = self._state, self.last_inference, self.last_optimizer_report
        try:
            return [self.step(sample) for sample in metrics]
        except BaseException:
            self._state, self.last_inference, self.last_optimizer_report = before
            raise

    def infer_partial(self, partial: Partial, *, alpha: float | None = None, smoothing: float = 0.35,
                      gradient_basis: str | None = None, telemetry: Telemetry = None) -> ZSpaceInference:
        """The posterior of z and a partial (see `infer_from_partial`), with the trainer's own alpha by default."""
        found = self._infer(partial, alpha, smoothing, gradient_basis, telemetry)
        self.last_inference = found
        return found

    def _infer(self, partial: Partial, alpha: float | None, smoothing: float, gradient_basis: str | None,
               telemetry: Telemetry) -> ZSpaceInference:
        if isinstance(partial, ZSpacePartialBundle):
            beside = partial.telemetry_payload()
            telemetry = telemetry if beside is None else merge(beside, telemetry).payload
            partial = partial.resolved() if partial.weight > 0 else None
        return infer_from_partial(self.state, partial, alpha=self._state.settings["alpha"] if alpha is None else alpha,
                                  smoothing=smoothing, gradient_basis=gradient_basis, telemetry=telemetry)

    def step_partial(self, partial: Partial, *, alpha: float | None = None, smoothing: float = 0.35,
                     gradient_basis: str | None = None, telemetry: Telemetry = None,
                     prefer_applied: bool = True) -> float:
        """`infer_partial`, then `step` with what it found. Where that fails nothing changes, `last_inference` neither.

        A metric that the partial lacks is then z's own, decoded; it counts in J as a number and has no gradient either.
        """
        return self.step(self._infer(partial, alpha, smoothing, gradient_basis, telemetry),
                         prefer_applied=prefer_applied)

    # --- state --------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to zeros, with the settings as they are."""
        zeros = np.zeros(len(self._state.z))
        self._state = _State(zeros, zeros, zeros, 0, self._state.settings, {})
        self.last_inference = self.last_optimizer_report = None

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` takes; JSON can hold it."""
        s = self._state
        return {"contract_version": CONTRACT, **{name: getattr(s, name).tolist() for name in VECTORS}, "step": s.step,
                "hyperparams": dict(s.settings), "last_telemetry": dict(s.telemetry)}

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> None:
        """Take over a state; a refused one changes nothing.

        Parameters
        ----------
        strict : bool
            z, moment and velocity must be there, at the length of z. Otherwise they are cut, or filled with zeros, and
            one that is missing stays as it is. What else is missing stays as it is either way.

        Raises
        ------
        KeyError
            Strict, and a vector is missing.
        ValueError
            Another contract, a wrong length, a setting outside its range, a velocity below 0, a number not finite.
        """
        old, d = self._state, len(self._state.z)
        contract = state.get("contract_version", CONTRACT)
        if contract != CONTRACT:
            raise ValueError(f"the state's contract is {contract!r:.80}, but this trainer reads {CONTRACT!r}: save it "
                             "again with the version that wrote it")
        if strict and (missing := [name for name in VECTORS if name not in state]):
            raise KeyError(f"the state lacks {', '.join(missing)}: give them, or load with strict=False")
        vectors = {name: _vector(name, state[name], d, strict) for name in VECTORS if name in state}
        step = state.get("step", old.step)
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r:.40}: it must be a whole number, at least 0")
        settings = _checked({**old.settings, **(state.get("hyperparams") or {})})
        telemetry = flatten(state["last_telemetry"] or {}) if "last_telemetry" in state else old.telemetry
        self._state = replace(old, **vectors, step=step, settings=settings, telemetry=dict(telemetry))
        self.last_inference = self.last_optimizer_report = None


def _observe(sample: Sample, prefer_applied: bool) -> ZMetrics:
    """A sample's metrics, checked; no gradient and an empty one are the same."""
    if isinstance(sample, Mapping):
        metrics = {k: v for k, v in sample.items() if k != "telemetry" and not (
            k != "gradient_basis" and canonical(k) == GRADIENT and (v is None or len(v) == 0))}
        return ZMetrics.from_mapping(metrics, telemetry=sample.get("telemetry"))
    found = ZMetrics.from_payload(sample, prefer_applied=prefer_applied)
    values: dict[str, Any] = {name: number(name, getattr(found, name)) for name in MEASURED}
    gradient = found.gradient
    return replace(found, **values,
                   gradient=numbers(GRADIENT, gradient) if gradient is not None and len(gradient) else None)


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings within their ranges; names that are not known here are left out."""
    weights = tuple(float(w) for w in settings["lambda"])
    if len(weights) != len(WEIGHTS):
        raise ValueError(f"lambda holds {len(weights)} weights: give {', '.join(WEIGHTS)}")
    numbers = {name: float(settings[name]) for name in ("alpha", "lr", "beta1", "beta2", "eps", "topos_control_gain")}
    for name in ("alpha", "lr", "eps"):
        if not 0 < numbers[name] < math.inf:
            raise ValueError(f"{name} is {numbers[name]}: it must be finite and above 0")
    for name, value in (*zip(WEIGHTS, weights, strict=True), ("topos_control_gain", numbers["topos_control_gain"])):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}: it must be finite and at least 0")
    for name in ("beta1", "beta2"):
        if not 0 <= numbers[name] < 1:
            raise ValueError(f"{name} is {numbers[name]}: it must be at least 0 and below 1")
    projection = settings["gradient_projection"]
    if projection not in PROJECTIONS:
        raise ValueError(f"gradient_projection is {projection!r:.40}: choose one of {', '.join(PROJECTIONS)}")
    return {"alpha": numbers.pop("alpha"), "lambda": weights, **numbers, "gradient_projection": projection}


def _vector(name: str, values: Any, length: int, strict: bool) -> Vector:
    """A vector of a state, at the length of z."""
    v = np.array(values, np.float64)
    if v.ndim != 1 or (strict and len(v) != length):
        raise ValueError(f"{name} has shape {v.shape} for a z of {length}: give {length} values in one row, or load "
                         "with strict=False")
    if not np.isfinite(v).all() or (name == "velocity" and (v < 0).any()):
        raise ValueError(f"{name} holds values that are not finite" + (" or below 0" if name == "velocity" else "") +
                         ": the state is broken")
    out = np.zeros(length)
    out[: len(v)] = v[:length]
    return out


def step_many(trainer: ZSpaceTrainer, samples: Iterable[Sample]) -> list[float]:
    """One step a sample; returns the z they lead to."""
    for sample in samples:
        trainer.step(sample)
    return trainer.state


@overload
def stream_zspace_training(trainer: ZSpaceTrainer, samples: Iterable[Sample], *,
                           on_step: OnStep = None) -> list[float]: ...
@overload
def stream_zspace_training(trainer: ZSpaceTrainer, samples: AsyncIterable[Sample], *,
                           on_step: OnStep = None) -> Awaitable[list[float]]: ...
def stream_zspace_training(trainer: ZSpaceTrainer, samples: Iterable[Sample] | AsyncIterable[Sample], *,
                           on_step: OnStep = None) -> list[float] | Awaitable[list[float]]:
    """Step with each sample as it comes, holding one at a time.

    Parameters
    ----------
    samples
        Any iterable, without end too where `on_step` raises to end it; an asynchronous one gives an awaitable.
    on_step : callable, optional
        Called after each step with its number from 0, a copy of z, and the objective.

    Returns
    -------
    list of float, or an awaitable of it
        The objectives: one number a step, all that is kept.

    Raises
    ------
    TypeError, KeyError, ValueError
        From `ZSpaceTrainer.step`; the steps before it stay.
    """
    losses: list[float] = []

    def take(sample: Sample) -> None:
        losses.append(trainer.step(sample))
        if on_step is not None:
            on_step(len(losses) - 1, trainer.state, losses[-1])

    if isinstance(samples, AsyncIterable):
        return _stream(samples, take, losses)
    for sample in samples:
        take(sample)
    return losses


async def _stream(samples: AsyncIterable[Sample], take: Callable[[Sample], None], losses: list[float]) -> list[float]:
    async for sample in samples:
        take(sample)
    return losses
