"""Painting by pointer and keyboard, on the real server: what the page shows is what the trainer recorded.

The tests share one run and, but for the fallback's, one page; each begins with nothing painted.
"""

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
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("painted") / "runs", texts=texts) as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, texts: Path) -> Path:
    """Of a long run at work."""
    queue = WorkQueue(server.runs)
    number = queue.add({"paths": [str(texts / "plain")], "preset": "tiny", "threads": 1, "steps": 100_000,
                        "evaluate_every": 20})
    queue.ensure_worker()
    return server.runs / wait_for(lambda: next(i.run for i in queue.items() if i.id == number))


@pytest.fixture(scope="module")
def gpu(playwright: Playwright, server: Server) -> Iterator[Watched]:
    """Chromium with a software WebGPU adapter."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU])
    yield Watched(browser, server)
    browser.close()


@pytest.fixture(scope="module")
def painter(gpu: Watched, folder: Path) -> Page:
    return begin(gpu, folder)


@pytest.fixture
def page(gpu: Watched, painter: Page) -> Iterator[Page]:
    """The brush in hand over the run, nothing painted."""
    blank(painter)
    yield painter
    gpu.check()


def begin(watched: Watched, folder: Path) -> Page:
    page = watched.open(f"#/live?run={folder.name}")
    expect(page.locator("#run-state")).to_have_text("running", timeout=60_000)
    expect(page.locator("#atlas-step")).not_to_be_empty(timeout=60_000)
    return page


def blank(page: Page) -> None:
    page.keyboard.press("b")
    expect(page.locator("#paint-backend")).not_to_be_empty(timeout=30_000)
    if page.evaluate("workbench.paint.sign") < 0:
        page.keyboard.press("x")
    page.locator("#paint-clear").click()
    acknowledged(page)


def place(page: Page, band: int, sheet: int) -> tuple[float, float]:
    """Where a cell's middle is on the screen."""
    box = page.locator("#paint").bounding_box()
    assert box
    return (box["x"] + (sheet + 0.5) / SHEETS * box["width"], box["y"] + (BANDS - band - 0.5) / BANDS * box["height"])


def click(page: Page, band: int, sheet: int) -> int:
    """Paint a cell; the number of the input that it became."""
    page.mouse.move(*place(page, band, sheet))
    page.mouse.down()
    page.mouse.up()
    return acknowledged(page)


def acknowledged(page: Page) -> int:
    """The input that the page says is acknowledged or in force, once nothing is under way."""
    expect(page.locator("#paint-state")).to_contain_text("input")
    wait_for(lambda: not page.evaluate("workbench.paint.sending || workbench.paint.fresh"), 20)
    return int(page.evaluate("workbench.paint.acknowledged"))


def pixels(page: Page) -> np.ndarray:
    """What the canvas shows, once the stroke's wave has come to rest: [rows, columns, RGBA]."""
    wait_for(lambda: not page.evaluate("workbench.paint.surface.moving"), 20)
    size = page.evaluate("workbench.paint.surface.size")
    text = page.evaluate("""workbench.paint.surface.read().then((p) =>
        btoa(Array.from(p, (c) => String.fromCharCode(c)).join("")))""")  # as numbers it would take a minute
    return np.frombuffer(base64.b64decode(text), np.uint8).astype(int).reshape(size["rows"], size["columns"], 4)


def journalled(folder: Path) -> np.ndarray:
    """The newest layer in the run's input log."""
    r = next(r for r in reversed(records(folder / "inputs.jsonl")) if r["kind"] == "patch")
    return np.frombuffer(base64.b64decode(r["relation"]), "<f4").reshape(r["shape"])


