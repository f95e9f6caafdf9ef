"""Both widgets in a real JupyterLab: the mouse in a cell's output, Python, the run's files; nothing leaves the server.

The tests share one JupyterLab; each has its notebook, its kernel and its page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.runs.control import paint
from core.runs.store import RunFolder
from tests.browser.conftest import Watched, training
from tests.browser.lab import Lab, jupyterlab
from tests.browser.painting import heaviest, journalled, settled
from tests.serving import folded, wait_for

BANDS, SHEETS = 6, 8
SETUP = """
import json, time
from pathlib import Path
import numpy as np
import core as st
from workbench.notebook import AtlasView, CanvasWidget

def say(name, **values):  # for the test, as a whole
    Path(f"{name}.part").write_text(json.dumps(values))
    Path(f"{name}.part").rename(f"{name}.json")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with jupyterlab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


class WatchedLab(Watched):
    """JupyterLab times its own plugins, and on a busy machine says so of each."""

    def _complain(self, text: str) -> None:
        if not (text.startswith("Plugin ") and text.endswith("activate.")):
            super()._complain(text)


@pytest.fixture
def watched(browser: Browser, lab: Lab) -> Iterator[Watched]:
    watched = WatchedLab(browser, SimpleNamespace(url=lab.url, port=lab.port))  # type: ignore[arg-type]
    yield watched
    watched.context.close()
    watched.check()


def said(lab: Lab, name: str) -> Any:
    """What Python says under a name, once it does."""
    path = lab.notebooks / f"{name}.json"
    wait_for(path.exists, 30)
    return json.loads(path.read_text())


def cell(card: Locator, band: int, sheet: int) -> tuple[float, float]:
    """Where a cell's middle is on the screen."""
    face = card.locator(".face")
    face.scroll_into_view_if_needed()
    box = face.bounding_box()
    assert box
    return (box["x"] + (sheet + 0.5) / SHEETS * box["width"], box["y"] + (BANDS - band - 0.5) / BANDS * box["height"])


def click(page: Page, card: Locator, band: int, sheet: int) -> None:
    """Paint a cell; the pointer's coming down and its going up are a layer each, so wait for both."""
    page.mouse.move(*cell(card, band, sheet))
    page.mouse.down()
    page.mouse.up()
    page.wait_for_timeout(100)
    expect(card.locator("[role=status]")).not_to_have_text("sending")


def shown(page: Page, title: str) -> Locator:
    """A widget's card, once Python has answered it."""
    card = page.get_by_role("region", name=title)
    expect(card.locator(".phases span")).to_have_count(SHEETS, timeout=30_000)
    expect(card).to_have_attribute("aria-busy", "false")
    return card


