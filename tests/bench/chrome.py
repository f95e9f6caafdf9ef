"""Chromium with nothing listening in: tabs are opened and asked over its own debugging socket.

Playwright has every WebSocket frame reported to itself, as base64, which slows a socket of large frames down to that.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.bench.spawn import spawned
from tests.serving import CHROMIUM_FLAGS, chromium, free_port


class Tab:
    """One page, by its debugging socket."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it gives, as JSON takes it."""
        number = next(self._numbers)
        ask = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        await self._socket.write_message(json.dumps({"id": number, "method": "Runtime.evaluate", "params": ask}))
        while (answer := json.loads(str(await self._socket.read_message()))).get("id") != number:
            pass
        result = answer["result"]
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")


@contextlib.contextmanager
def chrome(folder: Path) -> Iterator[str]:
    """A headless Chromium for the length of a block, its profile in a fresh folder; gives where it listens."""
    port = free_port()
    at = f"http://127.0.0.1:{port}/json"
    with spawned([chromium(), "--headless=new", *CHROMIUM_FLAGS, f"--remote-debugging-port={port}",
                  f"--user-data-dir={folder / 'profile'}"], f"{at}/version", folder / "chromium.log"):
        yield at


@contextlib.asynccontextmanager
async def tab(at: str, url: str) -> AsyncIterator[Tab]:
    """A page for the length of a block."""
    client = AsyncHTTPClient()
    found = json.loads((await client.fetch(f"{at}/new?{quote(url, safe=':/?=&')}", method="PUT", body=b"")).body)
    socket = await websocket_connect(found["webSocketDebuggerUrl"])
    try:
        yield Tab(socket)
    finally:
        await client.fetch(f"{at}/close/{found['id']}")
        socket.close()