def heaviest(layer: np.ndarray) -> tuple[int, ...]:
    """The cell that is amplified most."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(layer), layer.shape))


def settled(folder: Path, seq: int) -> list[dict[str, Any]]:
    """Rows of applied.jsonl from the one that took an input on, once the fold stands still."""
    def rows() -> list[dict[str, Any]]:
        found = records(folder / "applied.jsonl")
        at = next((i for i, r in enumerate(found) if seq in r["seq"]), len(found))
        return found[at:]

    wait_for(lambda: len(rows()) >= 8, 60)
    return rows()


def test_strokes_replay_with_the_history(page: Page, folder: Path) -> None:
    """At a look before the first one nothing is painted, at the newest the layer is."""
    click(page, 3, 3)
    page.keyboard.press("Home")
    assert page.evaluate("workbench.paint.at(workbench.atlas.look.step)") is None
    page.keyboard.press("End")
    layer = journalled(folder).ravel().tolist()
    wait_for(lambda: page.evaluate("[...workbench.paint.at(workbench.atlas.look.step) ?? []]") == layer, 20)


def test_a_stroke_shows_in_its_cell_and_nowhere_else(page: Page) -> None:
    assert page.locator("#paint-backend").text_content() == "WebGPU"
    r = random.Random()
    band, sheet = r.randrange(BANDS), r.randrange(SHEETS)
    print(f"cell: band {band}, sheet {sheet}")
    page.locator("#do-pause").click()  # its field stands still
    expect(page.locator("#run-state")).to_have_text("paused")
    before = pixels(page)
    click(page, band, sheet)
    change = np.abs(pixels(page) - before).sum(-1)
    y, x = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(change.shape, (BANDS, SHEETS), strict=True))
    means = np.array([[change[y[BANDS - 1 - b]:y[BANDS - b], x[s]:x[s + 1]].mean() for s in range(SHEETS)]
                      for b in range(BANDS)])
    assert heaviest(means) == (band, sheet)
    assert means[(band + 3) % BANDS, (sheet + 4) % SHEETS] == 0
    page.locator("#do-pause").click()
    expect(page.locator("#run-state")).to_have_text("running")


def test_a_stroke_becomes_the_gains_that_the_trainer_recorded(page: Page, folder: Path) -> None:
    seq = click(page, 2, 5)
    layer = journalled(folder)
    assert heaviest(layer) == (2, 5)
    fold = folded(settled(folder, seq)[-1])
    np.testing.assert_array_equal(fold, layer.astype(np.float64))  # settled: the fold is the layer
    wait_for(lambda: page.evaluate("workbench.paint.gains.step") == records(folder / "applied.jsonl")[-1]["step"], 20)
    shown = page.evaluate("[...workbench.paint.gains.relation]")
    newest = folded(records(folder / "applied.jsonl")[-1])
    np.testing.assert_array_equal(np.float32(shown), newest.ravel().astype(np.float32))
    low, high = 2.0 ** fold.min(), 2.0 ** fold.max()
    expect(page.locator("#gains-text")).to_contain_text(f"{low:.2f} – {high:.2f}")
    expect(page.locator("#paint-state")).to_contain_text("in force from step")
    expect(page.locator("#readout")).to_contain_text(f"painted gain× {2.0 ** layer[2, 5]:.2f}")


def test_attenuate_undo_and_clear(page: Page, folder: Path) -> None:
    click(page, 1, 6)
    layer = journalled(folder)
    page.keyboard.press("x")
    click(page, 4, 6)
    assert journalled(folder)[4, 6] < -0.1
    page.keyboard.press("u")
    wait_for(lambda: np.array_equal(journalled(folder), layer), 20)
    page.locator("#paint-clear").click()
    wait_for(lambda: not journalled(folder).any(), 20)


def test_the_keyboard_paints_too(page: Page, folder: Path) -> None:
    page.locator("#fig-atlas").focus()
    page.keyboard.press("ArrowUp")
    at = page.evaluate("workbench.atlas.cursor")
    page.keyboard.press("Enter")
    wait_for(lambda: journalled(folder).any(), 20)
    acknowledged(page)
    assert heaviest(journalled(folder)) == (at["band"], at["sheet"])


def test_a_lost_device_heals_with_the_same_layer(page: Page, folder: Path) -> None:
    click(page, 0, 1)
    generation = page.evaluate("workbench.paint.surface.generation")
    page.evaluate("void workbench.paint.surface.device.destroy()")
    wait_for(lambda: page.evaluate("workbench.paint.surface.generation") > generation, 20)
    healed = page.evaluate("workbench.paint.surface.relation().then(r => [...r])")
    np.testing.assert_allclose(healed, journalled(folder).ravel(), atol=1e-6)
    assert page.locator("#paint-backend").text_content() == "WebGPU"


def test_what_was_acknowledged_outlives_the_server(page: Page, folder: Path, gpu: Watched) -> None:
    click(page, 3, 7)
    layer = journalled(folder)
    with gpu.server_away():
        expect(page.locator("#run-state")).to_have_text("server lost")
        gpu.server.start()
        expect(page.locator("#run-state")).to_have_text("running", timeout=30_000)
    wait_for(lambda: page.evaluate("workbench.paint.layer?.length") == BANDS * SHEETS, 20)
    np.testing.assert_allclose(page.evaluate("workbench.paint.layer"), layer.ravel(), atol=1e-7)
    assert np.array_equal(journalled(folder), layer)


def test_a_twin_runs_beside_and_the_difference_is_plotted(page: Page, folder: Path, server: Server) -> None:
    settled(folder, click(page, 5, 4))
    expect(page.locator("#twin")).to_be_visible()
    page.locator("#twin").click()
    wait_for(lambda: page.locator("#effect-curves b").count() == 2, 60)
    wait_for(lambda: any(d for _, d in page.evaluate("workbench.paint.effect.loss")), 120)
    shown = dict(page.evaluate("workbench.paint.effect.loss"))
    twin = server.runs / page.evaluate("workbench.paint.effect.twin")
    assert json.loads((twin / "run.json").read_text())["twin"]["of"] == folder.name
    ours, theirs = ({r["step"]: r["bits"] for r in records(f / "metrics.jsonl") if r["split"] == "validation"}
                    for f in (folder, twin))
    assert shown == {s: ours[s] - theirs[s] for s in shown}
    layers = {r["seq"] for r in records(folder / "inputs.jsonl") if r["kind"] == "patch"}
    painted = min(r["step"] for r in records(folder / "applied.jsonl") if layers & set(r["seq"]))
    assert all(d == 0 for s, d in shown.items() if s < painted)
    assert page.locator("#effect-curves .stroke").count() > 0


def test_the_fallback_says_why_and_paints_alike(browser: Browser, server: Server, folder: Path) -> None:
    watched = Watched(browser, server)
    page = begin(watched, folder)
    blank(page)
    assert "2-D: " in (page.locator("#paint-backend").text_content() or "")
    click(page, 1, 2)
    assert heaviest(journalled(folder)) == (1, 2)
    watched.context.close()
    watched.check()
