"""Painting by pointer and keyboard, on the real server: what the page shows is what the trainer recorded.

The tests share one run and, but for the fallback's, one page; each begins with nothing painted.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from canvas.strokes import Recording
from tests.browser.conftest import Watched, at_work, long_run, training
from tests.kernels.conftest import WEBGPU
from tests.serving import CHROMIUM_FLAGS, Server, chromium, folded, records, serving, wait_for

BANDS, SHEETS = 6, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("painted") / "runs", texts=texts) as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, texts: Path) -> Path:
    """Of a long run, at work where a test says so."""
    return long_run(server, texts)


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


def test_strokes_replay_with_the_history(page: Page, folder: Path) -> None:
    """At a look before the first one nothing is painted, at the newest the layer is."""
    click(page, 3, 3)
    page.keyboard.press("Home")
    assert page.evaluate("workbench.paint.at(workbench.atlas.look.step)") is None
    page.keyboard.press("End")
    layer = journalled(folder).ravel().tolist()
    with at_work(folder):
        wait_for(lambda: page.evaluate("[...workbench.paint.at(workbench.atlas.look.step) ?? []]") == layer, 20)


def test_a_stroke_shows_in_its_cell_and_nowhere_else(page: Page) -> None:
    assert page.locator("#paint-backend").text_content() == "WebGPU"
    r = random.Random()
    band, sheet = r.randrange(BANDS), r.randrange(SHEETS)
    print(f"cell: band {band}, sheet {sheet}")
    before = pixels(page)
    click(page, band, sheet)
    change = np.abs(pixels(page) - before).sum(-1)
    y, x = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(change.shape, (BANDS, SHEETS), strict=True))
    means = np.array([[change[y[BANDS - 1 - b]:y[BANDS - b], x[s]:x[s + 1]].mean() for s in range(SHEETS)]
                      for b in range(BANDS)])
    assert heaviest(means) == (band, sheet)
    assert means[(band + 3) % BANDS, (sheet + 4) % SHEETS] == 0


def test_a_stroke_becomes_the_gains_that_the_trainer_recorded(page: Page, folder: Path) -> None:
    seq = click(page, 2, 5)
    layer = journalled(folder)
    assert heaviest(layer) == (2, 5)
    with at_work(folder):
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


def test_what_is_painted_is_read_out_while_the_run_rests(page: Page, folder: Path) -> None:
    click(page, 2, 5)
    expect(page.locator("#readout")).to_contain_text(f"painted gain× {2.0 ** journalled(folder)[2, 5]:.2f}")
    page.locator("#paint-clear").click()
    expect(page.locator("#readout")).not_to_contain_text("painted gain")


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


def test_what_the_page_saves_replays_in_python(page: Page, folder: Path) -> None:
    for tool in "biqo":
        page.keyboard.press(tool)
        drag(page, (0.2, 0.3), (0.4, 0.6), (0.5, 0.2))
        page.keyboard.press("}")
    page.keyboard.press("m")
    page.keyboard.press("e")
    drag(page, (0.3, 0.3), (0.35, 0.5))
    layer = journalled(folder)
    assert np.abs(layer).max() > 0.5
    np.testing.assert_allclose(replayed(page), layer, atol=1e-5)
    before = acknowledged(page)
    page.evaluate("""(() => { const {paint} = workbench, {strokes} = paint.surface.painting;  // by a script, once more
        paint.surface.setRelation(new Float32Array(paint.layer.length));
        for (const {points, ...settings} of strokes) paint.surface.stroke(points, settings);
        paint.send(); })()""")
    assert acknowledged(page) > before
    assert journalled(folder).tobytes() == layer.tobytes()


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


def test_layers_are_shown_one_over_the_other(page: Page, folder: Path) -> None:
    page.mouse.move(2, 400)
    bare = pixels(page)
    click(page, 2, 2)
    both = pixels(page)
    page.keyboard.press("6")
    np.testing.assert_array_equal(pixels(page), bare)  # the field alone
    page.keyboard.press("6")
    page.keyboard.press("5")
    flat = pixels(page)
    corner = flat[5, -5]
    assert (np.abs(flat - corner).sum(-1) == 0).mean() > 0.8  # no field, some paint
    assert (flat != corner).any()
    page.keyboard.press("5")
    np.testing.assert_array_equal(pixels(page), both)
    page.locator("[data-layer=effect]").click()
    with at_work(folder):
        wait_for(lambda: page.locator("#paint-over .gain").count() > 0, 30)
    page.locator("[data-layer=effect]").click()
    assert page.locator("#paint-over .gain").count() == 0


def test_the_spectrum_names_the_wave_that_was_painted(page: Page) -> None:
    page.keyboard.press("8")
    says = page.locator("#paint-spectrum-says")
    expect(says).to_contain_text("Nothing but its mean", timeout=30_000)
    page.evaluate("""const {surface} = workbench.paint, values = new Float32Array(48)
        values.forEach((_, i) => { values[i] = Math.cos(2 * Math.PI * (2 * (i % 8)) / 8) })
        surface.setRelation(values)""")
    expect(says).to_contain_text("strongest wave: 2 cycles along the phases, 0 up the bands", timeout=30_000)
    level = float(says.inner_text().split(",")[-1].split()[0].replace("\N{MINUS SIGN}", "-"))
    # cells of 32 values are level: of the wave's amplitude a half to either side, times a cell's Dirichlet kernel
    assert level == pytest.approx(20 * np.log10(0.5 * np.sin(np.pi / 4) / (32 * np.sin(np.pi / 128))), abs=0.51)
    page.keyboard.press("8")
    expect(page.locator("#paint-spectrum")).to_be_hidden()


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


def test_the_spectrum_rests_while_nothing_is_painted(page: Page, folder: Path) -> None:
    """Looks come all the time, and do not change the paint."""
    page.keyboard.press("8")
    expect(page.locator("#paint-spectrum-says")).to_contain_text("Nothing but its mean", timeout=30_000)
    wait_for(lambda: not page.evaluate("workbench.paint.surface.moving || workbench.paint.spectral.drawing"))
    page.evaluate("""const {surface} = workbench.paint, asked = surface.spectrum
        globalThis.asked = 0
        surface.spectrum = () => { globalThis.asked++; return asked.call(surface) }
        void 0""")  # Playwright would call a function
    look = page.evaluate("workbench.atlas.look.step")
    with at_work(folder):
        wait_for(lambda: page.evaluate("workbench.atlas.look.step") >= look + 60)
    assert page.evaluate("asked") == 0
    click(page, 0, 1)
    wait_for(lambda: page.evaluate("asked") > 0)
    page.evaluate("delete workbench.paint.surface.spectrum")
    page.keyboard.press("8")


def test_a_lost_device_heals_with_the_same_layer(page: Page, folder: Path) -> None:
    page.keyboard.press("8")
    expect(page.locator("#paint-spectrum-says")).to_contain_text("Nothing but its mean", timeout=30_000)
    page.wait_for_timeout(500)  # the chart makes room
    click(page, 0, 1)
    expect(page.locator("#paint-spectrum-says")).to_contain_text("strongest wave", timeout=30_000)
    wait_for(lambda: not page.evaluate("workbench.paint.surface.moving || workbench.paint.spectral.drawing"), 60)
    generation = page.evaluate("workbench.paint.surface.generation")  # SwiftShader would not survive it while it works
    page.evaluate("""const {device} = workbench.paint.surface
        device.queue.onSubmittedWorkDone().then(() => device.destroy())""")
    wait_for(lambda: page.evaluate("workbench.paint.surface.generation") > generation, 20)
    healed = page.evaluate("workbench.paint.surface.relation().then(r => [...r])")
    np.testing.assert_allclose(healed, journalled(folder).ravel(), atol=1e-6)
    assert page.locator("#paint-backend").text_content() == "WebGPU"
    page.locator("#paint-clear").click()
    expect(page.locator("#paint-spectrum-says")).to_contain_text("Nothing but its mean", timeout=30_000)
    page.keyboard.press("8")
    acknowledged(page)


def test_another_run_begins_without_this_ones_paint(page: Page, folder: Path, server: Server, texts: Path) -> None:
    def show(run: Path) -> None:
        page.evaluate("run => { location.hash = `#/live?run=${run}` }", run.name)
        wait_for(lambda: page.evaluate("workbench.paint.facts.run") == run.name, 20)
        wait_for(lambda: page.evaluate("workbench.paint.shown && workbench.paint.surface?.size != null"), 20)

    click(page, 2, 5)
    with training(server.runs, texts) as other:
        show(other.path)
        assert not any(page.evaluate("workbench.paint.surface.relation().then((r) => [...r])"))
        expect(page.locator("#readout")).not_to_contain_text("painted gain")
        page.mouse.move(0, 0)
        show(folder)
    page.mouse.move(*place(page, 2, 5))
    expect(page.locator("#readout")).to_contain_text(f"painted gain× {2.0 ** journalled(folder)[2, 5]:.2f}")


def test_what_was_acknowledged_outlives_the_server(page: Page, folder: Path, gpu: Watched) -> None:
    click(page, 3, 7)
    layer = journalled(folder)
    with gpu.server_away():
        expect(page.locator("#run-state")).to_have_text("server lost")
        gpu.server.start()
        expect(page.locator("#run-state")).to_have_text("paused", timeout=30_000)
    wait_for(lambda: page.evaluate("workbench.paint.layer?.length") == BANDS * SHEETS, 20)
    np.testing.assert_allclose(page.evaluate("workbench.paint.layer"), layer.ravel(), atol=1e-7)
    assert np.array_equal(journalled(folder), layer)


def test_a_twin_runs_beside_and_the_difference_is_plotted(page: Page, folder: Path, server: Server) -> None:
    seq = click(page, 5, 4)
    with at_work(folder):
        settled(folder, seq)
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
