"""What a frame costs at least: the same bytes over a plain Tornado WebSocket, no codec, no Panel, no checks.

    python -m tests.bench.frames_app.raw PORT

Sends a frame for each word it receives; the client begins with two words, so that two are in flight here too. An echo
of the frame would carry every byte twice, which the page's channel does not.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tests.bench.frames_app.frame import Frames


class Home(RequestHandler):
    """A page to open a socket from."""

    def get(self) -> None:
        self.write("<!doctype html><title>raw</title>")


class Raw(WebSocketHandler):
    def open(self) -> None:
        self.set_nodelay(True)
        self.data = Frames().next()[0].tobytes()

    async def on_message(self, _: str | bytes) -> None:
        await self.write_message(self.data, binary=True)


async def main() -> None:
    Application([("/", Home), ("/ws", Raw)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
