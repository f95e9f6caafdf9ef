"""10,000 hostile messages over the real socket while an honest page works."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from canvas import codec
from canvas.codec import CODES
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.events import comparable
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.bench.wire import Page
from tests.serving import Server, records, wait_for
from tests.workbench.hostile import SETTINGS, numbered, patch, read_reply, read_status, spoiled
from workbench.session import COMMANDS_PER_SECOND

ATTACKERS, EACH, FLOOD, HANDFUL = 4, 2500, 400, 26
COMMAND = codec.encode(codec.text("command", {"do": "look"}, 1))


def _nan(r: random.Random) -> bytes:
    data = bytearray(patch())
    struct.pack_into("<f", data, 88 + 4 * r.randrange(48), r.choice([float("nan"), float("inf"), float("-inf")]))
    return bytes(data)


def _text(r: random.Random) -> bytes:
    body = r.choice([b"{", b"[1]", b"\xff\xfe", b'{"a":NaN}', b"null", b'{"do":' + b"[" * 40 + b"]" * 40 + b"}"])
    head = codec.encode(codec.text("command", {"do": "x" * 99}, 1))[:88]
    return spoiled(head, 72, "<I", len(body)) + body + bytes(-len(body) % 8)


# what each kind of attack sends; the session's numbers are filled in where the message would otherwise be taken
ATTACKS: dict[str, Callable[[random.Random], Any]] = {
    "type": lambda r: r.choice([7, "text", None, [1, 2], True]),
    "size": lambda r: r.choice([b"", COMMAND[:60], COMMAND + b"\0" * 8, r.randbytes(r.randrange(87))]),
    "magic": lambda r: r.randbytes(4).replace(b"Z", b"Y") + COMMAND[4:],
    "version": lambda r: spoiled(COMMAND, 4, "B", r.choice([0, 2, 255])),
    "kind": lambda r: spoiled(COMMAND, 5, "B", r.choice([0, 1, 2, 3, 4, 99])),
    "chart": lambda r: spoiled(patch(), 8, "<H", r.choice([0, 3, 4, 5, 999])),
    "dtype": lambda r: spoiled(patch(), 6, "B", r.choice([0, 1, 2, 4, 77])),
    "shape": lambda r: spoiled(patch(), 72, "<I", r.choice([1 << 31, 1 << 24])),
    "header": lambda r: spoiled(patch(), 10, "<H", r.randrange(1, 1 << 16)),
    "values": _nan,
    "text": _text,
    "sequence": lambda r: COMMAND,  # number 1 again and again
    "frame": lambda r: patch(),
    "command": lambda r: codec.encode(codec.text("command", {"do": r.choice(["rm", "eval", "__class__", ""])}, 1)),
    "rate": lambda r: codec.encode(codec.text("command", {"do": "look"}, 1)),
}


async def send_to(page: Page, data: Any) -> None:
    """Bytes as a page sends them, or anything else in their place."""
    if isinstance(data, bytes):
        await page.send(data)
        return
    await page._event("data_event", {"type": "map", "entries": [["model", {"id": page.model}], ["data", data]]})


async def attack(page: Page, seed: int, turn: asyncio.Lock) -> Counter[str]:
    """One hostile page: every kind of attack in a random order; returns what the server says it refused."""
    r = random.Random(seed)
    await page.send(codec.encode(codec.text("command", {"do": "hello"}, 1)))
    sequence = 1
    calm = [code for code in ATTACKS if code not in ("rate", "frame", "command")]
    slow = {"frame": 130, "command": 130}  # these pass the flood gate first, so they must not run into it
    plan = [r.choice(calm) for _ in range(EACH - FLOOD - sum(slow.values()))]
    for sent, code in enumerate([*plan, *(c for c, n in slow.items() for _ in range(n))], 1):
        data = ATTACKS[code](r)
        if code in slow:
            sequence += 1
            data = numbered(data, sequence)
        await send_to(page, data)
        if sent >= len(plan) and (sent - len(plan)) % HANDFUL == 0:
            await all_refused(page, sent)
            await asyncio.sleep(HANDFUL / COMMANDS_PER_SECOND)  # until the gate lets as many through again
        await asyncio.sleep(0)
    async with turn:  # one flood at a time: a server that is busy with several takes fewer than the gate lets through
        for _ in range(FLOOD):
            sequence += 1
            await send_to(page, numbered(ATTACKS["rate"](r), sequence))
            await asyncio.sleep(0)
        return await refusals(page)


async def all_refused(page: Page, count: int) -> None:
    """Wait until the server has refused this many of a page's messages."""
    deadline = time.monotonic() + 300
    while sum((await read_status(page))["hud"]["refused"].values()) < count:
        assert time.monotonic() < deadline


