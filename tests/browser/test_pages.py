"""The pages besides the first journey: runs and comparison, doctor, the form, themes, keys, pictures."""

from __future__ import annotations

import base64
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from canvas.dabs import SIDE, DiskStroke, painted
from core.disk import scores
from core.runs.compare import compare
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.curves import read_run
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.browser.conftest import Watched, ready
from tests.serving import Server, records, serving, wait_for


@pytest.fixture(scope="module")
def past(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Two finished runs that differ in seed."""
    root = tmp_path_factory.mktemp("past") / "runs"
    folders = []
    for seed in (0, 1):
        config = RunConfig.from_preset((str(texts / "plain"),), "tiny", threads=2, window=32, batch=4, steps=30,
                                       seed=seed, field_every=5, evaluate_every=5, sample_every=30)
        folders.append(create_run(root, config))
        send(folders[-1], "start")
        Trainer(folders[-1]).run()
    return folders


@pytest.fixture(scope="module")
def server(past: list[RunFolder], texts: Path) -> Iterator[Server]:
    with serving(past[0].path.parent, texts=texts) as server:
        yield server


def turn(page: Page, place: str) -> None:
    """Follow a link of the page to another place on it."""
    page.evaluate("(place) => { location.hash = place }", place)


def show(page: Page, run: RunFolder) -> None:
    turn(page, f"#/live?run={run.id}")
    expect(page.locator("#run-name")).to_have_text(run.id)
    expect(page.locator("#run-state")).to_have_text("finished")


def test_a_finished_run_is_opened_and_its_history_scrubbed(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    expect(page.locator("#atlas-step")).to_have_text("step 30")
    expect(page.locator("#do-pause")).to_be_disabled()
    page.keyboard.press("b")
    expect(page.locator("#toast")).to_contain_text("This run is finished: its strokes can be looked at")
    page.keyboard.press("v")
    page.keyboard.press("Home")
    expect(page.locator("#atlas-step")).to_have_text("step 5")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas-step")).to_have_text("step 10")
    page.keyboard.press("f")
    expect(page.locator("#atlas-step")).to_have_text("step 30")
    page.keyboard.press("g")
    expect(page.locator("[data-kind=gradient]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("2")
    expect(page.locator("#scale-name")).to_contain_text("correlation, 1 back")
    page.keyboard.press("g")
    expect(page.locator("[data-kind=state]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    expect(page.locator("#scale-name")).not_to_contain_text("back")


def test_the_cell_is_moved_by_keys_and_read_out_as_measured(page: Page, past: list[RunFolder]) -> None:
    from workbench.watch import open_watch

    watch = open_watch(past[0])
    look = watch.look("state")
    assert look is not None
    show(page, past[0])
    expect(page.locator("#readout")).to_contain_text("density")
    page.locator("#fig-atlas").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    readout = page.locator("#readout")
    expect(readout).to_contain_text("phase315°")
    expect(readout).to_contain_text(re.compile(r"pieces\d"))
    shown = re.search(r"density([\d.]+)(?:·10([⁻⁰¹²³⁴-⁹]+))?piece(\d+ of (\d+)|below mean)",
                      readout.text_content() or "")
    assert shown
    exponent = int("".join("-" if c == "⁻" else str("⁰¹²³⁴⁵⁶⁷⁸⁹".index(c)) for c in shown[2] or "⁰"))
    cell = watch.field(look).cell((2, 7, 0))  # type: ignore[arg-type]
    assert float(shown[1]) * 10.0**exponent == pytest.approx(cell.density, rel=5e-3)
    assert shown[3].startswith(str(cell.component) if cell.component else "below")


def test_a_run_writes_with_and_without_desire(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    page.keyboard.press("w")
    form = page.locator("#generate-form")
    expect(page.locator("#text-tilted-card")).to_be_hidden()
    form.locator("[name=prompt]").fill("the r")  # a letter typed here is no key
    form.locator("[name=length]").fill("40")
    form.locator("[name=vowels]").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(form.locator("output[for=vowels]")).to_have_text("1.0")
    page.locator("#generate-start").click()
    measured = re.compile(r"p value0\.\d+price0\.0\d+ nats")
    expect(page.locator("#effect-of-desire")).to_contain_text(measured, timeout=90_000)
    expect(page.locator("#generate-start")).to_have_text("Generate")
    for arm in ("without", "tilted"):
        text = page.locator(f"#text-{arm}")
        said = text.text_content() or ""
        assert (said[:5], len(said)) == ("the r", 45)
        assert "".join(text.locator("mark").all_text_contents()) == "".join(c for c in said[5:] if c in "aeiou")
    form.locator("[name=prompt]").fill("<b>7")
    page.locator("#generate-start").click()
    expect(page.locator("#generate-error")).to_contain_text("'7', '<', '>' are not among the")
    expect(page.locator("#text-without b")).to_have_count(0)
    expect(page.locator("#generate-start")).to_have_text("Generate")
    show(page, past[1])
    expect(page.locator("#text-without")).to_be_empty()


FIGURE = "Bokeh.documents[0].get_model_by_name('comparison-figure')"


def floats(page: Page, array: str) -> bytes:
    """The bytes of a typed array."""
    return base64.b64decode(page.evaluate(f"btoa(Array.from(new Uint8Array({array}.buffer), "
                                          "(c) => String.fromCharCode(c)).join(''))"))


def column(page: Page, part: str, name: str) -> Any:
    """What the comparison draws."""
    return page.evaluate(f"[...Bokeh.documents[0].get_model_by_name('compare-{part}').data.{name}]")


def test_what_is_painted_on_the_disk_is_wanted(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    turn(page, "#/generate")
    expect(page.locator("#disk-step")).to_have_text("step 30")
    symbols, places = page.evaluate("[workbench.disk.symbols, workbench.disk.places]")
    canvas = page.locator("#disk")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    x, y = places[symbols.index("t")]
    page.mouse.click(box["x"] + (1 + x) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"])
    expect(page.locator("#disk-text")).to_contain_text("t +0.")
    page.locator("#disk-undo").click()
    expect(page.locator("#disk-text")).to_contain_text("Nothing is painted under a character")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.6 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 1.2 * box["width"], box["y"] + 0.4 * box["height"], steps=7)
    page.locator("#disk-undo").dispatch_event("click")  # under the hand: what follows belongs to no stroke
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"], steps=3)
    page.mouse.up()
    assert not page.evaluate("workbench.disk.painted")
    canvas.focus()
    page.keyboard.press("Enter")  # a spot in the middle
    page.locator("[data-disk=avoid]").click()
    canvas.focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("workbench.disk.cursor") == [5 / 16, 1 / 16]
    assert page.evaluate("[Math.min(...workbench.disk.painting), Math.max(...workbench.disk.painting)]") == [
        pytest.approx(-0.5, abs=0.02), pytest.approx(0.5, abs=0.02)]
    page.locator("[data-disk=want]").click()
    page.locator("#disk-size").fill("0.5")
    page.mouse.move(box["x"] + (1 + x) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"], steps=9)
    page.mouse.up()
    wait_for(lambda: page.evaluate("workbench.disk.scores")[symbols.index("t")] > 0)
    page.evaluate("document.getElementById('generate-form').reset()")  # what another test left
    page.locator("#generate-form [name=length]").fill("30")
    page.locator("#generate-start").click()
    expect(page.locator("#effect-of-desire")).to_contain_text("p value", timeout=60_000)
    strokes = [DiskStroke(**s) for s in page.evaluate("workbench.disk.strokes")]
    assert [s.tool for s in strokes] == ["want", "avoid", "want"]
    assert painted(strokes).tobytes() == floats(page, "workbench.disk.painting")  # a script's strokes, and the hand's
    scored = scores(np.reshape(painted(strokes), (SIDE, SIDE)), np.array([[0, 0], *places]))
    newest = max(past[0].generations.iterdir(), key=lambda f: f.stat().st_mtime_ns)
    assert records(newest)[1]["d"] == scored.tolist()
    page.locator("#disk-clear").click()
    expect(page.locator("#disk-text")).to_contain_text("Nothing is painted under a character")
    page.locator("[data-disk=move]").click()
    page.mouse.move(box["x"] + (1 + x) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    np.testing.assert_allclose(page.evaluate("workbench.disk.focus"), (x, y), atol=0.01)  # t lies in the middle now
    assert not page.evaluate("workbench.disk.painted")
    page.locator("[data-disk=want]").click()
    page.locator("#disk-size").fill("0.1")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#disk-text")).to_contain_text("t +0.")
    canvas.focus()
    page.keyboard.press("Home")
    assert page.evaluate("workbench.disk.focus") == [0, 0]
    page.keyboard.press("End")
    assert page.evaluate("workbench.disk.focus") == page.evaluate("workbench.disk.cursor")
    page.locator("#disk-middle").click()
    page.locator("#disk-clear").click()


def test_two_runs_are_compared(page: Page, past: list[RunFolder]) -> None:
    turn(page, "#/runs")
    rows = page.locator("#runs-table tbody tr")
    expect(rows).to_have_count(2)
    expect(page.locator("#compare")).to_be_disabled()
    for run in past:
        page.get_by_label(f"mark {run.id}").check()
    page.locator("#compare").click()
    expect(page.locator("#compare-table")).to_contain_text("seed")
    table = page.locator("#compare-table").text_content() or ""
    for run in past:
        assert run.id in table
    found = compare(past)
    (group,) = found["groups"]
    assert group["seeds"] == [0, 1]
    expect(page.locator("#compare-groups")).to_contain_text(f"{group['mean']:.4f} ± {group['error']:.4f}")
    expect(page.locator("#compare-groups tbody td").nth(2)).to_have_text("30")  # at step
    assert column(page, "dots", "bits") == group["curve"]["bits"]
    curve = read_run(past[1]).train
    for by in ("time", "characters", "step"):
        page.locator(f"[data-by={by}]").click()
        assert column(page, "dots", "x") == group["curve"][by]
        assert column(page, "train", "xs")[1] == getattr(curve, by).tolist()
    page.locator("#compare-smooth").fill("3")
    expect(page.locator("#compare-smooth-value")).to_have_text("9 steps")
    np.testing.assert_allclose(column(page, "train", "ys")[1], curve.smoothed(9), rtol=1e-12)
    for side in ("x", "y"):
        page.locator(f"[data-log={side}]").click()
        assert page.evaluate(f"{FIGURE}.{side}_scale.type") == "LogScale"
    start = f"{FIGURE}.x_range.start"
    wait_for(lambda: 0 < page.evaluate(start) < 2)  # the range follows the scale: step 0 has no place there
    for side in ("x", "y"):
        page.locator(f"[data-log={side}]").click()
    wait_for(lambda: page.evaluate(start) <= 0)
    page.locator("#runs-filter").fill("nothing like that")
    expect(page.locator("#runs-table")).to_contain_text("Nothing matches")
    page.locator("#runs-filter").fill(past[1].id)
    page.locator("#runs-table a").click()
    expect(page.locator("#run-name")).to_have_text(past[1].id)


def test_runs_are_queued_cancelled_and_named_as_they_are(page: Page, past: list[RunFolder]) -> None:
    page.keyboard.press("n")
    form = page.locator("#run-dialog")
    form.locator("[name=paths]").fill("/etc")
    form.locator("#run-start").click()
    expect(page.locator("#run-error")).to_contain_text("lies outside")
    expect(form).to_be_visible()  # nothing typed is lost
    form.locator("[name=paths]").fill("<img src=x onerror=alert(1)>")
    form.locator("[name=preset]").select_option("tiny")
    form.locator("[name=model]").select_option("conv")  # the size stays, its meaning changes
    expect(form.locator("[name=preset] option:checked")).to_have_text("tiny: 3 layers of 64")
    form.locator("[name=model]").select_option("rnn")
    form.locator("[name=steps]").fill("2000")
    form.locator("#run-start").click()
    expect(form).to_be_hidden()
    expect(page.locator("#run-state")).to_have_text("running", timeout=40_000)
    assert page.locator("#run-name").text_content() not in [r.id for r in past]
    page.keyboard.press("n")  # a second one waits
    form.locator("[name=paths]").fill("<img src=x onerror=alert(1)>, plain")
    form.locator("#run-start").click()
    expect(form).to_be_hidden()
    expect(page.locator("#run-state")).to_have_text("running, 1 queued")
    page.keyboard.press("r")
    expect(page.locator("#queue")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#queue img").count() == 0
    page.locator("#queue button").click()
    expect(page.locator("#queue")).to_be_empty()
    page.keyboard.press("l")
    page.locator("#do-stop").click()
    expect(page.locator("#run-state")).to_have_text("stopped")


HOLD = """Object.defineProperty(window, "workbench", {configurable: true, set(page) {
  Object.defineProperty(window, "workbench", {value: page})
  const settle = page.channel.settle.bind(page.channel)
  page.channel.settle = (to, answer) => {
    if (!answer.choices) return settle(to, answer)
    window.release = () => { page.channel.settle = settle; settle(to, answer) }
  }
}})"""  # the form's choices come when release() is called


def test_a_form_that_is_opened_before_its_choices_came_waits_and_fills_itself(watched: Watched) -> None:
    watched.context.add_init_script(HOLD)
    page = watched.open()
    wait_for(lambda: page.evaluate("Boolean(window.release)"))
    page.keyboard.press("n")
    form = page.locator("#run-dialog")
    expect(page.locator("#run-wait")).to_be_visible()
    expect(form.locator("#run-start")).to_be_disabled()
    form.locator("[name=paths]").fill("/etc")
    form.locator("[name=seed]").fill("3")
    form.locator("[name=steps]").fill("20")
    page.keyboard.press("Enter")
    expect(page.locator("#run-error")).to_be_empty()
    page.evaluate("release()")
    expect(page.locator("#run-wait")).to_be_hidden()
    assert page.evaluate("""Object.fromEntries(new FormData(document.querySelector("#run-dialog form")))""") == {
        "paths": "/etc", "model": "rnn", "preset": "tiny", "seed": "3", "steps": "20", "backend": "auto",
        "optimiser": "adam", "schedule": "linear", "accumulate": "1", "patience": "0", "split": "contiguous",
        "dropout": ""}
    form.locator("[name=preset]").select_option("base")
    page.evaluate("workbench.hello(null)")  # as a page does that turns to another run
    page.keyboard.press("Enter")
    expect(page.locator("#run-error")).to_contain_text("lies outside")
    expect(form.locator("[name=preset]")).to_have_value("base")


def test_the_doctor_names_what_is_here(page: Page) -> None:
    turn(page, "#/doctor")
    table = page.locator("#doctor-table")
    expect(table).to_contain_text("numpy")
    expect(table).to_contain_text("this browser's GPU")
    expect(table).to_contain_text("zspace-workbench[cuda]")


def test_the_atlas_is_downloaded_as_a_picture(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    for theme in ("dark", "light"):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        expect(page.locator("#snapshot")).to_be_enabled(timeout=30_000)
        with page.expect_download() as download:
            page.locator("#snapshot").click()
        assert download.value.suggested_filename.endswith(".png")
        assert download.value.path().read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        page.keyboard.press("t")


def test_keys_are_explained_and_do_nothing_while_a_dialog_is_open(page: Page) -> None:
    turn(page, "#/live")
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    expect(page.locator("#keys")).to_contain_text("pause or resume")
    page.keyboard.press("r")
    assert not page.url.endswith("#/runs")
    page.keyboard.press("Escape")
    expect(page.locator("#help-dialog")).to_be_hidden()
    page.keyboard.press("r")
    assert page.url.endswith("#/runs")


def test_nothing_is_wider_than_the_window(page: Page) -> None:
    for width in (2560, 1440, 1180, 800):  # narrower each time: a figure that stays behind shows
        page.set_viewport_size({"width": width, "height": 900})
        for place in ("live", "projector", "generate", "runs", "doctor"):
            turn(page, f"#/{place}")
            page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
            wait_for(lambda: page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth"), 5)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_the_bar_has_room_for_long_numbers(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    for width in (1440, 1200, 800):
        page.set_viewport_size({"width": width, "height": 900})
        crossed = page.evaluate("""() => {
          const texts = {step: "step 100 000 / 1 000 000", left: "11 h 28 min left",
                         speed: "cpu · 1173.1 ms/step · 105 914 char/s"}
          for (const [id, text] of Object.entries(texts)) document.getElementById(id).textContent = text
          const boxes = [...document.querySelectorAll(".bar > *, .progress > *")].filter((n) => !n.matches(".progress"))
            .map((n) => n.getBoundingClientRect())
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => a.left < b.right && b.left < a.right
            && a.top < b.bottom && b.top < a.bottom)).length
        }""")
        assert crossed == 0
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_script_that_came_in_as_text_would_not_run(page: Page, shared: tuple[Watched, Page]) -> None:
    page.evaluate("""() => {
        const script = document.createElement("script")
        script.textContent = "window.broken = true"
        document.body.append(script)
    }""")
    assert page.evaluate("window.broken") is None
    complaints = shared[0].complaints
    assert any("Content Security Policy" in c for c in complaints)
    complaints.clear()


def test_an_unknown_run_in_the_address_is_said_and_another_shown(watched: Watched) -> None:
    page = ready(watched, "#/live?run=no-such-run")
    expect(page.locator("#notice")).to_contain_text("no-such-run")
    expect(page.locator("#run-name")).not_to_have_text("no run yet")


def test_many_pages_come_and_go_and_leave_nothing(watched: Watched, server: Server) -> None:
    """Pages opened and closed: no thread stays behind in the server."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status")

    def threads() -> int:
        found = re.search(r"Threads:\s+(\d+)", status.read_text())
        assert found
        return int(found[1])

    for _ in range(2):
        ready(watched).close()
    before = threads()
    for _ in range(6):
        ready(watched).close()
    wait_for(lambda: threads() <= before + 2, 60)


