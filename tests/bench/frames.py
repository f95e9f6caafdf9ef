"""Frames of 512 x 512 float32 a second through the page's channel, each one decoded and checked by the client.

The app in `frames_app` sends them with two in flight, each acknowledged. Two clients take them: the bare one of
`tests.bench.wire`, in a process of its own beside the server, and Chromium, with the page's own `channel.js` and
`codec.js`. Both compare the counter in the array and a sum over all its bits with what the same batch says. The
baseline of each is the same bytes over a plain Tornado WebSocket, taken by the same kind of client and not looked at;
baseline and channel take turns in every round.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
from tornado.websocket import websocket_connect

from canvas.codec import Message, decode_all, encode, text
from tests.bench.chrome import chrome, tab
from tests.bench.frames_app.frame import IN_FLIGHT, SHAPE, checksum
from tests.bench.spawn import PANEL, spawned, stamp
from tests.bench.wire import Page
from tests.serving import free_port

WARM_FRAMES = 20
RAW = """async ([url, warm, seconds]) => {
  const socket = new WebSocket(url)
  socket.binaryType = "arraybuffer"
  await new Promise((resolve) => { socket.onopen = resolve })
  const rate = await new Promise((resolve) => {
    let count = 0, began = 0
    socket.onmessage = () => {
      if (++count === warm) began = performance.now()
      const spent = (performance.now() - began) / 1000
      if (count > warm && spent >= seconds) resolve((count - warm) / spent)
      else socket.send("more")
    }
    for (let i = 0; i < IN_FLIGHT; i++) socket.send("go")
  })
  socket.close()
  return rate
}""".replace("IN_FLIGHT", str(IN_FLIGHT))
COUNT = "({...window.frames_seen, now: performance.now()})"


async def bare(url: str, seconds: float) -> float:
    """Frames a second of the channel to the bare client."""
    page = await Page.open(url)
    await page.send(encode(text("command", {"do": "go"}, 1)))
    assert decode_all(await page.receive(), "browser")[0].json()["ok"]
    count, began = 0, 0.0
    while not began or time.perf_counter() - began < seconds:
        said, frame = decode_all(await page.receive(), "browser")
        values = np.frombuffer(frame.values, np.float32).reshape(frame.shape)
        count += 1
        if said.json() | {"counter": count, "checksum": checksum(values)} != said.json() or values[0, 0, 0] != count:
            raise SystemExit(f"frame {count} is not the one that was sent: {said.json()}")
        await page.send(encode(Message("ack", sequence=said.sequence)))
        if count == WARM_FRAMES:
            began = time.perf_counter()
    spent = time.perf_counter() - began
    await page.close()
    return (count - WARM_FRAMES) / spent


async def bare_raw(url: str, seconds: float) -> float:
    """Frames a second of the plain socket to a Tornado client."""
    socket = await websocket_connect(url, max_message_size=64 << 20)
    for _ in range(IN_FLIGHT):
        await socket.write_message("go")
    count, began = 0, 0.0
    while not began or time.perf_counter() - began < seconds:
        assert await socket.read_message() is not None
        await socket.write_message("more")
        count += 1
        if count == WARM_FRAMES:
            began = time.perf_counter()
    spent = time.perf_counter() - began
    socket.close()
    return (count - WARM_FRAMES) / spent


async def browser_frames(at: str, url: str, seconds: float) -> float:
    """Frames a second of the channel to Chromium."""
    async with tab(at, url) as page:
        deadline = time.monotonic() + 60
        while ((before := await page.evaluate(COUNT)) or {}).get("count", 0) < WARM_FRAMES:
            if time.monotonic() > deadline:
                raise SystemExit(f"{url}: only {before} in Chromium after a minute")
            await asyncio.sleep(0.05)
        await asyncio.sleep(seconds)
        after = await page.evaluate(COUNT)
    if after["wrong"]:
        raise SystemExit(f"{after['wrong']} of {after['count']} frames arrived in Chromium other than they were sent")
    return 1000 * float(after["count"] - before["count"]) / float(after["now"] - before["now"])


async def browser_raw(at: str, page_url: str, url: str, seconds: float) -> float:
    """Frames a second of the plain socket to Chromium."""
    async with tab(at, page_url) as page:
        return float(await page.evaluate(f"({RAW})({json.dumps([url, WARM_FRAMES, seconds])})"))


def measure(root: Path, pairs: int = 5, seconds: float = 4) -> None:
    """Print frames a second of both clients beside their baselines."""
    size = 4 * np.prod(SHAPE)
    print(f"frames of {SHAPE[0]} x {SHAPE[1]} float32, {pairs} rounds of {seconds:g} s each ({stamp()})", flush=True)
    port, raw = free_port(), free_port()
    app, home, plain = (f"http://127.0.0.1:{port}/frames_app", f"http://127.0.0.1:{raw}/", f"ws://127.0.0.1:{raw}/ws")
    rates: dict[str, list[float]] = {}
    # beside the workbench, whose guard and static files the app shares
    with (spawned([PANEL, "serve", "workbench", "tests/bench/frames_app", "--port", str(port)], app,
                  root / "frames.log", {"ZSPACE_RUNS": str(root / "none"), "PYTHONPATH": "."}),
          spawned([sys.executable, "-m", "tests.bench.frames_app.raw", str(raw)], home, root / "raw.log"),
          chrome(root) as at):
        takers: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
            "bare, plain socket": lambda: bare_raw(plain, seconds),
            "bare, channel": lambda: bare(app, seconds),
            "Chromium, plain socket": lambda: browser_raw(at, home, plain, seconds),
            "Chromium, channel": lambda: browser_frames(at, app, seconds)}
        for i in range(pairs):
            for name in list(takers)[:: 1 if i % 2 else -1]:
                rates.setdefault(name, []).append(asyncio.run(takers[name]()))
            print(f"  round {i + 1}: " + ", ".join(f"{name} {rates[name][-1]:.1f}/s" for name in takers), flush=True)
    for client in ("bare", "Chromium"):
        found, base = rates[f"{client}, channel"], rates[f"{client}, plain socket"]
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        rate, plainly = statistics.median(found), statistics.median(base)
        print(f"{client} client, median of {pairs}: {rate:.1f} frames/s ({min(found):.1f} to {max(found):.1f}), "
              f"{rate * size / 1e6:.0f} MB/s, all checked; {ratio:.2f} of a plain socket's {plainly:.1f} "
              "(goal: at least 30 frames/s)")
    print(f"  ({stamp()})", flush=True)
