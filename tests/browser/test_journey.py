"""A new user's first minutes, by pointer and keyboard only, on the real server and the real corpus."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Watched
from tests.serving import Server, records, wait_for


def number(text: str | None) -> int:
    """The first whole number of a text such as "step 1 240 / 5 000"."""
    found = re.search(r"\d[\d\u202f]*", text or "")
    return int(found[0].replace("\u202f", "")) if found else -1


def step(page: Page) -> int:
    return number(page.locator("#step").text_content())


def train_loss(page: Page) -> float:
    found = re.search(r"train ([\d.]+)", page.locator("#loss-legend").text_content() or "")
    return float(found[1]) if found else float("nan")


def picture(page: Page) -> str:
    """Digest of the atlas as it is drawn, cells only."""
    canvas = page.locator("#fig-atlas canvas:not(#paint)").first
    return hashlib.sha256(canvas.evaluate("c => c.toDataURL()").encode()).hexdigest()


def shown_run(page: Page, server: Server) -> Path:
    """Folder of the run that the page shows."""
    return server.runs / str(page.locator("#run-name").text_content())


def test_the_first_minutes(browser: Browser, server: Server) -> None:
    watched = Watched(browser, server)
    page = watched.open()
    expect(page.locator("#run-state")).to_have_text("running", timeout=60_000)
    folder = shown_run(page, server)
    loss_falls_as_recorded(page, folder)
    atlas_is_read(page)
    pause_and_resume(page, folder)
    another_run_takes_its_turn(page)
    page = another_tab_catches_up(watched, page)
    run_outlives_the_server(watched, page, shown_run(page, server))
    save_stop_and_go_on(page, shown_run(page, server))
    watched.context.close()
    watched.check()


def loss_falls_as_recorded(page: Page, folder: Path) -> None:
    wait_for(lambda: step(page) >= 10, 60)
    early = train_loss(page)
    wait_for(lambda: step(page) >= 45, 60)
    wait_for(lambda: train_loss(page) < early - 0.5, 60)  # a page that was slow to open saw the steep part pass
    rows = {r["step"]: r["bits"] for r in records(folder / "metrics.jsonl") if r["split"] == "train"}
    steps, bits = (page.evaluate(f"workbench.tables.train.get('{name}').slice(0, 40)") for name in ("step", "bits"))
    assert len(steps) == 40
    assert [rows[s] for s in steps] == bits
    for name in ("unigram", "bigram"):
        assert page.evaluate(f"Bokeh.documents[0].get_model_by_name('base-{name}').visible")


def atlas_is_read(page: Page) -> None:
    """It changes between two looks, and a cell is read out with density and component."""
    first, looked = picture(page), number(page.locator("#atlas-step").text_content())
    wait_for(lambda: number(page.locator("#atlas-step").text_content()) > looked)
    wait_for(lambda: picture(page) != first, 10)
    page.locator("#fig-atlas").hover(position={"x": 300, "y": 100})
    expect(page.locator("#readout")).to_contain_text(
        re.compile(r"band.*phase.*density.*piece(\d+ of \d+|below mean)pieces\d+loops\d+"))
    expect(page.locator("#sample")).not_to_be_empty()
    assert page.locator("#sample span").count() > 3


def pause_and_resume(page: Page, folder: Path) -> None:
    """Stops the steps by pointer, and goes on by keyboard."""
    page.locator("#do-pause").click()
    expect(page.locator("#run-state")).to_have_text("paused")
    wait_for(lambda: records(folder / "inputs.jsonl")[-1]["kind"] == "pause")
    written, at = len(records(folder / "metrics.jsonl")), step(page)
    time.sleep(1)  # of some twenty steps
    assert (len(records(folder / "metrics.jsonl")), step(page)) == (written, at)
    page.locator("h2").first.click()
    page.keyboard.press("Space")
    expect(page.locator("#run-state")).to_have_text("running")
    wait_for(lambda: step(page) > at)


def another_run_takes_its_turn(page: Page) -> None:
    """It is queued from the form; the one at work is stopped, so it begins, and the page turns to it."""
    run = str(page.locator("#run-name").text_content())
    page.keyboard.press("n")
    form = page.locator("#run-dialog")
    form.locator("[name=seed]").fill("7")
    form.locator("[name=steps]").fill("100000")
    form.locator("#run-start").click()
    expect(page.locator("#run-state")).to_have_text("running, 1 queued")
    page.locator("#do-stop").click()
    expect(page.locator("#run-name")).not_to_have_text(run, timeout=40_000)
    expect(page.locator("#run-about")).to_contain_text("seed 7")
    wait_for(lambda: step(page) >= 5)


def another_tab_catches_up(watched: Watched, page: Page) -> Page:
    before = step(page)
    page.close()
    page = watched.open()
    wait_for(lambda: step(page) > before)
    wait_for(lambda: page.evaluate("workbench.tables?.train.length") > before - 2, 10)
    assert page.evaluate("workbench.tables.train.get('step')[0]") == 1
    wait_for(lambda: train_loss(page) == train_loss(page), 10)
    return page


def run_outlives_the_server(watched: Watched, page: Page, folder: Path) -> None:
    """The server is killed: the run goes on, and the page comes back with the server."""
    before = step(page)
    with watched.server_away():
        expect(page.locator("#run-state")).to_have_text("server lost")
        expect(page.locator("#notice")).to_contain_text("goes on by itself")
        known = len(records(folder / "metrics.jsonl"))
        wait_for(lambda: len(records(folder / "metrics.jsonl")) > known, 20)
        watched.server.start()
        expect(page.locator("#run-state")).to_have_text("running", timeout=30_000)
    wait_for(lambda: step(page) > before)
    assert page.locator("#run-name").text_content() == folder.name
    expect(page.locator("#notice")).to_be_hidden()


def save_stop_and_go_on(page: Page, folder: Path) -> None:
    page.keyboard.press("s")
    wait_for(lambda: records(folder / "inputs.jsonl")[-1]["kind"] in ("save", "boundary"))
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped")
    at = step(page)
    page.locator("#do-stop").click()  # it reads "Go on" now
    expect(page.locator("#run-state")).to_have_text("running", timeout=30_000)
    wait_for(lambda: step(page) > at)
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped")
