"""The script pane on the real server: users' Python in the page's worker paints as hands do, and can be stopped.

The tests share one run and one page of each kind; each begins with nothing painted.
"""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from canvas.strokes import Recording
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.trainer import Trainer
from tests.browser.conftest import Watched, at_work, long_run
from tests.browser.painting import BANDS, SHEETS, acknowledged, begin, blank, journalled, place
from tests.canvas.test_pure import FIELD, as_script
from tests.canvas.test_strokes import VECTORS, some_strokes
from tests.kernels.conftest import WEBGPU
from tests.serving import CHROMIUM_FLAGS, Server, absent, chromium, serving
from workbench import staging

BOOT = 60_000  # ms that Python may take to start here
WAVE = "def field(t, x, y):\n    return 2 * math.sin(2 * math.pi * x) * y\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> Iterator[Server]:
    if staging.staged() is None:
        absent("staged Python: make browser")
    with serving(tmp_path_factory.mktemp("scripted") / "runs", texts=texts) as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, texts: Path) -> Path:
    """Of a long run, at work where a test says so."""
    return long_run(server, texts)


@pytest.fixture(scope="module")
def plain(browser: Browser, server: Server, folder: Path) -> Iterator[tuple[Watched, Page]]:
    watched = Watched(browser, server)
    yield watched, opened(watched, folder)
    watched.context.close()


@pytest.fixture
def page(plain: tuple[Watched, Page]) -> Iterator[Page]:
    """Without WebGPU, so that layers come out to the bit as Python has them; nothing painted, nothing written."""
    watched, page = plain
    if not page.locator("#script-text").is_visible():  # a test before ended with the pane closed
        page.locator("#fig-atlas").focus()
        page.keyboard.press("k")
    page.locator("#script-text").fill("")
    page.locator("#fig-atlas").focus()
    blank(page)
    yield page
    watched.check()


def opened(watched: Watched, folder: Path) -> Page:
    """The page with its script pane."""
    page = begin(watched, folder)
    page.keyboard.press("k")
    expect(page.locator("#script-text")).to_be_focused()
    return page


def run(page: Page, text: str, state: str = "painted") -> None:
    """Run a script until the pane says so."""
    page.locator("#script-text").fill(text)
    page.locator("#script-run").click()
    expect(page.locator("#script-state")).to_contain_text(state, timeout=BOOT)


def fail(page: Page, text: str, sentence: str) -> None:
    """Run a script that comes to a problem."""
    page.locator("#script-text").fill(text)
    page.locator("#script-run").click()
    expect(page.locator("#script-error")).to_contain_text(sentence, timeout=BOOT)
    expect(page.locator("#script-run")).to_be_enabled()


def relation(page: Page) -> bytes:
    """Of the layer as it is painted, float32 [bands, sheets]."""
    return np.array(page.evaluate("workbench.paint.surface.relation().then((r) => [...r])"), "<f4").tobytes()


def test_the_pane_says_which_python_it_has(page: Page) -> None:
    said = page.locator("#script-python")
    expect(said).to_contain_text("Python 3.")
    numpy = staging.staged()["numpy"]
    run(page, "import sys, canvas\nprint(sys.platform, sys.version.split()[0], 'numpy' in sys.modules or 'none')\n",
        "done")
    expect(page.locator("#script-output")).to_contain_text("emscripten")
    version = page.locator("#script-output").text_content().split()[1]
    expect(said).to_have_text(f"Python {version}, " + (f"NumPy {numpy}" if numpy else "without NumPy"))
    if not numpy:
        fail(page, "import numpy", "line 1: ModuleNotFoundError: No module named 'numpy'")


def test_a_field_is_painted_and_reaches_the_trainer(page: Page, folder: Path) -> None:
    run(page, WAVE)
    acknowledged(page)
    x, y = (np.arange(SHEETS) + 0.5) / SHEETS, (np.arange(BANDS) + 0.5) / BANDS
    want = 2 * np.sin(2 * np.pi * x[None]) * y[:, None]
    np.testing.assert_allclose(journalled(folder), want, atol=1e-6)
    with at_work(folder):
        expect(page.locator("#paint-state")).to_contain_text("in force")
    assert Recording.from_json(page.evaluate("workbench.paint.surface.recording()")).replay() == journalled(
        folder).tolist()


def test_a_field_in_time_moves_until_it_is_stopped_and_is_one_step_to_undo(page: Page, folder: Path) -> None:
    run(page, "canvas.line((0.1, 0.5), (0.4, 0.5))")
    before, depth = relation(page), page.evaluate("workbench.paint.surface.depth")
    run(page, FIELD, "painting, t = 1")
    page.locator("#script-stop").click()
    expect(page.locator("#script-state")).to_have_text("stopped")
    acknowledged(page)
    first = journalled(folder)
    assert page.evaluate("workbench.paint.surface.depth") == depth + 1
    page.wait_for_timeout(600)
    assert np.array_equal(journalled(folder), first)  # nothing is sent any more
    page.locator("#paint-undo").click()
    assert relation(page) == before
    page.locator("#paint-redo").click()
    assert relation(page) == first.tobytes()


