"""The painting canvas where the world changes under it: zoom, background, a dead device, no WebGPU, a vast window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from core.runs.control import send
from core.runs.store import RunFolder
from tests.browser.conftest import Watched, at_work, long_run
from tests.browser.painting import (
    BANDS,
    SHEETS,
    acknowledged,
    begin,
    blank,
    click,
    heaviest,
    journalled,
    pixels,
    place,
)
from tests.kernels import reference
from tests.kernels.conftest import WEBGPU
from tests.serving import CHROMIUM_FLAGS, Server, chromium, free_port, serving, wait_for

SIZE = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("conditions") / "runs", texts=texts) as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, texts: Path) -> Path:
    return long_run(server, texts)


@pytest.fixture(scope="module")
def gpu(playwright: Playwright) -> Iterator[Browser]:
    """Chromium with a software WebGPU adapter."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU])
    yield browser
    browser.close()


Opened = Callable[..., Page]


@pytest.fixture
def opened(gpu: Browser, server: Server, folder: Path) -> Iterator[Opened]:
    """Opens the page on the run, the brush in hand, nothing painted; its console must stay silent."""
    watched = []

    def one(script: str = "", **options: Any) -> Page:
        watched.append(Watched(gpu, server, **options))
        if script:
            watched[-1].context.add_init_script(script)
        page = begin(watched[-1], folder)
        blank(page)
        return page

    yield one
    for each in watched:
        each.context.close()
        each.check()


def relation(page: Page) -> np.ndarray:
    return np.array(page.evaluate("workbench.paint.surface.relation().then((r) => [...r])")).reshape(BANDS, SHEETS)


# --- zoom ---

class Zoomed:
    """A browser window whose zoom can be changed as with Ctrl and plus."""

    def __init__(self, playwright: Playwright, server: Server, profile: Path) -> None:
        here = str(Path(__file__).parent / "zoom")
        self.context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=chromium(), no_viewport=True, ignore_default_args=["--disable-extensions"],
            args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU, f"--window-size={SIZE['width']},{SIZE['height']}",
                  f"--load-extension={here}", f"--disable-extensions-except={here}",
                  "--disable-features=DisableLoadExtensionCommandLineSwitch"])
        workers = self.context.service_workers
        self.worker = workers[0] if workers else self.context.wait_for_event("serviceworker")
        self.watched = Watched(cast(Browser, self), server)

    def new_context(self, **_: Any) -> Any:
        """As `Watched` asks a browser for it."""
        return self.context

    def zoom(self, page: Page, factor: float) -> None:
        self.worker.evaluate("""async (factor) => { for (const tab of await chrome.tabs.query({url: "http://*/*"}))
            await chrome.tabs.setZoom(tab.id, factor); }""", factor)
        wait_for(lambda: abs(page.evaluate("devicePixelRatio") - factor) < 0.01)


@pytest.fixture
def zoomed(playwright: Playwright, server: Server, folder: Path, tmp_path: Path) -> Iterator[tuple[Zoomed, Page]]:
    window = Zoomed(playwright, server, tmp_path)
    page = begin(window.watched, folder)
    blank(page)
    yield window, page
    window.context.close()
    window.watched.check()


def test_zoom_changes_neither_the_layer_nor_where_one_paints(zoomed: tuple[Zoomed, Page], folder: Path) -> None:
    window, page = zoomed
    click(page, 2, 2)
    for band, factor in enumerate((1.5, 0.67, 2.0, 1.0)):
        before = relation(page)
        window.zoom(page, factor)
        wait_for(lambda: sharp(page))
        wait_for(lambda: over_the_chart(page))
        np.testing.assert_array_equal(relation(page), before)
        click(page, band, 5)
        change = journalled(folder) - before
        assert heaviest(change) == (band, 5)
        shown = np.abs(pixels(page)[..., :3] - pixels(page)[2, 2, :3]).sum(-1)
        assert shown.any()
    assert page.evaluate("workbench.paint.surface.generation") == 1


def sharp(page: Page) -> bool:
    """Whether the picture has a pixel for every pixel of the device."""
    columns, rows, width, height = page.evaluate("""(() => { const {canvas, size} = workbench.paint.surface,
        box = canvas.getBoundingClientRect();
        return [size.columns, size.rows, box.width * devicePixelRatio, box.height * devicePixelRatio]; })()""")
    return abs(columns - width) <= 1 and abs(rows - height) <= 1


def over_the_chart(page: Page) -> bool:
    """Whether the canvas lies where the chart's frame is."""
    return page.evaluate("""(() => { const view = Bokeh.index.find_one_by_id(
            Bokeh.documents[0].get_model_by_name("atlas-figure").id), frame = view.frame.bbox;
        const plot = view.el.getBoundingClientRect(), box = document.getElementById("paint").getBoundingClientRect();
        return [box.left - plot.left - frame.left, box.top - plot.top - frame.top, box.width - frame.width,
                box.height - frame.height].every((gap) => Math.abs(gap) <= 1); })()""")


