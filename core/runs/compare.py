"""Runs side by side: what differs in settings, code and surroundings, and what became of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.runs.curves import Run, difference, group_runs, read_run
from core.runs.journal import read_records
from core.runs.store import RunFolder

IDENTITY = ("id", "created", "schema", "backend_reason")  # no settings


def summary(folder: RunFolder) -> dict[str, Any]:
    """State, progress and losses of one run, in bits per character."""
    record = folder.read_config()
    rows, bad = read_records(folder.metrics)
    by_split = {split: [r for r in rows if r.get("split") == split] for split in ("train", "validation", "final")}
    validation, final = by_split["validation"], by_split["final"]
    inputs, _ = read_records(folder.inputs)
    return {
        "run": folder.id, "status": folder.status(), "model": record["model"], "preset": record["preset"],
        "created": record["created"], "step": max((r["step"] for r in rows), default=0), "steps": record["steps"],
        "train": by_split["train"][-1]["bits"] if by_split["train"] else None,
        "validation": validation[-1]["bits"] if validation else None,
        "final": final[-1]["bits"] if final else None,
        "interval": final[-1]["interval"] if final else None,
        "peak_bytes": max((r.get("measured", {}).get("peak_bytes", 0) for r in by_split["train"]), default=0) or None,
        "patches": sum(r.get("kind") == "patch" for r in inputs), "broken_lines": bad,
        "baselines": record["baselines"], "twin": record.get("twin", {}).get("of"),
    }


def compare(folders: Sequence[RunFolder], runs: Sequence[Run] | None = None) -> dict[str, Any]:
    """Differences between runs.

    Parameters
    ----------
    folders : sequence of RunFolder
    runs : sequence of Run, optional
        Their curves, where they were read already.

    Returns
    -------
    dict
        ``runs``: a summary each; ``settings``: dotted name -> value per run, where they differ (configuration,
        corpus, code, environment); ``curves``: validation bits per character at the steps that all runs have;
        ``groups``: runs that differ in their seed alone, see `core.runs.curves.Group`; ``differences``: of each
        further group to the first.
    """
    runs = [read_run(f) for f in folders] if runs is None else runs
    flat = {f.id: _flatten(f.read_config()) for f in folders}
    names = sorted({k for one in flat.values() for k in one})
    settings = {k: {run: one.get(k) for run, one in flat.items()} for k in names
                if len({repr(one.get(k)) for one in flat.values()}) > 1}
    curves = {r.id: dict(zip(r.held.step.astype(int).tolist(), r.held.bits.tolist(), strict=True)) for r in runs}
    common = sorted(set.intersection(*(set(c) for c in curves.values()))) if curves else []
    groups = group_runs(runs)
    return {"runs": [summary(f) for f in folders], "settings": settings,
            "curves": [{"step": s, **{run: c[s] for run, c in curves.items()}} for s in common],
            "groups": [g.to_json() for g in groups], "differences": [difference(groups[0], g) for g in groups[1:]]}


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names, without what names the run itself."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        if not prefix and key in IDENTITY:
            continue
        if isinstance(item, dict):
            out |= _flatten(item, f"{prefix}{key}.")
        else:
            out[prefix + key] = item
    return out
