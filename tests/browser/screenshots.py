"""Pictures of every view: `make screenshots`. The README's go to static/, all of them to build/screenshots/.

Light and dark, 1440 and 800 wide, from a real run over corpus/ on the real server.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

from playwright.sync_api import Browser, Page, expect, sync_playwright

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.browser.conftest import Watched
from tests.browser.test_standalone import Files
from tests.serving import CHROMIUM_FLAGS, ROOT, Server, chromium, serving, wait_for
from workbench.standalone import export

OUT = ROOT / "build/screenshots"
README = {"live-dark-1440": "live-dark.png", "live-light-1440": "live-light.png"}
SIZES = {1440: 900, 800: 1180}
STEPS = 400  # of the run at work, before the first picture


@contextmanager
def visitor(browser: Browser, server: Server, theme: str, width: int) -> Iterator[Page]:
    """A fresh visitor's page in a theme; its console stays silent, and its requests with the server."""
    watched = Watched(browser, server, viewport={"width": width, "height": SIZES[width]}, device_scale_factor=1)
    watched.context.add_init_script(f"if (location.host) localStorage.setItem('theme', '{theme}')")
    page = watched.open()
    expect(page.locator("#run-state")).not_to_have_text("connecting")
    yield page
    watched.context.close()
    watched.check()


def take(page: Page, name: str, whole: bool = False) -> None:
    """One picture, after the last drawing."""
    page.wait_for_timeout(1200)
    page.screenshot(path=OUT / f"{name}.png", full_page=whole)
    print(OUT / f"{name}.png", flush=True)


def paint(page: Page) -> None:
    """A stroke across the chart, and another that attenuates."""
    page.keyboard.press("b")
    box = page.locator("#paint").bounding_box()
    assert box
    for start, end in (((0.1, 0.75), (0.45, 0.55)), ((0.6, 0.3), (0.9, 0.35))):
        page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=16)
        page.mouse.up()
        page.keyboard.press("x")
    expect(page.locator("#gains-text")).to_contain_text("from step")


def tools(page: Page, name: str) -> None:
    """Every other tool in the middle of its gesture, given up then."""
    box = page.locator("#paint").bounding_box()
    assert box
    for key, tool in (("i", "line"), ("q", "stamp"), ("o", "lasso")):
        page.keyboard.press(key)
        for i, (x, y) in enumerate(((0.55, 0.6), (0.7, 0.75), (0.85, 0.55), (0.7, 0.4))):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
            if i == 0:
                page.mouse.down()
        take(page, f"{tool}-{name}")
        page.keyboard.press("Escape")
        page.mouse.up()


def script(page: Page, name: str) -> None:
    """The script pane, at work and with a problem; what it painted is taken back."""
    page.keyboard.press("k")
    page.locator("#script-run").click()
    expect(page.locator("#script-state")).to_contain_text("painting, t = 1", timeout=60_000)
    take(page, f"script-{name}", whole=name.endswith("800"))
    page.locator("#script-stop").click()
    page.locator("#script-text").fill("print('from the left')\nfor i in range(4):\n"
                                      "    canvas.line((i / 4, 0), (1 / i, 1))\n")
    page.locator("#script-run").click()
    expect(page.locator("#script-error")).to_contain_text("line 3", timeout=60_000)
    take(page, f"script-problem-{name}")
    page.locator("#paint-undo").click()
    page.locator("#script-toggle").click()


def standalone(browser: Browser, folder: RunFolder, root: Path) -> None:
    """A recorded run as a page without a server, in every theme and width."""
    export(folder, root)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever).start()
        for width in SIZES:
            for theme in ("dark", "light"):
                host = SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/", port=server.server_port)
                watched = Watched(browser, host, viewport={"width": width, "height": SIZES[width]})
                watched.context.add_init_script(f"if (location.host) localStorage.setItem('theme', '{theme}')")
                page = watched.open()
                expect(page.locator("#disk-step")).not_to_be_empty()
                page.locator("#script-run").click()
                expect(page.locator("#script-state")).to_contain_text("painting, t = 1", timeout=60_000)
                page.locator("#script-stop").click()
                take(page, f"standalone-{theme}-{width}", whole=True)
                watched.context.close()
                watched.check()
        server.shutdown()


