"""A real JupyterLab for tests, on 127.0.0.1 and without a token, with settings of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect

from tests.serving import ROOT, absent, free_port, wait_for

QUIET = {  # JupyterLab's own questions to other servers
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}}


class Lab:
    """JupyterLab in a process of its own over a folder of notebooks."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.notebooks, self.settings = root / "notebooks", root / "settings/@jupyterlab"
        self.notebooks.mkdir()
        for name, values in QUIET.items():
            self.set(name, values)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/lab"

    def set(self, name: str, values: dict[str, object]) -> None:
        """One of the user's settings."""
        path = self.settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def write(self, name: str, *cells: str) -> Path:
        """A notebook of code cells, with a kernel named: without one a dialog covers the page."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}})
        path = self.notebooks / name
        nbformat.write(notebook, path)
        return path

    def open(self, page: Page, name: str) -> None:
        """Open a notebook and wait for its kernel."""
        page.goto(f"{self.url}/tree/{name}?reset")
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=60_000)
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=60_000)

    def run(self, page: Page, cell: int | None = None) -> None:
        """Run one cell, or all of them."""
        if cell is None:
            page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        else:
            page.evaluate(f"jupyterapp.shell.currentWidget.content.activeCellIndex = {cell}")
            page.evaluate("void jupyterapp.commands.execute('notebook:run-cell')")

    def answers(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api", timeout=5).close()
            return True
        return False


@contextlib.contextmanager
def jupyterlab(root: Path) -> Iterator[Lab]:
    """It, for the length of a block; without it a test is skipped, but fails where everything must be there."""
    if find_spec("jupyterlab") is None or find_spec("anywidget") is None:
        absent("JupyterLab with anywidget: pip install 'zspace-workbench[notebook]'")
    lab = Lab(root)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
           "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"), "JUPYTER_CONFIG_DIR": str(root / "config"),
           "JUPYTER_RUNTIME_DIR": str(root / "runtime"), "IPYTHONDIR": str(root / "ipython")}
    with open(root / "lab.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
             f"--ServerApp.port={lab.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
             f"--ServerApp.root_dir={lab.notebooks}", "--LabApp.expose_app_in_browser=True",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
            env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for(lab.answers, 60)
        yield lab
    finally:
        process.terminate()  # it ends its kernels first
        process.wait(30)
