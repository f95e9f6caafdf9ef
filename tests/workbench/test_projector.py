"""The Projector view on the server: it shows what the files and `CanvasProjector` say, and only who looks pays."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import get_window

from canvas import CanvasProjector, codec
from canvas.codec import Message
from canvas.palettes import NAMES, palette_table
from core.atlas import ZAtlas
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.serving import records
from tests.workbench.test_session import Page, settled
from workbench import watch as watching
from workbench.controller import Controller

LAYERS = ("relation", "energy", "gradient", "spin", "curvature", "trail")


class Looker(Page):
    """A page that looks at its Projector view."""

    async def open(self, run: str | None = None) -> None:
        self.ask("hello", **({} if run is None else {"run": run}))
        await settled(self, 1)
        self.step()

    async def look(self, **view: Any) -> dict[str, Any]:
        """Ask for a view; the server's answer."""
        before = len(self.said("reply"))
        self.ask("project", **view)
        await settled(self, before + 1)
        self.step()
        return self.said("reply")[-1]

    def step(self) -> None:
        """A tick that is answered."""
        self.session.tick()
        self.acknowledge()

    def shown(self) -> tuple[dict[str, Any], bytes, dict[str, np.ndarray], np.ndarray]:
        """The newest picture: what is said of it, RGBA, its layers by name and the spectrum."""
        for batch in reversed(self.batches):
            for i, message in enumerate(batch):
                if message.kind == "text" and message.json().get("type") == "projection":
                    fields, image, spectrum = batch[i + 1 : i + 4]
                    assert [m.kind for m in (fields, image, spectrum)] == ["layers", "image", "layers"]
                    return message.json(), bytes(image.values), dict(zip(LAYERS, array(fields), strict=True)), array(
                        spectrum)[0]
        raise AssertionError("no picture came")

    def patches(self) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The newest list of patches and their thumbnails."""
        batch, i = next((b, i) for b in reversed(self.batches) for i, m in enumerate(b)
                        if m.kind == "text" and m.json().get("type") == "patches")
        return batch[i].json()["patches"], array(batch[i + 1])


def array(message: Message) -> np.ndarray:
    return np.frombuffer(message.values, "<f4").reshape(message.shape)


@pytest.fixture
def looker(controller: Controller) -> Looker:
    return Looker(controller)


@pytest.fixture(scope="module")
def painted(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that is over, painted twice with half a trust: a slope, then a checkerboard."""
    config = RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=2, window=16, batch=4, steps=20,
                                   field_every=5, evaluate_every=20, sample_every=20, checkpoint_every=20)
    folder = create_run(tmp_path_factory.mktemp("painted") / "runs", config)
    send(folder, "start")
    paint(folder, np.linspace(-1, 2, 48).reshape(6, 8), coherence=0.5)
    paint(folder, np.indices((6, 8)).sum(axis=0) % 2 * 1.5, coherence=0.5)
    Trainer(folder).run()
    return folder


@pytest.mark.parametrize(("ask", "sentence"), [
    ({"source": "gpu"}, "source is 'gpu': use one of painted, state, gradient, disk"),
    ({"source": ["state"]}, "source is ['state']: use one of"), ({"source": 3}, "source is 3"),
    ({"palette": "viridis\n"}, "palette is"), ({"palette": {}}, "palette is {}: use one of blue-magenta"),
    ({"axis": "z"}, "axis is 'z': use one of rows, columns, 2d"), ({"window": None}, "window is None"),
    ({"of": "x" * 500}, "use one of relation, energy, gradient, spin, curvature"),
    ({"width": 1 << 20}, "'width' is no part of this command: it takes source, palette, of, axis, window"),
])
def test_a_view_that_cannot_be_is_refused_in_a_sentence(looker: Looker, ask: dict[str, Any], sentence: str) -> None:
    async def talk() -> dict[str, Any]:
        await looker.open()
        await looker.look(source="state")
        return await looker.look(**ask)

    answer = asyncio.run(talk())
    assert (answer["ok"], answer["code"]) == (False, "command")
    assert sentence in answer["error"]
    assert len(answer["error"]) < 200
    assert looker.session.projection is not None  # what is looked at goes on
    assert looker.session.watch is not None


def test_there_is_nothing_to_see_before_a_run_is_shown(tmp_path: Path, texts: Path) -> None:
    looker = Looker(Controller(tmp_path / "none", texts))

    async def talk() -> dict[str, Any]:
        return await looker.look(source="painted")

    assert asyncio.run(talk())["error"] == "no run is shown: start one first"


