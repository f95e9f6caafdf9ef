"""Where the server finds runs and texts; environment variables, so that a plain `panel serve workbench` takes them."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def runs_folder() -> Path:
    """Folder of the runs: $ZSPACE_RUNS, else ./runs."""
    return Path(os.environ.get("ZSPACE_RUNS") or "runs").resolve()


def text_root() -> Path:
    """The folder that texts must lie in: $ZSPACE_TEXTS, else where the server was started."""
    return Path(os.environ.get("ZSPACE_TEXTS") or ".").resolve()
