"""A page without a browser: a bare WebSocket client of a Panel server, for benchmarks and for attacks.

    page = await Page.open("http://127.0.0.1:5006/workbench")
    await page.send(encode(message))
    batch = decode_all(await page.receive(), "browser")

It speaks just enough of Bokeh's protocol to be a page to the server: it takes the token from the HTML, pulls the
document, says that it is ready, and talks with the one model that renders the component `Link`. Nothing runs in the
background: messages are read when asked for, so a page that does not read is a slow client.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

COMPONENT = "Link"
TOKEN = re.compile(r'render_items = \[\{"token":"([^"]+)"')
MAX_BYTES = 64 << 20  # of one frame from the server; Tornado's own limit is 10 MiB


class Reply(NamedTuple):
    """One message of Bokeh's protocol."""

    header: dict[str, Any]
    content: dict[str, Any]
    buffers: dict[str, bytes]


class Page:
    """One session of a served app. Made by `open`.

    Attributes
    ----------
    model : str
        Id of the component's model.
    errors : list of str
        What the server answered with ERROR while messages were read.
    """

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.model = ""
        self.errors: list[str] = []
        self._socket = socket
        self._arrived: deque[bytes] = deque()
        self._parts: list[Any] = []  # of a message under way, kept here so that a wait may be cancelled
        self._closed = False
        self._numbers = itertools.count()

    @classmethod
    async def open(cls, url: str) -> Page:
        """Load the app at an address such as http://127.0.0.1:5006/workbench, as a browser does.

        Raises
        ------
        LookupError
            The page carries no token, or its document no component.
        """
        html = (await AsyncHTTPClient().fetch(url)).body.decode()
        token = TOKEN.search(html)
        if token is None:
            raise LookupError(f"{url} is not a page of a Bokeh server")
        where = urlsplit(url)
        request = HTTPRequest(f"ws://{where.netloc}{where.path.rstrip('/')}/ws",
                              headers={"Origin": f"{where.scheme}://{where.netloc}"})
        socket = await websocket_connect(request, subprotocols=["bokeh", token[1]], max_message_size=MAX_BYTES)
        assert socket.protocol is not None
        socket.protocol.set_nodelay(True)  # as browsers do: a message is several small frames
        page = cls(socket)
        await page._until("ACK")
        await page.send_raw(page._header("PULL-DOC-REQ"), {}, {})
        document = (await page._until("PULL-DOC-REPLY")).content["doc"]
        found = [model["id"] for model in _models(document) if model["attributes"].get("class_name") == COMPONENT]
        if not found:
            await page.close()
            raise LookupError(f"the document of {url} has no component {COMPONENT}")
        page.model = found[0]
        await page._event("document_ready", {"type": "map"})  # what `pn.state.onload` waits for
        return page

    async def send(self, data: bytes) -> None:
        """Send bytes to the component's `_handle_msg`, as the page's `model.send_msg(buffer)` does."""
        held = {"type": "bytes", "data": {"id": "0"}}
        await self._event("data_event", {"type": "map", "entries": [["model", {"id": self.model}], ["data", held]]},
                          [("0", data)])

    async def receive(self) -> bytes:
        """The next bytes of the component's `_send_msg`; errors on the way go to `errors`."""
        while not self._arrived:
            reply = await self.read()
            if reply.header["msgtype"] == "ERROR":
                self.errors.append(reply.content["text"])
            self._arrived.extend(self._ours(reply))
        return self._arrived.popleft()

    async def read(self) -> Reply:
        """The next message of the protocol, whatever it says.

        Raises
        ------
        tornado.websocket.WebSocketClosedError
            The server has hung up.
        """
        while len(self._parts) < 3 or len(self._parts) < 3 + 2 * json.loads(self._parts[0]).get("num_buffers", 0):
            part = await self._socket.read_message()
            if part is None:
                self._closed = True
                raise WebSocketClosedError(f"closed by the server, code {self._socket.close_code}")
            self._parts.append(part)
        header, _, content, *buffers = self._parts
        self._parts = []
        names = [json.loads(name)["id"] for name in buffers[::2]]
        return Reply(json.loads(header), json.loads(content), dict(zip(names, buffers[1::2], strict=True)))

    async def send_raw(self, header: Any, metadata: Any, content: Any, buffers: Sequence[tuple[Any, Any]] = ()) -> None:
        """Send the parts of a message unchecked: text and bytes as they are, all else as JSON.

        Parameters
        ----------
        header, metadata, content
            The three parts that each message has; a truthful header has `num_buffers` where there are buffers.
        buffers : sequence of (id, payload)
        """
        parts = [header, metadata, content]
        for name, payload in buffers:
            parts += [{"id": name}, payload]
        # all parts are queued before the first wait, so that two tasks' messages do not interleave
        sent = [self._socket.write_message(part if isinstance(part, str | bytes) else json.dumps(part),
                                           binary=isinstance(part, bytes)) for part in parts]
        for future in sent:
            await future

    async def close(self) -> None:
        """Hang up, and wait until the server has too."""
        self._socket.close()
        while not self._closed:
            self._closed = await self._socket.read_message() is None

    def _header(self, kind: str, buffers: int = 0) -> dict[str, Any]:
        """A header with the next number."""
        header: dict[str, Any] = {"msgid": f"page-{next(self._numbers)}", "msgtype": kind}
        return header | {"num_buffers": buffers} if buffers else header

    async def _event(self, name: str, values: dict[str, Any], buffers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Send an event as BokehJS does."""
        event = {"kind": "MessageSent", "msg_type": "bokeh_event",
                 "msg_data": {"type": "event", "name": name, "values": values}}
        await self.send_raw(self._header("PATCH-DOC", len(buffers)), {}, {"events": [event]}, buffers)

    async def _until(self, kind: str) -> Reply:
        """The next message of a kind."""
        while (reply := await self.read()).header["msgtype"] != kind:
            pass
        return reply

    def _ours(self, reply: Reply) -> Iterator[bytes]:
        """The bytes that a message brings from the component."""
        for event in reply.content.get("events", ()):
            sent = event["msg_data"] if event["kind"] == "MessageSent" else {}
            if sent.get("name") == "esm_event":
                values = dict(sent["values"]["entries"])
                if values["model"]["id"] == self.model:
                    yield reply.buffers[values["data"]["data"]["id"]]


def _models(part: Any) -> Iterator[dict[str, Any]]:
    """Every object with an id and attributes in a document's JSON."""
    if isinstance(part, dict):
        if "id" in part and "attributes" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _models(inner)
