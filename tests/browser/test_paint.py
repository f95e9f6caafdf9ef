"""Painting by pointer and keyboard, on the real server: what the page shows is what the trainer recorded."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from core.runs.work import WorkQueue
from tests.browser.conftest import Watched
from tests.kernels.conftest import WEBGPU
from tests.serving import CHROMIUM_FLAGS, Server, chromium, folded, records, serving, wait_for

BANDS, SHEETS = 6, 8


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium with a software WebGPU adapter."""
    browser = playwright.chromium.launch(executable_path=chromium(),
                                         args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("painted") / "runs", texts=texts) as server:
        yield server


def begin(watched: Watched, texts: Path) -> tuple[Page, Path]:
    """A page with the brush in hand over a fresh long run; the run's folder."""
    queue = WorkQueue(watched.server.runs)
    number = queue.add({"paths": [str(texts / "plain")], "preset": "tiny", "threads": 1, "steps": 100_000})
    queue.ensure_worker()
    run = wait_for(lambda: next(i.run for i in queue.items() if i.id == number))
    page = watched.open(f"#/live?run={run}")
    expect(page.locator("#run-state")).to_have_text("running", timeout=60_000)
    expect(page.locator("#atlas-step")).not_to_be_empty(timeout=60_000)
    page.keyboard.press("b")
    expect(page.locator("#paint-backend")).not_to_be_empty(timeout=30_000)
    return page, watched.server.runs / run


def place(page: Page, band: int, sheet: int) -> tuple[float, float]:
    """Where a cell's middle is on the screen."""
    box = page.locator("#paint").bounding_box()
    assert box
    return (box["x"] + (sheet + 0.5) / SHEETS * box["width"], box["y"] + (BANDS - band - 0.5) / BANDS * box["height"])


def click(page: Page, band: int, sheet: int) -> None:
    page.mouse.move(*place(page, band, sheet))
    page.mouse.down()
    page.mouse.up()


def pixels(page: Page) -> np.ndarray:
    """What the canvas shows, once the stroke's wave has come to rest: [rows, columns, RGBA]."""
    wait_for(lambda: not page.evaluate("workbench.paint.surface.moving"), 20)
    size = page.evaluate("workbench.paint.surface.size")
    values = page.evaluate("workbench.paint.surface.read().then(p => [...p])")
    return np.array(values, np.int64).reshape(size["rows"], size["columns"], 4)


def acknowledged(page: Page) -> int:
    """The input that the page says is acknowledged or in force, once nothing is under way."""
    state = page.locator("#paint-state")
    expect(state).to_contain_text("input", timeout=20_000)
    wait_for(lambda: not page.evaluate("workbench.paint.sending || workbench.paint.fresh"), 20)
    return int(page.evaluate("workbench.paint.acknowledged"))


def journalled(folder: Path) -> list[np.ndarray]:
    """Every layer in the run's input log."""
    return [np.frombuffer(base64.b64decode(r["relation"]), "<f4").reshape(r["shape"])
            for r in records(folder / "inputs.jsonl") if r["kind"] == "patch"]


def settled(folder: Path, seq: int) -> list[dict[str, Any]]:
    """Rows of applied.jsonl from the one that took an input on, once the fold stands still."""
    def rows() -> list[dict[str, Any]]:
        found = records(folder / "applied.jsonl")
        at = next((i for i, r in enumerate(found) if seq in r["seq"]), len(found))
        return found[at:]

    wait_for(lambda: len(rows()) >= 8, 60)
    return rows()