def test_an_answer_that_comes_late_does_not_say_which_run_is_shown(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    wait_for(lambda: not page.evaluate("workbench.channel.waiting.size"))
    page.evaluate("""() => {
      const {channel} = workbench, settle = channel.settle.bind(channel)
      window.late = []
      channel.settle = (to, answer) => { answer.choices ? late.push(() => settle(to, answer)) : settle(to, answer) }
    }""")
    show(page, past[1])
    show(page, past[0])
    wait_for(lambda: page.evaluate("late.length") == 2)
    page.evaluate("late.shift()()")  # of past[1]
    show(page, past[1])
    page.evaluate("() => { for (const answer of late) answer(); delete workbench.channel.settle }")
    expect(page.locator("#run-name")).to_have_text(past[1].id)
    assert page.evaluate("workbench.run") == past[1].id


def test_a_page_that_was_deaf_for_a_while_still_tells_a_lost_server(page: Page, past: list[RunFolder]) -> None:
    show(page, past[0])
    # four seconds without a word, and the answer to "are you there" comes after the next batch
    deaf = """() => {
      const ask = window.fetch
      window.fetch = async (...what) => { await new Promise((go) => setTimeout(go, 1500)); return ask(...what) }
      workbench.channel.heard -= 4000
      workbench.channel.check()
      window.fetch = ask
      return document.querySelector("#run-state").textContent
    }"""
    for _ in range(2):
        assert page.evaluate(deaf) == "server busy"
        expect(page.locator("#run-state")).to_have_text("finished")
        expect(page.locator("#notice")).to_be_hidden()
        wait_for(lambda: not page.evaluate("workbench.channel.looking"))


def test_a_busy_server_is_waited_for_a_dead_connection_not(page: Page, past: list[RunFolder], server: Server) -> None:
    show(page, past[0])
    page.evaluate("window.same = true")
    assert server.process
    server.process.send_signal(signal.SIGSTOP)
    expect(page.locator("#run-state")).to_have_text("server busy")
    page.wait_for_timeout(3000)
    server.process.send_signal(signal.SIGCONT)
    expect(page.locator("#run-state")).to_have_text("finished")
    assert page.evaluate("window.same"), "the page loaded anew, and what was typed in it is lost"
    with page.expect_event("load"):
        page.evaluate("() => { const {channel} = workbench; channel.receive = () => {}; channel.heard -= 30_000 }")
    assert page.evaluate("window.same") is None
    expect(page.locator("#run-state")).to_have_text("finished")
