"""Painting on the real server: what the page shows is what the trainer recorded, whatever happens on the way."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Watched, at_work, training
from tests.browser.painting import (
    BANDS,
    SHEETS,
    acknowledged,
    begin,
    blank,
    click,
    drag,
    heaviest,
    journalled,
    pixels,
    place,
    replayed,
    settled,
)
from tests.serving import Server, folded, records, wait_for


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
        wait_for(lambda: page.evaluate("workbench.paint.facts.run") == run.name)
        wait_for(lambda: page.evaluate("workbench.paint.shown && workbench.paint.surface?.size != null"))

    click(page, 2, 5)
    with training(server.runs, texts) as other:
        page.evaluate("""() => {  // a stroke whose layer is still on the device when another run is shown
            const {surface} = workbench.paint, read = surface.relation.bind(surface)
            surface.relation = async () => {
                const layer = await read(); await new Promise((go) => setTimeout(go, 3000)); return layer } }""")
        page.mouse.move(*place(page, 4, 1))
        page.mouse.down()
        page.mouse.up()
        show(other.path)
        wait_for(lambda: page.evaluate("run => `layer of ${run}` in sessionStorage", folder.name))
        assert not any(page.evaluate("workbench.paint.surface.relation().then((r) => [...r])"))
        assert not any(r["kind"] == "patch" for r in records(other.inputs))
        expect(page.locator("#readout")).not_to_contain_text("painted gain")
        page.mouse.move(0, 0)
        show(folder)
    wait_for(lambda: journalled(folder)[4, 1] > 0.3)
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