async def refusals(page: Page) -> Counter[str]:
    """What the server says it refused of a page, once all of it is through; the page is closed."""
    deadline = time.monotonic() + 300
    refused: Counter[str] = Counter()
    calmed = 0
    while calmed < 3:  # until the counts stand still
        assert time.monotonic() < deadline
        now = Counter((await read_status(page))["hud"]["refused"])
        calmed = calmed + 1 if now == refused else 0
        refused = now
    await page.close()
    return refused


async def work_honestly(page: Page, stop: asyncio.Event) -> tuple[int, list[float]]:
    """One page that looks, saves and pauses; how many orders were served, and how long each took."""
    waits, served, sequence = [], 0, 0
    orders = ["hello", "look", "runs", "save", "pause", "resume"]
    run = None
    while not stop.is_set() or sequence % len(orders):
        do = orders[sequence % len(orders)]
        sequence += 1
        began = time.monotonic()
        await page.send(codec.encode(codec.text("command", {"do": do, **({"run": run} if run else {})}, sequence)))
        said = await read_reply(page, sequence)
        assert said["ok"], said
        run = said.get("run", run)
        served += 1
        waits.append(time.monotonic() - began)
        await asyncio.sleep(2 if do == "pause" else 0.1)  # all steps are trained once more below
    assert page.errors == []
    await page.close()
    return served, waits


def digest(folder: RunFolder) -> str:
    """Of every row that the run computed, parameters' digests included."""
    rows = [comparable(r) for r in records(folder.metrics)]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


@pytest.mark.timeout(900)  # fifty seconds where nothing else is at work
def test_ten_thousand_hostile_messages_disturb_nobody(attacked: Server, tmp_path: Path, texts: Path) -> None:
    run = RunFolder(wait_for(lambda: next(attacked.runs.glob("*/heartbeat.json"), None)).parent)

    async def battle() -> tuple[list[Counter[str]], tuple[int, list[float]]]:
        stop = asyncio.Event()
        ours, *theirs = [await Page.open(attacked.url) for _ in range(1 + ATTACKERS)]
        turn = asyncio.Lock()
        honest = asyncio.create_task(work_honestly(ours, stop))
        refused = await asyncio.gather(*(attack(page, seed, turn) for seed, page in enumerate(theirs)))
        stop.set()
        return refused, await honest

    refused, (served, waits) = asyncio.run(battle())
    total = sum(refused, Counter[str]())
    print(f"refused {total.total():,} of {ATTACKERS * EACH:,} by code {dict(total)}; honest page: {served} orders "
          f"served, median wait {1000 * sorted(waits)[len(waits) // 2]:.0f} ms, longest {1000 * max(waits):.0f} ms")
    assert set(total) == set(CODES)
    assert min(total.values()) >= 100
    taken = ATTACKERS * EACH - total.total()
    assert 0 <= taken <= ATTACKERS * FLOOD  # of the flood, what the gate lets through is served, as it should be
    assert served >= 30
    send(run, "stop")
    wait_for(lambda: run.status() == "stopped")
    assert all(r["kind"] in ("start", "boundary", "save", "pause", "resume", "stop") for r in records(run.inputs))
    steps = records(run.metrics)[-1]["step"]
    assert steps > 100

    twin = create_run(tmp_path / "twin", RunConfig.from_preset((str(texts / "tide"),), **SETTINGS))
    send(twin, "start")
    Trainer(twin, steps).run()
    assert digest(run) == digest(twin)
    assert "Traceback" not in attacked.log.read_text()


NONSENSE: list[tuple[str | bytes, str, str]] = [  # header, metadata, content of a message of Bokeh's protocol
    ("{", "{}", "{}"),
    (b"\0", "{}", "{}"),
    ('{"msgid":"1"}', "{}", "{}"),
    ('{"msgid":"1","msgtype":"HACK"}', "{}", "{}"),
    ('{"msgid":"1","msgtype":"PATCH-DOC"}', "{}", '{"events":[{"kind":"X"}]}'),
]


def test_nonsense_below_our_format_leaves_the_server_well(attacked: Server) -> None:
    """Broken protocol messages cost their sender the connection, and nobody else anything."""
    async def talk() -> None:
        for parts in NONSENSE:
            page = await Page.open(attacked.url)
            await page.send_raw(*parts)
            page._socket.close()
        page = await Page.open(attacked.url)
        await page.send(codec.encode(codec.text("command", {"do": "hello"}, 1)))
        assert (await read_status(page))["type"] == "status"
        await page.close()

    asyncio.run(talk())
