"""Losses of runs as curves, and runs that differ in their seed alone as one group with its spread."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.runs.config import RunConfig
from core.runs.events import Row
from core.runs.journal import read_records
from core.runs.store import RunFolder

AXES = {"step": "step", "time": "seconds at work", "characters": "characters seen"}
HELD_OUT = ("validation", "final")
STEERING = ("patch", "rate")  # inputs after which a run is no longer its settings and seed alone
NO_SETTING = ("seed", "paths", "threads")  # within a group: threads change last digits, and text counts, not its place
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Bits per character [n] against each of `AXES` [n].

    Attributes
    ----------
    step, time, characters, bits : ndarray of float
        `time` sums the seconds that steps and evaluations took by the clock: pauses and interruptions do not count,
        nor do samples and checkpoints.
    """

    step: Floats
    time: Floats
    characters: Floats
    bits: Floats

    def thinned(self, most: int) -> Curve:
        """At most so many points, each the mean of its neighbours."""
        if len(self.step) <= most:
            return self
        starts = np.arange(0, len(self.step), -(-len(self.step) // most))
        counts = np.diff([*starts, len(self.step)])
        return Curve(*(np.add.reduceat(x, starts) / counts for x in vars(self).values()))

    def smoothed(self, scale: float) -> Floats:
        """`bits` as an exponential mean over the past that forgets within `scale` steps; 0 changes nothing.

        y_i = sum_j k_ij bits_j / sum_j k_ij over j <= i, with k_ij = exp(-(step_i - step_j) / scale).
        """
        if scale == 0:
            return self.bits
        out, total, weight = np.empty_like(self.bits), 0.0, 0.0
        for i, keep in enumerate(np.exp(-np.diff(self.step, prepend=self.step[:1]) / scale)):
            total, weight = total * keep + self.bits[i], weight * keep + 1
            out[i] = total / weight
        return out


@dataclass(frozen=True)
class Run:
    """What a comparison needs of a run.

    Attributes
    ----------
    id : str
    seed : int
    settings : dict
        What decides the rows besides the seed.
    train, held : Curve
        Each training step, and each look at the held-out text.
    """

    id: str
    seed: int
    settings: dict[str, Any]
    train: Curve
    held: Curve


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes
    ----------
    label : str
        The id of a run that is alone, else what sets the group apart from the others.
    settings : dict
        Settings that are not the same in all groups.
    members : tuple of Run
        One a seed, by seed; of several with one seed the run that went furthest.
    """

    label: str
    settings: dict[str, Any]
    members: tuple[Run, ...]

    @property
    def bits(self) -> Floats:
        """Newest held-out bits per character of each member [n]; NaN where there is none."""
        return np.array([m.held.bits[-1] if len(m.held.bits) else np.nan for m in self.members])

    @property
    def mean(self) -> float:
        """Mean of `bits`."""
        return float(self.bits.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation of `bits` over seeds (n - 1), None for one seed."""
        return float(self.bits.std(ddof=1)) if len(self.members) > 1 else None

    @property
    def error(self) -> float | None:
        """Standard error of `mean`: `spread` over the root of n."""
        return None if self.spread is None else self.spread / math.sqrt(len(self.members))

    def curve(self) -> tuple[Curve, Floats | None]:
        """Mean of the held-out curves where all members have one, and its standard error [n], None for one seed."""
        at = [dict(zip(m.held.step.tolist(), range(len(m.held.step)), strict=True)) for m in self.members]
        steps = sorted(set.intersection(*map(set, at)))
        rows = [[a[s] for s in steps] for a in at]
        stacked = np.array([[x[r] for x in vars(m.held).values()] for m, r in zip(self.members, rows, strict=True)])
        bits, n = stacked[:, -1], len(rows)  # [n, points]
        return Curve(*stacked.mean(0)), bits.std(0, ddof=1) / math.sqrt(n) if n > 1 else None

    def to_json(self) -> Row:
        """Without NaN: what is not known is None."""
        mean, error = self.curve()
        return {"label": self.label, "settings": self.settings, "runs": [m.id for m in self.members],
                "seeds": [m.seed for m in self.members],
                "steps": [int(m.held.step[-1]) if len(m.held.step) else None for m in self.members],
                "bits": [_known(b) for b in self.bits.tolist()],
                "mean": _known(self.mean), "spread": _known(self.spread), "error": _known(self.error),
                "curve": {**{k: v.tolist() for k, v in vars(mean).items()},
                          "error": None if error is None else error.tolist()}}


def read_run(folder: RunFolder) -> Run:
    """Read a run's curves and settings.

    Raises
    ------
    RunError
        A file of it cannot be read.
    """
    record = folder.read_config()
    config = RunConfig.from_json(record)
    rows = [r for r in read_records(folder.metrics)[0] if r.get("bits") is not None]
    spent = np.cumsum([r.get("measured", {}).get("seconds", 0.0) for r in rows])
    train, held = (np.array([r["split"] in splits for r in rows], bool) for splits in (("train",), HELD_OUT))
    steps, bits = (np.array([r[k] for r in rows], np.float64) for k in ("step", "bits"))
    seen = steps * (config.window * config.batch * config.accumulate)
    curves = [Curve(steps[at], spent[at], seen[at], bits[at]) for at in (train, held)]
    steered = any(r.get("kind") in STEERING for r in read_records(folder.inputs)[0])
    settings = {k: v for k, v in config.to_json().items() if k not in NO_SETTING}
    settings |= {"text": record["corpus"]["digest"][:12], "twin of": record.get("twin", {}).get("of"),
                 "steered": folder.id if steered else None}  # a painted run is a group of its own
    return Run(folder.id, config.seed, settings, *curves)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Sort runs into groups, in the order in which each group's first run is given."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = found.setdefault(repr(run.settings), {})
        known = seeds.get(run.seed)
        if known is None or _reached(run) > _reached(known):
            seeds[run.seed] = run
    alike = [tuple(seeds[s] for s in sorted(seeds)) for seeds in found.values()]
    varied = [k for k in (alike[0][0].settings if alike else {}) if len({repr(g[0].settings[k]) for g in alike}) > 1]
    groups = []
    for members in alike:
        settings = {k: members[0].settings[k] for k in varied}
        words = ", ".join(f"{k} {v}" for k, v in settings.items() if v is not None) or members[0].settings["model"]
        groups.append(Group(members[0].id if len(members) == 1 else words, settings, members))
    return groups


def difference(a: Group, b: Group) -> Row:
    """Held-out bits per character of `b` minus those of `a`.

    Returns
    -------
    dict
        ``mean``; ``error``, its standard error; ``pairs``: over how many seeds that both have it is the mean of
        differences. With fewer than two it is the difference of means, ``pairs`` is 0, and the errors add in squares
        (None where a group has one seed).
    """
    of_a, of_b = ({m.seed: x for m, x in zip(g.members, g.bits.tolist(), strict=True)} for g in (a, b))
    both = sorted(set(of_a) & set(of_b))
    if len(both) > 1:
        d = np.array([of_b[s] - of_a[s] for s in both])
        return {"mean": _known(float(d.mean())), "error": _known(float(d.std(ddof=1) / math.sqrt(len(d)))),
                "pairs": len(d)}
    error = None if a.error is None or b.error is None else math.hypot(a.error, b.error)
    return {"mean": _known(b.mean - a.mean), "error": _known(error), "pairs": 0}


def curves_csv(groups: Sequence[Group]) -> str:
    """The groups' held-out curves as a table, a line a point; `error` is empty for one seed."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["group", "seeds", *AXES, "bits_per_character", "standard_error"])
    for group in groups:
        mean, error = group.curve()
        errors = [""] * len(mean.step) if error is None else error.tolist()
        for *point, e in zip(*vars(mean).values(), errors, strict=True):
            out.writerow([group.label, len(group.members), int(point[0]), *map(float, point[1:]), e])
    return text.getvalue()


def _reached(run: Run) -> float:
    return float(run.train.step[-1]) if len(run.train.step) else -1.0


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
