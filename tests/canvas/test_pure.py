"""The half of the canvas that the browser runs: without NumPy and the rest it does what the server does."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canvas.palettes import NAMES, palette_table
from canvas.script import Script, ScriptError, Sketch
from canvas.strokes import MAX_STROKES, Recording, Stroke, StrokeError
from tests.canvas.test_strokes import VECTORS as STROKES
from tests.canvas.test_strokes import some_strokes
from tests.kernels import reference
from tests.serving import ROOT, absent
from workbench.staging import TARGET

CODEC = json.loads((Path(__file__).parent / "vectors.json").read_text())
# run on a bare Python by its wheel alone: what it makes of the vectors
PURE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from canvas import codec, palettes, script, strokes
given = json.load(sys.stdin)
def read(vector):
    try:
        return codec.decode(bytes.fromhex(vector["hex"]) if "hex" in vector else vector["value"], vector["to"]).kind
    except codec.Refusal as refusal:
        return refusal.code
moved = script.Script(given["script"], 6, 8)
json.dump({
    "layers": [strokes.Recording.from_json(r).layer().tobytes().hex() for r in given["recordings"]],
    "relations": [strokes.Recording.from_json(r).replay() for r in given["recordings"]],
    "palettes": {name: palettes.palette_bytes(name).hex() for name in palettes.NAMES},
    "codec": [read(v) for v in given["messages"]],
    "field": [moved.relation(t) for t in (0.0, 1.5)],
    "foreign": sorted({"numpy", "core", "scipy"} & set(sys.modules)),
}, sys.stdout)
"""
FIELD = "def field(t, x, y):\n    return 4 * math.sin(2 * math.pi * (x - t / 8)) * y\n"


@pytest.fixture(scope="module")
def wheel() -> Path:
    """As `make browser` built it."""
    return next(TARGET.glob("zspace_canvas-*.whl"), None) or absent("staged Python: make browser")


def test_the_wheel_alone_does_what_the_server_does(wheel: Path) -> None:
    recordings = [v["recording"] for v in STROKES] + [Recording(7, 5, some_strokes(n)).to_json() for n in range(3)]
    messages = [*CODEC["good"], *CODEC["bad"]]
    given = json.dumps({"recordings": recordings, "messages": messages, "script": FIELD})
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PURE, str(wheel)], input=given, capture_output=True,
                          text=True, check=True)
    found = json.loads(done.stdout)
    assert found["foreign"] == []
    replayed = [Recording.from_json(r) for r in recordings]
    assert found["layers"] == [r.layer().tobytes().hex() for r in replayed]
    assert found["relations"] == [r.replay() for r in replayed]
    assert found["palettes"] == {name: palette_table(name).tobytes().hex() for name in NAMES}
    assert found["codec"] == [v["fields"]["kind"] if "fields" in v else v["code"] for v in messages]
    assert found["field"] == [Script(FIELD, 6, 8).relation(t) for t in (0.0, 1.5)]


def test_the_wheel_holds_the_package_of_this_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as package:
        for name in package.namelist():
            if name.startswith("canvas/"):
                assert package.read(name) == (ROOT / name).read_bytes(), f"{name} is old: make browser"


def test_a_field_is_sampled_in_the_middle_of_every_cell() -> None:
    t, (bands, sheets) = 1.5, (6, 8)
    x, y = (np.arange(sheets) + 0.5) / sheets, (np.arange(bands) + 0.5) / bands
    want = np.clip(4 * np.sin(2 * np.pi * (x[None] - t / 8)) * y[:, None], -3, 3)
    assert np.abs(want).max() == 3
    np.testing.assert_allclose(Script(FIELD, bands, sheets).relation(t), want, atol=1e-6)


def test_scripted_strokes_are_the_strokes_of_the_tools() -> None:
    script = Script("""
canvas.stroke([(0.1, 0.2), (0.3, 0.6, 20.0), (0.4, 0.6, 30.0, 0.5)], size=0.05, strength=1.2, hardness=0.3, mirror=1/16)
canvas.line((0.5, 0.1), (0.9, 0.1), sign=-1)
canvas.stamp((0.25, 0.5), (0.5, 0.75))
canvas.lasso([(0.6, 0.5), (0.9, 0.5), (0.75, 0.9)], erase=True)
""", 6, 8)
    assert not script.field
    layer = np.zeros((156, 256))
    for stroke in script.recording.to_json()["strokes"]:
        layer = reference.paint(layer, **stroke)
    want = reference.area_mean(layer, 6, 8)
    assert np.abs(want).max() > 1
    np.testing.assert_allclose(script.recording.replay(), want, atol=1e-5)
    assert [s.tool for s in script.recording.strokes] == ["brush", "line", "stamp", "lasso"]
    assert [s.strength for s in script.recording.strokes] == [1.2, 1.5, 1.5, 0.5]
    assert script.recording.strokes[0].points[1] == (0.3, 0.6, 20.0, 1.0)


