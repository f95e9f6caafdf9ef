"""What a live page costs the training it shows: the same run without and with a page open, pair by pair.

The trainer is pinned to one core and told to use one thread, so that its own work is the same in both halves of a pair.
Server and client are pinned nowhere: they take the other core where that is free, as on a laptop, and meet the trainer
where it is not, in caches, memory and file system in any case. That slow-down is what a user of a machine with a core
to spare feels. A trainer that wants every core pays at most for the server's processor time as well, so this is
measured too, as a share of the trainer's own over the same stretch. The client is a process's share of its own: a page
in a browser draws, which costs its viewer, perhaps on another machine; the bare client decodes and acknowledges at the
server's full 10 Hz. The server runs in both halves; what it computes while no page is open is printed.

Where others keep the machine busy, the trainer gets less of its core while the page goes on at its own pace, so clock
and share exaggerate. The server's CPU time for a batch does not depend on that: at ten a second, 10 ms a batch are a
tenth of what a trainer with a core to itself computes.

Training seconds lie between the times in the first and the last row, so that starting Python counts nowhere.
Which half of a pair goes first changes from pair to pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from canvas.codec import Message, decode_all, encode, text
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder
from tests.bench.spawn import cpu_seconds, stamp
from tests.bench.wire import Page
from tests.serving import ROOT, Server, serving

LOOK_SECONDS = 0.05
HERTZ = 10  # batches a second, where nothing is in their way
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass
class Half:
    """One training run, without or with a page."""

    seconds: float  # between the rows' times
    trainer: float  # CPU seconds from the first row to the end, as of the server and the client
    server: float
    client: float
    wall: float
    batches: int = 0
    size: int = 0


class Client:
    """A page that decodes and acknowledges whatever comes."""

    def __init__(self, page: Page) -> None:
        self.page, self.batches, self.size = page, 0, 0

    async def take(self) -> dict[str, object]:
        """One message of the server: its first text."""
        data = await self.page.receive()
        messages = decode_all(data, "browser")
        first = messages[0].json() if messages[0].kind == "text" else {}
        if first.get("type") == "status":
            self.batches, self.size = self.batches + 1, self.size + len(data)
            await self.page.send(encode(Message("ack", sequence=messages[0].sequence)))
        return first

    async def follow(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.take()


async def train(folder: RunFolder, server: Server, page: bool) -> Half:
    """Run the trainer on a fresh run to its end."""
    client, following = None, None
    if page:
        client = Client(await Page.open(server.url))
        await client.page.send(encode(text("command", {"do": "hello", "run": folder.id}, 1)))
        try:
            async with asyncio.timeout(60):
                while (await client.take()).get("run") != folder.id:
                    pass
        except TimeoutError:
            raise SystemExit(f"the page showed no run in a minute: {client.page.errors}") from None
        following = asyncio.create_task(client.follow())
    assert server.process is not None
    trainer = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-m", "core.runs.trainer", str(folder.path)],
                               cwd=ROOT, env={**os.environ, **dict.fromkeys(THREADS, "1")})

    def spent() -> list[float]:
        return [cpu_seconds(trainer.pid), cpu_seconds(server.process.pid), time.process_time(), time.monotonic(),
                client.batches if client else 0, client.size if client else 0]

    while not (folder.metrics.exists() and b'"train"' in folder.metrics.read_bytes()):
        assert trainer.poll() is None, "the trainer ended before its first row"
        await asyncio.sleep(LOOK_SECONDS)
    before = spent()
    # not waited for yet: until then the kernel still knows what it has computed
    while os.waitid(os.P_PID, trainer.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        await asyncio.sleep(LOOK_SECONDS)
    cpu, served, viewed, wall, batches, size = (b - a for a, b in zip(before, spent(), strict=True))
    assert trainer.wait() == 0, "the trainer failed"
    if client is not None and following is not None:
        assert not following.done(), "the page was lost"
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await client.page.close()
        assert not client.page.errors, client.page.errors[0]
    rows = [r for r in read_records(folder.metrics)[0] if r["split"] == "train"]
    return Half(rows[-1]["measured"]["time"] - rows[0]["measured"]["time"], cpu, served, viewed, wall, int(batches),
                int(size))


def measure(root: Path, pairs: int = 5, steps: int = 300, preset: str = "tiny") -> None:
    """Print the halves of every pair, the slow-down, and the server's share."""
    runs = root / "runs"
    config = RunConfig.from_preset((str(ROOT / "corpus"),), preset, threads=1, steps=steps)
    print(f"a live page's cost to training, preset {preset}, {steps} steps, one thread ({stamp()})", flush=True)
    slower, shares, hungrier, each = [], [], [], []
    # a page that went away is forgotten at once, else its session would go on into the next half
    with serving(runs, "--unused-session-lifetime", "1", "--check-unused-sessions", "500") as server:
        for i in range(-1, pairs):
            halves = {}
            for page in ((False, True) if i % 2 else (True, False)):
                folder = create_run(runs, config)
                send(folder, "start")
                halves[page] = asyncio.run(train(folder, server, page))
            if i < 0:  # one pair for warmth: files read, code compiled
                continue
            a, b = halves[False], halves[True]
            slower.append(100 * (b.seconds / a.seconds - 1))
            hungrier.append(100 * (b.trainer / a.trainer - 1))
            shares.append(100 * b.server / b.trainer)
            each.append(1000 * b.server / b.batches)
            print(f"  pair {i + 1}: {a.seconds:.2f} s without, {b.seconds:.2f} s with ({slower[-1]:+.1f} %); CPU "
                  f"seconds: trainer {a.trainer:.2f} and {b.trainer:.2f}, server {a.server:.2f} and {b.server:.2f}, "
                  f"client {b.client:.2f}; {b.batches / b.wall:.1f} batches/s, {b.size / b.wall / 1000:.1f} kB/s, "
                  f"{each[-1]:.1f} ms of the server each",
                  flush=True)
    for name, values in (("slow-down, by the clock", slower), ("the trainer's CPU seconds, more", hungrier),
                         ("the server's CPU seconds, of the trainer's", shares)):
        print(f"{name}: median of {pairs} pairs {statistics.median(values):+.1f} % ({min(values):+.1f} to "
              f"{max(values):+.1f}) (goal: at most 10)")
    print(f"the server's CPU time for a batch: median {statistics.median(each):.1f} ms ({min(each):.1f} to "
          f"{max(each):.1f}); at {HERTZ} a second {statistics.median(each) * HERTZ / 10:.1f} % of one core")
    print(f"  ({stamp()})", flush=True)
