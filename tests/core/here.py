"""What a test needs of the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.backends import open_backend
from core.errors import BackendError
from tests.kernels.conftest import absent

PEER = os.environ.get("ZSPACE_PEER_PYTHON")
needs_peer = pytest.mark.skipif(PEER is None, reason="ZSPACE_PEER_PYTHON names no Python with another library")


def wgpu_here() -> Any:
    """A fresh wgpu backend; where there is no adapter, a developer's test skips and CI's fails."""
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")  # Mesa warns without one
    try:
        return open_backend("wgpu")
    except BackendError as error:
        absent(f"wgpu adapter ({error})")


def ask_peer(script: str, library: str, *words: str) -> None:
    """Run a script of this folder by the Python that has a library; a test skips where even that one lacks it."""
    assert PEER is not None
    root = Path(__file__).parents[2]
    done = subprocess.run([PEER, str(Path(__file__).with_name(script)), *words], capture_output=True, text=True,
                          cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    if done.returncode == 77:
        pytest.skip(f"{PEER} has no {library}")
    assert done.returncode == 0, done.stderr
