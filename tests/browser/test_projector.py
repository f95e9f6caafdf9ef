"""The Projector view on the real server: its pixels are the server's bytes, and it says what was painted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from canvas import CanvasProjector
from canvas.palettes import NAMES
from core.disk import SIDE, DiskChart, scores
from core.runs.checkpoint import latest_checkpoint, load_checkpoint
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.work import WorkQueue
from tests.browser.conftest import Watched
from tests.serving import Server, records, serving, wait_for

READ = """(selector) => {
    const shown = document.querySelector(selector), copy = new OffscreenCanvas(shown.width, shown.height)
    const context = copy.getContext("2d", {willReadFrequently: true}) // else Chromium complains of the second look
    context.drawImage(shown, 0, 0)
    return {data: [...context.getImageData(0, 0, copy.width, copy.height).data], width: copy.width, height: copy.height}
}"""
ROWS, COLUMNS = np.mgrid[:6, :8]
LAYERS = [k * (2 * np.exp(-((COLUMNS - 2.5) ** 2 + (ROWS - 1.5) ** 2) / 3)
               - 1.5 * np.exp(-((COLUMNS - 6) ** 2 + (ROWS - 4) ** 2) / 2)) for k in (0.5, 1.0)]


@pytest.fixture(scope="module")
def runs(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two finished runs, the second one painted."""
    root, folders = tmp_path_factory.mktemp("projected") / "runs", []
    for seed in (0, 1):
        config = RunConfig.from_preset((str(texts / "plain"),), "tiny", threads=2, window=32, batch=4, steps=20,
                                       seed=seed, field_every=5, evaluate_every=20, sample_every=20)
        folders.append(create_run(root, config))
        send(folders[-1], "start")
        for layer in LAYERS[: 2 * seed]:
            paint(folders[-1], layer)
        Trainer(folders[-1]).run()
    return folders


@pytest.fixture(scope="module")
def server(runs: list[RunFolder], texts: Path) -> Iterator[Server]:
    with serving(runs[0].path.parent, texts=texts) as server:
        yield server


def until(page: Page, condition: str) -> None:
    """Wait for what the page's own objects say."""
    wait_for(lambda: page.evaluate(condition), 20)


def look(page: Page, run: RunFolder, source: str) -> None:
    """Open a run's view, and wait for what it shows."""
    page.evaluate("(place) => { location.hash = place }", f"#/projector?run={run.id}")
    expect(page.locator("#run-name")).to_have_text(run.id)
    page.locator(f"[data-source={source}]").click()
    expect(page.locator(f"[data-source={source}]")).to_have_attribute("aria-pressed", "true")
    until(page, f"workbench.projector.said?.source === '{source}'")


def pixels(page: Page, selector: str) -> np.ndarray:
    """Of a canvas [rows, columns, 4], as they are seen from above."""
    found = page.evaluate(READ, selector)
    return np.array(found["data"], np.uint8).reshape(found["height"], found["width"], 4)


def canvas_of(run: RunFolder) -> CanvasProjector:
    """A projector that took the run's layers when they were painted."""
    now = [0.0]
    canvas = CanvasProjector(8, 6, capacity=run.read_config()["capacity"], clock=lambda: now[0])
    for record, layer in zip((r for r in records(run.inputs) if r["kind"] == "patch"), LAYERS, strict=True):
        now[0] = record["time"]
        canvas.push_patch(layer, coherence=record["coherence"], tension=record["tension"])
    canvas.refresh()
    return canvas


