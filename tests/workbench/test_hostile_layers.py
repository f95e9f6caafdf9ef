"""Hostile layers over the real socket while an honest page paints."""

from __future__ import annotations

import asyncio
import base64
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from canvas import codec
from core.frame import ZFrame
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.store import RunFolder
from tests.bench.wire import Page
from tests.serving import Server, folded, records, wait_for
from tests.workbench.hostile import SETTINGS, numbered, patch, read, read_reply, read_status, spoiled
from workbench.session import COMMAND_BURST, COMMANDS_PER_SECOND

PAINTERS, BEFORE, GATED, LAYERS, FLOODED = 2, 60, 20, 20, 300
FRAME, OTHER_FRAME = ZFrame.octaves(), ZFrame.octaves(decay=0.8)  # of one shape
SHAPE = FRAME.bands, FRAME.sheets


def layer(r: random.Random, **changes: Any) -> bytes:
    """A layer that the run would take, but for the changes."""
    values = struct.pack("<48f", *(r.uniform(-3, 3) for _ in range(48)))
    return patch(**{"frame": FRAME.signature(), "values": values, **changes})


# by the code they are refused with: what is seen before the flood gate, and what only behind it
BROKEN: dict[str, Callable[[random.Random], bytes]] = {
    "magic": lambda r: r.choice([b"ZSPD", b"CPSZ", bytes(4)]) + layer(r)[4:],
    "size": lambda r: r.choice([layer(r)[:-8], layer(r) + bytes(8), layer(r)[:80], spoiled(layer(r), 72, "<I", 5)]),
    "dtype": lambda r: spoiled(layer(r), 6, "B", r.choice([0, 1, 2, 4, 9])),
    "values": lambda r: spoiled(layer(r), 88 + 4 * r.randrange(48), "<f", r.choice([np.nan, np.inf, -np.inf])),
    "sequence": layer,  # a number that was used before
}
MISPLACED: dict[str, Callable[[random.Random], bytes]] = {
    "frame": lambda r: layer(r, frame=r.choice([OTHER_FRAME.signature(), "ab" * 32, ""])),
    "command": lambda r: layer(r, chart="disk", shape=(128, 128), values=struct.pack("<f", 2.0) * 128**2),  # above 1
    "shape": lambda r: r.choice([layer(r, shape=r.choice([SHAPE[::-1], (1, 48), (48, 1), (3, 16)])),
                                 layer(r, chart="disk")]),
}


async def greet(page: Page, run: RunFolder) -> None:
    """Show a run."""
    await page.send(codec.encode(codec.text("command", {"do": "hello", "run": run.id}, 1)))
    assert (await read_reply(page, 1))["run"] == run.id


async def paint_badly(page: Page, run: RunFolder, seed: int) -> Counter[str]:
    """Layers that must not be taken; returns what the server says it refused."""
    r, sequence = random.Random(seed), 1
    await greet(page, run)
    plan = [*(c for c in BROKEN for _ in range(BEFORE)), *(c for c in MISPLACED for _ in range(GATED))]
    r.shuffle(plan)
    for code in plan:
        if code in MISPLACED:
            sequence += 1
            await page.send(numbered(MISPLACED[code](r), sequence))
            await asyncio.sleep(1 / 15)  # so that they do not run into the gate
        else:
            await page.send(numbered(BROKEN[code](r), r.randint(0, sequence) if code == "sequence" else sequence + 1))
            await asyncio.sleep(0)
    deadline = time.monotonic() + 60
    while (refused := Counter((await read_status(page))["hud"]["refused"])).total() < len(plan):
        assert time.monotonic() < deadline, refused
    await page.close()
    return refused


async def flood(page: Page, run: RunFolder) -> tuple[list[tuple[int, bytes]], int, float]:
    """Valid layers, far too many; which were taken, under which number, how many were not, and in how many seconds."""
    r, began = random.Random(99), time.monotonic()
    await greet(page, run)
    sent = {}
    for sequence in range(2, FLOODED + 2):
        data = sent[sequence] = layer(r, sequence=sequence)
        await page.send(data)
        await asyncio.sleep(0)
    taken: list[tuple[int, bytes]] = []
    refused: Counter[str] = Counter()
    while len(taken) + refused.total() < FLOODED:
        assert time.monotonic() < began + 90, refused
        said = await read(page)
        if said["type"] == "reply":
            assert said["ok"], said
            taken.append((said["seq"], sent[said["to"]][88:]))
        else:
            refused = Counter(said["hud"]["refused"])
    assert set(refused) == {"rate"}
    await page.close()
    return taken, refused["rate"], time.monotonic() - began