def test_scripted_vectors_leave_what_the_tools_leave_to_the_bit(page: Page, folder: Path) -> None:
    recordings = [Recording.from_json(v["recording"]) for v in VECTORS] + [Recording(BANDS, SHEETS, some_strokes(2))]
    for recording in (r for r in recordings if (r.bands, r.sheets) == (BANDS, SHEETS)):
        run(page, "\n".join(["canvas.clear()", *(as_script(s) for s in recording.strokes)]))
        acknowledged(page)
        scripted = journalled(folder).tobytes()
        page.locator("#paint-clear").click()
        page.evaluate("""(strokes) => { const {surface, tools} = workbench.paint
            for (const {points, ...how} of strokes) {
                surface.begin(how)
                for (const p of points) surface.extend([p])
                surface.end()
            }
            tools.done("by hand") }""", recording.to_json()["strokes"])
        acknowledged(page)
        assert scripted == journalled(folder).tobytes() == np.array(recording.replay(), "<f4").tobytes()


def redraw(page: Page, folder: Path) -> None:
    """Draw by mouse with every tool; a script of the strokes sends what the hand sent."""
    page.locator("#fig-atlas").focus()
    blank(page)
    for key, way in (("b", [(1, 1), (2, 3), (4, 5)]), ("i", [(5, 0), (0, 7)]), ("q", [(3, 2)]),
                     ("o", [(0, 0), (4, 2), (2, 6), (0, 0)]), ("e", [(1, 1), (1, 3)])):
        page.keyboard.press(key)
        page.mouse.move(*place(page, *way[0]))
        page.mouse.down()
        for cell in way[1:]:
            page.mouse.move(*place(page, *cell), steps=4)
        page.mouse.up()
    acknowledged(page)
    drawn = journalled(folder)
    assert np.abs(drawn).max() > 0.5
    recording = Recording.from_json(page.evaluate("workbench.paint.surface.recording()"))
    run(page, "\n".join(["canvas.clear()", *(as_script(s) for s in recording.strokes)]))
    acknowledged(page)
    assert journalled(folder).tobytes() == drawn.tobytes()


def test_a_drawing_by_mouse_comes_out_of_a_script_to_the_bit(page: Page, folder: Path) -> None:
    redraw(page, folder)


def test_it_does_on_webgpu(playwright: Playwright, server: Server, folder: Path) -> None:
    browser = playwright.chromium.launch(executable_path=chromium(),
                                         args=[*CHROMIUM_FLAGS, "--headless=new", *WEBGPU])
    watched = Watched(browser, server)
    page = opened(watched, folder)
    redraw(page, folder)
    expect(page.locator("#paint-backend")).to_have_text("WebGPU")
    watched.check()
    browser.close()


def test_python_in_the_page_has_what_the_server_has_to_the_bit(page: Page) -> None:
    for vector in VECTORS:
        recording = Recording.from_json(vector["recording"])
        run(page, f"""
import json
from canvas.strokes import Recording
print(json.dumps(Recording.from_json(json.loads({json.dumps(vector["recording"])!r})).replay()))
""", "done")
        expect(page.locator("#script-output")).to_have_text(json.dumps(recording.replay()) + "\n")


