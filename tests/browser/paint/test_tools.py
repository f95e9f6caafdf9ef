"""Every tool by mouse, by pen, by finger and by keyboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.painting import BANDS, SHEETS, acknowledged, click, cursor_to, drag, journalled, place
from tests.serving import wait_for


def test_a_line_by_mouse_and_by_keyboard_is_the_same(page: Page, folder: Path) -> None:
    page.keyboard.press("i")
    drag(page, (1.5 / SHEETS, 2.5 / BANDS), (0.9, 0.9), (5.5 / SHEETS, 2.5 / BANDS))
    by_mouse = journalled(folder)
    assert (by_mouse[2, 2:5] > 0.5).all()
    assert np.abs(by_mouse[4:]).max() == 0
    page.locator("#paint-clear").click()
    cursor_to(page, 2, 1)
    page.keyboard.press("Enter")
    expect(page.locator("#paint-says")).to_contain_text("line from")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.locator("#paint-ghost polyline").count() > 0
    page.keyboard.press("Enter")
    expect(page.locator("#paint-says")).to_contain_text("Line, amplify")
    acknowledged(page)
    np.testing.assert_allclose(journalled(folder), by_mouse, atol=0.05)  # the mouse stops at whole pixels


def test_a_snapped_stamp_fills_one_cell_by_mouse_and_by_keyboard(page: Page, folder: Path) -> None:
    page.keyboard.press("q")
    page.keyboard.press("a")
    drag(page, (0.05, 0.05), (3.2 / SHEETS, 4.8 / BANDS))
    want = np.zeros((BANDS, SHEETS), np.float32)
    want[4, 3] = 1.5
    np.testing.assert_array_equal(journalled(folder), want)
    page.keyboard.press("x")
    cursor_to(page, 1, 6)
    page.keyboard.press("Enter")
    acknowledged(page)
    want[1, 6] = -1.5
    np.testing.assert_array_equal(journalled(folder), want)


def test_a_snapped_lasso_fills_whole_cells_by_mouse_and_by_keyboard(page: Page, folder: Path) -> None:
    page.keyboard.press("o")
    page.keyboard.press("a")
    drag(page, (2.1 / SHEETS, 1.1 / BANDS), (4.9 / SHEETS, 1.1 / BANDS), (4.9 / SHEETS, 2.9 / BANDS),
         (2.1 / SHEETS, 2.9 / BANDS))
    want = np.zeros((BANDS, SHEETS), np.float32)
    want[1:3, 2:5] = 1.5
    np.testing.assert_array_equal(journalled(folder), want)
    page.keyboard.press("a")
    page.locator("#paint-clear").click()
    cursor_to(page, 1, 1)
    page.keyboard.press("Enter")
    for keys in (["Right"] * 3, ["Up"] * 3, ["Left"] * 3):
        for key in keys:
            page.keyboard.press(f"Arrow{key}")
        page.keyboard.press("Enter")
    expect(page.locator("#paint-says")).to_contain_text("corner 4")
    page.keyboard.press("Enter")  # on the last corner: fill
    expect(page.locator("#paint-says")).to_contain_text("4 corners")
    acknowledged(page)
    layer = journalled(folder)
    np.testing.assert_allclose(layer[2:4, 2:4], 1.5)
    np.testing.assert_allclose(layer[1, 1], 1.5 / 4, atol=0.02)  # from its middle on
    assert layer[0].max() == layer[5].max() == 0


def test_the_brush_is_put_down_and_moved_by_keyboard(page: Page, folder: Path) -> None:
    cursor_to(page, 3, 6)
    page.keyboard.press("Shift+Enter")
    for _ in range(3):
        page.keyboard.press("ArrowRight")  # over the seam
    page.keyboard.press("Enter")
    acknowledged(page)
    layer = journalled(folder)
    assert (layer[3, [6, 7, 0, 1]] > 0.2).all()
    assert np.abs(layer[3, 2:5]).max() < 0.05
    strokes = page.evaluate("workbench.paint.surface.painting.strokes")
    times = [p[2] for p in strokes[-1]["points"]]
    assert times == sorted(times)
    page.keyboard.press("Shift+ArrowUp")  # a quarter of a cell
    assert page.evaluate("workbench.atlas.spot[1]") == pytest.approx(3.75 / BANDS)


def test_the_eraser_by_mouse_and_by_keyboard(page: Page, folder: Path) -> None:
    page.keyboard.press("q")
    page.keyboard.press("a")
    for band, sheet in ((2, 2), (2, 5)):
        click(page, band, sheet)
    page.keyboard.press("b")
    page.keyboard.press("e")
    click(page, 2, 2)
    cursor_to(page, 2, 5)
    page.keyboard.press("Enter")
    acknowledged(page)
    layer = journalled(folder)
    assert 0 < layer[2, 2] < 1.4
    assert layer[2, 2] == pytest.approx(layer[2, 5], rel=1e-4)


def test_undo_and_redo_by_button_and_key(page: Page, folder: Path) -> None:
    click(page, 1, 1)
    one = journalled(folder)
    click(page, 4, 4)
    two = journalled(folder)
    page.locator("#paint-undo").click()
    wait_for(lambda: np.array_equal(journalled(folder), one), 20)
    page.locator("#paint-redo").click()
    wait_for(lambda: np.array_equal(journalled(folder), two), 20)
    expect(page.locator("#paint-redo")).to_be_disabled()
    page.keyboard.press("Control+z")
    wait_for(lambda: np.array_equal(journalled(folder), one), 20)
    page.keyboard.press("Control+Shift+z")
    wait_for(lambda: np.array_equal(journalled(folder), two), 20)
    expect(page.locator("#paint-says")).to_contain_text("done again")


def test_the_mirror_repeats_at_the_opposite_phase(page: Page, folder: Path) -> None:
    page.keyboard.press("m")
    expect(page.locator("#paint-mirror")).to_have_attribute("aria-pressed", "true")
    click(page, 3, 1)
    layer = journalled(folder)
    assert layer[3, 1] > 0.1
    assert layer[3, 1] == pytest.approx(layer[3, 7], rel=1e-3)
    assert page.locator("#paint-ghost .axis").count() == 2


def test_size_strength_and_hardness_by_key(page: Page, folder: Path) -> None:
    masses = []
    for keys in ("", "}}}}", "]]]", "..."):
        page.locator("#paint-clear").click()
        for key in keys:
            page.keyboard.press(key)
        click(page, 3, 3)
        masses.append(float(journalled(folder).sum()))
    assert masses == sorted(masses)
    assert masses[-1] > 2 * masses[0] > 0
    expect(page.locator("#paint-says")).to_contain_text("Brush, amplify")


def test_escape_gives_a_gesture_up(page: Page, folder: Path) -> None:
    for tool in "bio":
        page.keyboard.press(tool)
        page.mouse.move(*place(page, 2, 2))
        page.mouse.down()
        page.mouse.move(*place(page, 3, 5), steps=4)
        page.keyboard.press("Escape")
        page.mouse.up()
        acknowledged(page)
        assert not journalled(folder).any(), tool
        assert page.evaluate("workbench.paint.tools.path") is None


def test_a_pen_presses_and_a_finger_paints(page: Page, folder: Path) -> None:
    x, y = place(page, 3, 3)
    session = page.context.new_cdp_session(page)

    def pen(kind: str, at: float, force: float) -> None:
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": at, "y": y, "button": "left", "buttons": 1,
                                                  "clickCount": 1, "force": force, "pointerType": "pen"})

    sums = []
    for force in (0.25, 1.0):
        page.locator("#paint-clear").click()
        pen("mousePressed", x, force)
        pen("mouseMoved", x + 40, force)
        pen("mouseReleased", x + 40, 0)
        acknowledged(page)
        sums.append(float(journalled(folder).sum()))
        pressures = {p[3] for p in page.evaluate("workbench.paint.surface.painting.strokes.at(-1).points")}
        assert pressures == {force}
    assert sums[0] == pytest.approx(sums[1] / 4, rel=0.02)
    page.locator("#paint-clear").click()
    finger = {"x": x, "y": y, "id": 1}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger]})
    other = {"x": x, "y": y - 80, "id": 2}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger, other]})
    session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [
        {**finger, "x": x + 60}, {**other, "y": y - 90}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    acknowledged(page)
    layer = journalled(folder)
    assert layer[3, 3] > 0.3
    assert layer[5].max() == 0  # the second finger waits
    assert page.evaluate("workbench.paint.surface.depth") >= 1


def test_keys_are_listed_and_tools_are_named(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#keys-painting")).to_contain_text("line, stamp, lasso")
    page.keyboard.press("Escape")
    for button in page.locator(".tools button").all():
        assert button.get_attribute("aria-label")
        assert button.get_attribute("data-tip")
    page.keyboard.press("o")
    assert page.locator("#paint-says").get_attribute("aria-live") == "polite"
    expect(page.locator("#paint-says")).to_have_text("Lasso, amplify")
    cursor_to(page, 2, 3)
    expect(page.locator("#paint-says")).to_contain_text("phase 135°")
