"""The page's Bokeh figures. They are laid out here; static/charts.js fills and restyles them in the browser.

Data reach them from the page's own channel and never travel back, so a page of curves costs the server one message.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CrosshairTool,
    DataRange1d,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    NoOverlap,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.models.glyph import Glyph
from bokeh.models.glyphs import Line, MultiLine, Patches, Rect, Scatter, Segment, Text, VArea
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure


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


def _add(fig: figure, name: str, glyph: Glyph, source: ColumnDataSource) -> GlyphRenderer[Any]:
    """A named glyph, without the copies for selections that `figure`'s own methods make: pages open faster."""
    return fig.add_glyph(source, glyph, name=name)


def _steps(fig: figure) -> None:
    """Whole steps along x; unseen points, so that ranges that follow the data have some until data come."""
    fig.xaxis.formatter = NumeralTickFormatter(format="0,0")
    fig.xaxis.ticker = BasicTicker(min_interval=1)
    points = ColumnDataSource({"x": [0, 1], "y": [0, 1]}, name=f"{fig.name}-blank")  # the browser clears it
    _add(fig, f"{fig.name}-unseen", Scatter(x="x", y="y"), points).visible = False


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({c: [] for c in columns}, name=name)


def _mapped(name: str) -> Any:
    """The column `value` through a colour mapper whose palette and range the browser sets."""
    mapper = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1, name=name)
    return {"field": "value", "transform": mapper}


def loss() -> figure:
    """Bits per character over steps: training with its spread, validation, baselines as dashes."""
    fig = _curves("loss")
    train, validation = _source("train", "step", "bits", "low", "high"), _source("validation", "step", "bits")
    _add(fig, "spread", VArea(x="step", y1="low", y2="high", fill_alpha=0.18), train)
    line = _add(fig, "train-line", Line(x="step", y="bits", line_width=1.5), train)
    held = _add(fig, "validation-line", Line(x="step", y="bits", line_width=1.5), validation)
    _add(fig, "validation-dots", Scatter(x="step", y="bits", size=4, line_color=None), validation)
    for baseline in ("unigram", "bigram", "xz"):
        fig.add_layout(Span(dimension="width", line_dash="dashed", line_width=1, name=f"base-{baseline}",
                            visible=False))
    _add(fig, "base-text", Text(x="x", y="y", text="text", text_font_size="11px", text_baseline="bottom",
                                text_align="right", x_offset=-4, background_fill_alpha=0.8),
         _source("base-labels", "x", "y", "text"))
    fig.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=[("step", "@step{0,0}"),
                                                                     ("train", "@bits{0.000} bits/char")]),
                  HoverTool(renderers=[held], mode="vline", tooltips=[("validation", "@bits{0.000} bits/char")]),
                  CrosshairTool(dimensions="height", line_width=1))
    return fig


def atlas() -> figure:
    """One echo of the field, bands up and phase sheets across; the outline of cells above the mean on top."""
    fig = _figure("atlas", tools="", x_axis_label="phase", y_axis_label="band, cycles/char",
                  x_range=Range1d(start=-0.5, end=7.5), y_range=Range1d(start=-0.5, end=5.5))
    value = _mapped("cells-map")
    rect = _add(fig, "cells-rect", Rect(x="sheet", y="band", width=1, height=1, line_width=1, fill_color=value,
                                        line_color=value),
                _source("cells", "sheet", "band", "value", "phase", "range", "component"))
    _add(fig, "painted-rect", Rect(x="sheet", y="band", width="size", height="size", fill_color="colour",
                                   line_width=1), _source("painted", "sheet", "band", "size", "colour"))
    outline = _source("outline", "x0", "y0", "x1", "y1")
    for layer, width in (("outline-halo", 4), ("outline-line", 1.5)):
        _add(fig, layer, Segment(x0="x0", y0="y0", x1="x1", y1="y1", line_width=width, line_cap="round"), outline)
    _add(fig, "cursor-rect", Rect(x="sheet", y="band", width=1, height=1, fill_alpha=0, line_width=2),
         _source("cursor", "sheet", "band"))
    fig.add_tools(HoverTool(renderers=[rect], tooltips=[
        ("band", "@range cycles/char"), ("phase", "@phase°"), ("density", "@value{0.000e+0}"),
        ("piece", "@component")]))
    for axis in (fig.xaxis[0], fig.yaxis[0]):
        axis.ticker = FixedTicker(ticks=[])
        axis.formatter = NumeralTickFormatter(format="0")  # labels come from the run's frame
    fig.ygrid.grid_line_color = None
    return fig


def history() -> figure:
    """Each band's share of the power over steps, low bands at the bottom."""
    fig = _figure("history", tools="", x_axis_label="step", y_axis_label="share of power, %",
                  x_range=DataRange1d(range_padding=0), y_range=Range1d(start=0, end=100))
    _steps(fig)
    fig.ygrid.grid_line_color = None
    _add(fig, "bands-patches", Patches(xs="xs", ys="ys", fill_color="colour", line_color=None),
         _source("bands", "xs", "ys", "colour"))
    fig.add_layout(Span(dimension="height", line_width=1.5, name="history-now", visible=False))
    return fig


def comparison() -> figure:
    """Groups of runs, a colour each: training of every run (thin), mean held-out loss (dots) with standard errors."""
    fig = _curves("comparison")
    fig.xaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    fig.xaxis.major_label_policy = NoOverlap()  # a logarithmic axis crowds them
    train, means = (_source(f"compare-{part}", "xs", "ys", "colour") for part in ("train", "means"))
    dots = _source("compare-dots", "x", "bits", "low", "high", "colour", "group", "step", "error")
    _add(fig, "compare-train-lines", MultiLine(xs="xs", ys="ys", line_color="colour", line_alpha=0.4), train)
    _add(fig, "compare-means-lines", MultiLine(xs="xs", ys="ys", line_color="colour", line_width=1.5), means)
    _add(fig, "compare-errors", Segment(x0="x", y0="low", x1="x", y1="high", line_color="colour", line_width=1.5), dots)
    points = _add(fig, "compare-dots-scatter", Scatter(x="x", y="bits", size=5, line_color=None, fill_color="colour"),
                  dots)
    fig.add_tools(HoverTool(renderers=[points], tooltips=[("group", "@group"), ("step", "@step{0,0}"),
                                                          ("held out", "@bits{0.000} bits/char"),
                                                          ("standard error", "@error")]))
    return fig


def _curves(name: str) -> figure:
    """A figure of losses over steps that follows its data until somebody zooms."""
    fig = _figure(name, tools="box_zoom,reset,save", x_axis_label="step", y_axis_label="bits/char",
                  x_range=DataRange1d(range_padding=0.02))
    fig.toolbar_location, fig.toolbar_inner, fig.toolbar.autohide, fig.toolbar.logo = "above", True, True, None
    _steps(fig)
    return fig
