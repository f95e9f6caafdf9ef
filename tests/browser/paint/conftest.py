"""One server, one run and one page that can paint; each test begins with nothing painted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright

from tests.browser.conftest import Watched, long_run
from tests.browser.painting import begin, blank
from tests.kernels.conftest import WEBGPU
from tests.serving import CHROMIUM_FLAGS, Server, chromium, serving


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("painted") / "runs", texts=texts) as server:
        yield server


@pytest.fixture(scope="package")
def folder(server: Server, texts: Path) -> Path:
    """Of a long run, at work where a test says so."""
    return long_run(server, texts)


@pytest.fixture(scope="package")
def gpu(playwright: Playwright, server: Server) -> Iterator[Watched]:
    """Chromium with a software WebGPU adapter."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU])
    yield Watched(browser, server)
    browser.close()


@pytest.fixture(scope="package")
def painter(gpu: Watched, folder: Path) -> Page:
    return begin(gpu, folder)


@pytest.fixture
def page(gpu: Watched, painter: Page) -> Iterator[Page]:
    """The brush in hand over the run, nothing painted."""
    blank(painter)
    yield painter
    gpu.check()