def test_the_mouse_paints_an_array_in_python_while_a_cell_runs(watched: Watched, lab: Lab) -> None:
    lab.write("paint.ipynb", SETUP + """
canvas = CanvasWidget()
canvas.observe(lambda change: say("layer", relation=change.new.tolist()), "relation")
canvas""", """
until = time.monotonic() + 40
while not canvas.relation.any() and time.monotonic() < until:
    time.sleep(0.05)
say("meanwhile", painted=bool(canvas.relation.any()))
""", """
canvas.paint(np.eye(6, 8))
canvas.show(np.arange(48.0).reshape(6, 8))
""")
    page = watched.context.new_page()
    lab.open(page, "paint.ipynb")
    lab.run(page, 0)
    card = shown(page, "Canvas")
    expect(card).to_contain_text("2-D: no adapter")
    lab.run(page, 1)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")).to_be_visible()
    click(page, card, 4, 2)
    layer = np.array(said(lab, "layer")["relation"])
    assert heaviest(layer) == (4, 2)
    assert layer.min() == 0
    assert said(lab, "meanwhile")["painted"], "the layer came only after the cell"
    expect(card.locator(".readout")).to_contain_text(f"painted gain× {2 ** layer[4, 2]:.2f}")
    lab.run(page, 2)  # Python paints: the view shows it
    page.mouse.move(*cell(card, 3, 3))
    expect(card.locator(".readout")).to_contain_text("painted gain× 2.00")
    card.locator(".face").focus()  # and the keys: erase what Python painted there
    card.get_by_role("button", name="Erase").click()
    card.get_by_label("strength").fill("3")
    card.locator(".face").focus()
    page.keyboard.press("Enter")
    wait_for(lambda: said(lab, "layer")["relation"][3][3] < 0.7, 20)
    assert said(lab, "layer")["relation"][5][5] == 1
    erased = said(lab, "layer")["relation"]
    card.get_by_role("button", name="Undo").click()
    wait_for(lambda: said(lab, "layer")["relation"] == np.eye(BANDS, SHEETS).tolist(), 20)
    card.get_by_role("button", name="Redo").click()
    wait_for(lambda: said(lab, "layer")["relation"] == erased, 20)
    card.get_by_role("button", name="Amplify").click()
    page.mouse.move(*cell(card, 1, 6))  # a stroke that is not let go, and taken back before
    page.mouse.down()
    wait_for(lambda: said(lab, "layer")["relation"][1][6] > 0, 20)
    card.get_by_role("button", name="Undo").press("Enter")
    wait_for(lambda: said(lab, "layer")["relation"] == np.eye(BANDS, SHEETS).tolist(), 20)
    page.mouse.up()
    for tool in ("Line", "Stamp", "Lasso"):  # by mouse
        card.get_by_role("button", name="Clear").click()
        wait_for(lambda: not np.any(said(lab, "layer")["relation"]), 20)
        card.get_by_role("button", name="Amplify").click()
        card.get_by_role("button", name=tool).click()
        drag(page, card, (1, 1), (1, 5), (4, 5))
        wait_for(lambda: np.any(said(lab, "layer")["relation"]), 20)
        layer = painted(lab)
        if tool == "Line":  # straight from the first to the last
            assert (layer[[1, 4], [1, 5]] > 0.5).all()
            assert layer[1, 5] == layer[4, 1] == 0
        elif tool == "Stamp":
            assert heaviest(layer) == (4, 5)
            assert layer[1, 1] == 0
        else:  # the triangle between
            assert layer[2, 4] == 3  # the strength that the eraser was given
            assert layer[4, 1] == 0
    card.get_by_role("button", name="Clear").click()
    for name in ("Stamp", "Mirror", "Snap", "Attenuate"):  # by keys: two whole cells, each the other's image
        card.get_by_role("button", name=name).press("Enter")
    page.mouse.move(*cell(card, 2, 1))
    card.locator(".face").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    want = np.zeros((BANDS, SHEETS))
    want[3, [1, 7]] = -3
    wait_for(lambda: np.array_equal(painted(lab), want), 20)
    assert card.locator(".ghost .axis").count() == 2
    expect(card.locator("[aria-live=polite]")).to_contain_text("Stamp, attenuate")
    card.get_by_role("button", name="Lasso").click()
    card.locator(".face").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(card.locator("[aria-live=polite]")).to_contain_text("given up")
    letters_do_what_the_buttons_do(page, card, lab, want)


def letters_do_what_the_buttons_do(page: Page, card: Locator, lab: Lab, layer: np.ndarray) -> None:
    """In the widget, and nothing in the notebook around it."""
    cells = page.locator(".jp-Cell").count()
    buttons = ("Line", "Stamp", "Lasso", "Brush", "Erase", "Mirror", "Snap", "Amplify", "measured", "painted")
    for key, name in zip("iqobemax56", buttons, strict=True):
        button = card.get_by_role("button", name=name)
        before = button.get_attribute("aria-pressed")
        page.keyboard.press(key)
        expect(button).to_have_attribute("aria-pressed", "true" if before == "false" else "false")
    page.keyboard.press("c")
    wait_for(lambda: not painted(lab).any(), 20)
    for key, want in (("u", layer), ("y", 0 * layer), ("Control+z", layer), ("Control+Shift+z", 0 * layer)):
        page.keyboard.press(key)
        wait_for(lambda: np.array_equal(painted(lab), want), 20)  # noqa: B023
    assert page.locator(".jp-Cell").count() == cells


