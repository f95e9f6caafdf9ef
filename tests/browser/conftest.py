"""A real Chromium, watched: its console and its requests are part of every test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.work import WorkQueue
from tests.serving import CHROMIUM_FLAGS, Server, chromium, records, serving, wait_for

expect.set_options(timeout=20_000)  # on a machine that has other work, too


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Ended with the package: while it runs, no other Playwright and no event loop can."""
    chromium()
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*CHROMIUM_FLAGS, "--disable-gpu"])
    yield browser
    browser.close()


class Watched:
    """Pages of one browser context, with everything they complained of and asked for."""

    def __init__(self, browser: Browser, server: Server, **options: Any) -> None:
        self.server, self.complaints, self.requests = server, [], set()
        self.away = False  # the server is down on purpose, so failed connections are no complaint
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        self.context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("console", lambda m: self._complain(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self._complain(str(e)))
        page.on("request", lambda r: self.requests.add(r.url))
        page.on("websocket", lambda w: self.requests.add(w.url))

    def _complain(self, text: str) -> None:
        if not self.away and text != "No available adapters.":  # Chromium's own word where there is no WebGPU
            self.complaints.append(text)

    def open(self, place: str = "") -> Page:
        """A new tab on the page."""
        page = self.context.new_page()
        page.goto(self.server.url + place)
        return page

    @contextmanager
    def server_away(self) -> Iterator[None]:
        """The server is killed, and comes back before the end of the block."""
        self.away = True
        self.server.kill()
        yield
        self.away = False

    def check(self) -> None:
        """No complaint in the console since the last check, no request that left the server."""
        complaints, self.complaints = self.complaints, []
        assert not complaints, complaints
        outside = {u for u in self.requests if urlsplit(u).scheme not in ("blob", "data")
                   and urlsplit(u).netloc != f"127.0.0.1:{self.server.port}"}
        assert not outside, outside


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served") / "runs") as server:
        yield server


@pytest.fixture
def watched(browser: Browser, server: Server) -> Iterator[Watched]:
    watched = Watched(browser, server)
    yield watched
    watched.context.close()
    watched.check()


def ready(watched: Watched, place: str = "") -> Page:
    """A page that has heard from the server."""
    page = watched.open(place)
    expect(page.locator("#run-state")).not_to_have_text("connecting", timeout=30_000)
    return page


@pytest.fixture(scope="module")
def shared(browser: Browser, server: Server) -> Iterator[tuple[Watched, Page]]:
    """One page for the tests that do not need a fresh one: loading it takes most of their time."""
    watched = Watched(browser, server)
    yield watched, ready(watched)
    watched.context.close()


@pytest.fixture
def page(shared: tuple[Watched, Page]) -> Iterator[Page]:
    """The shared page; its console stayed silent."""
    watched, page = shared
    yield page
    watched.check()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, one of them in a folder whose name tries to be HTML."""
    root = tmp_path_factory.mktemp("texts")
    for place in ("plain", "<img src=x onerror=alert(1)>"):
        (root / place).mkdir()
        (root / place / "a.txt").write_text("the tide turns under a grey moon and nobody counts the waves\n" * 60)
    return root


def long_run(server: Server, texts: Path) -> Path:
    """Folder of a run that outlasts the tests; paused, so that pages get the processor: see `at_work`."""
    queue = WorkQueue(server.runs)
    number = queue.add({"paths": [str(texts / "plain")], "preset": "tiny", "threads": 1, "steps": 100_000,
                        "evaluate_every": 20})
    queue.ensure_worker()
    folder = Path(server.runs / wait_for(lambda: next(i.run for i in queue.items() if i.id == number)))
    with at_work(folder):
        wait_for(lambda: sum("bands" in r for r in records(folder / "metrics.jsonl")) >= 3)
    return folder


@contextmanager
def training(runs: Path, texts: Path) -> Iterator[RunFolder]:
    """A run that is at work inside the block in a process of its own, beside what the queue has."""
    folder = create_run(runs, RunConfig.from_preset((str(texts / "plain"),), "tiny", threads=1, steps=100_000,
                                                    field_every=4))
    send(folder, "start")
    process = subprocess.Popen([sys.executable, "-m", "core.runs.trainer", str(folder.path)])
    try:
        yield folder
    finally:
        process.kill()
        process.wait()


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """The run goes on inside the block."""
    run = RunFolder(folder)
    send(run, "resume")
    wait_for(lambda: run.status() == "running")
    try:
        yield
    finally:
        send(run, "pause")
        wait_for(lambda: run.status() == "paused")
