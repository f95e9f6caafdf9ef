"""A painted layer of 64 KiB on its way to disk: from sending it to the reply that it is journalled, beside a bare echo.

    python -m tests.bench.roundtrip [--patches 200] [--from-browser 100]

The run has a frame of 128 bands x 128 sheets, so its layer takes 64 KiB in float32. Layers go out 20 a second at most,
one in flight, each another one. Twice: from the bare client of `tests.bench.wire` while the run trains in a process of
its own, and from Chromium, through the page's own modules, while the run is paused. The baseline of each is the same
bytes, sent by the same kind of client at the same pace, through a plain Tornado WebSocket that sends them back, with
TCP_NODELAY on both sides; channel and echo take turns in blocks. Nothing is asserted about time, but every layer
acknowledged must be in the input log, in order, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import math
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from canvas import codec
from canvas.codec import Message
from core.frame import Temporal, ZFrame
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from tests.bench.chrome import Tab, chrome, tab
from tests.bench.spawn import cpu_seconds, spawned, stamp
from tests.bench.wire import Page
from tests.serving import ROOT, Server, free_port, records, serving, wait_for

SIDE = 128
PAUSE = 1 / 20  # seconds from one layer to the next, as the page's brush sends them
BLOCK = 20
GOALS = (10, 50)  # ms: of the median, and of 99 in a hundred
Trip = Callable[[int], Awaitable[float]]
# `window.trip(bytes)` gives the milliseconds of one round trip through a plain socket
ECHO = """(async () => {
  const socket = new WebSocket("URL")
  socket.binaryType = "arraybuffer"
  await new Promise((resolve) => { socket.onopen = resolve })
  window.trip = async () => {
    const data = new Uint8Array(BYTES).map(() => 256 * Math.random()), began = performance.now()
    const back = new Promise((resolve) => { socket.onmessage = resolve })
    socket.send(data)
    await back
    return performance.now() - began
  }
})()"""
# the same of a layer through the page's channel; its digest is kept, for the comparison with the log
OURS = """window.sent = []
window.trip = async (i) => {
  const values = new Float32Array(SIDE * SIDE).map(() => Math.random() - 0.5), began = performance.now()
  const {seq} = await workbench.channel.paint(
    {chart: "atlas", shape: [SIDE, SIDE], values, depth: i, frame: workbench.facts.signature})
  const spent = performance.now() - began
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", values))
  window.sent.push([seq, [...digest].map((x) => x.toString(16).padStart(2, "0")).join("")])
  return spent
}""".replace("SIDE", str(SIDE))


class Echo(WebSocketHandler):
    """Sends back what comes."""

    def open(self, *_: str) -> None:
        self.set_nodelay(True)

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Blank(RequestHandler):
    """A page without anything, for a browser to connect from."""

    def get(self) -> None:
        self.write("<!doctype html><title>echo</title>")


async def echo(port: int) -> None:
    """The plain server, until it is ended."""
    Application([("/", Blank), ("/ws", Echo)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


class Client:
    """The bare client as a page: batches are acknowledged as they come, replies handed to whoever waits for them."""

    def __init__(self, page: Page) -> None:
        self.page, self.numbers, self.received = page, 0, 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, message: Callable[[int], Message]) -> tuple[float, dict[str, Any]]:
        """Milliseconds from sending to the answer, and the answer."""
        self.numbers += 1
        data = codec.encode(message(self.numbers))
        answer = self._waiting[self.numbers] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self.page.send(data)
        said = await asyncio.wait_for(answer, 60)
        return 1000 * (time.perf_counter() - began), said

    async def close(self) -> None:
        self._reading.cancel()
        await self.page.close()

    async def _read(self) -> None:
        """Only a batch's first message is looked at, so that this client costs next to nothing."""
        while True:
            data = await self.page.receive()
            self.received += len(data)
            size = codec.HEADER.size + struct.unpack_from("<I", data, 72)[0]
            first = codec.decode(data[: size + -size % 8], "browser")
            said = first.json() if first.kind == "text" else {}
            if said.get("type") == "status":
                await self.page.send(codec.encode(Message("ack", sequence=first.sequence)))
                if "refusal" in said:
                    raise SystemExit(f"the server refused: {said['refusal']}")
            elif said.get("type") == "reply":
                self._waiting.pop(said["to"]).set_result(said)


