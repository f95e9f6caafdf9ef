"""Bokeh calls these around the server's life; `panel serve workbench` finds the file by its name."""

from __future__ import annotations

from typing import Any

from workbench import guard, page


def on_server_loaded(server_context: Any) -> None:
    """Before the first request: the page's modules are loaded, so that the first visitor need not wait for them."""
    guard.check_login()
    page.controller()


guard.install()