@pytest.mark.parametrize("vector", STROKES, ids=[v["name"] for v in STROKES])
def test_every_recorded_stroke_can_be_scripted(vector: dict[str, Any]) -> None:
    recording = Recording.from_json(vector["recording"])
    text = "\n".join(as_script(s) for s in recording.strokes)
    scripted = Script(text, recording.bands, recording.sheets).recording
    assert scripted.layer().tobytes() == recording.layer().tobytes()


def as_script(stroke: Stroke) -> str:
    """The line of a script that paints a stroke."""
    how = {"strength": stroke.strength, "sign": stroke.sign, "erase": stroke.erase, "mirror": stroke.mirror}
    if stroke.tool in ("brush", "line"):
        how |= {"size": stroke.size, "hardness": stroke.hardness}
    points = [tuple(p) for p in stroke.points]
    words = [repr(points)] if stroke.tool in ("brush", "lasso") else [repr(p) for p in points]
    name = "stroke" if stroke.tool == "brush" else stroke.tool
    return f"canvas.{name}({', '.join([*words, *(f'{k}={v!r}' for k, v in how.items())])})"


def test_clear_wipes_whatever_was_there() -> None:
    script = Script("canvas.line((0, 0), (1, 1), strength=6)\ncanvas.clear()", 6, 8)
    assert not np.any(script.recording.replay())


@pytest.mark.parametrize(("text", "line", "sentence"), [
    ("x = (\n", 1, "never closed"), ("\n\n  x", 3, "unexpected indent"),
    ("def f(n):\n  return 1 / n\n\nf(0)", 2, "Zero"),
    ("canvas.stroke([(0, 0)], size=2)", 1, r"size is 2: a radius lies in \(0, 1\] turns"),
    ("canvas.stroke([(0,)])", 1, "it is \\(x, y\\)"), ("canvas.lasso([(0, 0), (1, 1)])", 1, "lasso has 3"),
    ("canvas.stroke(3)", 1, "not iterable"), ("raise SystemExit", 1, "SystemExit"),
    ("def f():\n  f()\nf()", 2, "recursion"), ("import numpi", 1, "numpi"),
    ("\ndef field(x, y): return 0", 2, "positional argument"), ("\ndef field(t, x, y): return 'a'", 2, "is 'a'"),
    ("def field(t, x, y): return 1e400", 1, "is inf"), ("def field(t, x, y):\n  return x / 0", 2, "division"),
    ("def field(t, x, y): return 0\ncanvas.clear()", 1, "leave one of them out"),
    (f"for i in range({MAX_STROKES + 1}):\n  canvas.clear()", 2, "at most 4096 strokes"),
])
def test_an_error_names_the_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(ScriptError, match=sentence) as caught:
        Script(text, 6, 8).relation(0.0)
    assert caught.value.line == line
    assert len(str(caught.value)) <= 1000


def test_an_error_names_the_calls_that_led_to_it() -> None:
    with pytest.raises(ScriptError) as caught:
        Script("def g(n):\n  return 1 / n\n\ndef f():\n  return g(0)\n\nf()", 6, 8)
    assert caught.value.calls == ("line 5, in f", "line 2, in g")


@pytest.mark.parametrize(("text", "moves"), [
    (FIELD, True), ("def field(t, x, y): return x", False), ("field = lambda t, x, y: x * y", False),
    ("def field(t, x, y):\n  def g(): return t\n  return g()", True), ("field = max", True),
    ("def field(time, x, y): return x + time", True),
])
def test_a_field_that_looks_at_its_time_moves(text: str, moves: bool) -> None:
    assert Script(text, 6, 8).moves is moves


def test_a_script_that_does_nothing_paints_nothing() -> None:
    script = Script("x = 1", 6, 8)
    assert script.field is None
    assert script.recording.strokes == ()
    assert not script.moves


def test_a_sketch_knows_its_chart_and_refuses_at_once() -> None:
    sketch = Sketch(6, 8)
    assert (sketch.bands, sketch.sheets) == (6, 8)
    with pytest.raises(StrokeError, match="mirror is 2"):
        sketch.line((0, 0), (1, 1), mirror=2)
    assert sketch.strokes == []
