"""Files that are whole at every instant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.runs.failpoints import failpoint
from core.runs.journal import io_error


def write_atomic(path: Path, data: bytes, kind: str = "atomic") -> None:
    """Replace a file as a whole: at every instant a reader sees the old bytes or the new ones, after a crash too.

    The bytes go to `.NAME.tmp` beside the file, are synced, and then take its name. One writer a file.

    Parameters
    ----------
    path
        The file; its folder must exist.
    data
        The new content.
    kind
        Prefix of the names of the fail points on the way (see `core.runs.failpoints`).

    Raises
    ------
    RunError
        When the operating system refuses; the old file is untouched then.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        with open(beside, "wb") as file:
            half = len(data) // 2
            file.write(data[:half])
            failpoint(f"{kind}.half", file.flush)
            file.write(data[half:])
            file.flush()
            os.fsync(file.fileno())
        failpoint(f"{kind}.before_replace")
        os.replace(beside, path)
        failpoint(f"{kind}.after_replace")
        sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)  # half a file on a full disk would only make it fuller
        raise io_error(path, "write the file", error) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        value = json.loads(path.read_bytes().decode())
    except OSError as error:
        raise io_error(path, "read the file", error) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not JSON in UTF-8 ({error}); restore it from a copy.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds a {type(value).__name__} where an object is needed; restore it from a copy.")
    return value


def sync_folder(path: Path) -> None:
    """Force a folder's entries onto the disk, so that a new name survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
