"""How soon a page shows something, and how soon the loss curve: ours beside TensorBoard on the same finished run.

One run is really trained; its scalars are written for the peer too, which shows them on two dashboards: "Time Series",
where it opens by itself, and "Scalars", one address further. The pages are opened in turn in one headless Chromium, a
fresh context each, so that nothing is cached; one round more than counted goes first, so that both servers are warm.

A curve counts as drawn when the pixels of its canvas, or the path of its SVG, are there: asked once a frame, from
inside the page and on the page's own clock. Axes alone do not count.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.bench.spawn import spawned, stamp
from tests.serving import CHROMIUM_FLAGS, ROOT, chromium, free_port, serving

PATIENCE = 30_000  # ms
# `drawn(canvas, like)`: whether a canvas has pixels of a colour, or any that are not empty
WAIT = """async () => {
  const scratch = document.createElement("canvas").getContext("2d", {willReadFrequently: true})
  const drawn = (canvas, like) => {
    const [w, h] = [canvas.width, canvas.height]
    if (!w || !h) return false
    Object.assign(scratch.canvas, {width: w, height: h})
    scratch.fillStyle = like ?? "#000"
    scratch.fillRect(0, 0, 1, 1)
    const [r, g, b] = scratch.getImageData(0, 0, 1, 1).data
    scratch.clearRect(0, 0, w, h)
    scratch.drawImage(canvas, 0, 0)
    const pixels = scratch.getImageData(0, 0, w, h).data
    let found = 0
    for (let i = 0; i < pixels.length; i += 4) {
      const near = Math.abs(pixels[i] - r) + Math.abs(pixels[i + 1] - g) + Math.abs(pixels[i + 2] - b) < 12
      found += pixels[i + 3] > 200 && (near || !like)
    }
    return found > 100
  }
  const deep = (root, tag) => [...root.querySelectorAll(tag), ...[...root.querySelectorAll("*")]
    .flatMap((e) => e.shadowRoot ? deep(e.shadowRoot, tag) : [])]
  const there = () => READY
  while (!there()) {
    if (performance.now() > PATIENCE) return {error: "no curve: " + document.body.innerText.slice(0, 300)}
    await new Promise(requestAnimationFrame)
  }
  const chart = performance.now()
  const paint = performance.getEntriesByType("paint").find((e) => e.name === "first-paint")
  return {paint: paint.startTime, chart}
}"""
OURS = """(window.workbench?.tables?.train.length > 0 && deep(document.querySelector("article.loss"), "canvas").some(
  (c) => drawn(c, getComputedStyle(document.documentElement).getPropertyValue("--train"))))"""
TIME_SERIES = """[...document.querySelectorAll(".series-view canvas")].some((c) => drawn(c))"""
SCALARS = """deep(document, "path.line").some((p) => p.getAttribute("d")?.length > 100)"""


def finished_run(root: Path, steps: int) -> RunFolder:
    """Train one: the smallest batches that still give true curves."""
    config = RunConfig.from_preset((str(ROOT / "corpus"),), "tiny", threads=1, steps=steps, window=32, batch=2,
                                   field_every=20, evaluate_every=100, sample_every=1000, checkpoint_every=1000)
    folder = create_run(root, config)
    send(folder, "start")
    Trainer(folder).run()
    return folder


def curves(folder: RunFolder) -> dict[str, list[list[float]]]:
    """The run's scalars, by the tags that a user of the peer would give them."""
    found: dict[str, list[list[float]]] = {}
    for row in read_records(folder.metrics)[0]:
        names = {"train": {"loss/train": "bits", "optimiser/gradient_norm": "gradient_norm", "optimiser/rate": "rate"},
                 "validation": {"loss/validation": "bits"}}.get(row["split"], {})
        for tag, key in names.items():
            found.setdefault(tag, []).append([row["step"], row[key], row["measured"]["time"]])
    return found


def visit(browser: Browser, url: str, ready: str) -> tuple[float, float]:
    """Milliseconds from the start of the navigation to the first paint and to the first curve."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(url, wait_until="commit")
    found = page.evaluate(WAIT.replace("READY", ready).replace("PATIENCE", str(PATIENCE)))
    context.close()
    if "error" in found:
        raise SystemExit(f"{url}: {found['error']}")
    return found["paint"], found["chart"]


def rounds(pages: dict[str, tuple[str, str]], count: int) -> dict[str, list[tuple[float, float]]]:
    """Visit every page in turn, the first of a round another each time."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        for i in range(-1, count):
            names = list(pages)
            for name in names[i % len(names):] + names[: i % len(names)]:
                found = visit(browser, *pages[name])
                if i >= 0:
                    times[name].append(found)
            if i >= 0:
                print(f"  round {i + 1}: " + "; ".join(f"{name} {times[name][-1][0]:,.0f} and {times[name][-1][1]:,.0f}"
                                                       for name in pages) + " ms", flush=True)
        browser.close()
    return times


def measure(root: Path, peer: str | None, pairs: int = 5, steps: int = 2000) -> None:
    """Print first paint and first chart of both, and their ratios."""
    print(f"first paint and first chart, a finished run of {steps:,} steps ({stamp()})", flush=True)
    folder = finished_run(root / "runs", steps)
    (root / "curves.json").write_text(json.dumps(curves(folder)))
    with serving(folder.path.parent) as server:
        pages = {"ours": (f"{server.url}#/live?run={folder.id}", OURS)}
        if peer is None:
            print("  no --peer: TensorBoard is left out")
            times = rounds(pages, pairs)
        else:
            port = free_port()
            at = f"http://127.0.0.1:{port}/"
            command = [peer, str(Path(__file__).with_name("tensorboard_peer.py")), str(root / "curves.json"),
                       str(root / "tensorboard"), str(port)]
            with spawned(command, f"{at}data/plugin/scalars/tags", root / "tensorboard.log"):
                pages |= {"Time Series": (at, TIME_SERIES), "Scalars": (f"{at}#scalars", SCALARS)}
                times = rounds(pages, pairs)
    for part, name in enumerate(("first paint", "first chart")):
        found = {page: [t[part] for t in visits] for page, visits in times.items()}
        print(f"{name}, median of {pairs}: " + ", ".join(f"{page} {statistics.median(v):,.0f} ms"
                                                         for page, v in found.items()))
        ours = found.pop("ours")
        for page, theirs in found.items():
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            print(f"  ours / {page}, median of the rounds' ratios: {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f} to {max(ratios):.2f}) (goal: at most 1)")
    print(f"  ({stamp()})", flush=True)
