"""The disk as it is seen from a point of it, on WebGPU and in plain JavaScript."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from core.disk import SIDE
from tests.kernels import reference
from tests.kernels.painter import TABLES, Painter

BACKGROUND, INK = (22, 26, 33), (147, 155, 167)
DRAW = """const {openMap} = await import("/diskmap.js");
  const map = await openMap("/kernels"), {pixels} = a;
  const drawn = map.draw({pixels, painting: new Float32Array(a.painting), colours: new Uint8Array(a.colours),
    focus: a.focus, background: a.background, ink: a.ink});
  const canvas = new OffscreenCanvas(pixels, pixels), context = canvas.getContext("2d");
  context.drawImage(drawn, 0, 0);
  const image = context.getImageData(0, 0, pixels, pixels);
  return [map.name, map.reason, text(new Uint8Array(image.data.buffer))];"""


@pytest.mark.parametrize("focus", [0j, -0.55 + 0.7j])
def test_a_view_is_the_references(painter: Painter, focus: complex) -> None:
    rng, pixels = np.random.default_rng(3), 203
    painting = np.where(rng.random((SIDE, SIDE)) < 0.5, 0, rng.uniform(-1, 1, (SIDE, SIDE))).astype(np.float32)
    name, reason, text = painter.run(DRAW, {
        "painting": painting.ravel().tolist(), "colours": TABLES[1].ravel().tolist(), "pixels": pixels,
        "focus": [focus.real, focus.imag], "background": BACKGROUND, "ink": INK})
    assert name == painter.backend[0]
    assert bool(reason) == (name == "2d")
    got = np.frombuffer(b64decode(text), np.uint8).reshape(pixels, pixels, 4).astype(np.float64)
    want = reference.disk(painting, TABLES[1], np.array(BACKGROUND), np.array(INK), focus, 1.0, pixels)
    assert np.abs(got - want).max() <= 1


def test_places_follow_the_view(painters: dict[str, Painter], port: int) -> None:
    page: Any = painters["2d"].open(port)
    rng = np.random.default_rng(4)
    z, w = (np.sqrt(rng.uniform(0, 0.95, 40)) * np.exp(2j * np.pi * rng.uniform(size=40)) for _ in range(2))
    found = page.run("""const {seen, shownAt, viewFrom} = await import("/diskmap.js");
      return a.map(([z, w]) => [viewFrom(z, w), seen(w, viewFrom(z, w)), shownAt(z, viewFrom(z, w)), seen(w, z)])""",
                     [[[p.real, p.imag], [q.real, q.imag]] for p, q in zip(z, w, strict=True)])
    view, back, again, moved = (np.array(x)[:, 0] + 1j * np.array(x)[:, 1] for x in zip(*found, strict=True))
    np.testing.assert_allclose(back, z, atol=1e-9)  # what is held stays under the pointer
    np.testing.assert_allclose(again, w, atol=1e-9)
    assert (np.abs(view) < 1).all()
    np.testing.assert_allclose(moved, (w + z) / (1 + np.conj(z) * w), atol=1e-12)
