"""Pictures of an atlas with Matplotlib: the latest chart echo by echo, and the bands' share over the history."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas
from core.frame import ZFrame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THEMES = {
    "dark": {"paper": "#14171c", "ink": "#e6e8eb", "quiet": "#8a929e", "signed": "berlin"},
    "light": {"paper": "#ffffff", "ink": "#1b1f24", "quiet": "#646c77", "signed": "RdBu_r"},
}

WHITE = {" ": "␣", "\n": "↵", "\t": "⇥"}  # how blanks are shown


def render_atlas(atlas: ZAtlas, theme: Literal["dark", "light"] = "dark", signal: str | None = None) -> Figure:
    """Draw the latest chart and the history of an atlas.

    Parameters
    ----------
    atlas : ZAtlas
        Not empty.
    theme : {"dark", "light"}
    signal : str, optional
        Only charts whose provenance names this signal ("state", "gradient"); that of the newest chart by default.

    Returns
    -------
    matplotlib.figure.Figure
        1280 x 720 pixels at its own resolution; save it with ``figure.savefig(path)``.

    Raises
    ------
    ValueError
        No chart of that signal, or an unknown theme.
    """
    from matplotlib.figure import Figure

    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}: choose one of {', '.join(THEMES)}")
    charts = tuple(atlas)
    kind = signal if signal is not None or not charts else charts[-1].provenance.get("signal")
    charts = tuple(c for c in charts if c.provenance.get("signal") == kind)
    if not charts:
        raise ValueError(f"there is nothing to draw{f' of {signal!r}' if signal else ''}: observe a signal first")
    look, chart = THEMES[theme], charts[-1]
    echoes = chart.frame.echo_count
    figure = Figure(figsize=(12.8, 7.2), dpi=100, facecolor=look["paper"], layout="constrained")
    grid = figure.add_gridspec(2, echoes, height_ratios=(2, 1), hspace=0.08, wspace=0.04)
    title = ", ".join(filter(None, (kind, f"step {chart.step:,}")))
    figure.suptitle(f"Atlas: {title}", color=look["ink"], x=0.01, ha="left", fontsize=14)
    for e in range(echoes):
        _draw_echo(figure.add_subplot(grid[0, e]), chart, e, look)
    _draw_history(figure.add_subplot(grid[1, :]), [c for c in charts if c.frame == chart.frame], chart.frame, look)
    return figure


def render_disk(places: NDArray[np.float64], symbols: Sequence[str], painting: NDArray[Any] | None = None,
                theme: Literal["dark", "light"] = "dark") -> Figure:
    """Draw a model's symbols on the disk, over what is painted there.

    Parameters
    ----------
    places : array [V, 2]
        Of the symbols, as `core.disk.DiskChart.places` gives them; the first, unknown one is left out.
    painting : array [SIDE, SIDE], optional
        In [-1, 1].
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    look = THEMES[theme]
    figure = Figure(figsize=(7.2, 7.2), dpi=100, facecolor=look["paper"], layout="constrained")
    axes = figure.add_subplot()
    _style(axes, look)
    rim = axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=look["quiet"], linewidth=1))
    if painting is not None:
        axes.imshow(painting, extent=(-1, 1, -1, 1), cmap=look["signed"], vmin=-1, vmax=1).set_clip_path(rim)
    for symbol, (x, y) in zip(symbols[1:], places[1:], strict=True):
        shown = symbol if symbol.isprintable() and not symbol.isspace() else WHITE.get(symbol, f"U+{ord(symbol):04X}")
        axes.text(x, y, shown, color=look["ink"], ha="center", va="center", fontsize=9, parse_math=False)
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), xticks=[], yticks=[], aspect="equal")
    return figure


def band_names(frame: ZFrame) -> list[str]:
    """Each band's range in cycles/sample."""
    bounds = [0.0, *frame.edges, 0.5]
    return [f"{low:.3g} – {high:.3g}" for low, high in itertools.pairwise(bounds)]


