"""What `make browser` stages is what was published, and all that a page can load; without it nothing pretends."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.serving import absent
from workbench import staging


class Files(SimpleHTTPRequestHandler):
    """A registry's."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_what_is_staged_is_listed_with_its_digest() -> None:
    report = staging.staged() or absent("staged Python: make browser")
    assert report["pyodide"] == staging.VERSION
    lock = json.loads((staging.TARGET / "pyodide-lock.json").read_text())
    assert lock["info"]["python"] == report["python"]
    assert set(lock["packages"]) == {"zspace-canvas"} | ({"numpy"} if report["numpy"] else set())
    for package in lock["packages"].values():
        assert hashlib.sha256((staging.TARGET / package["file_name"]).read_bytes()).hexdigest() == package["sha256"]


def test_without_npm_the_registry_of_its_environment_is_asked_and_not_believed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, build = tmp_path / "registry", tmp_path / "build"
    (served / "pyodide/-").mkdir(parents=True)
    build.mkdir()
    (served / f"pyodide/-/pyodide-{staging.VERSION}.tgz").write_bytes(b"something else")
    monkeypatch.setattr(staging, "BUILD", build)
    monkeypatch.setattr(staging.shutil, "which", lambda name: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(SystemExit, match="is not what was published: its SHA-512"):
            staging._runtime()
        server.shutdown()
        thread.join()
    assert not list(build.iterdir())


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No such file"):
        staging._run("ls", tmp_path / "nothing")


def test_nothing_staged_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "TARGET", tmp_path)
    assert staging.staged() is None
