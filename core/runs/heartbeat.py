"""Signs of life of the process that trains a run, and whether it still lives."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.runs.files import read_object, write_atomic

STATES = ("running", "paused", "finished", "stopped", "failed")
BEAT_SECONDS = 1.0
STALE_SECONDS = 30.0  # older heartbeats of a process that cannot be looked up count as dead


class Heartbeat:
    """Signs of life of this process: heartbeat.json {pid, start, boot_id, host, time, step, state}.

    `start` is the process's start time in clock ticks after boot, `time` is Unix time in seconds. While paused, too,
    beat every few seconds, for readers on other machines.

    Parameters
    ----------
    path
        The run's heartbeat.json; one process a run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = ""
        self._written = -BEAT_SECONDS
        pid = os.getpid()
        self._self = {"pid": pid, "start": _start_time(pid), "boot_id": _boot_id(), "host": platform.node()}

    def beat(self, step: int, state: str = "running") -> None:
        """Write the sign of life, unless the last is younger than a second and says the same state.

        Raises
        ------
        RunError
            For a state that is not in `STATES`, or when the file cannot be written.
        """
        if state not in STATES:
            raise RunError(f"A run cannot be {state!r}; its states are {', '.join(STATES)}.")
        now = time.monotonic()
        if state == self._state and now - self._written < BEAT_SECONDS:
            return
        record = {**self._self, "time": time.time(), "step": step, "state": state}
        write_atomic(self._path, json.dumps(record).encode() + b"\n")
        self._state, self._written = state, now


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """Read the newest sign of life, or None where there was none yet.

    Raises
    ------
    RunError
        When the file is not such a record.
    """
    if not path.exists():
        return None
    beat = read_object(path)
    if beat.get("state") not in STATES or not isinstance(beat.get("time"), int | float):
        raise RunError(f"{path} is no heartbeat (time, and one of {', '.join(STATES)}); delete it.")
    return beat


def status_of(beat: Mapping[str, Any] | None) -> str:
    """What a run does now, by its newest sign of life; see `RunFolder.status`."""
    if beat is None:
        return "created"
    state = str(beat["state"])
    return state if state not in ("running", "paused") or _is_alive(beat) else "interrupted"


def _boot_id() -> str | None:
    """Linux's identity of this boot, None elsewhere."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def _start_time(pid: int) -> int | None:
    """Start of a living process in clock ticks after boot (proc(5), stat field 22); None if dead or without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command name before may hold spaces and parentheses
    return None if fields[0] in "ZXx" else int(fields[19])  # a zombie is dead, though its parent has not looked yet


def _is_alive(beat: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a heartbeat still lives."""
    boot_id = _boot_id()
    if boot_id is None or beat.get("host") != platform.node():
        return abs(time.time() - float(beat["time"])) < STALE_SECONDS  # clocks differ a little
    if beat.get("boot_id") != boot_id or not isinstance(beat.get("pid"), int):
        return False
    start = _start_time(beat["pid"])
    return start is not None and start == beat.get("start")
