"""The surface paints, shows, undoes and heals alike on WebGPU and in plain JavaScript, and says why it is which."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from canvas.strokes import Recording
from tests.canvas.test_strokes import VECTORS
from tests.canvas.test_strokes import some_strokes as many_strokes
from tests.kernels import reference
from tests.kernels.cases import WAVE
from tests.kernels.conftest import launch
from tests.kernels.painter import BANDS, HEIGHT, SHEETS, TABLES, WIDTH, Painter, close, painted, shown, some_strokes

Open = Callable[..., Painter]
LAYER = "return text(await layer(surface))"


@pytest.fixture
def open_painter(browser: Any, plain_browser: Any, port: int) -> Iterator[Open]:
    """Opens painters in pages of their own; at the end none of them may have said anything on its console."""
    painters = []

    def open_one(backend: str = "webgpu", host: str = "127.0.0.1", script: str = "") -> Painter:
        painters.append(Painter((browser if backend == "webgpu" else plain_browser).new_page()))
        painters[-1].page.add_init_script(script)
        return painters[-1].open(port, host)

    yield open_one
    for painter in painters:
        painter.page.close()
        painter.check()


def test_strokes_come_back_as_relation_and_pixels(painter: Painter) -> None:
    field = np.random.default_rng(9).uniform(0, 2, (BANDS, SHEETS)).astype(np.float32)
    painter.run("surface.setField(new Float32Array(a), [0.2, 1.9])", field.ravel().tolist())
    for points, brush in some_strokes():
        painter.stroke(points, **brush)
    layer = painted(some_strokes())
    assert np.abs(layer).max() > 0.5
    assert close(painter.relation(), reference.area_mean(layer, BANDS, SHEETS))
    assert np.abs(painter.pixels() - shown(layer, field, 0.2, 1.9)).max() <= 1


def test_a_recording_replays_to_what_the_surface_paints(painter: Painter) -> None:
    recording = Recording(BANDS, SHEETS, many_strokes(11))
    painter.run("for (const {points, ...settings} of a.strokes) surface.stroke(points, settings)", recording.to_json())
    assert close(painter.relation(), np.array(recording.replay()))
    assert painter.run("return {strokes: surface.painting.strokes}")["strokes"] == recording.to_json()["strokes"]
    marks = painter.run("""const {deposits, layerSize} = await import("/brush.js");
        return a.strokes.flatMap((s) => [...deposits(s, layerSize(6, 8))].map((d) => [[...d.marks], d.amount]));""",
                        recording.to_json())
    assert marks == [[[v for mark in d.dabs for v in mark] + [v for span in d.spans for v in (*span, 1)], d.amount]
                     for s in recording.strokes for d in s.deposits(WIDTH, HEIGHT)]


PLAIN = """const {deposits, layerSize} = await import("/brush.js"), {PlainEngine} = await import("/surface2d.js");
    const engine = new PlainEngine({bands: a.bands, sheets: a.sheets, ...layerSize(a.bands, a.sheets)});
    for (const stroke of a.strokes) for (const d of deposits(stroke, engine)) engine.deposit(d);
    return [text(engine.layer), text(await engine.relation())];"""


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_plain_javascript_and_python_paint_the_same_bits(painters: dict[str, Painter], port: int,
                                                         vector: dict[str, Any]) -> None:
    layer, relation = map(b64decode, painters["2d"].open(port).run(PLAIN, vector["recording"]))
    recording = Recording.from_json(vector["recording"])
    assert layer == recording.layer().tobytes()
    assert relation == np.array(recording.replay(), np.float32).tobytes()
    np.testing.assert_allclose(np.frombuffer(relation, np.float32), np.ravel(vector["relation"]), atol=1e-6)


def test_the_vectors_come_out_of_the_surface(painter: Painter) -> None:
    for vector in VECTORS:
        if (vector["recording"]["bands"], vector["recording"]["sheets"]) == (BANDS, SHEETS):
            painter.run("surface.setRelation(new Float32Array(48));"
                        "for (const {points, ...settings} of a) surface.stroke(points, settings)",
                        vector["recording"]["strokes"])
            assert close(painter.relation(), np.array(vector["relation"])), vector["name"]


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.long)])
def test_recorded_strokes_replay_to_bit_identical_layers(painters: dict[str, Painter], port: int, count: int) -> None:
    recording = Recording(BANDS, SHEETS, many_strokes(5, count, 0.03))
    wanted = recording.layer().tobytes()
    assert Recording.from_json(recording.to_json()).layer().tobytes() == wanted
    for backend, painter in painters.items():
        layers = []
        for _ in range(2):
            painter.open(port)
            painter.run("for (const {points, ...settings} of a) surface.stroke(points, settings)",
                        recording.to_json()["strokes"])
            layers.append((painter.run(LAYER), painter.relation().tobytes()))
        assert layers[0] == layers[1]
        relation = np.frombuffer(layers[0][1], np.float32)
        if backend == "2d":
            assert b64decode(layers[0][0]) == wanted
            assert relation.tobytes() == np.array(recording.replay(), np.float32).tobytes()
        else:
            assert close(relation, np.ravel(recording.replay()))


def test_one_cell_is_painted_where_the_pointer_is(painter: Painter) -> None:
    """Band 4, sheet 6 lies at the right, above the middle; the seam between first and last sheet is none."""
    place = painter.run("""const box = surface.canvas.getBoundingClientRect();
        return surface.place({clientX: box.left + 6.5 / 8 * box.width, clientY: box.top + 1.5 / 6 * box.height})""")
    np.testing.assert_allclose(place, [6.5 / 8, 4.5 / 6], atol=1e-6)
    painter.stroke([place], size=0.05, strength=2)
    relation = painter.relation()
    assert np.unravel_index(relation.argmax(), relation.shape) == (4, 6)
    painter.run("surface.clear()")
    painter.stroke([[1.0, 0.1]], size=0.05, strength=2)
    relation = painter.relation()
    assert relation[0, 0] == pytest.approx(relation[0, 7], rel=1e-5)
    assert relation[0, 0] > 0.1


def test_undo_erase_and_clear(painter: Painter) -> None:
    strokes = some_strokes()
    steps = [reference.area_mean(painted(strokes[:n]), BANDS, SHEETS) for n in range(len(strokes) + 1)]
    for points, brush in strokes:
        painter.stroke(points, **brush)
    painter.run("surface.clear()")
    assert not painter.relation().any()
    assert painter.run("return [surface.undo(), surface.depth]") == [True, len(strokes)]
    for want in reversed(steps):
        assert close(painter.relation(), want)
        painter.run("surface.undo()")
    assert not painter.pixels()[..., :3].std(axis=(0, 1)).any()
    assert painter.run("return surface.undo()") is False
    painter.stroke([[0.3, 0.5]], size=0.2, strength=2)
    painter.stroke([[0.3, 0.5]], size=0.5, strength=1, erase=True)
    layer = painted([([[0.3, 0.5]], {"size": 0.2, "strength": 2}),
                     ([[0.3, 0.5]], {"size": 0.5, "strength": 1, "erase": True})])
    assert close(painter.relation(), reference.area_mean(layer, BANDS, SHEETS))
    assert np.abs(layer).max() < 0.1


def test_strokes_undone_before_their_layer_is_read_back(painter: Painter) -> None:
    strokes = some_strokes()
    painter.run("""for (const [points, brush] of a) surface.stroke(points, brush);
                   surface.undo(); surface.undo(); surface.stroke(...a[0]);""", strokes)
    assert close(painter.relation(), reference.area_mean(painted([*strokes[:-2], strokes[0]]), BANDS, SHEETS))


@pytest.mark.parametrize(("backend", "count"), [
    ("2d", 1000), ("webgpu", 100), pytest.param("webgpu", 1000, marks=pytest.mark.long)])
def test_all_strokes_are_undone_and_redone_to_the_bit(painters: dict[str, Painter], port: int, backend: str,
                                                      count: int) -> None:
    painter = painters[backend].open(port)
    strokes = Recording(BANDS, SHEETS, many_strokes(9, count - 1, 0.03)).to_json()["strokes"]
    if backend == "webgpu":  # a processor plays the GPU here: the same in clicks
        strokes = [{**s, "tool": "brush", "points": s["points"][:1]} for s in strokes]
    layers, undone, redone, depths = painter.run("""
        const hash = async () => { await surface.relation(); const bytes = new Uint8Array(await
            crypto.subtle.digest("SHA-256", await layer(surface))); return text(bytes); };
        const forth = [await hash()], undone = [], redone = [], depths = [];
        const part = a.length / 10;
        for (const [i, {points, ...settings}] of a.entries()) {
          surface.stroke(points, settings);
          if (i % 10 === 9) await surface.relation();       // let read-backs come home as they do under a hand
          if ((i + 1) % part === 0) forth.push(await hash());
        }
        depths.push(surface.depth);
        for (let i = a.length; i >= 0; i--) { if (i % part === 0) undone.unshift(await hash());
            surface.undo();
            await surface.relation(); }
        depths.push(surface.depth, surface.ahead);
        for (let i = 0; i <= a.length; i++) { if (i % part === 0) redone.push(await hash()); surface.redo(); }
        depths.push(surface.depth, surface.ahead);
        return [forth, undone, redone, depths];""", strokes)
    assert depths == [count, 0, count, count, 0]
    assert len(set(layers)) == 11
    assert undone == layers == redone


def test_a_new_stroke_ends_what_can_be_redone_and_a_dropped_one_does_not(painter: Painter) -> None:
    found = painter.run("""const brush = {size: 0.1, strength: 1};
        surface.stroke([[0.2, 0.5]], brush); surface.stroke([[0.6, 0.5]], brush);
        const both = text(await surface.relation()), depths = [];
        surface.undo(); depths.push(surface.ahead);
        surface.begin({...brush, tool: "lasso"}); surface.extend([[0, 0]]); surface.cancel();
        depths.push(surface.ahead);
        surface.redo(); depths.push(text(await surface.relation()) === both);
        surface.undo(); surface.stroke([[0.9, 0.5]], brush); depths.push(surface.ahead, surface.redo(), surface.depth);
        return depths;""")
    assert found == [1, 1, True, 0, False, 2]


def test_what_is_done_again_while_the_device_is_replaced_is_there(open_painter: Open) -> None:
    painter = open_painter()
    strokes = some_strokes()[:3]
    painter.run("""const generation = surface.generation;
        for (const stroke of a) surface.stroke(...stroke);
        surface.undo(); surface.undo(); surface.device.destroy(); surface.redo();
        while (surface.generation === generation) await new Promise((r) => setTimeout(r));
        surface.redo();""", strokes)
    assert close(painter.relation(), reference.area_mean(painted(strokes), BANDS, SHEETS))


def test_a_level_layer_and_strokes_around_it_are_undone_and_redone(painter: Painter) -> None:
    before, after = some_strokes()[:2]
    relation = np.random.default_rng(13).uniform(-2, 2, (BANDS, SHEETS)).astype(np.float32)
    forth, back, again = painter.run("""const states = [[], [], []];
        const state = async (of) => of.push(text(await surface.relation()));
        const steps = [() => surface.stroke(...a[0]), () => surface.level(new Float32Array(a[1])),
                       () => surface.stroke(...a[2])];
        for (const step of steps) { await state(states[0]); step(); }
        await state(states[0]);
        for (let i = 0; i < 3; i++) { await state(states[1]); surface.undo(); }
        await state(states[1]);
        for (let i = 0; i < 3; i++) { await state(states[2]); surface.redo(); }
        await state(states[2]);
        return states;""", [before, relation.ravel().tolist(), after])
    assert forth == back[::-1] == again
    assert len(set(forth)) == 4
    assert close(np.frombuffer(b64decode(forth[2]), np.float32).reshape(BANDS, SHEETS), relation)


def test_an_open_stroke_given_up_leaves_nothing(painter: Painter) -> None:
    painter.stroke([[0.3, 0.5]], size=0.1, strength=1)
    before = painter.run(LAYER)
    painter.run("surface.begin({size: 0.1, strength: 2}); surface.extend([[0.1, 0.1], [0.8, 0.8]]); surface.cancel()")
    assert painter.run(LAYER) == before
    with pytest.raises(Exception, match="lasso has 3 to 65536 points, not 2"):
        painter.stroke([[0.3, 0.5], [0.4, 0.5]], tool="lasso", size=0.1, strength=1)
    assert painter.run(LAYER) == before
    assert painter.run("return surface.depth") == 1


def test_a_relation_is_restored_and_clipped(painter: Painter) -> None:
    relation = np.random.default_rng(10).uniform(-4, 4, (BANDS, SHEETS)).astype(np.float32)
    painter.stroke([[0.5, 0.5]], size=0.1, strength=1)
    painter.run("surface.setRelation(new Float32Array(a))", relation.ravel().tolist())
    assert painter.run("return surface.depth") == 0
    assert close(painter.relation(), np.clip(relation, -3, 3))


def test_a_recording_starts_with_what_was_restored(painter: Painter) -> None:
    relation = np.random.default_rng(12).uniform(-4, 4, (BANDS, SHEETS)).astype(np.float32)
    relation[2] = 0
    painter.run("surface.setRelation(new Float32Array(a))", relation.ravel().tolist())
    restored = Recording.from_json(painter.run("return surface.recording()"))
    assert len(restored.strokes) == np.count_nonzero(relation)
    np.testing.assert_array_equal(np.float32(restored.replay()), np.clip(relation, -3, 3))
    painter.stroke([[0.3, 0.4], [0.6, 0.5]], size=0.05, strength=1, tool="line")
    painter.run("surface.begin({size: 0.1, strength: 1}); surface.extend([[0.5, 0.5]])")  # not over yet
    recording = Recording.from_json(painter.run("return surface.recording()"))
    painter.run("surface.cancel()")
    assert close(painter.relation(), np.array(recording.replay()))


def test_more_strokes_than_a_recording_holds_are_refused_with_a_remedy(painters: dict[str, Painter], port: int) -> None:
    painter = painters["2d"].open(port)
    painter.run("""for (let i = 0; i < 4200; i++) {
          surface.stroke([[i / 4200, 0.5]], {size: 0.002, strength: 1});
          if (i % 16 === 15) await surface.relation();
        }""")
    assert 4096 - 32 <= painter.run("return surface.depth") <= 4096
    with pytest.raises(Exception, match=r"a recording holds 4096 strokes, .* save earlier"):
        painter.run("surface.recording()")


def test_a_line_does_not_depend_on_how_often_the_pointer_reports(painter: Painter) -> None:
    relations = []
    for count in (12, 48, 384):
        painter.run("surface.clear()")
        painter.stroke([[0.1 + 0.7 * t, 0.4] for t in np.linspace(0, 1, count)], size=0.08, strength=0.5)
        relations.append(painter.relation())
    for other in relations[1:]:
        assert np.abs(relations[0] - other).max() < 0.1 * np.abs(relations[0]).max()


def test_frames_stop_at_rest_and_while_hidden(painter: Painter) -> None:
    pause = "await new Promise((r) => setTimeout(r, 150));"
    counts = painter.run(f"""const counts = [], count = () => counts.push(surface.frames);
        const more = async () => {{ for (let i = 0; i < 40 && surface.frames === counts.at(-1); i++) {pause} }};
        const hide = (hidden) => {{
          Object.defineProperty(document, "hidden", {{configurable: true, get: () => hidden}});
          document.dispatchEvent(new Event("visibilitychange")); }};
        {pause} count(); {pause} count();                                     // 0, 1: nothing moves
        surface.setField(new Float32Array(48), [0, 1]); await more(); {pause} count();  // 2: one frame
        surface.stroke([[0.5, 0.5]], {{size: 0.1, strength: 1}}); {pause} count(); await rest(); count();  // 3, 4
        {pause} count();                                                      // 5: at rest again
        hide(true); surface.stroke([[0.2, 0.5]], {{size: 0.1, strength: 1}}); {pause} surface.frame(); count();  // 6
        hide(false); await more(); {pause} count();                           // 7
        return counts;""")
    assert counts[0] == counts[1] == counts[2] - 1
    assert counts[2] < counts[3] < counts[4] == counts[5] == counts[6] < counts[7]


def test_reduced_motion_shows_the_stroke_at_once(painter: Painter) -> None:
    painter.page.emulate_media(reduced_motion="reduce")
    painter.stroke([[0.5, 0.5]], size=0.2, strength=2)
    assert painter.run("await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);"
                       "return surface.moving") is False
    want = shown(painted([([[0.5, 0.5]], {"size": 0.2, "strength": 2})]), np.zeros((BANDS, SHEETS)))
    assert np.abs(painter.pixels() - want).max() <= 1
    painter.page.emulate_media(reduced_motion="no-preference")


def test_the_picture_follows_the_size(painter: Painter) -> None:
    painter.run("surface.canvas.style.width = '200px'; await new Promise((r) => setTimeout(r, 200));")
    painter.stroke([[0.5, 0.5]], size=0.1, strength=2)
    want = shown(painted([([[0.5, 0.5]], {"size": 0.1, "strength": 2})]), np.zeros((BANDS, SHEETS)), 0, 1, 200, 177)
    assert np.abs(painter.pixels() - want).max() <= 1
    painter.run("surface.canvas.style.display = 'none'; await new Promise((r) => setTimeout(r, 100));"
                "surface.stroke([[0.1, 0.1]], {size: 0.1, strength: 1}); await new Promise((r) => setTimeout(r, 100));")


def test_the_picture_has_device_pixels(playwright: Any, port: int) -> None:
    running = launch(playwright, ["--disable-gpu", "--force-device-scale-factor=2"])  # emulation leaves the box alone
    painter = Painter(running.new_context(no_viewport=True).new_page()).open(port)
    assert painter.pixels().shape == (354, 602, 4)
    running.close()


def test_what_is_on_screen_is_what_is_read(painter: Painter) -> None:
    for points, brush in some_strokes():
        painter.stroke(points, **brush)
    assert np.abs(painter.screenshot() - painter.pixels()[..., :3]).max() <= 1


def test_other_tables_change_the_colours(painter: Painter) -> None:
    before = painter.pixels()
    painter.run("surface.setTables({field: surface.tables.painted, painted: surface.tables.field})")
    want = np.broadcast_to(TABLES[1][0], before.shape).astype(np.float64)
    assert np.abs(painter.pixels()[..., :3] - want[..., :3]).max() <= 1
    assert np.abs(before - painter.pixels()).max() > 8


def test_a_lost_device_heals_with_the_same_pixels(open_painter: Open) -> None:
    painter = open_painter()
    strokes = some_strokes()
    for points, brush in strokes[:-1]:
        painter.stroke(points, **brush)
    before = painter.pixels()
    layer = reference.area_mean(painted(strokes), BANDS, SHEETS)
    for losses in (1, 2):
        healed = painter.run("""const old = surface.device, generation = surface.generation;
            old.destroy();
            surface.frame();                                     // a frame on the dead device harms nothing
            const asked = surface.relation();                    // asked on the old, answered by the new
            while (surface.generation === generation || !surface.device) await new Promise((r) => setTimeout(r, 5));
            await asked;
            return [surface.device !== old, surface.backend, told.length];""")
        assert healed == [True, "webgpu", 0], losses
        np.testing.assert_array_equal(painter.pixels(), before)
        assert close(painter.relation(), reference.area_mean(painted(strokes[:-1]), BANDS, SHEETS))
    painter.run("surface.stroke(...a); surface.device.destroy();", strokes[-1])  # not read back yet
    painter.page.wait_for_function("surface.backend === '2d'")
    assert painter.backend == ["2d", "the device was lost"]
    assert painter.run("return told") == [{"backend": "2d", "reason": "the device was lost"}]
    assert close(painter.relation(), layer)
    assert np.abs(painter.pixels() - shown(painted(strokes), np.zeros((BANDS, SHEETS)))).max() <= 1
    painter.run("surface.undo()")
    assert np.abs(painter.pixels() - before).max() <= 1


def test_a_stroke_goes_on_while_the_device_is_replaced(open_painter: Open) -> None:
    painter = open_painter()
    points, brush = [[0.1 + 0.1 * i, 0.5] for i in range(7)], {"size": 0.05, "strength": 1}
    painter.run("""const [points, brush] = a, generation = surface.generation;
        surface.begin(brush);
        surface.extend(points.slice(0, 2));
        surface.device.destroy();
        await new Promise((r) => setTimeout(r));
        surface.extend(points.slice(2, 4));
        while (surface.generation === generation || !surface.device) await new Promise((r) => setTimeout(r, 5));
        await surface.relation();
        surface.extend(points.slice(4, 5));
        surface.device.destroy();                            // and once more in the same stroke
        await new Promise((r) => setTimeout(r));
        surface.extend(points.slice(5));
        surface.end();""", [points, brush])
    assert close(painter.relation(), reference.area_mean(painted([(points, brush)]), BANDS, SHEETS))
    painter.run("surface.undo()")
    assert not painter.relation().any()


def test_callbacks_of_an_older_engine_are_ignored(open_painter: Open) -> None:
    painter = open_painter()
    same = painter.run("""const old = surface.device;
        surface.release();
        const generation = surface.generation;
        await old.lost;
        await new Promise((r) => setTimeout(r, 50));
        return surface.generation === generation;""")
    assert same
    assert painter.run("return [surface.device, told]") == [None, []]


@pytest.mark.parametrize(("backend", "host", "script", "reason"), [
    ("2d", "127.0.0.1", "", "no adapter"),
    ("webgpu", "canvas.test", "", "insecure origin: open it over https or localhost"),
    ("webgpu", "127.0.0.1", "Object.defineProperty(Navigator.prototype, 'gpu', {get: () => undefined})",
     "no WebGPU in this browser"),
    ("webgpu", "127.0.0.1", "GPUAdapter.prototype.requestDevice = async () => { throw new Error('it hung'); }",
     "WebGPU failed: it hung"),
])
def test_the_reason_for_2d_is_given(open_painter: Open, backend: str, host: str, script: str, reason: str) -> None:
    assert open_painter(backend, host, script).backend == ["2d", reason]


def test_a_canvas_of_the_other_byte_order_shows_the_same(open_painter: Open) -> None:
    painter = open_painter("webgpu", script="""if (navigator.gpu) {
        const other = navigator.gpu.getPreferredCanvasFormat() === "rgba8unorm" ? "bgra8unorm" : "rgba8unorm";
        GPU.prototype.getPreferredCanvasFormat = () => other; }""")
    painter.stroke([[0.5, 0.5]], size=0.2, strength=2)
    want = shown(painted([([[0.5, 0.5]], {"size": 0.2, "strength": 2})]), np.zeros((BANDS, SHEETS)))
    assert np.abs(painter.pixels() - want).max() <= 1
    assert np.abs(painter.screenshot() - want[..., :3]).max() <= 1


RING = """
  const {PlainEngine} = await import("/surface2d.js"), {GpuEngine} = await import("/surfacegpu.js");
  const shape = surface.shape, adapter = await navigator.gpu?.requestAdapter();
  const engine = adapter ? await GpuEngine.create(adapter, "/kernels", shape) : new PlainEngine(shape);
  engine.setTables(surface.tables);
  engine.deposit({marks: new Float32Array([250, 80, 30, 1]), spans: false, amount: 2.5, erase: false, hardness: 0});
  engine.step(3); engine.step(2);
  const pixels = await engine.read(301, 177);
  engine.release();
  return text(pixels);"""


def test_the_shown_layer_rings_as_the_reference_does(painter: Painter) -> None:
    layer = reference.deposit(np.zeros((HEIGHT, WIDTH)), np.array([[250, 80, 30, 1]]), 2.5, False)
    u, velocity = np.zeros_like(layer), np.zeros_like(layer)
    for _ in range(5):
        velocity, u = reference.wave(layer, u, velocity, **WAVE)
    got = np.frombuffer(b64decode(painter.run(RING)), np.uint8).reshape(177, 301, 4)
    assert 0.1 < u.max() < 2.4
    assert np.abs(got - shown(u, np.zeros((BANDS, SHEETS)))).max() <= 1


def test_the_host_asserts_the_bound_of_the_wave(painter: Painter) -> None:
    constants = painter.run("return (await import('/brush.js')).WAVE")
    assert constants == pytest.approx(WAVE)
    with pytest.raises(Exception, match="the wave is unstable"):
        painter.run("const {assertStable, WAVE} = await import('/brush.js'); assertStable({...WAVE, dt: 1 / 200})")


@pytest.mark.parametrize(("script", "sentence"), [
    ("surface.begin({size: 0, strength: 1})", "size is 0"),
    ("surface.begin({size: 0.1, strength: NaN})", "strength is NaN"),
    ("surface.begin({size: 0.1, strength: 2, erase: true})", "strength is 2"),
    ("surface.begin({size: 0.1, strength: 1, sign: 0})", "sign is 0"),
    ("surface.begin({size: 0.1, strength: 1, tool: 'toString'})", "tool is toString"),
    ("surface.begin({size: 0.1, strength: 1, hardness: 1})", "hardness is 1"),
    ("surface.begin({size: 0.1, strength: 1, mirror: -1})", "mirror is -1"),
    ("surface.stroke([[0.1, 0.1, 0, 2]], {size: 0.1, strength: 1})", "pressure is 2"),
    ("surface.stroke([[0.1, Infinity]], {size: 0.1, strength: 1})", "within 64 charts"),
    ("surface.extend([[0.1, 0.1]])", "begin one first"),
    ("surface.setRelation(new Float32Array(47))", "47 values"),
    ("surface.setRelation(new Float32Array(48).fill(NaN))", "holds NaN"),
    ("surface.setField(new Float32Array(3), [0, 1])", "3 values"),
    ("surface.setField(new Float32Array(48), [0, NaN])", "not finite"),
    ("surface.setTables({field: surface.tables.field})", "tables.painted"),
])
def test_wrong_values_are_named(painters: dict[str, Painter], port: int, script: str, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        painters["2d"].open(port).run(script)
