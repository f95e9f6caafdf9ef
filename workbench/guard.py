"""Who may talk to the server and what its pages may load.

A plain `panel serve` listens on every address, so every request from another machine is refused until a login is
configured. Pages may load nothing but what this server sends, and run no script that it did not write.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from functools import wraps
from typing import Any

from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from panel.config import config
from panel.io.server import DocHandler
from tornado.web import RequestHandler

from workbench.bucket import TokenBucket

POLICY = ("default-src 'self'; script-src 'self' 'nonce-{nonce}' blob:; style-src 'self' 'unsafe-inline'; "
          "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob:; worker-src 'self' blob:; "
          "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'")
# of the one file that runs users' scripts: WebAssembly compiles there and nowhere else
SCRIPTS, SCRIPTS_POLICY = "/static/script_worker.js", ("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
                                                       "connect-src 'self'")
FRAMES_PER_SECOND, FRAME_BURST = 2000.0, 2000.0  # of a socket; a page sends a few dozen messages a second
FRAMES_A_TURN = 8  # a message is five
BREATH_SECONDS = 0.05
REFUSAL = ("This workbench answers only the machine it runs on. To reach it from elsewhere, start it with a login: "
           "panel serve workbench --basic-auth PASSWORD --cookie-secret SECRET\n")


def install() -> None:
    """Put the guard in front of every handler of this process; a second call does nothing."""
    if getattr(BokehTornado.find_handler, "guarded", False):
        return
    _refuse_strangers()
    _set_headers()
    _send_at_once()
    _share_the_loop()


def check_login() -> None:
    """Refuse to start with a login that would answer every request with an error.

    Raises
    ------
    SystemExit
        A password without the secret that signs its cookies; Bokeh would only log any other exception.
    """
    if config.basic_auth and not config.cookie_secret:
        raise SystemExit("--basic-auth needs a secret to sign its cookies: add --cookie-secret with a long random text")


def login_configured() -> bool:
    """Whether Panel asks visitors who they are."""
    return bool(config.basic_auth or config.oauth_provider)


def is_local(address: str | None, host: str) -> bool:
    """Whether a request comes from this machine and was addressed to it.

    The second half stops a foreign page whose name was made to point here (DNS rebinding).
    """
    try:
        peer = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return (mapped or peer).is_loopback and name.strip("[]").lower() in ("localhost", "127.0.0.1", "::1")


class Refused(RequestHandler):
    """Answers whoever may not come in, whatever they ask for."""

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(REFUSAL)


def _refuse_strangers() -> None:
    """HTTP and WebSocket requests alike pass through the application's `find_handler`."""
    found = BokehTornado.find_handler

    @wraps(found)
    def find_handler(self: BokehTornado, request: Any, **kwargs: Any) -> Any:
        if login_configured() or is_local(request.remote_ip, request.host):
            return found(self, request, **kwargs)
        return self.get_handler_delegate(request, Refused)

    find_handler.guarded = True  # type: ignore[attr-defined]
    BokehTornado.find_handler = find_handler  # type: ignore[method-assign, assignment]


def _set_headers() -> None:
    """A content security policy on every answer; only the server's own inline scripts carry its nonce."""

    def set_default_headers(self: RequestHandler) -> None:
        self.nonce = secrets.token_urlsafe(16)  # type: ignore[attr-defined]
        policy = SCRIPTS_POLICY if self.request.path.endswith(SCRIPTS) else POLICY
        self.set_header("Content-Security-Policy", policy.format(nonce=self.nonce))  # type: ignore[attr-defined]
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    write = DocHandler.write

    @wraps(write)
    def write_with_nonce(self: Any, chunk: Any) -> None:
        # safe: a page of ours holds no text from users; their data comes over the socket
        write(self, chunk.replace("<script", f'<script nonce="{self.nonce}"') if isinstance(chunk, str) else chunk)

    RequestHandler.set_default_headers = set_default_headers  # type: ignore[method-assign]
    DocHandler.write = write_with_nonce  # type: ignore[method-assign]


def _send_at_once() -> None:
    """Bokeh sends a message as several small frames; with Nagle's algorithm each round trip would wait 40 ms."""
    opened = WSHandler.open

    @wraps(opened)
    def open_without_delay(self: WSHandler, *args: Any) -> Any:
        self.set_nodelay(True)
        return opened(self, *args)

    WSHandler.open = open_without_delay  # type: ignore[method-assign]


def _share_the_loop() -> None:
    """A socket whose buffer is full would be read without a break; here each frame waits its turn, and floods more."""
    read = WSHandler.on_message

    @wraps(read)
    async def on_message(self: Any, fragment: str | bytes) -> None:
        if not hasattr(self, "pace"):
            self.pace, self.frames = TokenBucket(FRAMES_PER_SECOND, FRAME_BURST), 0
        self.frames += 1
        if not self.pace.take():
            await asyncio.sleep(BREATH_SECONDS)
        elif self.frames % FRAMES_A_TURN == 0:
            await asyncio.sleep(0)
        await read(self, fragment)

    WSHandler.on_message = on_message  # type: ignore[method-assign]