@pytest.mark.parametrize("source", ["state", "gradient"])
def test_the_last_look_is_shown_as_the_run_recorded_it(looker: Looker, finished: RunFolder, source: str) -> None:
    charts = [c for c in ZAtlas.load_npz(finished.atlas) if c.provenance["signal"] == source]
    power = charts[-1].field.rho[:, :, 0].astype(np.float32).astype(np.float64)
    step = charts[-1].field.rho[:, :, 0].astype(np.float32).astype(np.float64) - charts[-2].field.rho[:, :, 0]

    async def talk() -> None:
        await looker.open()
        await looker.look(source=source, palette="viridis")

    asyncio.run(talk())
    said, _, layers, _ = looker.shown()
    assert (said["source"], said["step"], said["blank"]) == (source, 40, False)
    np.testing.assert_array_equal(layers["relation"], power)
    assert (layers["trail"] >= 0.99 * np.abs(step) - 1e-9).all()  # at least its last step, which is there whole
    low, high = said["shown"]
    assert low <= high
    np.testing.assert_allclose(layers["energy"], np.clip((power - low) / (high - low), 0, 1), atol=1e-6)


def test_the_buffer_is_what_a_projector_makes_of_the_same_layers(texts: Path, painted: RunFolder) -> None:
    looker, now = Looker(Controller(painted.path.parent, texts)), [0.0]
    canvas = CanvasProjector(8, 6, capacity=painted.read_config()["capacity"], clock=lambda: now[0])
    inputs = [r for r in records(painted.inputs) if r["kind"] == "patch"]
    for record, layer in zip(inputs, (np.linspace(-1, 2, 48).reshape(6, 8),
                                      np.indices((6, 8)).sum(axis=0) % 2 * 1.5), strict=True):
        now[0] = record["time"]
        canvas.push_patch(layer, coherence=0.5, tension=record["tension"])

    async def talk() -> None:
        await looker.open()
        for name in NAMES:
            await looker.look(source="painted", palette=name)
            canvas.set_palette(name)
            said, rgba, layers, _ = looker.shown()
            assert said["palette"] == name
            assert said["scale"][0] == "#" + bytes(palette_table(name)[0, :3]).hex()
            assert said["scale"][-1] == "#" + bytes(palette_table(name)[255, :3]).hex()
            assert rgba == canvas.refresh_rgba()
            np.testing.assert_array_equal(layers["relation"], canvas.tensor())
            np.testing.assert_array_equal(layers["trail"], canvas.trail())
            np.testing.assert_array_equal(np.stack([layers[n] for n in LAYERS[1:5]], axis=2), canvas.vector_field())
            assert said["metrics"] == canvas.emit_atlas_frame(refresh=False)["metrics"]

    asyncio.run(talk())


@pytest.mark.parametrize(("axis", "window"), [("rows", "hann"), ("columns", "rectangular"), ("2d", "blackman")])
def test_spectra_are_numpys_over_scipys_windows(texts: Path, painted: RunFolder, axis: str, window: str) -> None:
    looker = Looker(Controller(painted.path.parent, texts))

    async def talk() -> list[tuple[np.ndarray, np.ndarray, float]]:
        await looker.open()
        found = []
        for subject in ("relation", "spin"):
            await looker.look(source="painted", of=subject, axis=axis, window=window)
            said, _, layers, spectrum = looker.shown()
            found.append((layers[subject].astype(np.float64), spectrum, said["peak"]))
        return found

    for x, spectrum, peak in asyncio.run(talk()):
        axes = {"rows": (1,), "columns": (0,), "2d": (0, 1)}[axis]
        for a in axes:
            w = get_window("boxcar" if window == "rectangular" else window, x.shape[a], fftbins=False)
            x = x * np.expand_dims(w, 1 - a)
        want = np.abs(np.fft.fftn(x, axes=axes)) ** 2
        want = want.T if axis == "columns" else want
        assert peak == pytest.approx(want.max(), rel=1e-5)
        assert spectrum.max() == 0
        np.testing.assert_allclose(10 ** (spectrum / 10), np.maximum(want / want.max(), 1e-12), atol=1e-5)


def test_patches_are_told_of_with_what_became_of_them(texts: Path, painted: RunFolder) -> None:
    looker = Looker(Controller(painted.path.parent, texts))

    async def talk() -> None:
        await looker.open()
        await looker.look(source="painted")

    asyncio.run(talk())
    told, thumbs = looker.patches()
    inputs = [r for r in records(painted.inputs) if r["kind"] == "patch"]
    rows = records(painted.applied)
    assert [p["seq"] for p in told] == [r["seq"] for r in inputs]
    assert [p["time"] for p in told] == [r["time"] for r in inputs]
    assert [p["step"] for p in told] == [next(a["step"] for a in rows if r["seq"] in a["seq"]) for r in inputs]
    assert [p["bytes"] for p in told] == [4 * 48] * 2
    assert [p["weight"] for p in told] == [0.5 / (1 + r["tension"]) for r in inputs]
    assert [p["energy"] for p in told] == pytest.approx([np.mean(np.linspace(-1, 2, 48) ** 2), 1.5**2 / 2], rel=1e-6)
    np.testing.assert_allclose(thumbs[0], np.linspace(-1, 2, 48).reshape(6, 8), rtol=1e-6)


