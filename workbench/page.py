"""One page: the template, its figures and its channel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import panel as pn
from bokeh.plotting import figure

from workbench import charts, settings
from workbench.controller import Controller
from workbench.link import Link, attach

HERE = Path(__file__).resolve().parent
FIGURES: dict[str, Callable[[], figure]] = {
    "loss": charts.loss, "atlas": charts.atlas, "history": charts.history, "comparison": charts.comparison,
    **{f"echo_{i}": partial(charts.echo, i) for i in range(4)},
}


@cache
def controller() -> Controller:
    """The one of this process: sessions come and go, `main.py` runs anew for each."""
    return Controller(settings.runs_folder(), settings.text_root())


def build() -> pn.Template:
    """A fresh page for one visitor."""
    pn.extension()
    template = pn.Template((HERE / "page.html").read_text(encoding="utf-8"))
    for name, draw in FIGURES.items():
        template.add_panel(name, pn.pane.Bokeh(draw(), sizing_mode="stretch_both"))
    link = Link(controller())
    attach(link)
    template.add_panel("link", link)
    return template