async def paint_honestly(page: Page, run: RunFolder) -> tuple[list[tuple[int, bytes]], list[float]]:
    """Different layers, one in flight: what was acknowledged, under which number, and how long each took."""
    r, done, waits = np.random.default_rng(7), [], []
    await greet(page, run)
    for sequence in range(2, LAYERS + 2):
        values = r.uniform(-3, 3, SHAPE).astype("<f4")
        values[0, :3] = -0.0, 1e-45, np.nextafter(np.float32(3), np.float32(0))
        began = time.monotonic()
        await page.send(layer(random.Random(), sequence=sequence, values=values.tobytes()))
        said = await read_reply(page, sequence)
        waits.append(time.monotonic() - began)
        assert said["ok"], said
        done.append((said["seq"], values.tobytes()))
        await asyncio.sleep(0.3)
    assert (await read_status(page))["hud"]["refused"] == {}  # the others' refusals are theirs
    assert page.errors == []
    await page.close()
    return done, waits


def painted(folder: RunFolder) -> list[tuple[int, bytes]]:
    """Every layer in a run's input log, under its number."""
    return [(r["seq"], base64.b64decode(r["relation"])) for r in records(folder.inputs) if r["kind"] == "patch"]


def test_hostile_layers_never_reach_the_log(attacked: Server, texts: Path) -> None:
    run = RunFolder(wait_for(lambda: next(attacked.runs.glob("*/heartbeat.json"), None)).parent)
    flooded = create_run(attacked.runs, RunConfig.from_preset((str(texts / "tide"),), **SETTINGS))  # at rest

    async def battle() -> Any:
        ours, floods, *theirs = [await Page.open(attacked.url) for _ in range(2 + PAINTERS)]
        honest = asyncio.create_task(paint_honestly(ours, run))
        drowned = await flood(floods, flooded)  # by itself: a server that is busy otherwise sees no flood in it
        refused = await asyncio.gather(*(paint_badly(page, run, seed) for seed, page in enumerate(theirs)))
        return await honest, drowned, refused

    (done, waits), (taken, rate, seconds), refused = asyncio.run(battle())
    total = sum(refused, Counter[str]())
    print(f"refused {total.total():,} hostile layers by code {dict(total)}; of {FLOODED} in {seconds:.0f} s took "
          f"{len(taken)}, refused {rate}; honest layers waited {1000 * sorted(waits)[len(waits) // 2]:.0f} ms, at most "
          f"{1000 * max(waits):.0f} ms")
    # every one is refused, for what is wrong with it
    assert total.total() == PAINTERS * (BEFORE * len(BROKEN) + GATED * len(MISPLACED))
    assert {code: total[code] for code in BROKEN} == dict.fromkeys(BROKEN, PAINTERS * BEFORE)
    assert set(total) - {"rate"} == {*BROKEN, *MISPLACED}  # a starved machine may let paced messages pile up
    assert rate > 0
    assert len(taken) <= 1 + COMMAND_BURST + COMMANDS_PER_SECOND * seconds
    assert painted(flooded) == taken

    # the honest painter's layers are in the log, each once, in order, bit for bit, and nobody else's
    assert len(done) == LAYERS
    assert painted(run) == done
    assert {r["kind"] for r in records(run.inputs)} == {"start", "boundary", "patch"}
    last = np.frombuffer(done[-1][1], "<f4").reshape(SHAPE)
    wait_for(lambda: np.array_equal(folded(records(run.applied)[-1]), last))
    applied = records(run.applied)
    assert [seq for row in applied for seq in row["seq"] if seq in dict(done)] == [seq for seq, _ in done]
    assert not any("rejected" in row for row in applied)
    send(run, "stop")
    wait_for(lambda: run.status() == "stopped")
    assert "Traceback" not in attacked.log.read_text()