@pytest.mark.parametrize(("text", "line", "sentence"), [
    ("print('before')\n\nx = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
    ("def field(t, x, y):\n    return y / (x - x)\n", 2, "division by zero"),
    ("def f(:\n", 1, "SyntaxError"), ("\ncanvas.stroke([(0, 0)], size=3)\n", 2, "size is 3: a radius lies in"),
    ("\n\ndef field(t, x, y):\n    return None\n", 3, "it gives back a finite number"),
    ("raise ValueError('<img src=x onerror=alert(1)>')", 1, "<img src=x"),
])
def test_an_error_is_shown_at_its_line(page: Page, text: str, line: int, sentence: str) -> None:
    before = relation(page)
    fail(page, text, sentence)
    expect(page.locator("#script-error")).to_contain_text(f"line {line}: ")
    expect(page.locator(".editor pre .bad")).to_have_text(f"{line}\n")
    expect(page.locator("#script-output")).to_have_text("before\n" if "before" in text else "")
    assert relation(page) == before


def test_calls_are_named_where_an_error_is_deep(page: Page) -> None:
    fail(page, "def g(n):\n    return 1 / n\n\ndef f():\n    return g(0)\n\nf()\n", "line 2: ZeroDivisionError")
    expect(page.locator("#script-output")).to_contain_text("line 5, in f")


def test_a_script_without_end_can_be_stopped_and_the_next_one_runs(page: Page) -> None:
    run(page, "print('on and on')\nwhile True:\n    pass\n", "running")
    expect(page.locator("#script-output")).to_have_text("on and on\n", timeout=BOOT)
    page.locator("#script-stop").click()
    expect(page.locator("#script-state")).to_have_text("stopped")
    run(page, WAVE)


def test_a_script_has_a_time_limit(page: Page) -> None:
    fail(page, "while True:\n    pass\n", "Stopped: a script has 10 s")
    run(page, WAVE)


def test_output_is_bounded(page: Page) -> None:
    run(page, "for i in range(100_000):\n    print('line', i)\n", "done")
    shown = page.locator("#script-output").text_content()
    assert shown.startswith("line 0\nline 1\n")
    assert 20_000 <= len(shown) < 20_200
    total = sum(len(f"line {i}\n") for i in range(100_000))
    assert f"{total - 20_000} more characters" in shown


def test_a_script_reaches_nobody_but_the_server(plain: tuple[Watched, Page], page: Page) -> None:
    watched, _ = plain
    watched.away = True  # the browser says what it blocked
    with socket.create_server(("127.0.0.1", 0)) as outside:
        outside.settimeout(1)
        url = f"http://127.0.0.1:{outside.getsockname()[1]}/"
        fail(page, f"""
from js import XMLHttpRequest
request = XMLHttpRequest.new()
request.open("GET", {url!r}, False)
request.send()
""", "line 5: ")
        with pytest.raises(TimeoutError):
            outside.accept()
    fail(page, "import js\njs.eval('1')\n", "line 2: ")  # nor does it make JavaScript
    watched.away = False
    watched.requests.discard(url)  # asked for, not sent


def test_only_the_worker_may_compile(server: Server) -> None:
    def policy(path: str) -> str:
        with urllib.request.urlopen(f"{server.url}{path}") as answer:
            return str(answer.headers["Content-Security-Policy"])

    for path in ("", "/static/script.js", "/static/pyodide/pyodide.mjs"):
        assert "eval" not in policy(path)
    assert policy("/static/script_worker.js") == ("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
                                                  "connect-src 'self'")


def test_the_editor_by_keyboard(page: Page) -> None:
    text = page.locator("#script-text")
    text.focus()
    page.keyboard.type("def field(t, x, y):\nreturn 1\n")
    assert text.input_value() == "def field(t, x, y):\n    return 1\n    "
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("#")
    page.keyboard.press("Tab")
    assert text.input_value().endswith("\n#   ")
    expect(page.locator(".editor pre span")).to_have_count(3)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#script-state")).to_have_text("painted", timeout=BOOT)
    page.keyboard.press("Control+z")
    assert text.input_value() != "def field(t, x, y):\n    return 1\n#   "  # the editor's own undo, not the painting's
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#script-run")).to_be_focused()
    page.locator("#fig-atlas").focus()
    page.keyboard.press("k")
    expect(page.locator("#script")).to_be_hidden()
    page.keyboard.press("k")
    expect(text).to_be_focused()


def test_a_script_stays_in_its_browser(plain: tuple[Watched, Page], page: Page, folder: Path) -> None:
    page.locator("#script-text").fill("# kept")
    other = opened(plain[0], folder)
    expect(other.locator("#script-text")).to_have_value("# kept")
    other.close()


def test_without_staged_python_the_pane_says_what_to_do(browser: Browser, server: Server, folder: Path,
                                                        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "TARGET", tmp_path)
    assert staging.staged() is None
    watched = Watched(browser, server)
    watched.context.add_init_script("""new MutationObserver(() => {
        const pane = document.getElementById("script")  // as a server without the files writes it
        if (pane) pane.dataset.runtime = "null"
    }).observe(document, {childList: true, subtree: true})""")
    page = opened(watched, folder)
    expect(page.locator("#script-state")).to_contain_text("run make browser")
    expect(page.locator("#script-run")).to_be_disabled()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#script-state")).to_contain_text("run make browser")
    watched.context.close()
    watched.check()


def test_a_run_that_is_over_cannot_be_painted(browser: Browser, server: Server, texts: Path) -> None:
    over = create_run(server.runs, RunConfig.from_preset((str(texts / "plain"),), "tiny", threads=1, steps=20))
    send(over, "start")
    Trainer(over).run()
    watched = Watched(browser, server)
    page = watched.open(f"#/live?run={over.id}")
    expect(page.locator("#run-state")).to_have_text("finished", timeout=60_000)
    page.locator("#script-toggle").click()
    run(page, WAVE, "This run is finished: painting needs a run at work.")
    watched.context.close()
    watched.check()