def test_the_disk_stays_sharp_when_zoomed(zoomed: tuple[Zoomed, Page], folder: Path) -> None:
    window, page = zoomed
    page.evaluate("location.hash = '#/generate'")
    send(RunFolder(folder), "save")  # the disk comes with the first checkpoint
    expect(page.locator("#disk-step")).not_to_be_empty()
    for factor in (2.0, 1.0, 1.25):
        window.zoom(page, factor)
        wait_for(lambda: page.evaluate("""(() => { const canvas = document.getElementById("disk");
            return Math.abs(canvas.width - canvas.getBoundingClientRect().width * devicePixelRatio) <= 1; })()"""))
    for _ in range(3):  # a lost device is replaced, unless it is lost again and again
        expect(page.locator("#disk-backend")).to_have_text("WebGPU")
        page.evaluate("""window.gone = workbench.disk.map
            gone.device.queue.onSubmittedWorkDone().then(() => gone.device.destroy())""")
        wait_for(lambda: page.evaluate("workbench.disk.map !== gone"), 20)
    expect(page.locator("#disk-backend")).to_have_text("2-D: the device was lost")


def test_a_browser_that_measures_in_css_pixels_follows_the_ratio(zoomed: tuple[Zoomed, Page]) -> None:
    """As Safari does: a canvas that keeps its size in CSS pixels changes no box when the screen is another."""
    window, page = zoomed
    page.add_init_script("""const observe = ResizeObserver.prototype.observe;
        ResizeObserver.prototype.observe = function (node, options) {
            if (options?.box === "device-pixel-content-box") throw new TypeError("no such box");
            return observe.call(this, node); };
        Object.defineProperty(ResizeObserverEntry.prototype, "devicePixelContentBoxSize", {get: () => undefined});""")
    page.reload()
    expect(page.locator("#atlas-step")).not_to_be_empty(timeout=60_000)
    blank(page)
    page.add_style_tag(content="#painting { width: 500px !important; height: 150px !important }")
    wait_for(lambda: page.evaluate("workbench.paint.surface.size") == {"columns": 500, "rows": 150})
    for factor in (2.0, 1.0, 1.5):
        window.zoom(page, factor)
        wait_for(lambda: sharp(page))
    assert page.evaluate("workbench.paint.surface.size") == {"columns": 750, "rows": 225}


# --- a tab in the background ---

HIDE = """(hidden) => { Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange")); }"""


def test_in_the_background_nothing_is_drawn_and_nothing_is_lost(opened: Opened, folder: Path) -> None:
    page = opened()
    box = page.locator("#paint").bounding_box()
    assert box
    page.mouse.click(*place(page, 1, 1))
    page.evaluate(HIDE, True)  # before the layer has left, and while it rings
    frames, look = page.evaluate("[workbench.paint.surface.frames, workbench.atlas.look.step]")
    acknowledged(page)
    assert heaviest(journalled(folder)) == (1, 1)
    with at_work(folder):
        wait_for(lambda: page.evaluate("workbench.atlas.look.step") > look, 60)
    assert page.evaluate("workbench.paint.surface.frames") == frames
    page.evaluate("void workbench.paint.surface.device.destroy()")  # as when a laptop sleeps
    wait_for(lambda: page.evaluate("workbench.paint.surface.generation") == 2 and page.evaluate(
        "Boolean(workbench.paint.surface.device)"), 30)
    assert page.evaluate("workbench.paint.surface.frames") == frames
    page.evaluate(HIDE, False)
    wait_for(lambda: page.evaluate("workbench.paint.surface.frames") > frames, 20)
    np.testing.assert_allclose(relation(page), journalled(folder), atol=1e-6)


def test_a_frozen_page_comes_back_as_it_was(opened: Opened, folder: Path) -> None:
    """What Chromium does to a tab after some minutes in the background: no timer, no message."""
    page = opened()
    click(page, 3, 4)
    layer = journalled(folder)
    session = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    page.wait_for_timeout(5000)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    look = page.evaluate("workbench.atlas.look.step")
    with at_work(folder):
        expect(page.locator("#run-state")).to_have_text("running", timeout=30_000)
        wait_for(lambda: page.evaluate("workbench.atlas.look.step") > look, 60)
    np.testing.assert_allclose(relation(page), layer, atol=1e-6)
    click(page, 3, 5)
    assert journalled(folder)[3, 5] > 0.3
    np.testing.assert_allclose(journalled(folder)[3, 3], layer[3, 3], atol=1e-6)


# --- devices, or none ---

