"""A page with a painting surface, as tests drive it, and what its strokes shall come to by the reference."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.kernels import reference
from tests.kernels.cases import TOLERANCE, some_tables

A = NDArray[Any]
BANDS, SHEETS = 6, 8
HEIGHT, WIDTH = 156, 256
TABLES = some_tables(np.random.default_rng(7))
SETUP = """async ({bands, sheets, tables}) => {
  document.body.style.margin = 0;
  const canvas = document.createElement("canvas");
  canvas.style.cssText = "display:block; width:301px; height:177px";
  document.body.append(canvas);
  const {Surface} = await import("/surface.js");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const {PlainEngine} = await import("/surface2d.js"), {GpuEngine} = await import("/surfacegpu.js");
  for (const Engine of [PlainEngine, GpuEngine]) {  // the engine in use is the last that was given a deposit or a layer
    for (const name of ["deposit", "setLayer"]) {
      const own = Engine.prototype[name];
      Engine.prototype[name] = function (what) { window.engine = this; return own.call(this, what); };
    }
  }
  window.surface = await Surface.create(canvas, {kernels: "/kernels", bands, sheets,
    coarsest: 1, tables: {field: bytes(tables[0]), painted: bytes(tables[1])}});
  while (!surface.size.columns) await new Promise(requestAnimationFrame);  // measured before the first frame
  window.told = [];
  surface.addEventListener("backend", (event) => told.push(event.detail));
  window.rest = async () => { while (surface.moving) await new Promise(requestAnimationFrame); };
  window.layer = async (surface) => { await surface.relation(); return engine.copyLayer(); };
  window.text = (array) => btoa(Array.from(new Uint8Array(array.buffer), (c) => String.fromCharCode(c)).join(""));
}"""

BROWSER_SAYS = ("No available adapters.", "WebGPU canvas configured with a different format")  # by itself


class Painter:
    """A page with a surface, and what its console said."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, port: int, host: str = "127.0.0.1") -> Painter:
        """Load the page anew, with a fresh surface."""
        self.page.goto(f"http://{host}:{port}/")
        tables = [base64.b64encode(t.tobytes()).decode() for t in TABLES]
        self.page.evaluate(SETUP, {"bands": BANDS, "sheets": SHEETS, "tables": tables})
        return self

    def check(self) -> None:
        """Nothing was said since the last check but what the browser says by itself."""
        said, self.said = self.said, []
        assert [text for text in said if not text.startswith(BROWSER_SAYS)] == []

    def run(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(f"async (a) => {{ {script} }}", argument)

    def stroke(self, points: list[list[float]], **brush: Any) -> None:
        self.run("surface.stroke(a.points, a.brush)", {"points": points, "brush": brush})

    def array(self, script: str, dtype: Any) -> A:
        return np.frombuffer(base64.b64decode(self.run(f"return text(await {script})")), dtype)

    def relation(self) -> A:
        return self.array("surface.relation()", np.float32).reshape(BANDS, SHEETS)

    def pixels(self) -> A:
        self.run("await rest()")
        size = self.run("return surface.size")
        return self.array("surface.read()", np.uint8).reshape(size["rows"], size["columns"], 4).astype(np.float64)

    @property
    def backend(self) -> list[str]:
        return self.run("return [surface.backend, surface.reason]")

    def screenshot(self) -> A:
        """What is on the screen, once it has come to rest."""
        self.run("await rest(); await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);")
        shot = Image.open(BytesIO(self.page.locator("canvas").screenshot())).convert("RGB")
        return np.asarray(shot, np.float64)


def close(got: A, want: A) -> bool:
    return float(np.abs(got - want).max()) <= TOLERANCE * float(np.abs(want).max() or 1)


def some_strokes(seed: int = 8) -> list[tuple[list[list[float]], dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    strokes = []
    for i in range(6):
        start, way = rng.uniform(0, 1, 2), rng.uniform(-0.5, 0.5, 2)
        points = [(start + way * t + 0.02 * rng.normal(size=2)).tolist() for t in np.linspace(0, 1, 7)]
        brush = {"size": float(rng.uniform(0.01, 0.12)), "strength": float(rng.uniform(0.2, 1)), "erase": i == 4,
                 "sign": int(rng.choice([-1, 1]))}
        strokes.append((points, brush))
    return strokes


def painted(strokes: list[tuple[list[list[float]], dict[str, Any]]]) -> A:
    layer = np.zeros((HEIGHT, WIDTH))
    for points, brush in strokes:
        layer = reference.paint(layer, points, **brush)
    return layer


def shown(layer: A, field: A, low: float = 0, high: float = 1, columns: int = 301, rows: int = 177) -> A:
    return reference.colour(layer, field, TABLES, low, high, columns, rows)
