"""Pictures of losses with Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import RunError
from core.render import THEMES
from core.runs.curves import AXES, Group, curves_csv
from core.runs.files import write_atomic
from core.runs.journal import io_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, yellow darkened; the page is sent the same
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#b8ac2e", "#999999")
FORMATS = (".png", ".svg", ".pdf")
SCALES = ("", "x", "y", "xy")


def render_curves(groups: Sequence[Group], by: str = "step", smooth: float = 0.0, log: str = "") -> Figure:
    """Draw held-out losses of groups of runs, with standard errors over seeds, over the training losses of each run.

    Parameters
    ----------
    groups : sequence of Group
        The first eight get a colour each, the others share grey.
    by : {"step", "time", "characters"}
        What lies along x.
    smooth : float
        Steps over which the training loss is averaged, see `Curve.smoothed`.
    log : {"", "x", "y", "xy"}
        Logarithmic axes; step 0 has no place on one.

    Raises
    ------
    RunError
        An argument is none of these.
    """
    from matplotlib.figure import Figure

    if by not in AXES:
        raise RunError(f"--by is {by!r}: choose one of {', '.join(AXES)}")
    if log not in SCALES:
        raise RunError(f"--log is {log!r}: choose x, y or xy")
    if not smooth >= 0:
        raise RunError(f"--smooth is {smooth}: give a number of steps, 0 for none")
    look = THEMES["light"]
    figure = Figure(figsize=(9.6, 5.4), dpi=150, facecolor=look["paper"], layout="constrained")
    axes = figure.add_subplot(xlabel=AXES[by], ylabel="bits per character", facecolor=look["paper"])
    axes.grid(axis="y", color="#d8dce2", linewidth=0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", colors=look["quiet"], length=0)
    for number, group in reversed(list(enumerate(groups))):  # the first on top
        coloured = number < len(COLOURS)
        colour = COLOURS[number] if coloured else "#d0d0d0"
        if coloured:
            for run in group.members:
                train = run.train.thinned(2000) if smooth == 0 else run.train
                axes.plot(getattr(train, by), train.smoothed(smooth), color=colour, alpha=0.35, linewidth=0.8)
        mean, error = group.curve()
        axes.errorbar(getattr(mean, by), mean.bits, error, color=colour, linewidth=1.5, marker="o", markersize=3,
                      capsize=2, label=f"{group.label} ({len(group.members)} seeds)" if error is not None
                      else group.label)
    if "x" in log:
        axes.set_xscale("log", nonpositive="mask")
    if "y" in log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    handles, labels = axes.get_legend_handles_labels()
    shown = list(zip(handles, labels, strict=True))[::-1][:len(COLOURS)]
    rest = len(groups) - len(shown)
    figure.legend(*zip(*shown, strict=True), loc="outside right upper", fontsize=8, frameon=False, title_fontsize=8,
                  title=f"thin: training; {rest} more in grey" if rest else "thin: training, each run")
    return figure


def save_curves(path: Path, groups: Sequence[Group], by: str = "step", smooth: float = 0.0, log: str = "") -> Path:
    """Write the picture, and its held-out points beside it as .csv; see `render_curves`.

    Returns
    -------
    Path
        Of the points.
    """
    if path.suffix not in FORMATS:
        raise RunError(f"--plot {path} is no picture: let its name end in {', '.join(FORMATS)}")
    figure, points = render_curves(groups, by, smooth, log), path.with_suffix(".csv")
    try:
        figure.savefig(path)
    except OSError as error:
        raise io_error(path, "write the plot", error) from error
    write_atomic(points, curves_csv(groups).encode())
    return points
