"""What a sweep leaves behind: one table of its groups, best first, and a plot of their curves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.runs.curves import Group, difference, group_runs, read_run
from core.runs.files import write_atomic
from core.runs.journal import io_error
from core.runs.store import RunStore
from core.runs.sweep import Sweep
from workbench.plots import save_curves


def write_report(folder: Path, sweep: Sweep, store: RunStore, names: Sequence[str]) -> dict[str, Any]:
    """Write sweep.json, and table.csv, curves.png and curves.csv of the runs that are finished.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    sweep : Sweep
    store : RunStore
        Where its runs are.
    names : sequence of str
        Settings that the grid varies.

    Returns
    -------
    dict
        As sweep.json holds it. ``cells``: what became of each run; ``groups``: the finished runs by settings, the
        lowest mean loss first, see `core.runs.curves.Group`; ``differences``: of each further group to the best;
        ``versions``: how many versions of the code made the runs.
    """
    folders = [store.open(c.run) for c in sweep.cells if c.state == "finished" and c.run is not None]
    groups = sorted(group_runs([read_run(f) for f in folders]), key=lambda g: g.mean)
    groups = [replace(g, label=_words(g.members[0].settings, names)) for g in groups]
    report = {
        "cells": [{"run": c.run, "state": c.state, "step": c.step, "seed": c.config.seed, "reason": c.reason,
                   "settings": {k: getattr(c.config, k) for k in names}, "label": _words(vars(c.config), names)}
                  for c in sweep.cells],
        "groups": [g.to_json() for g in groups], "differences": [difference(groups[0], g) for g in groups[1:]],
        "versions": len({f.read_config()["environment"]["code"] for f in folders}),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise io_error(folder, "make the folder of the sweep", error) from error
    write_atomic(folder / "sweep.json", json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n")
    if groups:
        write_atomic(folder / "table.csv", _table_csv(groups, names, report).encode())
        save_curves(folder / "curves.png", groups)
    return report


def _words(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{k} {settings[k]}" for k in names) or f"{settings['model']} {settings['preset']}"


def _table_csv(groups: list[Group], names: Sequence[str], report: dict[str, Any]) -> str:
    """A line a group, best first."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*names, "seeds", "bits_per_character", "standard_error", "standard_deviation", "minus_best",
                  "minus_best_error", "pairs", "runs"])
    for group, d in zip(groups, [{"mean": 0.0, "error": None, "pairs": 0}, *report["differences"]], strict=True):
        out.writerow([*(group.members[0].settings[k] for k in names), len(group.members), group.mean, group.error,
                      group.spread, d["mean"], d["error"], d["pairs"], " ".join(m.id for m in group.members)])
    return text.getvalue()
