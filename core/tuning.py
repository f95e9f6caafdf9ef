"""Which variant of a kernel is fastest on this device: measured once, kept in the user's cache folder.

Variants of one kernel must add in the same order: a choice may cost time, never a digit. So a run repeats bit for bit
whatever was chosen, and what was chosen is recorded as information alone.

The file is ``zspace/tuning.json`` in `XDG_CACHE_HOME` or ``~/.cache``; `ZSPACE_CACHE` names another folder. Writers
merge with what is there under a lock, and replace the file as a whole. One that cannot be read is set aside.
"""

from __future__ import annotations

import fcntl
import json
import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from core.errors import RunError
from core.primitives import Shape
from core.runs.files import write_atomic
from core.runs.journal import io_error

VERSION = 1
ROUNDS = 5  # of measuring all candidates in turn, after one to warm up
Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Key:
    """What a choice holds for; `key` makes one.

    Attributes
    ----------
    kernel, source : str
        Name, and digest of the source.
    device, driver, dtype : str
    shape : tuple of int
        Each size rounded up to a power of two.
    frame : str, optional
        Signature of the frame that the kernel is specialised to.
    """

    kernel: str
    source: str
    device: str
    driver: str
    dtype: str
    shape: Shape
    frame: str | None = None


@dataclass(frozen=True)
class Entry:
    """One choice: for what, which candidate (as JSON), Unix time of the measurement, median seconds of each."""

    key: Key
    choice: Any
    time: float
    seconds: tuple[float, ...]


def key(kernel: str, source_digest: str, device: str, driver: str, dtype: str, shape: Shape,
        frame: str | None = None) -> Key:
    """What a choice holds for: sizes up to the next power of two share it; the frame only where it is in the kernel."""
    return Key(kernel, source_digest, device, driver, dtype, tuple(bucket(n) for n in shape), frame)


def bucket(n: int) -> int:
    """The power of two from n on, 0 for 0."""
    return 1 << (n - 1).bit_length() if n else 0


def cache_folder() -> Path:
    """Where this user keeps what can be made again: $ZSPACE_CACHE, else zspace in the system's cache folder."""
    folder = os.environ.get("ZSPACE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) if folder else Path(home) / "zspace"


def cache_file() -> Path:
    """Where choices are kept."""
    return cache_folder() / "tuning.json"


def tuned(key: Key, candidates: Sequence[Candidate], measure: Callable[[Candidate], float]) -> Candidate:
    """The fastest candidate: known from memory or the file, else measured now and kept.

    Parameters
    ----------
    candidates : sequence
        Variants as JSON takes them (numbers, texts, lists of them), equal in every bit of what they compute.
    measure : callable
        ``measure(candidate) -> seconds`` of one run that the device has finished.
    """
    return tuner().tuned(key, candidates, measure)


def chosen() -> dict[str, Any]:
    """What this process has asked for and been given: kernel, type, shape bucket -> choice."""
    return {f"{k.kernel} {k.dtype} {'x'.join(map(str, k.shape))}": e.choice for k, e in tuner().used.items()}


def tuner() -> Tuner:
    """The choices in `cache_file`."""
    return _tuner(cache_file())


@cache
def _tuner(path: Path) -> Tuner:
    return Tuner(path)


class Tuner:
    """Choices in memory and in one file; any number of processes and threads may share the file.

    Parameters
    ----------
    path : Path
        The file; made, with its folder, when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: dict[Key, Entry] = {}
        self._known: dict[Key, Entry] | None = None
        self._lock = threading.RLock()

    def tuned(self, key: Key, candidates: Sequence[Candidate], measure: Callable[[Candidate], float]) -> Candidate:
        """See `core.tuning.tuned`."""
        with self._lock:
            if key in self.used:
                return _pick(candidates, self.used[key].choice)
            if self._known is None:
                self._known = self._load()
            entry = self._known.get(key)
            if entry is None or _json(entry.choice) not in map(_json, candidates):  # or the candidates have changed
                entry = _measured(key, candidates, measure)
                self._keep(entry)
            self.used[key] = entry
            return _pick(candidates, entry.choice)

    def entries(self) -> list[Entry]:
        """What the file holds.

        Raises
        ------
        RunError
            The operating system refuses.
        """
        if not self.path.exists():
            return []
        with self._file_lock():
            return self._read()

    def clear(self) -> int:
        """Forget everything; returns how many choices the file held."""
        if not self.path.exists():
            return 0
        with self._lock, self._file_lock():
            count = len(self._read())
            self.path.unlink(missing_ok=True)
            self.used, self._known = {}, None
        return count

    def _load(self) -> dict[Key, Entry]:
        """The file for this process; nothing that is wrong with it may stop the work it speeds up."""
        try:
            return {e.key: e for e in self.entries()}
        except RunError as error:
            warnings.warn(f"kernels are tuned anew: {error}", RuntimeWarning, stacklevel=2)
            return {}

    def _keep(self, entry: Entry) -> None:
        """Merge into the file. Where that cannot be written the choice lives as long as the process."""
        assert self._known is not None
        self._known[entry.key] = entry
        try:
            with self._file_lock():
                self._known = {e.key: e for e in self._read()} | {entry.key: entry}
                record = {"version": VERSION, "entries": [asdict(e) for e in self._known.values()]}
                write_atomic(self.path, json.dumps(record, indent=1).encode() + b"\n")
        except RunError as error:
            warnings.warn(f"the choice for {entry.key.kernel} is not kept: {error} ZSPACE_CACHE names another folder.",
                          RuntimeWarning, stacklevel=2)

    def _read(self) -> list[Entry]:
        """Under the lock. A file that is broken, or another version's, is set aside with a warning."""
        if not self.path.exists():
            return []
        try:
            record = json.loads(self.path.read_bytes())
            if record["version"] != VERSION:
                raise ValueError(f"version {record['version']!r}, not {VERSION}")
            return [_entry(e) for e in record["entries"]]
        except (ValueError, KeyError, TypeError) as error:
            aside = self.path.with_name(f"{self.path.name}.broken-{time.time_ns()}")
            os.replace(self.path, aside)
            warnings.warn(f"{self.path} cannot be read ({error}): it is set aside as {aside.name}, and kernels are "
                          "tuned anew", RuntimeWarning, stacklevel=2)
            return []

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """One process at a time, by a lock on a file beside: the file itself is replaced."""
        beside = self.path.with_name(f"{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside, "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise io_error(beside, "use the cache of tuned kernels", error) from error


def _measured(key: Key, candidates: Sequence[Candidate], measure: Callable[[Candidate], float]) -> Entry:
    """All candidates in turn, so that a busy moment of the machine meets all of them."""
    for candidate in candidates:
        measure(candidate)
    rounds = [[measure(candidate) for candidate in candidates] for _ in range(ROUNDS)]
    seconds = tuple(statistics.median(each) for each in zip(*rounds, strict=True))
    return Entry(key, json.loads(_json(candidates[seconds.index(min(seconds))])), time.time(), seconds)


def _pick(candidates: Sequence[Candidate], choice: Any) -> Candidate:
    """The candidate that JSON turned into `choice`."""
    return next(c for c in candidates if _json(c) == _json(choice))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _entry(record: dict[str, Any]) -> Entry:
    """Back from the file."""
    of = record["key"]
    return Entry(Key(**{**of, "shape": tuple(of["shape"])}), record["choice"], float(record["time"]),
                 tuple(record["seconds"]))
