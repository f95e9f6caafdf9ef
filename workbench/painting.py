"""The commands of `zspace` that paint: steer a run, and see where its symbols lie on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from core.disk import DiskChart, Places, scores
from core.runs.control import paint
from core.runs.generations import Writer
from core.runs.store import RunStore
from workbench.shell import DEFAULT_RUNS, AsJson, Runs, kind, out, print_json


@kind
def steer(
    run: str,
    npy: Annotated[Path, typer.Option("--npy", help="Layer as .npy, bands by sheets, log2 gains in [-3, 3].")],
    chart: Annotated[str, typer.Option(help="Chart that the layer is painted on.")] = "atlas",
    coherence: Annotated[float, typer.Option(help="Trust in this layer, above 0.")] = 1.0,
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Append a painted layer to a run's input log; it folds into training from the next step boundary on."""
    folder = RunStore(runs).open(run)
    record = paint(folder, _load(npy), chart, coherence)
    if as_json:
        print_json({"run": folder.id, "status": folder.status(), "seq": record["seq"]})
    else:
        out.print(f"acknowledged as input {record['seq']} of {folder.id} ({folder.status()})")


@kind
def disk(
    run: str,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the symbols into this file (.png, .svg or .pdf), "
                                              "over a painted disk where one is given.")] = None,
    npy: Annotated[Path | None, typer.Option("--npy", help="A painted disk as .npy, 128 x 128 in [-1, 1].")] = None,
    checkpoint: Annotated[str, typer.Option(help="latest or best.")] = "latest",
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Show where a run's symbols lie on the disk that `sample --disk` is painted on, and what a painting gives them."""
    writer = Writer(RunStore(runs).open(run), checkpoint)
    places, symbols = _places(writer), writer.corpus.vocabulary
    painting = None if npy is None else _load(npy)
    given = np.zeros(len(symbols)) if painting is None else scores(painting, places)
    if plot is not None:
        from core.render import render_disk

        try:
            render_disk(places, symbols, painting).savefig(plot)
        except (OSError, ValueError) as error:
            raise ValueError(f"{plot} cannot be written ({error}): give a .png, .svg or .pdf where you may write"
                             ) from error
    if as_json:
        print_json({"run": writer.folder.id, "step": writer.step, "symbols": [
            {"symbol": symbol, "x": float(x), "y": float(y), "score": float(d)}
            for symbol, (x, y), d in zip(symbols[1:], places[1:], given[1:], strict=True)]})
    elif plot is not None:
        out.print(f"{plot}: {len(symbols) - 1} symbols at step {writer.step:,}", markup=False)
    else:
        for symbol, (x, y), d in zip(symbols[1:], places[1:], given[1:], strict=True):
            out.print(f"{symbol!r:>8} {x:+.3f} {y:+.3f}" + (f"  score {d:+.3f}" if painting is not None else ""),
                      markup=False)


def read_disk(npy: Path, writer: Writer) -> NDArray[np.float64]:
    """Scores [V] of a painted disk."""
    return scores(_load(npy), _places(writer))


def _places(writer: Writer) -> Places:
    embedding, curvature = writer.parameters["embedding"].numpy(), writer.model.config.curvature
    return DiskChart.of(embedding, curvature).places(embedding)


def _load(npy: Path) -> Any:
    try:
        return np.load(npy, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{npy} cannot be read as .npy ({error}): save it with numpy.save") from error
