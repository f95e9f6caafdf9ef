"""The spectrum of what is painted, what a frame asks of the device, and what happens where that takes long."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from scipy import fft

from tests.kernels import reference
from tests.kernels.painter import TABLES, Painter, painted, some_strokes

LOUD = -60  # dB from which values are compared: below it lies float32's rounding
PICTURE = """const bitmap = (await surface.spectrum()).picture;
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const image = canvas.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height);
  return [bitmap.width, bitmap.height, text(new Uint8Array(image.data.buffer))];"""


def decibels(layer: Any) -> Any:
    """By SciPy, zero frequency in the middle."""
    power = np.abs(fft.fft2(layer) / layer.size) ** 2
    return 10 * np.log10(np.maximum(np.fft.fftshift(power), 1e-12))


def test_decibels_are_those_of_scipy_on_every_engine(painter: Painter) -> None:
    strokes = some_strokes()
    for points, brush in strokes:
        painter.stroke(points, **brush)
    want = decibels(painted(strokes))
    got = painter.array("surface.spectrum().then((s) => s.decibels)", np.float32).reshape(want.shape)
    loud = want > LOUD
    assert loud.sum() > 1000
    assert np.abs(got - want)[loud].max() < 0.01
    assert got[~loud].max() < LOUD + 0.01
    columns, rows, text = painter.run(PICTURE)
    pixels = np.frombuffer(b64decode(text), np.uint8).reshape(rows, columns, 4).astype(np.float64)
    shown = reference.look_up(TABLES[0], (want[::-1] + 80) / 90)
    assert np.abs(pixels - shown)[loud[::-1]][:, :3].max() <= 1
    assert (pixels[..., 3] == 255).all()


def test_a_layer_above_256_cells_is_reduced_before(painter: Painter) -> None:
    painter.run("""surface.release();
      const {Surface} = await import("/surface.js"), kernels = "/kernels";
      window.surface = await Surface.create(document.querySelector("canvas"),
        {kernels, bands: 7, sheets: 300, tables: surface.tables, coarsest: 1});""")
    painter.stroke([[0.2, 0.3], [0.7, 0.6]], size=0.06, strength=2.0)
    layer = painter.array("layer(surface)", np.float32).reshape(154, 300)
    want = decibels(reference.area_mean(layer, 154, 256))
    got = painter.array("surface.spectrum().then((s) => s.decibels)", np.float32).reshape(want.shape)
    loud = want > LOUD
    assert loud.sum() > 100
    assert np.abs(got - want)[loud].max() < 0.01


COUNT = """const counts = {submits: 0, dispatches: 0};
  for (const [type, name, count] of [[GPUQueue, "submit", "submits"],
                                     [GPUComputePassEncoder, "dispatchWorkgroups", "dispatches"]]) {
    const own = type.prototype[name];
    type.prototype[name] = function (...given) { counts[count]++; return own.apply(this, given); };
  }
  await rest();
  const frames = [];
  for (let i = 0; i < 12; i++) {
    Object.assign(counts, {submits: 0, dispatches: 0});
    if (i === 0) surface.begin({size: 0.1, strength: 1});
    surface.extend([[0.1 + i / 20, 0.5]]);
    surface.frame();
    frames.push([counts.submits, counts.dispatches]);
    await new Promise((done) => setTimeout(done, 60));  // more steps are due than a frame may have
  }
  surface.cancel();
  return frames;"""


def test_a_frame_is_one_submit_of_at_most_six_dispatches(painter: Painter) -> None:
    if painter.backend[0] != "webgpu":
        pytest.skip("dispatches are WebGPU's")
    frames = painter.run(COUNT)
    assert [submits for submits, _ in frames] == [1] * 12
    assert max(dispatches for _, dispatches in frames) <= 6
    assert max(dispatches for _, dispatches in frames) > 2


def test_a_slow_device_gets_a_coarser_picture_and_a_fast_one_the_whole_again(painter: Painter) -> None:
    painter.run("surface.coarsest = 0.25; window.own = engine.constructor.prototype.done")
    assert painter.run("return surface.size") == {"columns": 301, "rows": 177}
    sizes = {}
    for name, milliseconds, frames in (("slow", 60, 60), ("quick", 0, 120)):
        painter.run("""const kind = engine.constructor.prototype;
          kind.done = () => new Promise((done) => setTimeout(done, a[0]));
          const own = performance.now;
          if (!a[0]) { kind.done = async () => {}; performance.now = () => 0; }  // as if no time went by
          for (let i = 0; i < a[1]; i++) {
            surface.frame(0);
            await new Promise((done) => setTimeout(done, a[0] ? 10 : 0));
          }
          await new Promise((done) => setTimeout(done, 2 * a[0]));
          performance.now = own;""", [milliseconds, frames])
        sizes[name] = painter.run("return surface.size")
    painter.run("engine.constructor.prototype.done = own")
    assert sizes == {"slow": {"columns": 75, "rows": 44}, "quick": {"columns": 301, "rows": 177}}
