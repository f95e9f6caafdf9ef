"""The commands of `zspace` over many runs: compare and sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from core.runs import compare as comparison
from core.runs.curves import group_runs, read_run
from core.runs.store import RunStore
from workbench.shell import DEFAULT_RUNS, AsJson, Runs, kind, out, print_json
from workbench.tables import group_table

Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the curves into this file (.png, .svg or .pdf); the "
                                           "points go beside it as .csv.")]


@kind
def compare(
    run: list[str],
    plot: Plot = None,
    by: Annotated[str, typer.Option(help="Along x in the plot: step, time or characters.")] = "step",
    smooth: Annotated[float, typer.Option(help="Steps over which the plot averages training losses.")] = 0.0,
    log: Annotated[str, typer.Option(help="Logarithmic axes of the plot: x, y or xy.")] = "",
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Show how runs differ: settings, code, surroundings and curves; runs that differ in the seed alone are a group."""
    folders = [RunStore(runs).open(r) for r in run]
    result = comparison.compare(folders)
    if plot is not None:
        from workbench.plots import save_curves

        points = save_curves(plot, group_runs([read_run(f) for f in folders]), by, smooth, log)
    if as_json:
        print_json(result)
        return
    names = [r["run"] for r in result["runs"]]
    table = Table("difference", *names, title="settings")
    for name, values in result["settings"].items():
        table.add_row(name, *(escape(_short(values[n])) for n in names))
    out.print(table if result["settings"] else "no setting differs")
    curves = Table("step", *names, title="validation, bits per character")
    for row in result["curves"][-20:]:
        curves.add_row(f"{row['step']:,}", *(f"{row[n]:.4f}" for n in names))
    out.print(curves if result["curves"] else "no step has a validation loss in all of them")
    out.print(group_table(result["groups"], result["differences"]))
    if plot is not None:
        out.print(f"plot: {plot}, its points: {points}", markup=False)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:24]}... ({len(text)} characters)"
