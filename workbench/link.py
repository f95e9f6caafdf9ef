"""The page's one channel: a Panel component that carries the binary messages of `canvas.codec` both ways."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.document import Document
from bokeh.events import Event
from panel.custom import JSComponent
from panel.io.state import set_curdoc

from workbench.controller import Controller
from workbench.session import Session

TICK_MILLISECONDS = 100


class Link(JSComponent):
    """Draws nothing itself: it hands the channel to static/app.js, which fills the page."""

    _esm = """
export async function render({model}) {
  const app = await import(new URL("workbench/static/app.js", document.baseURI).href)
  app.start(model)
  return document.createElement("span")
}
"""
    _render_policy = "manual"

    def __init__(self, controller: Controller, **params: Any) -> None:
        super().__init__(**params)  # type: ignore[no-untyped-call]
        self.session = Session(controller, self._send_msg)

    def _process_bokeh_event(self, doc: Document, event: Event) -> None:
        """As Panel does, less its busy indicator: nobody looks at it, and it would be a tenth of the server's work."""
        with set_curdoc(doc):
            self._process_event(event)

    def _handle_msg(self, data: Any) -> None:
        self.session.receive(data)


def attach(link: Link) -> None:
    """Let the page's session tick while the page is open."""
    session = link.session
    beat = pn.state.add_periodic_callback(session.tick, period=TICK_MILLISECONDS)

    def close(_: Any) -> None:
        session.close()
        beat.stop()

    pn.state.on_session_destroyed(close)
