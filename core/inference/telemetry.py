"""Telemetry: nested readings flattened to numbers with dotted names, merged, and summarised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_ENTRIES = 16384
DEEPEST = 64  # mappings within mappings, the outermost included
LONGEST_PATH = 4096  # bytes of UTF-8
FEW = 64  # values that plain floats sum faster than arrays
KIND = "spiraltorch.zspace_telemetry_fusion"
CONTRACT = KIND + ".v1"


class Summary(NamedTuple):
    """Statistics of n values (see `summarise`)."""

    count: int  # type: ignore[assignment]  # of values, not tuple.count
    l1: float
    l2: float
    linf: float
    mean: float
    variance: float
    energy: float
    amplitude: float
    positive: float
    negative: float
    balance: float
    focus: float


NOTHING = Summary(0, *(0.0,) * 11)


def summarise(values: Sequence[float] | NDArray[Any]) -> Summary:
    """Norms, mean, population variance, energy sum x^2, amplitude max - min and the two signs' parts of values [n].

    With p the sum of the positive values and m that of the negative ones' magnitudes, balance is
    (p - m) / (p + m + 1e-9) and focus tanh(1.5 balance). No values give zeros.

    Raises
    ------
    ValueError
        A value that is not finite, or values whose squares overflow.
    """
    n = len(values)
    if n == 0:
        return NOTHING
    if n <= FEW:
        few = [float(v) for v in values]
        total, largest, smallest = sum(few), max(few), min(few)
        mean, energy = total / n, sum(v * v for v in few)
        variance, positive = sum((v - mean) * (v - mean) for v in few) / n, sum((v for v in few if v > 0), 0.0)
        negative = 0.0 - sum(v for v in few if v < 0)
    else:
        x = np.asarray(values, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            mean, energy = float(x.mean()), float(np.vdot(x, x))
            variance, positive = float(np.square(x - mean).mean()), float(np.maximum(x, 0).sum())
            negative, largest, smallest = -float(np.minimum(x, 0).sum()), float(x.max()), float(x.min())
    return summary_of(n, mean, variance, energy, positive, negative, largest, smallest)


def summary_of(n: int, mean: float, variance: float, energy: float, positive: float, negative: float, largest: float,
               smallest: float) -> Summary:
    """What follows from the sums over n > 0 values; raises as `summarise`."""
    if not math.isfinite(energy + variance):
        raise ValueError(f"the values reach from {smallest:g} to {largest:g}: they and the sum of their squares must "
                         "be finite; scale them or leave them out")
    balance = (positive - negative) / (positive + negative + 1e-9)
    return Summary(n, positive + negative, math.sqrt(energy), max(largest, -smallest), mean, variance, energy,
                   largest - smallest, positive, negative, balance, math.tanh(1.5 * balance))


@dataclass(frozen=True)
class ZSpaceTelemetryFrame:
    """Flattened telemetry with its statistics (see `summarise`).

    Attributes
    ----------
    payload : mapping of str to float
        Dotted names, sorted.
    mean, variance, amplitude, energy, balance, focus : float
        Of the payload's values.
    """

    payload: Mapping[str, float]
    mean: float
    variance: float
    amplitude: float
    energy: float
    balance: float
    focus: float

    def as_dict(self) -> dict[str, Any]:
        """The attributes as a dictionary, the payload copied."""
        return {"payload": dict(self.payload), "mean": self.mean, "variance": self.variance,
                "amplitude": self.amplitude, "energy": self.energy, "balance": self.balance, "focus": self.focus}


Telemetry = Mapping[str, Any] | ZSpaceTelemetryFrame


def frame_of(payload: Mapping[str, float], summary: Summary | None = None) -> ZSpaceTelemetryFrame:
    """The frame of a flat payload."""
    s = summary or summarise(list(payload.values()))
    return ZSpaceTelemetryFrame(MappingProxyType(dict(payload)), s.mean, s.variance, s.amplitude, s.energy, s.balance,
                                s.focus)


def flatten(telemetry: Telemetry) -> dict[str, float]:
    """Telemetry as one level of dotted names and finite numbers, sorted by name; see `merge`."""
    return merge(telemetry).payload


class Merged(NamedTuple):
    """What `merge` made of several payloads."""

    payload: dict[str, float]
    sources: list[dict[str, int]]


def merge(*payloads: Telemetry | None) -> Merged:
    """Flatten payloads into one, the later overwriting the earlier.

    Keys of nested mappings are joined by dots. Numbers stay, booleans become 1 and 0, strings that spell a finite
    number are parsed. Arrays, None and other strings are left out and counted.

    Returns
    -------
    Merged
        The payload sorted by name, and for each input that is not None its `index`, `flattened_count`,
        `ignored_value_count` and `conflict_count` (values it overwrote).

    Raises
    ------
    TypeError
        A payload that is no mapping, or a key that is no string.
    ValueError
        A number that is not finite, or more than 16384 entries, 64 levels or 4096 bytes in a name.
    """
    out: dict[str, float] = {}
    sources = []
    for index, given in enumerate(payloads):
        if given is None:
            continue
        mapping = given.payload if isinstance(given, ZSpaceTelemetryFrame) else given
        if not isinstance(mapping, Mapping):
            raise TypeError(f"telemetry payload {index} is a {type(given).__name__}: give a mapping of names to "
                            "numbers, or a ZSpaceTelemetryFrame")
        counts = {"index": index, "flattened_count": 0, "ignored_value_count": 0, "conflict_count": 0}
        _flatten_into(out, mapping, "", 1, counts)
        sources.append(counts)
    return Merged(dict(sorted(out.items())), sources)


def _flatten_into(out: dict[str, float], mapping: Mapping[str, Any], prefix: str, depth: int,
                  counts: dict[str, int]) -> None:
    if depth > DEEPEST:
        raise ValueError(f"telemetry payload {counts['index']} is nested more than {DEEPEST} deep at "
                         f"{prefix[:40]!r}: flatten it first")
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise TypeError(f"telemetry payload {counts['index']} has the key {key!r}: names must be strings")
        path = prefix + key
        if isinstance(value, Mapping):
            _flatten_into(out, value, path + ".", depth + 1, counts)
            continue
        number = _number(value)
        if number is None:
            counts["ignored_value_count"] += 1
            continue
        if not math.isfinite(number):
            raise ValueError(f"telemetry {path!r} is {value}: give finite numbers, or leave it out")
        if len(path) > LONGEST_PATH // 4 and (size := len(path.encode())) > LONGEST_PATH:
            raise ValueError(f"a telemetry name in payload {counts['index']} has {size} bytes, the limit is "
                             f"{LONGEST_PATH}: shorten {path[:40]!r}...")
        if path in out:
            counts["conflict_count"] += 1
        elif len(out) == MOST_ENTRIES:
            raise ValueError(f"the telemetry has more than {MOST_ENTRIES} entries at {path[:40]!r}: summarise it first")
        out[path] = number
        counts["flattened_count"] += 1


def _number(value: Any) -> float | None:
    """A value as a float, None where it is none to keep. What overflows a float is infinite, and refused by name."""
    if isinstance(value, str):
        try:
            parsed = float(value)
        except ValueError:
            return None
        return parsed if math.isfinite(parsed) and "_" not in value else None  # "nan" and "1_0" are words
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def fuse_zspace_telemetry(*payloads: Telemetry | Sequence[Telemetry | None] | None) -> dict[str, Any]:
    """Merge telemetry payloads, and say what was merged.

    Parameters
    ----------
    payloads : mapping, ZSpaceTelemetryFrame, None, or a sequence of them
        Later ones overwrite earlier ones; None is left out.

    Returns
    -------
    dict
        `payload`, `summary` (see `Summary`), `input_count`, `active_input_count`, `conflict_count`,
        `ignored_value_count` and `sources` (see `merge`).

    Raises
    ------
    TypeError, ValueError
        As `merge`.
    """
    flat: list[Telemetry | None] = []
    for given in payloads:
        flat.extend(given if isinstance(given, (list, tuple)) else [given])  # type: ignore[list-item]
    return receipt(merge(*flat))


def receipt(merged: Merged) -> dict[str, Any]:
    """The audit of a merge."""
    return {
        "kind": KIND, "contract_version": CONTRACT, "payload": merged.payload,
        "summary": summarise(list(merged.payload.values()))._asdict(), "input_count": len(merged.sources),
        "active_input_count": sum(s["flattened_count"] > 0 for s in merged.sources),
        "conflict_count": sum(s["conflict_count"] for s in merged.sources),
        "ignored_value_count": sum(s["ignored_value_count"] for s in merged.sources), "sources": merged.sources,
    }