def projections(page: Page, name: str) -> None:
    """The Projector view of what is painted, and of what is measured."""
    page.keyboard.press("j")
    for source in ("painted", "state"):
        page.locator(f"[data-source={source}]").click()
        expect(page.locator("#projector-readout")).to_contain_text("value")
        page.mouse.move(2, 400)  # no tooltip over it
        take(page, f"projector-{source}-{name}", whole=True)


def disk(page: Page, name: str) -> None:
    """A painted disk with the scores under its characters, and what the projector makes of it."""
    box = page.locator("#disk").bounding_box()
    assert box
    for tool, row in (("want", 0.35), ("avoid", 0.65)):
        page.locator(f"[data-disk={tool}]").click()
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + row * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + (row + 0.1) * box["height"], steps=12)
        page.mouse.up()
    page.keyboard.press("7")
    take(page, f"disk-{name}", whole=True)
    page.keyboard.press("j")
    page.locator("[data-source=disk]").click()
    expect(page.locator("#projector-size")).to_contain_text("128")
    page.mouse.move(2, 400)
    take(page, f"projector-disk-{name}", whole=True)


def views(page: Page, name: str) -> None:
    """Every view of one visitor."""
    take(page, f"live-{name}", whole=name.endswith("800"))
    tools(page, name)
    script(page, name)
    page.keyboard.press("v")
    page.locator("[data-kind=gradient]").click()
    page.locator("[data-echo='1']").click()
    take(page, f"gradient-{name}")
    page.keyboard.press("n")
    page.locator("#run-dialog summary").click()
    take(page, f"form-{name}")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    take(page, f"keys-{name}")
    page.keyboard.press("Escape")
    projections(page, name)
    page.keyboard.press("w")
    page.locator("#generate-form [name=vowels]").fill("1")
    page.locator("#generate-start").click()
    expect(page.locator("#effect-of-desire")).to_contain_text("p value", timeout=120_000)
    take(page, f"generate-{name}")
    disk(page, name)
    page.keyboard.press("r")
    expect(page.locator("#runs-table input").nth(2)).to_be_visible()
    for box in page.locator("#runs-table input").all()[:3]:
        box.check()
    page.locator("#compare").click()
    expect(page.locator("#compare-table")).to_contain_text("seed")
    take(page, f"runs-{name}")
    page.keyboard.press("d")
    expect(page.locator("#doctor-table")).to_contain_text("numpy")
    take(page, f"doctor-{name}")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as p:
        runs = Path(name) / "runs"
        for seed in (1, 2):
            past = create_run(runs, RunConfig.from_preset((str(ROOT / "corpus"),), "tiny", threads=2, seed=seed,
                                                          steps=300))
            send(past, "start")
            Trainer(past).run()
        browser = p.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        standalone(browser, past, Path(name) / "page")
        with serving(runs) as server:
            with visitor(browser, server, "dark", 1440) as page:
                page.keyboard.press("n")
                page.locator("#run-dialog [name=steps]").fill("5000")  # still at work when the last picture is taken
                page.locator("#run-start").click()
                expect(page.locator("#run-state")).to_have_text("running", timeout=60_000)
                wait_for(lambda: (page.evaluate("workbench.tables?.train.get('step').at(-1)") or 0) > STEPS, 300, 1)
                paint(page)
                page.locator("#twin").click()
                wait_for(lambda: page.locator("#effect-curves b").count(), 120, 1)
            for width in SIZES:
                for theme in ("dark", "light"):
                    with visitor(browser, server, theme, width) as page:
                        page.keyboard.press("b")
                        views(page, f"{theme}-{width}")
        browser.close()
    for picture, target in README.items():
        shutil.copy(OUT / f"{picture}.png", ROOT / "static" / target)


if __name__ == "__main__":
    main()