def test_a_painted_disk_is_shown_at_its_full_size(looker: Looker, finished: RunFolder) -> None:
    disk = np.outer(np.linspace(-1, 1, 128), np.ones(128)).astype("<f4")

    async def talk() -> None:
        await looker.open()
        answer = await looker.look(source="disk")
        assert answer["ok"]
        assert looker.said("projection")[-1]["blank"]
        assert looker.session.watch is not None
        looker.sequence += 1
        looker.session.receive(codec.encode(Message(
            "patch", "disk", looker.sequence, disk.shape, "f32", disk.tobytes(), coherence=1.0,
            frame=looker.session.watch.frame.signature())))
        await settled(looker, 3)
        looker.step()

    asyncio.run(talk())
    _, rgba, layers, _ = looker.shown()
    canvas = CanvasProjector(128, 128)
    canvas.push_patch(disk)
    assert rgba == canvas.refresh_rgba()
    np.testing.assert_array_equal(layers["relation"], disk)
    told, thumbs = looker.patches()
    assert (len(told), told[0]["bytes"], thumbs.shape) == (1, 65536, (1, 32, 32))
    assert told[0]["energy"] == pytest.approx(np.mean(np.square(disk, dtype=np.float64)))
    np.testing.assert_allclose(thumbs[0], disk.reshape(32, 4, 32, 4).mean(axis=(1, 3)), atol=1e-6)


@pytest.fixture
def growing(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Controller, Trainer]:
    """A run in this process, with watchers that look at once."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(watching, "STATUS_SECONDS", 0.0)
    config = RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=2, window=16, batch=4, steps=60,
                                   field_every=5, evaluate_every=50, sample_every=50, checkpoint_every=60)
    folder = create_run(tmp_path / "runs", config)
    send(folder, "start")
    return Controller(tmp_path / "runs", texts), Trainer(folder)


def test_who_does_not_look_costs_nothing_and_gets_nothing(growing: tuple[Controller, Trainer]) -> None:
    controller, trainer = growing
    looker, gone = Looker(controller), []

    def on_row(row: dict[str, Any]) -> None:
        looker.step()
        if row["step"] == 30 and row["split"] == "train":  # the page turns away
            assert looker.session.projection is not None
            gone.append((looker.session.projection, looker.session.projection.projector.picture,
                         len(looker.said("projection")), len(looker.said("patches"))))
            looker.session.project({"source": None})
            assert looker.session.projection is None

    async def talk() -> None:
        await looker.open()
        looker.step()
        assert looker.session.projection is None
        assert not looker.said("projection")
        await looker.look(source="state")
        trainer.on_row = on_row
        trainer.run()

    asyncio.run(talk())
    (projection, picture, pictures, patches), = gone
    assert pictures > 5  # one a look at least
    assert projection.projector.picture is picture
    assert (len(looker.said("projection")), len(looker.said("patches"))) == (pictures, patches)
    assert looker.said("status")[-1]["hud"]["refused"] == {}


def test_a_picture_at_rest_is_sent_once(growing: tuple[Controller, Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    controller, trainer = growing
    looker, now = Looker(controller), [time.time()]
    monkeypatch.setattr("workbench.projection.time.time", lambda: now[0])

    async def talk() -> None:
        await looker.open()
        await looker.look(source="painted")
        for _ in range(5):
            looker.step()
        assert len(looker.said("projection")) == 1  # blank, and nothing to come

        def on_row(row: dict[str, Any]) -> None:
            if row["split"] != "train":
                return
            if row["step"] == 2:
                paint(trainer.folder, np.full((6, 8), 1.0))
            if row["step"] == 10:
                found = []
                for _ in range(40):
                    now[0] += 0.5
                    looker.step()
                    found.append(looker.shown()[2]["trail"].max())
                assert len(looker.said("projection")) <= 23  # then ten seconds have gone: nothing comes any more
                assert found[-1] < 1e-5 < found[5]

        trainer.on_row = on_row
        trainer.run()

    asyncio.run(talk())


def test_another_run_is_another_view(looker: Looker) -> None:
    async def talk() -> None:
        await looker.open()
        await looker.look(source="state")
        assert looker.session.projection is not None
        looker.ask("hello")
        await settled(looker, 3)
        looker.step()
        assert looker.session.projection is None  # the page asks for it anew

    asyncio.run(talk())
