"""What is known of a latent from outside: its metrics by name, with a weight, an origin and telemetry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from core.inference.names import BASIS, GRADIENT, canonical
from core.inference.telemetry import Telemetry, ZSpaceTelemetryFrame, flatten

if TYPE_CHECKING:
    from core.inference.projection import ZSpaceInference

MEASURED = ("speed", "memory", "stability", "drs")


@dataclass(frozen=True)
class ZMetrics:
    """Metrics of one step, as a trainer takes them.

    Attributes
    ----------
    speed, memory, stability, drs : float
    gradient : sequence of float, optional
    telemetry : mapping of str to float, optional
        Flat (see `core.inference.telemetry.flatten`).
    gradient_basis : str, optional
        What the gradient's coordinates are.
    """

    speed: float
    memory: float
    stability: float
    gradient: Sequence[float] | None = None
    drs: float = 0.0
    telemetry: Mapping[str, float] | None = None
    gradient_basis: str | None = None

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, gradient: Sequence[float] | None = None,
                     gradient_basis: str | None = None, telemetry: Telemetry | None = None) -> ZMetrics:
        """Metrics out of a mapping of names or aliases; other known metrics, such as frac, are passed over.

        Raises
        ------
        KeyError
            An unknown name.
        ValueError
            Two names of one metric, or a value that is not finite.
        """
        fields, vector, basis = split(mapping, gradient_basis)
        return cls(**{name: fields.get(name, 0.0) for name in MEASURED},
                   gradient=vector if gradient is None else numbers(GRADIENT, gradient), gradient_basis=basis,
                   telemetry=None if telemetry is None else MappingProxyType(flatten(telemetry)))

    @classmethod
    def from_payload(cls, payload: ZSpaceInference | ZMetrics | Mapping[str, Any], *,
                     prefer_applied: bool = True) -> ZMetrics:
        """Metrics of an inference, of a mapping, or the very metrics given.

        Parameters
        ----------
        prefer_applied : bool
            Of an inference, take the metrics after the observations (True) or those of the latent alone.

        Raises
        ------
        TypeError
            Anything else.
        """
        from core.inference.projection import ZSpaceInference

        if isinstance(payload, ZMetrics):
            return payload
        if isinstance(payload, ZSpaceInference):
            return cls.from_mapping(payload.metrics if prefer_applied else payload.prior.metrics,
                                    gradient=payload.gradient, gradient_basis=payload.gradient_basis,
                                    telemetry=payload.telemetry)
        if not isinstance(payload, Mapping):
            raise TypeError(f"metrics cannot come from a {type(payload).__name__}: give a mapping, a ZMetrics or a "
                            "ZSpaceInference")
        return cls.from_mapping(payload)


def z_metrics(*, speed: float | None = None, memory: float | None = None, stability: float | None = None,
              drs: float | None = None, gradient: Iterable[float] | None = None, gradient_basis: str | None = None,
              telemetry: Telemetry | None = None, **aliases: Any) -> ZMetrics:
    """Metrics by keyword; what is not given is 0.

    Parameters
    ----------
    aliases
        Other names of speed, memory, stability, drs or gradient (``velocity=0.3``). One that is given overrides the
        keyword it stands for.

    Raises
    ------
    KeyError
        An alias of none of these.
    ValueError
        A value that is not finite.
    """
    given: dict[str, Any] = {"speed": speed, "memory": memory, "stability": stability, "drs": drs, GRADIENT: gradient}
    for alias, value in aliases.items():
        name = canonical(alias)
        if name not in given:
            raise KeyError(f"{alias!r} is the metric {name}, which ZMetrics lacks: use {', '.join(given)}")
        given[name] = value
    values = {name: 0.0 if given[name] is None else number(name, given[name]) for name in MEASURED}
    return ZMetrics(**values, gradient=None if given[GRADIENT] is None else numbers(GRADIENT, given[GRADIENT]),
                    gradient_basis=gradient_basis, telemetry=None if telemetry is None else flatten(telemetry))


@dataclass(frozen=True)
class ZSpacePartialBundle:
    """Observed metrics with how much they count and where they come from.

    Attributes
    ----------
    metrics : mapping
        Names or aliases to numbers, and optionally `gradient` with `gradient_basis`.
    weight : float
        0 or less takes the bundle out of a blend.
    origin : str, optional
        Who observed, for the audit.
    telemetry : mapping or ZSpaceTelemetryFrame, optional
        Readings that go with it, nested as you like.
    gradient_basis : str, optional
        What the gradient's coordinates are.
    """

    metrics: Mapping[str, Any]
    weight: float = 1.0
    origin: str | None = None
    telemetry: Telemetry | None = None
    gradient_basis: str | None = None

    def resolved(self) -> dict[str, Any]:
        """The metrics by canonical name, checked; with `gradient` and `gradient_basis` where there are any.

        Raises
        ------
        ValueError, TypeError
            As `observed`.
        """
        return merged(*observed(self.metrics, self.gradient_basis))

    def telemetry_payload(self) -> Mapping[str, Any] | None:
        """The telemetry as given, read-only."""
        told = self.telemetry.payload if isinstance(self.telemetry, ZSpaceTelemetryFrame) else self.telemetry
        return None if told is None else MappingProxyType(dict(told))


Partial = Mapping[str, Any] | ZSpacePartialBundle
Observed = tuple[dict[str, float], "tuple[float, ...] | None", "str | None"]


def merged(metrics: Mapping[str, float], gradient: Sequence[float] | None, basis: str | None) -> dict[str, Any]:
    """Scalars, a gradient and its basis in one dictionary."""
    out: dict[str, Any] = dict(metrics)
    if gradient is not None:
        out[GRADIENT] = list(gradient)
    if basis is not None:
        out[BASIS] = basis
    return out


def observed(metrics: Mapping[str, Any], basis: str | None = None, at: int = 0) -> Observed:
    """Scalars, gradient and basis of what was observed, by canonical names; `at` is its place among the partials.

    Raises
    ------
    TypeError
        No mapping.
    ValueError
        An unknown name, two names of one metric, a value that is not finite or of the wrong kind, an empty gradient, a
        basis without gradient or in contradiction to the one embedded.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"partial {at} holds a {type(metrics).__name__}: give a mapping of metrics to numbers")
    try:
        scalars, gradient, found = split(metrics, basis)
    except (KeyError, ValueError) as error:
        raise ValueError(f"partial {at}: {error.args[0]}") from None
    if found is not None and gradient is None:
        raise ValueError(f"partial {at}: the gradient basis {found!r} has no gradient: give one, or drop the basis")
    if found is not None and not (isinstance(found, str) and found == found.strip() != ""):
        raise ValueError(f"partial {at}: the gradient basis {found!r} must be a name without blanks around it")
    return scalars, gradient, found


