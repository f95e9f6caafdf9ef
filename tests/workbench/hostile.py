"""What the tests of hostile pages share: messages to spoil, and a page's ears."""

from __future__ import annotations

import struct
from typing import Any

from canvas import codec
from canvas.codec import Message
from tests.bench.wire import Page

SETTINGS: dict[str, Any] = {"preset": "tiny", "threads": 1, "window": 32, "batch": 8, "steps": 50_000,
                            "field_every": 20, "evaluate_every": 100, "sample_every": 500,
                            "checkpoint_every": 100, "seed": 5}


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


def numbered(data: Any, sequence: int) -> Any:
    """The same message with its number, where it has a header."""
    return spoiled(data, 16, "<Q", sequence) if isinstance(data, bytes) and len(data) >= 88 else data


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
