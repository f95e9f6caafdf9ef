"""The real server for tests and benchmarks: `panel serve workbench`, started, killed and started again."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync"]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(what: Callable[[], Any], seconds: float = 60, every: float = 0.05) -> Any:
    """The first true value of `what`; an AssertionError that names it after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"{getattr(what, '__name__', what)} did not come true in {seconds} s"
        time.sleep(every)
    return value


class Server:
    """`panel serve workbench` in a process of its own, over a folder of runs."""

    def __init__(self, runs: Path, *options: str, texts: Path = ROOT, port: int | None = None) -> None:
        self.runs, self.options, self.texts, self.port = runs, options, texts, port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = runs.parent / f"server-{self.port}.log"

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/workbench"

    def start(self) -> Server:
        """Start it and wait until it answers."""
        env = {**os.environ, "ZSPACE_RUNS": str(self.runs), "ZSPACE_TEXTS": str(self.texts)}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "panel"), "serve", "workbench", "--port", str(self.port),
                 *self.options], cwd=ROOT, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.answers, 60)
        return self

    def answers(self) -> bool:
        """Whether a file of the page can be had."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{self.url}/static/icon.svg", timeout=5).close()
            return True
        return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the server, and the work it had started: no test leaves a trainer behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        for beat in self.runs.glob("*/heartbeat.json"):
            record = json.loads(beat.read_text())
            if record["state"] in ("running", "paused") and Path(f"/proc/{record['pid']}").exists():
                os.kill(record["pid"], signal.SIGKILL)


@contextlib.contextmanager
def serving(runs: Path, *options: str, **places: Any) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(runs, *options, **places)
    try:
        yield server.start()
    finally:
        server.stop()


def absent(what: str) -> NoReturn:
    """Skip where a developer lacks something, fail where CI does."""
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"there is no {what} here")


def chromium() -> str:
    """Where Chromium is; without it a test is skipped, but fails where everything must be there."""
    return shutil.which("chromium") or absent("chromium: apt-get install chromium")


def records(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a journal."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def folded(row: dict[str, Any]) -> np.ndarray:
    """The relation that a row of applied.jsonl records for the atlas chart."""
    fold = row["fold"]["atlas"]
    return np.frombuffer(base64.b64decode(fold["relation"]), "<f8").reshape(fold["shape"])