def large_run(root: Path) -> RunFolder:
    """A run over the corpus whose frame has SIDE x SIDE cells; no looks, so that only its painting is measured."""
    config = RunConfig.from_preset((str(ROOT / "corpus"),), "tiny", threads=1, steps=1_000_000, field_every=10**9)
    folder = create_run(root, config)
    frame = ZFrame(tuple(np.linspace(0, 0.5, SIDE + 1)[1:-1]), sheets=SIDE, temporal=Temporal((0,), 0.9))
    path = folder.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "frame": frame.to_json()}))
    send(folder, "start")
    return folder


@contextlib.contextmanager
def training(folder: RunFolder, log: Path) -> Iterator[None]:
    """The run at work in a process of its own, for the length of a block."""
    with open(log, "wb") as file:
        trainer = subprocess.Popen([sys.executable, "-m", "core.runs.trainer", str(folder.path)], cwd=ROOT,
                                   stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(records(folder.metrics)) > 20)
        yield
        assert trainer.poll() is None, log.read_text()
    finally:
        trainer.kill()
        trainer.wait()


async def in_turns(trips: dict[str, Trip], count: int) -> dict[str, list[float]]:
    """The times of `count` trips of each kind, paced and in blocks."""
    times: dict[str, list[float]] = {name: [] for name in trips}
    for start in range(0, count, BLOCK):
        for name, trip in trips.items():
            for i in range(start, min(start + BLOCK, count)):
                began = time.monotonic()
                times[name].append(await trip(i))
                await asyncio.sleep(max(0.0, PAUSE - (time.monotonic() - began)))
    return times


async def bare(server: Server, folder: RunFolder, plain: str, count: int) -> dict[str, list[float]]:
    """Times of the channel and of the echo, from a client without a browser."""
    r, frame = np.random.default_rng(0), ZFrame.from_json(folder.read_config()["frame"]).signature()
    layers = r.normal(0, 0.5, (count, SIDE, SIDE)).astype("<f4")
    sent: list[tuple[int, str]] = []
    client = Client(await Page.open(server.url))
    _, said = await client.ask(lambda n: codec.text("command", {"do": "hello", "run": folder.id}, n))
    assert said["run"] == folder.id, said
    socket = await websocket_connect(plain)
    assert socket.protocol is not None
    socket.protocol.set_nodelay(True)

    def patch(i: int, number: int) -> Message:
        return Message("patch", "atlas", number, (SIDE, SIDE), "f32", layers[i].tobytes(), i, time.time(), 1.0, frame)

    async def painted(i: int) -> float:
        spent, said = await client.ask(lambda n: patch(i, n))
        if not said["ok"]:
            raise SystemExit(f"layer {i} was not taken: {said}")
        sent.append((said["seq"], hashlib.sha256(layers[i].tobytes()).hexdigest()))
        return spent

    async def echoed(i: int) -> float:
        data, began = codec.encode(patch(i, i)), time.perf_counter()
        await socket.write_message(data, binary=True)
        assert await socket.read_message() == data
        return 1000 * (time.perf_counter() - began)

    times = await in_turns({"channel": painted, "echo": echoed}, count)
    print(f"  the server sent this client {client.received / 1e6:,.1f} MB meanwhile")
    await client.close()
    socket.close()
    check(folder, sent)
    return times


