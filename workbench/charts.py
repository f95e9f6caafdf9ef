"""The page's Bokeh figures. They are laid out here; static/charts.js fills and restyles them in the browser.

Data reach them from the page's own channel and never travel back, so a page of curves costs the server one message.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    DataRange1d,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

MOST_BANDS = 16
MOST_RUNS = 8


def _figure(name: str, **options: Any) -> figure:
    """A quiet figure that fills its place."""
    fig = figure(name=f"{name}-figure", sizing_mode="stretch_both", min_border=4, toolbar_location=None,
                 outline_line_color=None, background_fill_alpha=0, border_fill_alpha=0, **options)
    fig.xaxis.axis_line_color = fig.yaxis.axis_line_color = None
    for axis in (*fig.xaxis, *fig.yaxis):
        axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_font_size = "11px"
        axis.axis_label_text_font_size = "11px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_standoff = 4
    fig.xgrid.grid_line_color = None
    return fig


def _blank(fig: figure) -> None:
    """Unseen points, so that ranges that follow the data have some until data come; the browser clears them."""
    fig.scatter("x", "y", source=ColumnDataSource({"x": [0, 1], "y": [0, 1]}, name=f"{fig.name}-blank"), visible=False)


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({c: [] for c in columns}, name=name)


def loss() -> figure:
    """Bits per character over steps: training with its spread, validation, baselines as dashes."""
    fig = _figure("loss", tools="box_zoom,reset,save", x_axis_label="step", y_axis_label="bits/char",
                  x_range=DataRange1d(range_padding=0.02))
    fig.toolbar_location, fig.toolbar_inner, fig.toolbar.autohide, fig.toolbar.logo = "above", True, True, None
    train, validation = _source("train", "step", "bits", "low", "high"), _source("validation", "step", "bits")
    fig.varea("step", "low", "high", source=train, fill_alpha=0.18, name="spread")
    line = fig.line("step", "bits", source=train, line_width=1.5, name="train-line")
    held = fig.line("step", "bits", source=validation, line_width=1.5, name="validation-line")
    fig.scatter("step", "bits", source=validation, size=4, line_color=None, name="validation-dots")
    for baseline in ("unigram", "bigram", "xz"):
        fig.add_layout(Span(dimension="width", line_dash="dashed", line_width=1, name=f"base-{baseline}",
                            visible=False))
    labels = _source("base-labels", "x", "y", "text")
    fig.text("x", "y", "text", source=labels, text_font_size="11px", text_baseline="bottom", text_align="right",
             x_offset=-4, name="base-text")
    fig.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=[("step", "@step{0,0}"),
                                                                     ("train", "@bits{0.000} bits/char")]),
                  HoverTool(renderers=[held], mode="vline", tooltips=[("validation", "@bits{0.000} bits/char")]),
                  CrosshairTool(dimensions="height", line_width=1))
    fig.xaxis.formatter = NumeralTickFormatter(format="0,0")
    _blank(fig)
    return fig


def atlas() -> figure:
    """One echo of the field, bands up and phase sheets across; the outline of cells above the mean on top."""
    fig = _figure("atlas", tools="", x_axis_label="phase", y_axis_label="band, cycles/char",
                  x_range=Range1d(start=-0.5, end=7.5), y_range=Range1d(start=-0.5, end=5.5))
    cells = _source("cells", "sheet", "band", "value", "phase", "range", "component")
    mapper = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1, name="cells-map")
    rect = fig.rect("sheet", "band", 1, 1, source=cells, line_width=1, name="cells-rect", dilate=False,
                    fill_color={"field": "value", "transform": mapper},
                    line_color={"field": "value", "transform": mapper})
    outline = _source("outline", "x0", "y0", "x1", "y1")
    for layer, width in (("outline-halo", 4), ("outline-line", 1.5)):
        fig.segment("x0", "y0", "x1", "y1", source=outline, line_width=width, line_cap="round", name=layer)
    cursor = _source("cursor", "sheet", "band")
    fig.rect("sheet", "band", 1, 1, source=cursor, fill_alpha=0, line_width=2, name="cursor-rect")
    fig.add_tools(HoverTool(renderers=[rect], tooltips=[
        ("band", "@range cycles/char"), ("phase", "@phase°"), ("density", "@value{0.000e+0}"),
        ("component", "@component")]))
    for axis in (fig.xaxis[0], fig.yaxis[0]):
        axis.ticker = FixedTicker(ticks=[])
        axis.formatter = NumeralTickFormatter(format="0")  # labels come from the run's frame
    fig.ygrid.grid_line_color = None
    return fig


def echo(index: int) -> figure:
    """A small picture of one echo."""
    fig = _figure(f"echo-{index}", tools="", x_range=Range1d(start=-0.5, end=7.5), y_range=Range1d(start=-0.5, end=5.5))
    fig.axis.visible = False
    fig.min_border = 0
    mapper = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1, name=f"echo-{index}-map")
    fig.rect("sheet", "band", 1, 1, source=_source(f"echo-{index}-cells", "sheet", "band", "value"),
             fill_color={"field": "value", "transform": mapper}, line_color=None, dilate=True,
             name=f"echo-{index}-rect")
    fig.grid.grid_line_color = None
    return fig


def history() -> figure:
    """Each band's share of the power over steps, low bands at the bottom."""
    fig = _figure("history", tools="", x_axis_label="step", y_axis_label="share of power, %",
                  x_range=DataRange1d(range_padding=0), y_range=Range1d(start=0, end=100))
    fig.xaxis.formatter = NumeralTickFormatter(format="0,0")
    _blank(fig)
    fig.ygrid.grid_line_color = None
    for b in range(MOST_BANDS):
        fig.varea("step", "low", "high", source=_source(f"band-{b}", "step", "low", "high"), name=f"band-{b}-area")
    fig.add_layout(Span(dimension="height", line_width=1.5, name="history-now", visible=False))
    return fig


def comparison() -> figure:
    """Training (thin) and validation (dots) of several runs."""
    fig = _figure("comparison", tools="box_zoom,reset,save", x_axis_label="step", y_axis_label="bits/char",
                  x_range=DataRange1d(range_padding=0.02))
    fig.toolbar_location, fig.toolbar_inner, fig.toolbar.autohide, fig.toolbar.logo = "above", True, True, None
    for i in range(MOST_RUNS):
        train, held = _source(f"compare-{i}-train", "step", "bits"), _source(f"compare-{i}-validation", "step", "bits")
        fig.line("step", "bits", source=train, line_width=1, line_alpha=0.5, name=f"compare-{i}-train-line")
        fig.line("step", "bits", source=held, line_width=1.5, name=f"compare-{i}-validation-line")
        dots = fig.scatter("step", "bits", source=held, size=5, line_color=None, name=f"compare-{i}-validation-dots")
        fig.add_tools(HoverTool(renderers=[dots], tooltips=[("step", "@step{0,0}"),
                                                            ("validation", "@bits{0.000} bits/char")]))
    fig.xaxis.formatter = NumeralTickFormatter(format="0,0")
    _blank(fig)
    return fig