def test_a_stroke_on_a_cell_becomes_its_gain(browser: Browser, server: Server, texts: Path) -> None:
    watched = Watched(browser, server)
    page, folder = begin(watched, texts)
    assert page.locator("#paint-backend").text_content() == "WebGPU"
    r = random.Random()
    band, sheet = r.randrange(BANDS), r.randrange(SHEETS)
    print(f"cell: band {band}, sheet {sheet}")
    # while the run is paused its field stands still: the pixels change in the painted cell and nowhere else
    page.locator("#do-pause").click()
    expect(page.locator("#run-state")).to_have_text("paused", timeout=20_000)
    before = pixels(page)
    click(page, band, sheet)
    seq = acknowledged(page)
    change = np.abs(pixels(page) - before).sum(-1)
    y, x = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(change.shape, (BANDS, SHEETS), strict=True))
    means = np.array([[change[y[BANDS - 1 - b]:y[BANDS - b], x[s]:x[s + 1]].mean() for s in range(SHEETS)]
                      for b in range(BANDS)])
    assert np.unravel_index(np.argmax(means), means.shape) == (band, sheet)
    assert means[(band + 3) % BANDS, (sheet + 4) % SHEETS] == 0
    page.locator("#do-pause").click()
    expect(page.locator("#run-state")).to_have_text("running", timeout=20_000)

    # journal, recorded fold, gains on the page
    layer = journalled(folder)[-1]
    assert np.unravel_index(np.argmax(layer), layer.shape) == (band, sheet)
    rows = settled(folder, seq)
    fold = folded(rows[-1])
    np.testing.assert_array_equal(fold, layer.astype(np.float64))  # settled: the fold is the layer
    wait_for(lambda: page.evaluate("workbench.paint.gains.step") == records(folder / "applied.jsonl")[-1]["step"], 20)
    shown = page.evaluate("[...workbench.paint.gains.relation]")
    newest = folded(records(folder / "applied.jsonl")[-1])
    np.testing.assert_array_equal(np.float32(shown), newest.ravel().astype(np.float32))
    low, high = 2.0 ** fold.min(), 2.0 ** fold.max()
    expect(page.locator("#gains-text")).to_contain_text(f"{low:.2f} – {high:.2f}")
    expect(page.locator("#paint-state")).to_contain_text("in force from step")

    expect(page.locator("#readout")).to_contain_text(f"painted gain× {2.0 ** layer[band, sheet]:.2f}")

    # attenuate elsewhere, undo, clear
    page.keyboard.press("x")
    other = (band + 3) % BANDS
    click(page, other, sheet)
    acknowledged(page)
    assert journalled(folder)[-1][other, sheet] < -0.1
    page.keyboard.press("u")
    wait_for(lambda: np.array_equal(journalled(folder)[-1], layer), 20)
    page.locator("#paint-clear").click()
    wait_for(lambda: not journalled(folder)[-1].any(), 20)

    # the keyboard paints too
    page.keyboard.press("x")
    page.locator("#fig-atlas").focus()
    page.keyboard.press("ArrowUp")
    at = page.evaluate("workbench.atlas.cursor")
    page.keyboard.press("Enter")
    wait_for(lambda: journalled(folder)[-1].any(), 20)
    acknowledged(page)
    found = journalled(folder)[-1]
    assert np.unravel_index(np.argmax(found), found.shape) == (at["band"], at["sheet"])

    # a lost device heals by itself, with the same layer
    page.evaluate("void workbench.paint.surface.device.destroy()")
    wait_for(lambda: page.evaluate("workbench.paint.surface.generation") > 1, 20)
    healed = page.evaluate("workbench.paint.surface.relation().then(r => [...r])")
    np.testing.assert_allclose(healed, found.ravel(), atol=1e-6)
    assert page.locator("#paint-backend").text_content() == "WebGPU"

    # the server is killed: what was acknowledged is in the run, and on the page when it comes back
    watched.away = True
    server.kill()
    expect(page.locator("#run-state")).to_have_text("server lost", timeout=20_000)
    server.start()
    expect(page.locator("#run-state")).to_have_text("running", timeout=30_000)
    watched.away = False
    wait_for(lambda: page.evaluate("workbench.paint.layer?.length") == BANDS * SHEETS, 20)
    np.testing.assert_allclose(page.evaluate("workbench.paint.layer"), found.ravel(), atol=1e-7)
    assert np.array_equal(journalled(folder)[-1], found)

    # the strokes replay on the page: at a look before the first one nothing is painted, at the newest the layer is
    page.keyboard.press("Home")
    assert page.evaluate("workbench.paint.at(workbench.atlas.look.step)") is None
    page.keyboard.press("End")
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped", timeout=20_000)
    watched.context.close()
    watched.check()


def test_the_fallback_says_why_and_paints_alike(browser: Browser, server: Server, texts: Path) -> None:
    plain = browser.browser_type.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
    watched = Watched(plain, server)
    page, folder = begin(watched, texts)
    assert "2-D: " in (page.locator("#paint-backend").text_content() or "")
    click(page, 1, 2)
    acknowledged(page)
    layer = journalled(folder)[-1]
    assert np.unravel_index(np.argmax(layer), layer.shape) == (1, 2)
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped", timeout=20_000)
    watched.context.close()
    watched.complaints.remove("No available adapters.")  # Chromium's own word on it
    watched.check()
    plain.close()


def test_a_twin_runs_beside_and_the_difference_is_plotted(browser: Browser, server: Server, texts: Path) -> None:
    watched = Watched(browser, server)
    page, folder = begin(watched, texts)
    click(page, 5, 4)
    seq = acknowledged(page)
    settled(folder, seq)
    expect(page.locator("#twin")).to_be_visible(timeout=20_000)
    page.locator("#twin").click()
    wait_for(lambda: page.locator("#effect-curves b").count() == 2, 60)
    twin = server.runs / page.evaluate("workbench.paint.effect.twin")
    assert json.loads((twin / "run.json").read_text())["twin"]["of"] == folder.name
    wait_for(lambda: len(page.evaluate("workbench.paint.effect.loss")) >= 3, 120)
    shown = dict(page.evaluate("workbench.paint.effect.loss"))
    ours, theirs = ({r["step"]: r["bits"] for r in records(f / "metrics.jsonl") if r["split"] == "validation"}
                    for f in (folder, twin))
    assert shown == {s: ours[s] - theirs[s] for s in shown}
    painted = min(r["step"] for r in records(folder / "applied.jsonl") if seq in r["seq"])
    assert all(d == 0 for s, d in shown.items() if s < painted)
    assert page.locator("#effect-curves .stroke").count() > 0
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped", timeout=20_000)
    watched.context.close()
    watched.check()