async def browser(root: Path, server: Server, folder: RunFolder, port: int, count: int) -> dict[str, list[float]]:
    """The same from Chromium; two of them, so that each page is in the foreground of its own."""
    for name in ("ours", "echo"):
        (root / name).mkdir()
    with chrome(root / "ours") as at, chrome(root / "echo") as beside:
        # the workbench's policy lets its page talk to its own server only, so the echo has a page of its own
        async with (tab(at, f"{server.url}#/live?run={folder.id}") as ours,
                    tab(beside, f"http://127.0.0.1:{port}/") as other):
            deadline = time.monotonic() + 60
            while not await ours.evaluate("Boolean(window.workbench?.facts && workbench.status)"):
                assert time.monotonic() < deadline, "no page after a minute"
                await asyncio.sleep(0.1)
            await ours.evaluate(OURS)
            await other.evaluate(ECHO.replace("URL", f"ws://127.0.0.1:{port}/ws").replace(
                "BYTES", str(codec.HEADER.size + 4 * SIDE * SIDE)))

            def from_page(page: Tab) -> Trip:
                return lambda i: page.evaluate(f"trip({i})")

            times = await in_turns({"channel": from_page(ours), "echo": from_page(other)}, count)
            check(folder, [(seq, digest) for seq, digest in await ours.evaluate("sent")])
    return times


def check(folder: RunFolder, sent: list[tuple[int, str]]) -> None:
    """What was acknowledged, by number and digest, is what the input log took last, and in that order."""
    found = [(r["seq"], hashlib.sha256(base64.b64decode(r["relation"])).hexdigest())
             for r in records(folder.inputs) if r["kind"] == "patch"]
    if found[-len(sent):] != sent:
        raise SystemExit(f"the last {len(sent)} layers in {folder.inputs} are not those that were acknowledged")


def say(name: str, times: dict[str, list[float]]) -> None:
    """Both distributions, their ratio and the goal."""
    medians, tails = {}, {}
    for part, found in times.items():
        ordered = sorted(found)
        medians[part], tails[part] = statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1]
        print(f"  {name}, {part:<7} p50 {medians[part]:6.2f} ms, p95 {ordered[int(0.95 * len(ordered))]:7.2f} ms, "
              f"p99 {tails[part]:7.2f} ms, max {ordered[-1]:7.2f} ms ({len(ordered)} layers)")
    print(f"{name}: p50 {medians['channel']:.2f} ms to the acknowledgement, {medians['channel'] / medians['echo']:.1f} "
          f"of a bare echo's {medians['echo']:.2f} ms, p99 {tails['channel']:.2f} ms (goals: under {GOALS[0]} and "
          f"{GOALS[1]} ms)", flush=True)


def measure(root: Path, patches: int = 200, from_browser: int = 100) -> None:
    """Print the round trips of both clients beside their echoes."""
    print(f"a layer of {SIDE} x {SIDE} float32 to its acknowledgement, {1 / PAUSE:.0f} a second at most ({stamp()})",
          flush=True)
    runs, port = root / "runs", free_port()
    trained, paused = large_run(runs), large_run(runs)  # a fresh one for the browser: it has nothing to catch up with
    with (serving(runs) as server,
          spawned([sys.executable, "-m", "tests.bench.roundtrip", "--echo", str(port)], f"http://127.0.0.1:{port}/",
                  root / "echo.log")):
        assert server.process is not None
        with training(trained, root / "trainer.log"):
            began, before, rows = time.monotonic(), cpu_seconds(server.process.pid), len(records(trained.metrics))
            times = asyncio.run(bare(server, trained, f"ws://127.0.0.1:{port}/ws", patches))
            spent = time.monotonic() - began
            print(f"  in {spent:.0f} s the run made {len(records(trained.metrics)) - rows} rows, and the server "
                  f"computed for {(cpu_seconds(server.process.pid) - before) / spent:.0%} of one core's time")
            say("bare client, run training", times)
        with training(paused, root / "paused.log"):
            send(paused, "pause")
            wait_for(lambda: paused.status() == "paused")
            say("Chromium, run paused", asyncio.run(browser(root, server, paused, port, from_browser)))
    print(f"  ({stamp()})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=200)
    parser.add_argument("--from-browser", type=int, default=100)
    parser.add_argument("--echo", type=int, metavar="PORT", help="be the plain server instead")
    ask = parser.parse_args()
    if ask.echo:
        asyncio.run(echo(ask.echo))
        return
    with tempfile.TemporaryDirectory() as root:
        measure(Path(root), ask.patches, ask.from_browser)


if __name__ == "__main__":
    main()
