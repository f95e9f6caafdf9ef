"""A run as plain files, behind a server that knows nothing, on a path of its own: replay, paint, disk and scripts."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from canvas.strokes import Recording
from core.disk import SIDE
from core.disk import scores as reference_scores
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.browser.conftest import Watched
from tests.serving import absent, records, wait_for
from workbench.cli import app
from workbench.disk import Disk
from workbench.staging import staged
from workbench.standalone import export
from workbench.watch import RunWatch

PLACE = "some/where"  # below the host's root
STEPS = 60


class Files(SimpleHTTPRequestHandler):
    """What `python3 -m http.server` serves."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, texts: Path) -> RunFolder:
    """A run that was painted on, and is over."""
    config = RunConfig.from_preset((str(texts / "plain"),), "tiny", threads=1, steps=STEPS, evaluate_every=20)
    folder = create_run(tmp_path_factory.mktemp("recorded") / "runs", config)
    send(folder, "start")
    relation = np.zeros((6, 8), np.float32)
    relation[2, 3], relation[4, 5] = 2, -1
    paint(folder, relation)
    Trainer(folder).run()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, folder: RunFolder) -> Path:
    if staged() is None:
        absent("staged Python: make browser")
    root = tmp_path_factory.mktemp("site")
    (root / PLACE).parent.mkdir()
    export(folder, root / PLACE)
    return root


@pytest.fixture(scope="module")
def host(site: Path) -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/{PLACE}/", port=server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def watched(browser: Browser, host: Any) -> Iterator[Watched]:
    watched = Watched(browser, host)
    yield watched
    watched.context.close()


@pytest.fixture
def page(watched: Watched, host: Any) -> Iterator[Page]:
    page = watched.open()
    expect(page.locator("#run-name")).not_to_have_text("loading")
    expect(page.locator("#disk-step")).not_to_be_empty()
    yield page
    page.close()
    watched.check()
    assert all(u.startswith((host.url, "blob:", "data:")) for u in watched.requests)


def test_the_looks_and_curves_are_the_runs(page: Page, folder: RunFolder) -> None:
    watch = RunWatch(folder)
    for kind in ("state", "gradient"):
        want = [look for look in watch.fields if look.kind == kind]
        looks = page.evaluate(f"recorded.run.looks.{kind}.map(({{step, rho}}) => [step, [...rho]])")
        assert [step for step, _ in looks] == [look.step for look in want]
        for (_, rho), look in zip(looks, want, strict=True):
            np.testing.assert_array_equal(np.array(rho), look.rho.astype("<f4").ravel())
    assert len(looks) > 4
    rows = [r for r in records(folder.metrics) if r.get("split") == "train"]
    train = page.evaluate("['step', 'bits'].map((name) => recorded.run.tables.train.get(name))")
    assert train == [[r["step"] for r in rows], [r["bits"] for r in rows]]
    expect(page.locator("#run-name")).to_have_text(folder.id)
    expect(page.locator("#run-about")).to_contain_text(f"step {STEPS} of {STEPS}")


def test_the_slider_replays_the_run(page: Page, folder: RunFolder) -> None:
    watch = RunWatch(folder)
    looks = [look for look in watch.fields if look.kind == "state"]
    slider = page.locator("#look")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#atlas-step")).to_have_text(f"step {looks[0].step}")
    start = page.locator("#loss line").get_attribute("x1")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas-step")).to_have_text(f"step {looks[1].step}")
    assert page.locator("#loss line").get_attribute("x1") != start
    homology = watch.field(looks[1]).homology
    expect(page.locator("#readout")).to_contain_text(f"pieces{homology.b0}loops{homology.b1}")
    bits = [r["bits"] for r in records(folder.metrics) if r.get("split") == "train" and r["step"] <= looks[1].step]
    expect(page.locator("#loss-legend")).to_contain_text(f"train {bits[-1]:.3f}")
    page.locator("#look-next").click()
    expect(page.locator("#atlas-step")).to_have_text(f"step {looks[2].step}")
    page.locator("#look-first").click()
    page.keyboard.press("p")
    expect(page.locator("#atlas-step")).to_have_text(f"step {looks[-1].step}")
    expect(page.locator("#play")).to_have_attribute("aria-pressed", "false")
    sample = sorted(folder.samples.glob("step-*.txt"))[-1]
    expect(page.locator("#sample-step")).to_have_text(f"step {int(sample.stem[5:])}")
    assert page.locator("#sample").text_content() == sample.read_text().lstrip()
    page.locator("[data-choice=gradient]").click()
    page.locator(".echo").nth(1).click()
    expect(page.locator("#scale-name")).to_contain_text("correlation")
    expect(page.locator("#readout")).to_contain_text("echolag")


def test_what_was_painted_in_the_run_is_shown(page: Page) -> None:
    expect(page.locator("#paint-over .gain")).to_have_count(0)
    page.locator("[data-layer=effect]").click()
    expect(page.locator("#paint-over .gain")).to_have_count(2)
    expect(page.locator("#paint-over .less")).to_have_count(1)


