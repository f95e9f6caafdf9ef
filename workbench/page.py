"""One page: the template, its figures and its channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.document import Document
from bokeh.io import curdoc
from bokeh.plotting import figure

from workbench import charts, settings
from workbench.controller import Controller
from workbench.link import Link, attach
from workbench.staging import staged

HERE = Path(__file__).resolve().parent
FIGURES: dict[str, Callable[[], figure]] = {
    "loss": charts.loss, "atlas": charts.atlas, "history": charts.history, "comparison": charts.comparison,
}


@cache
def controller() -> Controller:
    """The one of this process: sessions come and go, `main.py` runs anew for each."""
    return Controller(settings.runs_folder(), settings.text_root())


class Page(pn.Template):
    """A template whose document is indexed once, not once a figure."""

    def _init_doc(self, doc: Document | None = None, *args: Any, **options: Any) -> Document:
        doc = doc or curdoc()
        with doc.models.freeze():
            return super()._init_doc(doc, *args, **options)


def build() -> Page:
    """A fresh page for one visitor."""
    pn.extension()
    template = Page((HERE / "page.html").read_text(encoding="utf-8"))
    for name, draw in FIGURES.items():
        template.add_panel(name, pn.pane.Bokeh(draw(), sizing_mode="stretch_both"))
    template.add_variable("runtime", json.dumps(staged()))  # of the script pane
    link = Link(controller())
    attach(link)
    template.add_panel("link", link)
    return template