def painted(lab: Lab) -> np.ndarray:
    """The layer that Python has."""
    return np.array(said(lab, "layer")["relation"])


def drag(page: Page, card: Locator, *cells: tuple[int, int]) -> None:
    """Press in the middle of a cell, go through others, let go in the last."""
    page.mouse.move(*cell(card, *cells[0]))
    page.mouse.down()
    for each in cells[1:]:
        page.mouse.move(*cell(card, *each), steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)
    expect(card.locator("[role=status]")).not_to_have_text("sending")


@pytest.fixture
def folder(tmp_path: Path, texts: Path) -> Iterator[RunFolder]:
    """Of a run at work."""
    with training(tmp_path, texts) as folder:
        yield folder


def test_painting_in_a_cell_steers_a_run(watched: Watched, lab: Lab, folder: RunFolder) -> None:
    lab.write("steer.ipynb", SETUP + f"""
canvas = CanvasWidget(run={str(folder.path)!r})
canvas.observe(lambda change: say("steer", relation=change.new.tolist(), seq=canvas.seq), "relation")
canvas""", f"AtlasView({str(folder.path)!r})")
    page = watched.context.new_page()
    lab.open(page, "steer.ipynb")
    lab.run(page)
    card = shown(page, "Canvas")
    click(page, card, 2, 5)
    heard = said(lab, "steer")
    layer = journalled(folder.path)
    np.testing.assert_array_equal(np.float32(heard["relation"]), layer)
    assert heaviest(layer) == (2, 5)
    np.testing.assert_array_equal(folded(settled(folder.path, heard["seq"])[-1]), layer.astype(np.float64))
    expect(card.locator("[role=status]")).to_contain_text(f"input {heard['seq']} in force from step")
    atlas = page.get_by_role("region", name="Atlas")
    step = atlas.locator("header .num").first
    expect(step).to_contain_text("step")
    before = step.text_content()
    expect(step).not_to_have_text(before or "")  # it goes on
    expect(atlas.locator(".readout")).to_contain_text("pieces")
    atlas.get_by_role("button", name="Gradient").click()
    atlas.get_by_role("button", name="lag 2").click()
    expect(atlas.locator(".scale")).to_contain_text("correlation, 2 back")
    elsewhere = np.full((BANDS, SHEETS), -1.0)
    paint(folder, elsewhere)  # as the page or a shell would
    wait_for(lambda: said(lab, "steer")["relation"] == elsewhere.tolist(), 20)


def test_an_atlas_follows_a_session(watched: Watched, lab: Lab) -> None:
    lab.write("session.ipynb", SETUP + """
session = st.Session()
AtlasView(session)""", """
t = np.arange(512)
field = session.observe(np.sin(2 * np.pi * t / 16), step=7)
h = field.homology
say("field", rho=field.rho.tolist(), b0=h.b0, b1=h.b1)
""")
    page = watched.context.new_page()
    lab.open(page, "session.ipynb")
    lab.run(page)
    atlas = shown(page, "Atlas")
    field = said(lab, "field")
    expect(atlas.locator("header")).to_contain_text("step 7")
    page.mouse.move(*cell(atlas, 3, 0))
    density = field["rho"][3][0][0]
    expect(atlas.locator(".readout")).to_contain_text(f"pieces{field['b0']}loops{field['b1']}")
    text = atlas.locator(".readout b").nth(3).text_content()
    assert float((text or "").split("·")[0]) == pytest.approx(density, rel=5e-3)
    assert atlas.get_by_role("button", name="Gradient").is_hidden()
