"""A wgpu device, a page with WebGPU, a page without, and the server they load from; missing ones skip, in CI fail."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.painter import Painter
from tests.serving import absent

STATIC = Path(__file__).resolve().parents[2] / "static"
COMMON = ["--headless=new", "--no-sandbox", "--disable-quic", "--host-resolver-rules=MAP canvas.test 127.0.0.1"]
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
          # without these a canvas gets no swap chain and its device is lost at the first frame
          "--use-angle=swiftshader", "--use-vulkan=swiftshader", "--ignore-gpu-blocklist", "--enable-gpu"]


class Files(SimpleHTTPRequestHandler):
    """The static folder, and a blank page at /."""

    def do_GET(self) -> None:
        if self.path == "/":
            page = b"<!doctype html><title>blank</title><link rel=icon href=data:,>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="package")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(STATIC))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="package")
def device() -> Any:
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")  # Mesa warns without one
    try:
        import wgpu
    except ImportError:
        absent("wgpu")
    try:
        return wgpu.gpu.request_adapter_sync().request_device_sync()
    except (RuntimeError, wgpu.GPUError) as error:
        absent(f"Vulkan driver ({error})")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Any]:
    if shutil.which("chromium") is None:
        absent("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    with sync_playwright() as running:
        yield running


def launch(playwright: Any, flags: list[str]) -> Any:
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*COMMON, *flags],
                                      ignore_default_args=["--headless"])


@pytest.fixture(scope="package")
def browser(playwright: Any) -> Iterator[Any]:
    """Chromium with WebGPU."""
    running = launch(playwright, WEBGPU)
    yield running
    running.close()


@pytest.fixture(scope="package")
def plain_browser(playwright: Any) -> Iterator[Any]:
    """Chromium as it comes, with no WebGPU on a machine without a GPU."""
    running = launch(playwright, ["--disable-gpu"])
    yield running
    running.close()


@pytest.fixture(scope="package")
def page(browser: Any, port: int) -> Iterator[Any]:
    """A blank page whose WebGPU works."""
    opened = browser.new_page()
    opened.goto(f"http://127.0.0.1:{port}/")
    if not opened.evaluate("async () => Boolean(navigator.gpu && await navigator.gpu.requestAdapter())"):
        absent("WebGPU adapter in chromium")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def painters(browser: Any, plain_browser: Any) -> Iterator[dict[str, Painter]]:
    """One for each backend, used again and again: opening a page takes as long as a test."""
    painters = {"webgpu": Painter(browser.new_page()), "2d": Painter(plain_browser.new_page())}
    yield painters
    for painter in painters.values():
        painter.page.close()


@pytest.fixture(params=["webgpu", "2d"])
def painter(request: pytest.FixtureRequest, painters: dict[str, Painter], port: int) -> Iterator[Painter]:
    opened = painters[request.param].open(port)
    assert opened.backend[0] == request.param
    yield opened
    opened.check()
