"""A hand that paints on the atlas of a page, and what came of it in the run's files."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, expect

from canvas.strokes import Recording
from tests.browser.conftest import Watched
from tests.serving import records, wait_for

BANDS, SHEETS = 6, 8


def begin(watched: Watched, folder: Path) -> Page:
    page = watched.open(f"#/live?run={folder.name}")
    expect(page.locator("#run-state")).to_have_text(re.compile("running|paused"), timeout=60_000)
    expect(page.locator("#atlas-step")).not_to_be_empty(timeout=60_000)
    return page


def blank(page: Page) -> None:
    page.keyboard.press("b")
    expect(page.locator("#paint-backend")).not_to_be_empty(timeout=30_000)
    page.evaluate("""const tools = workbench.paint.tools
        for (const name of ["mirror", "snap"]) if (tools[name]) tools.flip(name)
        for (const [name, value] of [["size", 0.06], ["strength", 1.5], ["hardness", 0]])
            document.getElementById(`paint-${name}`).value = value
        workbench.paint.surface.coarsest = 1  // pictures are compared""")
    if page.evaluate("workbench.paint.tools.mode") != "more":
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


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Press at a place in chart units, go through the others, let go at the last."""
    box = page.locator("#paint").bounding_box()
    assert box
    spots = [(box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]) for x, y in places]
    page.mouse.move(*spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*spot, steps=4)
    page.mouse.up()
    acknowledged(page)


def cursor_to(page: Page, band: int, sheet: int) -> None:
    """The keyboard's cursor in the middle of a cell, moved by arrows."""
    page.mouse.move(2, 400)
    page.locator("#fig-atlas").focus()
    page.keyboard.press("ArrowRight")  # from wherever the pointer was to the middle of a cell
    at = page.evaluate("workbench.atlas.cursor")
    for key, count in (("Up", band - at["band"]), ("Right", sheet - at["sheet"])):
        for _ in range(abs(count)):
            page.keyboard.press(f"Arrow{key}" if count > 0 else {"Up": "ArrowDown", "Right": "ArrowLeft"}[key])
    assert page.evaluate("workbench.atlas.cursor") == {"band": band, "sheet": sheet}


def replayed(page: Page) -> np.ndarray:
    """What Python makes of the strokes that the page saves."""
    with page.expect_download() as saving:
        page.locator("#paint-save").click()
    return np.array(Recording.from_json(json.loads(saving.value.path().read_text())).replay())
