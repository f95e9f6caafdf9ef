"""One page's session, driven without a socket: catching up, flow control, order, refusals."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canvas import codec
from canvas.codec import Message
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.serving import records
from workbench import watch as watching
from workbench.controller import Controller
from workbench.session import COMMAND_BURST, IN_FLIGHT, Session


class Page:
    """The other end: decodes what is sent, and answers when told to."""

    def __init__(self, controller: Controller) -> None:
        self.batches: list[list[Message]] = []
        self.session = Session(controller, lambda data: self.batches.append(codec.decode_all(data, "browser")))
        self.sequence = 0

    def ask(self, do: str, sequence: int | None = None, **args: Any) -> None:
        self.sequence = self.sequence + 1 if sequence is None else sequence
        self.session.receive(codec.encode(codec.text("command", {"do": do, **args}, self.sequence)))

    def acknowledge(self) -> None:
        for batch in self.batches:
            if batch[0].json().get("type") == "status" and batch[0].sequence in self.session._in_flight:
                self.session.receive(codec.encode(Message("ack", sequence=batch[0].sequence)))

    def said(self, kind: str) -> list[dict[str, Any]]:
        """Texts of a type, oldest first."""
        texts = [m.json() for batch in self.batches for m in batch if m.kind == "text"]
        return [t for t in texts if t["type"] == kind]

    def table(self, chart: str) -> np.ndarray:
        """A curve as the page keeps it: rows with an index replace the tail."""
        rows: list[np.ndarray] = []
        for batch in self.batches:
            for m in batch:
                if m.kind == "series" and m.chart == chart:
                    news = np.frombuffer(m.values, "<f8").reshape(m.shape)
                    rows[int(news[0, 0]):] = list(news[:, 1:])
        return np.array(rows)


@pytest.fixture
def page(controller: Controller) -> Page:
    return Page(controller)


async def settled(page: Page, replies: int) -> None:
    """Until so many answers have come."""
    deadline = time.monotonic() + 20
    while len(page.said("reply")) < replies:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_nothing_is_sent_before_hello_and_all_of_it_after(page: Page, finished: RunFolder) -> None:
    async def talk() -> None:
        page.session.tick()
        assert page.batches == []
        page.ask("hello")
        await settled(page, 1)
        page.session.tick()

    asyncio.run(talk())
    assert page.said("reply")[0] | {"choices": None} == {"type": "reply", "to": 1, "ok": True, "run": finished.id,
                                                        "choices": None}
    assert page.said("facts")[0]["run"] == finished.id
    rows = records(finished.metrics)
    train = [r for r in rows if r["split"] == "train"]
    assert page.table("train")[:, :2].tolist() == [[r["step"], r["bits"]] for r in train]
    assert len(page.table("validation")) == sum(r["split"] != "train" for r in rows)
    fields = [m for batch in page.batches for m in batch if m.kind == "field"]
    assert [m.sequence for m in fields if m.chart == "state"] == [r["step"] for r in train if "bands" in r]
    for m in fields:
        rho = np.frombuffer(m.values, "<f4").reshape(m.shape).astype(np.float64)
        shares = next(r["bands"][m.chart] for r in train if r["step"] == m.sequence)
        power = rho[:, :, 0].sum(axis=1)
        np.testing.assert_allclose(power / power.sum(), shares, rtol=1e-5)
        assert m.frame == page.said("facts")[0]["signature"]
    assert page.said("sample")[0]["text"] == (finished.samples / "step-00000040.txt").read_text()


@pytest.fixture
def growing(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Controller, Trainer]:
    """A run in this process that a test moves on, with watchers that look at once."""
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(watching, "STATUS_SECONDS", 0.0)
    config = RunConfig.from_preset((str(texts / "tide"),), "tiny", threads=2, window=16, batch=4, steps=200,
                                   field_every=5, evaluate_every=50, sample_every=50, checkpoint_every=200)
    folder = create_run(tmp_path / "runs", config)
    send(folder, "start")
    return Controller(tmp_path / "runs", texts), Trainer(folder)


async def train_beside(page: Page, trainer: Trainer, on_row: Callable[[dict[str, Any]], None]) -> None:
    """Train to the end, once the page is open."""
    page.ask("hello")
    await settled(page, 1)
    trainer.on_row = on_row
    trainer.run()


def test_a_slow_page_gets_the_newest_when_it_answers_and_misses_no_row(growing: tuple[Controller, Trainer]) -> None:
    controller, trainer = growing
    page = Page(controller)
    sent_while_silent: list[int] = []

    def on_row(row: dict[str, Any]) -> None:
        page.session.tick()
        if row["step"] == 150 and row["split"] == "train":
            sent_while_silent.append(len(page.said("status")))

    asyncio.run(train_beside(page, trainer, on_row))
    assert sent_while_silent == [IN_FLIGHT]  # whatever happened meanwhile
    page.acknowledge()
    page.session.tick()
    rows = [r for r in records(trainer.folder.metrics) if r["split"] == "train"]
    assert page.table("train")[:, :2].tolist() == [[r["step"], r["bits"]] for r in rows]
    assert page.said("status")[-1]["hud"]["drops"] > 100


def test_rows_arrive_as_the_run_goes_on_also_when_points_merge(growing: tuple[Controller, Trainer],
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    controller, trainer = growing
    from workbench import series

    monkeypatch.setattr(series.Series.__init__, "__defaults__", (32,))
    page = Page(controller)

    def on_row(_: dict[str, Any]) -> None:
        page.session.tick()
        page.acknowledge()

    asyncio.run(train_beside(page, trainer, on_row))
    page.session.tick()
    rows = [r for r in records(trainer.folder.metrics) if r["split"] == "train"]
    table = page.table("train")
    assert 16 <= len(table) <= 32
    width = 8  # 200 rows in at most 32 buckets
    groups = [rows[i : i + width] for i in range(0, len(rows), width)]
    np.testing.assert_allclose(table[:, 1], [np.mean([r["bits"] for r in g]) for g in groups], rtol=1e-12)
    assert table[:, 0].tolist() == [g[-1]["step"] for g in groups]


def test_each_message_counts_once_and_in_order(page: Page) -> None:
    async def talk() -> None:
        page.ask("hello")
        await settled(page, 1)
        for sequence in (1, 0):
            page.ask("runs", sequence=sequence)
        page.session.receive(codec.encode(Message("ack", sequence=99)))
        page.session.tick()

    asyncio.run(talk())
    assert page.session._refused == {"sequence": 3}
    assert len(page.said("reply")) == 1
    assert page.said("status")[-1]["refusal"]["code"] == "sequence"
    assert page.said("status")[-1]["hud"]["refused"] == {"sequence": 3}


@pytest.mark.parametrize(("ask", "sentence"), [
    ({"do": "format_disk"}, "unknown"), ({"do": 3}, "unknown"), ({}, "unknown"), ({"do": "__init__"}, "unknown"),
])
def test_unknown_commands_are_refused(page: Page, ask: dict[str, Any], sentence: str) -> None:
    page.session.receive(codec.encode(codec.text("command", ask, 1)))
    assert page.session._refusal is not None
    assert page.session._refusal["code"] == "command"
    assert sentence in page.session._refusal["reason"]


@pytest.mark.parametrize(("do", "args"), [
    ("pause", {}), ("pause", {"run": 3}), ("pause", {"run": "x" * 300}), ("pause", {"run": "no-such-run"}),
    ("cancel", {"id": "1"}), ("cancel", {"id": 77}), ("compare", {"runs": "ab"}), ("look", {"step": 1.5}),
    ("look", {"kind": "soul"}), ("snapshot", {"theme": "pink"}), ("start", {"paths": ["/etc"]}),
])
def test_bad_arguments_get_a_sentence(page: Page, do: str, args: dict[str, Any]) -> None:
    async def talk() -> None:
        page.ask("hello")
        await settled(page, 1)
        page.session.tick()
        page.ask(do, **args)
        await settled(page, 2)

    asyncio.run(talk())
    answer = page.said("reply")[-1]
    assert answer["ok"] is False
    assert answer["error"]
    assert "Traceback" not in answer["error"]


def test_floods_are_refused_and_calm_is_served_again(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("workbench.bucket.time.monotonic", lambda: clock[0])
    session = Session(page.session.controller, lambda data: None)
    taken = [session._bucket.take() for _ in range(200)]
    assert sum(taken) <= COMMAND_BURST
    clock[0] += 1.0
    assert session._bucket.take()


def test_a_layer_is_journalled_or_refused_with_its_reason(growing: tuple[Controller, Trainer]) -> None:
    controller, trainer = growing
    page = Page(controller)
    frame = trainer.frame
    good = np.zeros((frame.bands, frame.sheets), "<f4")
    good[2, 3] = 1.5

    def paint(layer: np.ndarray, **changes: Any) -> None:
        page.sequence += 1
        page.session.receive(codec.encode(Message(**{
            "kind": "patch", "chart": "atlas", "sequence": page.sequence, "shape": layer.shape, "dtype": "f32",
            "values": layer.tobytes(), "coherence": 1.0, "frame": frame.signature(), **changes})))

    async def talk() -> None:
        page.ask("hello")
        await settled(page, 1)
        page.session.tick()
        paint(good)
        await settled(page, 2)
        paint(good, frame="ab" * 32)
        paint(good, chart="disk")
        paint(good.T.copy())
        await settled(page, 3)

    asyncio.run(talk())
    assert page.said("reply")[1]["ok"] is True
    patches = [r for r in records(trainer.folder.inputs) if r["kind"] == "patch"]
    assert [p["seq"] for p in patches] == [page.said("reply")[1]["seq"]]
    assert page.session._refused == {"frame": 1, "shape": 2}


def test_what_was_painted_and_applied_reaches_the_page(growing: tuple[Controller, Trainer]) -> None:
    controller, trainer = growing
    page = Page(controller)
    layers = [np.full((trainer.frame.bands, trainer.frame.sheets), value, "<f4") for value in (1.5, -0.25)]

    def on_row(row: dict[str, Any]) -> None:
        if row["split"] == "train" and row["step"] in (20, 60):
            paint(trainer.folder, layers[row["step"] == 60])

    asyncio.run(train_beside(page, trainer, on_row))
    page.session.tick()
    page.acknowledge()
    told = {}
    for batch in page.batches:
        for message, following in itertools.pairwise(batch):
            if message.kind == "text" and following.kind == "layers":
                told[message.json()["type"]] = (
                    message.json(), np.frombuffer(following.values, "<f4").reshape(following.shape))
    seqs = [r["seq"] for r in records(trainer.folder.inputs) if r["kind"] == "patch"]
    said, values = told["layer"]
    assert said["seq"] == seqs[1]
    np.testing.assert_array_equal(values, layers[1:])
    said, values = told["strokes"]
    assert said["strokes"] == [{"step": 21, "seq": seqs[0]}, {"step": 61, "seq": seqs[1]}]
    np.testing.assert_array_equal(values, layers)
    said, values = told["gains"]
    assert said["step"] == 60 + trainer.config.capacity  # since then the fold stands still
    assert said["amplitude"] == 0.25 * layers[1].size**0.5
    np.testing.assert_array_equal(values, layers[1:])
    image = next(m for batch in page.batches for m in batch if m.kind == "image")
    assert bytes(image.values) == page.session.watch.projector.rgba()