def test_painting_works_and_stays_in_the_page(page: Page) -> None:
    page.locator("[data-tool=brush]").click()
    box = page.locator("#paint").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"], steps=8)
    page.mouse.up()
    expect(page.locator("#paint-state")).to_have_text("1 stroke, in this page only")
    page.locator("#fig-atlas").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")  # a dab at the chart's cell
    expect(page.locator("#paint-state")).to_have_text("2 strokes, in this page only")
    recording = Recording.from_json(page.evaluate("recorded.run.surface.recording()"))
    relation = page.evaluate("recorded.run.surface.relation().then((r) => [...r])")
    assert np.ravel(recording.replay()).tolist() == relation
    assert max(relation) > 0.5
    page.keyboard.press("u")
    expect(page.locator("#paint-state")).to_have_text("1 stroke, in this page only")
    page.keyboard.press("e")
    expect(page.locator("[data-mode=erase]")).to_have_attribute("aria-pressed", "true")
    page.locator("#script-text").focus()
    page.keyboard.type("b")  # a letter of a script, not a key of the page
    expect(page.locator("[data-mode=erase]")).to_have_attribute("aria-pressed", "true")


def test_the_disk_reads_what_is_painted_as_the_server_does(page: Page, folder: RunFolder) -> None:
    facts = Disk(folder).facts
    assert page.evaluate("[recorded.disk.symbols, recorded.disk.places]") == [list(facts["symbols"]), facts["places"]]
    painting = np.random.default_rng(5).uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    places = [[0.0, 0.0], *facts["places"], [0.999, 0.0], [0.0, -0.999], [-0.7, 0.7]]  # the first is never read there
    want = reference_scores(painting, np.array(places))
    found = page.evaluate("""([values, side, places]) => import("./static/standalone.js").then(
        ({scores}) => scores(Float32Array.from(values), side, places))""", [painting.ravel().tolist(), SIDE, places])
    np.testing.assert_allclose(found[1:], want[1:], atol=1e-12)
    x, y = facts["places"][3]
    disk = page.locator("#disk")
    disk.scroll_into_view_if_needed()
    box = disk.bounding_box()
    assert box
    page.mouse.click(box["x"] + (1 + x) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"])
    wait_for(lambda: (page.evaluate("recorded.disk.scores[3]") or 0) > 0.3, 20)


def test_scripts_run_there_too_and_are_confined(page: Page, watched: Watched) -> None:
    def run(text: str, where: str, said: str) -> None:
        page.locator("#script-text").fill(text)
        page.locator("#script-run").click()
        expect(page.locator(where)).to_contain_text(said, timeout=60_000)

    run("def field(t, x, y):\n    return 2 * x * y\n", "#script-state", "painted")
    x, y = (np.arange(8) + 0.5) / 8, (np.arange(6) + 0.5) / 6
    relation = page.evaluate("recorded.run.surface.relation().then((r) => [...r])")
    np.testing.assert_allclose(np.reshape(relation, (6, 8)), 2 * x[None] * y[:, None], atol=1e-6)
    watched.away = True  # the browser says what it blocked
    outside = "http://127.0.0.1:9/"
    run(f"from js import XMLHttpRequest\nr = XMLHttpRequest.new()\nr.open('GET', {outside!r}, False)\nr.send()\n",
        "#script-error", "line 4: ")
    watched.away = False
    watched.requests.discard(outside)  # asked for, and blocked: `test_scripts` listens there


def test_a_missing_file_is_named(browser: Browser, host: Any, site: Path) -> None:
    other = site / "broken"
    shutil.copytree(site / PLACE, other)
    (other / "run-0.bin").unlink()
    watched = Watched(browser, SimpleNamespace(url=host.url.replace(PLACE, "broken"), port=host.port))
    watched.away = True
    page = watched.open()
    expect(page.locator("#notice")).to_have_text("run-0.bin is not there (404): copy the whole folder")
    watched.context.close()


def test_the_files_are_plain_and_their_addresses_relative(site: Path, folder: RunFolder) -> None:
    root = site / PLACE
    assert json.loads((root / "run.json").read_text()) == {"run": folder.id, "files": ["run-0.bin"]}
    page = (root / "index.html").read_text()
    for stray in ("workbench/", "{{", "RUNTIME", "http://", "https://", '="/'):
        assert stray not in page
    assert {p.name for p in root.iterdir()} == {"index.html", "run.json", "run-0.bin", "static"}
    assert not (root / "static/app.js").exists()


def test_the_command_writes_replaces_and_refuses(folder: RunFolder, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        return CliRunner().invoke(app, ["browser", *words])

    runs, target = str(folder.path.parent), tmp_path / "page"
    for _ in range(2):
        done = call(folder.id, "--runs", runs, "--out", str(target))
        assert done.exit_code == 0, done.output
        assert "http.server" in done.output
    assert (target / "index.html").exists()
    assert call("--runs", runs, "--out", str(target)).exit_code == 0  # the newest
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    refused = call("--runs", runs, "--out", str(tmp_path / "mine"))
    assert refused.exit_code == 2
    assert (tmp_path / "mine/thesis.txt").exists()
    assert call("--runs", str(tmp_path / "nothing")).exit_code == 2