def _style(axes: Axes, look: dict[str, str]) -> None:
    """Quiet axes in the theme's colours."""
    axes.set_facecolor(look["paper"])
    axes.tick_params(colors=look["quiet"], labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_echo(axes: Axes, chart: Chart, echo: int, look: dict[str, str]) -> None:
    """One echo: sequential map for densities, diverging with a neutral middle for signed correlations."""
    frame, rho = chart.frame, chart.field.rho[:, :, echo]
    _style(axes, look)
    lag = frame.temporal.lags[echo]
    axes.set_title(f"correlation at lag {lag}" if lag else "power", color=look["ink"], fontsize=10, loc="left")
    if echo in chart.field.missing_echoes:
        axes.text(0.5, 0.5, "missing after warp", color=look["quiet"], ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    limit = float(np.nanmax(np.abs(chart.field.rho[:, :, min(echo, 1):]))) or 1.0  # one scale for all lags
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": float(rho.max()) or 1.0} if echo == 0 else {
        "cmap": look["signed"], "vmin": -limit, "vmax": limit}
    turn = 360 / frame.sheets
    extent = (-turn / 2, 360 - turn / 2, -0.5, frame.bands - 0.5)
    image = axes.imshow(rho, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **scale)
    bar = axes.figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=look["quiet"], labelsize=7, length=0)
    bar.ax.locator_params(nbins=4)
    bar.ax.xaxis.get_offset_text().set(color=look["quiet"], fontsize=7)
    axes.set_xticks(np.arange(0, 360, 90), [f"{a}°" for a in range(0, 360, 90)])
    axes.set_xlabel("phase", color=look["quiet"], fontsize=8)
    axes.set_yticks(range(frame.bands), band_names(frame) if echo == 0 else [""] * frame.bands)
    if echo == 0:
        axes.set_ylabel("band, cycles/sample", color=look["quiet"], fontsize=9)
        found = chart.field.homology
        axes.set_title(f"outline {found.threshold:.2g}, b0 {found.b0}, b1 {found.b1}", color=look["quiet"],
                       fontsize=8, loc="right")
        _outline(axes, found.labels > 0, turn)


def _outline(axes: Axes, inside: NDArray[np.bool_], turn: float) -> None:
    """Border of the cells above the threshold; one at the wrap shows at both ends."""
    from matplotlib.collections import LineCollection

    bands, sheets = inside.shape
    lines: list[list[tuple[float, float]]] = []
    for b in range(bands):
        for s in range(sheets + 1):
            if inside[b, s % sheets] != inside[b, s - 1]:
                x = (s - 0.5) * turn
                lines.append([(x, b - 0.5), (x, b + 0.5)])
            if b and s < sheets and inside[b, s] != inside[b - 1, s]:
                lines.append([((s - 0.5) * turn, b - 0.5), ((s + 0.5) * turn, b - 0.5)])
    for colour, width in (("black", 3.5), ("white", 1.5)):  # white on black shows on every colour of the map
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, capstyle="round", clip_on=False))


def _draw_history(axes: Axes, charts: list[Chart], frame: ZFrame, look: dict[str, str]) -> None:
    """Share of power per band over steps, low bands at the bottom."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    _style(axes, look)
    power = np.array([c.field.rho[:, :, 0].sum(axis=1) for c in charts])
    share = power / np.maximum(power.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    steps: list[float] = [c.step for c in charts]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if steps[0] == steps[-1]:  # one moment: a bar around it
        axes.set_xticks([steps[0]])
        steps, share = [steps[0] - 0.5, steps[0] + 0.5], np.repeat(share[-1:], 2, axis=0)
    colours = colormaps["cividis"](np.linspace(0.1, 1, frame.bands))
    axes.stackplot(steps, share.T * 100, colors=colours, labels=band_names(frame), edgecolor=look["paper"],
                   linewidth=0.5)
    axes.set_xlim(steps[0], steps[-1])
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of power, %", color=look["quiet"], fontsize=9)
    axes.set_xlabel("step", color=look["quiet"], fontsize=9)
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(frame.bands, 8), frameon=False, fontsize=8,
                         borderaxespad=0, borderpad=0.4, handlelength=1.2)
    for text in legend.get_texts():
        text.set_color(look["ink"])