def split(metrics: Mapping[str, Any], basis: str | None) -> Observed:
    """Scalars by canonical names, the gradient and its basis, embedded or given beside."""
    scalars: dict[str, float] = {}
    gradient: tuple[float, ...] | None = None
    spelt: dict[str, str] = {}
    for key, value in metrics.items():
        if key == BASIS:
            continue
        name = canonical(key)
        if name in spelt:
            raise ValueError(f"{spelt[name]!r} and {key!r} both mean {name!r}: give one of them")
        spelt[name] = key
        if name == GRADIENT:
            gradient = numbers(key, value)
        else:
            scalars[name] = value if type(value) is float and value - value == 0 else number(key, value)
    return scalars, gradient, one_basis(metrics, basis)


def one_basis(metrics: Mapping[str, Any], basis: str | None) -> str | None:
    """The basis embedded in the metrics, or the one given beside them."""
    embedded = metrics.get(BASIS)
    if embedded is not None and basis not in (None, embedded):
        raise ValueError(f"the gradient_basis {embedded!r} among the metrics and the {basis!r} given beside disagree: "
                         "name one")
    return embedded if basis is None else basis


def number(name: str, value: Any) -> float:
    """A finite float."""
    if isinstance(value, (str, bytes)) or np.ndim(value):
        raise ValueError(f"the metric {name!r} is {value!r}: it must be one finite number")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"the metric {name!r} is {value!r}: it must be one finite number")
    return found


def numbers(name: str, values: Any) -> tuple[float, ...]:
    """Finite floats, at least one."""
    try:
        found = tuple(map(float, values))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name!r} is {values!r:.60}: it must be a row of finite numbers") from None
    if not found or not all(map(math.isfinite, found)):
        what = "empty" if not found else "not finite at entry " + str([math.isfinite(v) for v in found].index(False))
        raise ValueError(f"{name!r} is {what}: it must be a row of finite numbers")
    return found
