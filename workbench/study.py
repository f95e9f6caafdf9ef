"""The commands of `zspace` over many runs: compare and sweep."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.backends import choose
from core.data import read_corpus
from core.runs import compare as comparison
from core.runs.config import RunConfig
from core.runs.curves import group_runs, read_run
from core.runs.store import RunStore
from core.runs.sweep import Cell, Sweep, connect, expand, parse_grid
from workbench.report import write_report
from workbench.shell import DEFAULT_RUNS, AsJson, Runs, err, kind, out, print_json
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
    read = [read_run(f) for f in folders]
    result = comparison.compare(folders, read)
    if plot is not None:
        from workbench.plots import save_curves

        points = save_curves(plot, group_runs(read), by, smooth, log)
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


@kind
def sweep(
    paths: Annotated[list[str], typer.Argument(help="Text files, folders or patterns to learn from.")],
    grid: Annotated[list[str] | None, typer.Option(help="A setting and its values, such as model=rnn,scan or "
                                                   "steps=500; every combination is trained. Repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each combination, with seeds from 0 on.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time on this machine; at most one a "
                                                "core by default.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a run; by default this machine's cores "
                                                "over the workers.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler (tcp://...) whose workers train, "
                                                  "instead of processes here; they must see the same files.")] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Folder for the table and the plot; by default one among "
                                            "the runs.")] = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Train a grid of settings with several seeds and compare them; Ctrl-C stops cleanly, the same call goes on."""
    if scheduler is not None and workers is not None:
        raise ValueError(f"--workers is {workers}, but the scheduler at {scheduler} has its own: leave one of them out")
    places, chosen, cores = [os.path.abspath(p) for p in paths], parse_grid(grid or []), len(os.sched_getaffinity(0))
    configs = expand(places, chosen, seeds, threads=1)
    workers = workers or min(cores, len(configs))
    configs = [replace(c, threads=threads or max(1, cores // workers)) for c in configs]
    if scheduler is None:
        for backend in {c.backend for c in configs}:
            choose(backend)
    corpus = read_corpus(places, window=max(c.window for c in configs))
    asked = Sweep(runs.absolute(), configs, corpus.digest)

    def interrupt(*_: object) -> None:
        asked.ending = True

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, interrupt)
    done = sum(c.state == "finished" for c in asked.cells)
    if not as_json:
        out.print(f"{len(configs)} runs, {done} of them finished already" if done else f"{len(configs)} runs")
    if done < len(configs) and not asked.ending:
        with connect(scheduler, min(workers, len(configs) - done)) as client, _progress(asked, as_json) as show:
            asked.run(client, show)
    folder = to or runs / f"sweep-{_name(configs)}"
    report = write_report(folder, asked, RunStore(runs), [k for k, values in chosen.items() if len(values) > 1])
    if as_json:
        print_json(report)
    else:
        _tell(report, folder)
    raise typer.Exit(1 if any(c["state"] == "failed" for c in report["cells"]) else 0)


@contextmanager
def _progress(asked: Sweep, quiet: bool) -> Iterator[Callable[[list[Cell]], None]]:
    """A bar for the whole sweep and one for each run at work; gives what to call with news."""
    steps = sum(c.config.steps for c in asked.cells)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   TextColumn("{task.fields[loss]}"), console=out, disable=quiet)
    with bar:
        whole = bar.add_task("all steps", total=steps, loss="")
        tasks: dict[int, TaskID] = {}

        def show(cells: list[Cell]) -> None:
            for number, cell in enumerate(cells):
                if cell.state == "running" and number not in tasks:
                    tasks[number] = bar.add_task(f"{cell.run}", total=cell.config.steps, loss="")
                if cell.state == "running" and cell.bits is not None:
                    bar.update(tasks[number], completed=cell.step, loss=f"{cell.bits:.3f} bits/char")
                elif number in tasks and cell.state != "running":
                    bar.remove_task(tasks.pop(number))
            ended = sum(c.state in ("finished", "failed") for c in cells)
            bar.update(whole, completed=sum(c.step for c in cells),
                       loss=f"{ended} of {len(cells)} runs ended" + (", stopping" if asked.ending else ""))

        yield show


def _tell(report: dict[str, Any], folder: Path) -> None:
    """The end of a sweep for a person."""
    if report["groups"]:
        out.print(group_table(report["groups"], report["differences"]))
        out.print(f"table, plot and points: {folder}", markup=False)
    for cell in report["cells"]:
        if cell["state"] == "failed":
            run = f"run {cell['run']}" if cell["run"] else "no run yet"
            err.print(f"{cell['label']}, seed {cell['seed']} ({run}) failed: {cell['reason']}", style="red",
                      markup=False)
    if report["versions"] > 1:
        err.print(f"these runs were made by {report['versions']} versions of the code", style="yellow")
    if left := sum(c["state"] != "finished" for c in report["cells"]):
        out.print(f"{left} of {len(report['cells'])} runs are not finished; the same call goes on with them")


def _name(configs: list[RunConfig]) -> str:
    """A short name that the same grid over the same paths gets again, whatever its seeds and threads are."""
    plain = dict.fromkeys(replace(c, seed=0, threads=1) for c in configs)
    return hashlib.sha256(repr(list(plain)).encode()).hexdigest()[:8]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:24]}... ({len(text)} characters)"
