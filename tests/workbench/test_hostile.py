"""10,000 hostile messages over the real socket while an honest page works, and hostile layers while one paints."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canvas import codec
from canvas.codec import CODES, Message
from core.frame import ZFrame
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.events import comparable
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.work import WorkQueue
from tests.bench.wire import Page
from tests.serving import Server, folded, records, serving, wait_for
from workbench.session import COMMAND_BURST, COMMANDS_PER_SECOND

ATTACKERS, EACH, FLOOD, HANDFUL = 4, 2500, 400, 26
SETTINGS: dict[str, Any] = {"preset": "tiny", "threads": 1, "window": 32, "batch": 8, "steps": 50_000,
                            "field_every": 20, "evaluate_every": 100, "sample_every": 500,
                            "checkpoint_every": 100, "seed": 5}
COMMAND = codec.encode(codec.text("command", {"do": "look"}, 1))


def patch(**changes: Any) -> bytes:
    """A layer of zeros, painted on a frame that nobody has."""
    layer = Message(**{"kind": "patch", "chart": "atlas", "sequence": 1, "shape": (6, 8), "dtype": "f32",
                       "values": bytes(4 * 48), "coherence": 1.0, "frame": "ab" * 32, **changes})
    return codec.encode(layer)


def spoiled(data: bytes, offset: int, layout: str, value: Any) -> bytes:
    """A message with one field of its header overwritten."""
    out = bytearray(data)
    struct.pack_into(layout, out, offset, value)
    return bytes(out)


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


def numbered(data: Any, sequence: int) -> Any:
    """The same message with its number, where it has a header."""
    return spoiled(data, 16, "<Q", sequence) if isinstance(data, bytes) and len(data) >= 88 else data


async def send_to(page: Page, data: Any) -> None:
    """Bytes as a page sends them, or anything else in their place."""
    if isinstance(data, bytes):
        await page.send(data)
        return
    await page._event("data_event", {"type": "map", "entries": [["model", {"id": page.model}], ["data", data]]})


async def read(page: Page) -> dict[str, Any]:
    """The next reply or status, a status acknowledged."""
    while True:
        batch = codec.decode_all(await page.receive(), "browser")
        said = batch[0].json() if batch[0].kind == "text" else {}
        if said.get("type") == "status":
            await page.send(codec.encode(Message("ack", sequence=batch[0].sequence)))
        if said.get("type") in ("status", "reply"):
            return said


async def read_status(page: Page) -> dict[str, Any]:
    """The next status."""
    while (said := await read(page))["type"] != "status":
        pass
    return said


async def read_reply(page: Page, sequence: int) -> dict[str, Any]:
    """The next reply, which must be to this message."""
    while (said := await read(page))["type"] != "reply":
        pass
    assert said["to"] == sequence
    return said


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
        await asyncio.sleep(0.5 if do == "pause" else 0.1)
    assert page.errors == []
    await page.close()
    return served, waits


def digest(folder: RunFolder) -> str:
    """Of every row that the run computed, parameters' digests included."""
    rows = [comparable(r) for r in records(folder.metrics)]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


@pytest.fixture
def attacked(tmp_path: Path, texts: Path) -> Any:
    """A server over a run that has just begun."""
    queue = WorkQueue(tmp_path / "runs")
    queue.add({"paths": [str(texts / "tide")], **SETTINGS})
    queue.ensure_worker()
    with serving(tmp_path / "runs", texts=texts) as server:
        yield server


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


# --- painting ---------------------------------------------------------------------------------------------------------

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
    "chart": lambda r: layer(r, chart="disk"),
    "shape": lambda r: layer(r, shape=r.choice([SHAPE[::-1], (1, 48), (48, 1), (3, 16)])),
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
