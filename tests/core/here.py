"""What a test needs of the machine."""

from __future__ import annotations

import os
from typing import Any

from core.backends import open_backend
from core.errors import BackendError
from tests.kernels.conftest import absent


def wgpu_here() -> Any:
    """A fresh wgpu backend; where there is no adapter, a developer's test skips and CI's fails."""
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")  # Mesa warns without one
    try:
        return open_backend("wgpu")
    except BackendError as error:
        absent(f"wgpu adapter ({error})")