def test_a_device_lost_again_and_again_ends_in_2d_with_the_same_layer(opened: Opened, folder: Path) -> None:
    page = opened()
    click(page, 4, 2)
    layer, generation = journalled(folder), 1
    for _ in range(3):
        page.evaluate("void workbench.paint.surface.device.destroy()")
        generation += 1
        wait_for(lambda: page.evaluate("workbench.paint.surface.generation") == generation, 20)  # noqa: B023
        wait_for(lambda: page.evaluate("workbench.paint.surface.backend") == "2d" or page.evaluate(
            "Boolean(workbench.paint.surface.device)"), 20)
    expect(page.locator("#paint-backend")).to_have_text("2-D: the device was lost")
    np.testing.assert_allclose(relation(page), layer, atol=1e-6)
    click(page, 1, 6)
    np.testing.assert_allclose(journalled(folder)[4, 2], layer[4, 2], atol=1e-6)
    assert journalled(folder)[1, 6] > 0.3
    page.keyboard.press("u")
    wait_for(lambda: np.abs(journalled(folder) - layer).max() < 1e-6, 20)


@pytest.mark.parametrize(("script", "reason"), [
    ("Object.defineProperty(Navigator.prototype, 'gpu', {get: () => undefined})", "no WebGPU in this browser"),
    ("if (navigator.gpu) GPU.prototype.requestAdapter = async () => null", "no adapter"),
    ("if (navigator.gpu) GPUAdapter.prototype.requestDevice = async () => { throw new Error('out of memory'); }",
     "WebGPU failed: out of memory"),
])
def test_without_webgpu_the_page_says_why_and_paints(opened: Opened, folder: Path, script: str, reason: str) -> None:
    page = opened(script)
    expect(page.locator("#paint-backend")).to_have_text(f"2-D: {reason}")
    click(page, 5, 3)
    assert heaviest(journalled(folder)) == (5, 3)


def test_an_insecure_origin_says_so_and_paints(playwright: Playwright, tmp_path: Path, texts: Path) -> None:
    """By another name than localhost the server wants a login, and a browser offers neither WebGPU nor its like."""
    port = free_port()
    browser = playwright.chromium.launch(executable_path=chromium(), args=[
        *CHROMIUM_FLAGS, "--headless=new", *WEBGPU, "--host-resolver-rules=MAP canvas.test 127.0.0.1"])
    with serving(tmp_path / "runs", "--basic-auth", "sesame", "--cookie-secret", "for a test only, long enough",
                 "--allow-websocket-origin", f"canvas.test:{port}", texts=texts, port=port) as server:
        folder = long_run(server, texts)
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: said.append(str(e)))
        page.goto(f"http://canvas.test:{port}/workbench#/live?run={folder.name}")
        page.locator("[name=username]").fill("anyone")
        page.locator("[name=password]").fill("sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#run-state")).to_have_text("paused", timeout=60_000)
        assert not page.evaluate("isSecureContext")
        said.clear()  # the form that Panel asks with wants an icon from elsewhere, and is refused it
        expect(page.locator("#atlas-step")).not_to_be_empty(timeout=60_000)
        blank(page)
        expect(page.locator("#paint-backend")).to_have_text("2-D: insecure origin: open it over https or localhost")
        click(page, 0, 6)
        assert heaviest(journalled(folder)) == (0, 6)
        browser.close()
    assert not said


# --- a vast window ---

def test_a_canvas_4096_pixels_wide(opened: Opened, folder: Path) -> None:
    page = opened(viewport={"width": 4800, "height": 900})
    page.add_style_tag(content="#painting { width: 4096px !important }")
    wait_for(lambda: page.evaluate("workbench.paint.surface.size.columns") == 4096)
    size = page.evaluate("workbench.paint.surface.size")
    click(page, 3, 2)
    layer = journalled(folder)
    assert heaviest(layer) == (3, 2)
    got = pixels(page)
    assert got.shape[:2] == (size["rows"], size["columns"])
    field, (low, high), tables = page.evaluate("""(() => { const {field, tables} = workbench.paint.surface;
        return [[...field.values], field.range, [tables.field, tables.painted].map((t) => [...t])]; })()""")
    painted = np.array(page.evaluate("""(async () => { const {deposits} = await import("./workbench/static/brush.js"),
        {PlainEngine} = await import("./workbench/static/surface2d.js"), {shape, painting} = workbench.paint.surface;
        const engine = new PlainEngine(shape);
        for (const stroke of painting.strokes) for (const d of deposits(stroke, shape)) engine.deposit(d);
        return [...engine.layer]; })()""")).reshape(-1, 256)
    want = reference.colour(painted, np.reshape(field, (BANDS, SHEETS)), np.uint8(tables).reshape(2, 256, 4), low, high,
                            size["columns"], size["rows"])
    assert np.abs(got - want).max() <= 1