def srgb(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bytes of Oklab colours, by the matrices of https://bottosson.github.io/posts/oklab/."""
    cones = np.stack([lightness, a, b], axis=-1) @ np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]).T
    linear = np.clip(cones**3 @ np.array(
        [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
         [-0.0041960863, -0.7034186147, 1.7076147010]]).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_pixels_are_the_servers_buffer_in_every_palette(page: Page, runs: list[RunFolder]) -> None:
    canvas = canvas_of(runs[1])
    look(page, runs[1], "painted")
    for name in NAMES:
        page.locator("#projector-palette").select_option(name)
        until(page, f"workbench.projector.said?.palette === '{name}'")
        canvas.set_palette(name)
        want = np.frombuffer(canvas.refresh_rgba(), np.uint8).reshape(6, 8, 4)
        np.testing.assert_array_equal(pixels(page, "#projector-rgba canvas"), want[::-1])  # low bands lie low
    expect(page.locator("#projector-note")).to_contain_text("finished")
    expect(page.locator("#projector-facts")).to_contain_text("2 of 8")


def test_the_view_opens_by_its_address(browser: Browser, server: Server, runs: list[RunFolder]) -> None:
    watched = Watched(browser, server)
    page = watched.open(f"#/projector?run={runs[1].id}")
    expect(page.locator("[data-source=painted]")).to_have_attribute("aria-pressed", "true")  # for there is paint
    expect(page.locator("#projector-step")).to_have_text("from step 1")
    assert page.evaluate("workbench.projector.said.palette") == "blue-magenta"
    watched.context.close()
    watched.check()


def test_the_vector_fields_colours_say_its_four_numbers(page: Page, runs: list[RunFolder]) -> None:
    look(page, runs[1], "painted")
    expect(page.locator("#projector-size")).to_have_text("6 × 8 × 4 B")
    energy, gradient, spin, curvature = np.moveaxis(canvas_of(runs[1]).vector_field().astype(np.float64), 2, 0)
    want = srgb(0.35 + 0.5 * energy, 0.11 * gradient * spin, 0.11 * gradient * curvature)
    np.testing.assert_allclose(pixels(page, "#projector-hue canvas")[::-1, :, :3], want, atol=1.01)


def test_cells_are_read_out_by_pointer_and_keys(page: Page, runs: list[RunFolder]) -> None:
    canvas = canvas_of(runs[1])
    look(page, runs[1], "painted")
    readout = page.locator("#projector-readout")
    row, column = np.unravel_index(np.abs(canvas.tensor()).argmax(), (6, 8))
    strongest = canvas.tensor()[row, column]
    expect(readout).to_contain_text(f"phase{45 * column}°")
    box = page.locator("#projector-trail").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 2.5 / 8, box["y"] + box["height"] * 5.5 / 6)  # band 0, phase 90
    expect(readout).to_contain_text("phase90°")
    page.locator("#projector-rgba").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    value, trail = canvas.tensor()[1, 3], canvas.trail()[1, 3]
    expect(readout).to_contain_text(f"value{value:.3g}")
    expect(page.locator("#projector-says")).to_contain_text(f"phase 135°, value {value:.3g}, energy")
    expect(page.locator("#projector-says")).to_contain_text(f"trail {trail:.3g}")
    expect(page.locator("#projector-summary")).to_contain_text(f"The strongest is {strongest:.3g} at")
    assert page.evaluate("location.hash").startswith("#/projector")  # no key of the page was meant


def test_spectra_are_read_out_as_numpy_has_them(page: Page, runs: list[RunFolder]) -> None:
    relation = canvas_of(runs[1]).tensor().astype(np.float64)
    look(page, runs[1], "painted")
    page.locator("#projector-window").select_option("hann")
    bins = page.locator("#projector-bin")
    windows = np.hanning(6)[:, None], np.hanning(8)[None, :]
    for axis, field, keys, want in (
            ("rows", relation * windows[1], ["ArrowUp", "ArrowRight"], lambda p: p[1, 1]),
            ("columns", relation * windows[0], ["ArrowUp", "ArrowRight", "ArrowRight"], lambda p: p[1, 2]),
            ("2d", relation * windows[0] * windows[1], ["ArrowLeft", "ArrowUp"], lambda p: p[1, -1])):
        page.locator(f"[data-axis='{axis}']").click()
        until(page, f"workbench.projector.said?.axis === '{axis}' && workbench.projector.said.window === 'hann'")
        page.locator("#projector-spectrum").focus()
        for key in keys:
            page.keyboard.press(key)
        power = np.abs(np.fft.fftn(field, axes={"rows": (1,), "columns": (0,), "2d": (0, 1)}[axis])) ** 2
        expect(bins).to_contain_text(f"power{10 * np.log10(want(power) / power.max()):.1f} dB")
    page.locator("[data-axis=rows]").click()


def test_patches_are_listed_with_what_they_weigh(page: Page, runs: list[RunFolder]) -> None:
    look(page, runs[1], "painted")
    rows = page.locator("#projector-patches tbody tr")
    expect(rows).to_have_count(2)
    newest = [r for r in records(runs[1].inputs) if r["kind"] == "patch"][-1]
    for text in (str(newest["seq"]), "192 B", f"{np.mean(LAYERS[1] ** 2):.3g}", f"{1 / (1 + newest['tension']):.3g}"):
        expect(rows.first).to_contain_text(text)
    expect(page.locator("#projector-patches th").last).to_have_text("step")
    expect(rows.first.locator("td").last).to_have_text("1")


def test_what_is_missing_is_said(page: Page, runs: list[RunFolder]) -> None:
    look(page, runs[0], "painted")
    expect(page.locator("#projector-blank")).to_contain_text("None took effect while this run was at work")
    expect(page.locator("#projector-rgba")).to_be_hidden()
    expect(page.locator("#projector-patches")).to_contain_text("None came yet")
    page.locator("[data-source=disk]").click()
    expect(page.locator("#projector-blank")).to_contain_text("Paint under the characters on Generate")
    page.locator("[data-source=gradient]").click()
    expect(page.locator("#projector-blank")).to_be_hidden()
    expect(page.locator("#projector-step")).to_have_text("step 20")


