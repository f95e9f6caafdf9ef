"""Processes of benchmarks: started, waited for, measured, ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.serving import ROOT, wait_for

PANEL = str(Path(sys.executable).parent / "panel")


@contextlib.contextmanager
def spawned(command: list[str], url: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """A process for the length of a block, entered with its id once it answers at an address."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                                   env={**os.environ, **(environment or {})})

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5).close()
            return True
        return False

    try:
        wait_for(answers)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far, in user and kernel; known of one that ended until somebody waits for it."""
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]  # a name may hold anything
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def stamp() -> str:
    """When, and how busy the machine is: with others at work, only what was paired means something."""
    cores = len(os.sched_getaffinity(0))
    return f"{time.strftime('%H:%M:%S')}, {cores} cores, load {' '.join(f'{x:.2f}' for x in os.getloadavg())}"