def test_who_turns_away_is_sent_nothing(page: Page, runs: list[RunFolder]) -> None:
    look(page, runs[1], "state")
    expect(page.locator("#projector-step")).to_have_text("step 20")
    page.evaluate("""() => {
        window.seen = 0
        const take = workbench.projector.take
        workbench.projector.take = function (...rest) { window.seen++; return take.apply(this, rest) }
    }""")
    page.keyboard.press("l")
    until(page, "workbench.projector.asked === 'null' && !workbench.projector.asking")
    page.wait_for_timeout(500)
    assert page.evaluate("window.seen") == 0
    page.keyboard.press("j")
    until(page, "window.seen > 0")


def test_the_disks_layers_are_shown_and_hidden(page: Page, runs: list[RunFolder]) -> None:
    look(page, runs[0], "state")
    page.keyboard.press("w")
    expect(page.locator("#disk-step")).to_have_text("step 20")
    path, _ = latest_checkpoint(runs[0])
    assert path is not None
    embedding = load_checkpoint(path)[0]["p.embedding"]
    places = DiskChart.of(embedding).places(embedding)
    disk = page.locator("#disk")
    disk.focus()
    page.keyboard.press("Enter")  # wanted, in the middle
    until(page, "workbench.disk.scores.length > 0")
    painting = np.array(page.evaluate("[...workbench.disk.painting]")).reshape(SIDE, SIDE)
    found = scores(painting, places)[1:]
    np.testing.assert_allclose(page.evaluate("workbench.disk.scores"), found, atol=1e-6)
    assert np.abs(found).max() > 0.05

    def drawn() -> str:
        return str(page.evaluate("document.getElementById('disk').toDataURL()"))

    looks = [drawn()]
    for key in ("7", "6", "5", "7"):  # rings come, the paint goes, the characters go, the rings go
        page.keyboard.press(key)
        looks.append(drawn())
    assert len(set(looks)) == 5
    for name in ("measured", "painted", "effect"):
        expect(page.locator(f"[data-disk-layer={name}]")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("5")
    page.keyboard.press("6")
    assert drawn() == looks[0]
    page.keyboard.press("j")
    page.locator("[data-source=disk]").click()
    expect(page.locator("#projector-size")).to_have_text(f"{SIDE} × {SIDE} × 4 B")
    expect(page.locator("#projector-patches tbody tr")).to_have_count(1)


def test_a_layer_painted_on_a_run_at_work_arrives(page: Page, server: Server, texts: Path) -> None:
    queue = WorkQueue(server.runs)
    number = queue.add({"paths": [str(texts / "plain")], "preset": "tiny", "threads": 1, "steps": 100_000,
                        "evaluate_every": 200, "checkpoint_every": 100_000})
    queue.ensure_worker()
    name = wait_for(lambda: next(i.run for i in queue.items() if i.id == number))
    folder: Any = RunFolder(server.runs / name)
    wait_for(lambda: folder.status() == "running")
    page.evaluate("(place) => { location.hash = place }", f"#/projector?run={folder.id}")
    expect(page.locator("#run-name")).to_have_text(folder.id)
    page.locator("[data-source=disk]").click()
    expect(page.locator("#projector-blank")).to_contain_text("has no checkpoint yet: wait for its first, or save one")
    look(page, folder, "painted")
    expect(page.locator("#projector-blank")).to_contain_text("Take the brush on Live")
    record = paint(folder, LAYERS[1])
    rows = page.locator("#projector-patches tbody tr")
    expect(rows.first).to_contain_text(str(record["seq"]))
    expect(rows.first.locator("td").last).to_have_text(re.compile(r"^\d+$"))  # no longer "waits"
    canvas = CanvasProjector(8, 6)
    canvas.push_patch(LAYERS[1])
    until(page, "workbench.projector.rows === 6 && workbench.projector.said.source === 'painted'")
    page.locator("#projector-palette").select_option("blue-magenta")
    until(page, "workbench.projector.said?.palette === 'blue-magenta'")
    want = np.frombuffer(canvas.refresh_rgba(), np.uint8).reshape(6, 8, 4)
    np.testing.assert_array_equal(pixels(page, "#projector-rgba canvas"), want[::-1])
    page.locator("[data-source=state]").click()
    expect(page.locator("#projector-step")).to_contain_text("step")
    before = page.locator("#projector-step").text_content()
    expect(page.locator("#projector-step")).not_to_have_text(before or "")  # it goes on by itself
