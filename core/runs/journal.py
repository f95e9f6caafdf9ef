"""Append-only logs, one JSON object a line, that survive `kill -9`.

A record is acknowledged when `Journal.append` returns: write(2) has taken all of it, newline included. What a dying
writer leaves behind is at most one line without a newline; the next writer moves it to `<name>.torn`, so that it never
glues itself to the next good record.

Strict JSON has no NaN or infinity. Such a float is written as null, and the record gains the key `nonfinite`, which
maps the JSON pointer (RFC 6901) of each to "nan", "inf" or "-inf": `{"loss":null,"nonfinite":{"/loss":"nan"}}`.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import math
import mmap
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from core.errors import RunError
from core.runs.failpoints import failpoint

SYNC_SECONDS = 2.0
LOCK_SECONDS = 10.0

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space there or choose another folder for runs"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "allow writing there or choose another folder"),
    errno.ENOENT: "create its folder first",
}


def io_error(path: Path, action: str, error: OSError) -> RunError:
    """Turn an operating-system error into a `RunError` that names the path, the cause and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "check the disk and try again")
    return RunError(f"{path}: could not {action} ({error.strerror or error}); {remedy}.")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Encode one record as the line that a journal writes, newline included.

    Floats keep full precision (shortest text that reads back to the same double); NumPy scalars and arrays become
    numbers and lists. See the module's docstring for NaN and infinity.

    Raises
    ------
    RunError
        For a key that is not text, a value that JSON lacks, text with a lone surrogate, or a key named `nonfinite`
        beside a float that is not finite.
    """
    nonfinite: dict[str, str] = {}
    plain = _plain(record, "", nonfinite)
    if nonfinite:
        if "nonfinite" in plain:
            raise RunError("The key 'nonfinite' belongs to the journal itself; give the record's own key another name.")
        plain["nonfinite"] = nonfinite
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError as error:
        raise RunError(f"A record holds half a surrogate pair ({text[error.start]!r}), which UTF-8 lacks.") from error


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Read every good record of a journal.

    Returns
    -------
    records
        The records in file order.
    bad
        How many lines were skipped: broken UTF-8, not a JSON object, or torn (no newline at the end).

    Raises
    ------
    RunError
        When the file cannot be read.
    """
    records, bad = [], 0
    try:
        with open(path, "rb") as file:
            for line in file:
                record = _parse(line)
                if record is None:
                    bad += 1
                else:
                    records.append(record)
    except OSError as error:
        raise io_error(path, "read the journal", error) from error
    return records, bad


class Journal:
    """The writing end of an append-only JSONL file; safe to use from several threads.

    Parameters
    ----------
    path
        The file; created where missing, its folder must exist.
    shared
        False: this object is the only writer and holds the file's lock until `close`. True: several processes may
        write; each append takes the lock for itself and gives the record the next sequence number, `seq`, from 1.

    Raises
    ------
    RunError
        When another writer holds the file, or the operating system refuses.
    """

    def __init__(self, path: Path | str, shared: bool = False) -> None:
        self.path = Path(path)
        self.shared = shared
        self._mutex = threading.Lock()  # flock does not keep apart threads that share one descriptor
        self._end = -1  # file size after the last own append; anything else means that somebody else wrote
        self._last_seq = 0
        self._synced = time.monotonic()
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise io_error(self.path, "open the journal", error) from error
        try:
            self._lock(LOCK_SECONDS if shared else 0.0)
            self._recover()
            if shared:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write one record; when this returns, it survives the death of the process.

        Returns
        -------
        dict
            The record, with its `seq` first where the journal is shared.

        Raises
        ------
        RunError
            When the record cannot be encoded (see `encode_record`), brings its own `seq` to a shared journal, or
            cannot be written. Nothing of it stays in the file then.
        """
        with self._mutex:
            self._check_open()
            if self.shared:
                if "seq" in record:
                    raise RunError(f"{self.path}: a record brings seq={record['seq']!r}; leave that to the journal.")
                self._lock(LOCK_SECONDS)
            try:
                self._recover()
                written = {"seq": self._last_seq + 1, **record} if self.shared else dict(record)
                self._write(encode_record(written))
                self._last_seq += 1
            finally:
                if self.shared:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()
            return written

    def sync(self) -> None:
        """Force what was appended onto the disk (fsync), so that it survives a power cut too."""
        with self._mutex:
            self._check_open()
            self._sync()

    def close(self) -> None:
        """Sync, give the lock back and close the file. A second call does nothing."""
        with self._mutex:
            if self._fd < 0:
                return
            try:
                self._sync()
            finally:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        """Refuse to work on a closed journal."""
        if self._fd < 0:
            raise RunError(f"{self.path}: this journal is closed; open a new Journal to go on writing.")

    def _sync(self) -> None:
        """Fsync and remember when."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise io_error(self.path, "sync the journal to disk", error) from error
        self._synced = time.monotonic()

    def _lock(self, patience: float) -> None:
        """Take the exclusive lock, waiting at most `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RunError(
                        f"{self.path}: another process has been writing this journal for {patience:g} s or more; "
                        "stop it first, or start a new run."
                    ) from None
            except OSError as error:
                raise io_error(self.path, "lock the journal", error) from error
            time.sleep(0.002)

    def _write(self, line: bytes) -> None:
        """Write one whole line at the end of the file, or nothing."""
        failpoint("journal.before")
        failpoint("journal.half", lambda: os.write(self._fd, line[: len(line) // 2]))
        try:
            rest = memoryview(line)
            try:
                while rest:  # one write(2), unless the disk takes only a part
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                os.ftruncate(self._fd, self._end)
                raise
        except OSError as error:
            raise io_error(self.path, "append a record", error) from error
        self._end += len(line)
        failpoint("journal.after")

    def _recover(self) -> None:
        """Where the file is not as this object left it, set a torn tail aside and find the last sequence number."""
        try:
            size = os.fstat(self._fd).st_size
            if size == self._end:
                return
            self._end, self._last_seq = 0, 0
            if size == 0:
                return
            with mmap.mmap(self._fd, size, access=mmap.ACCESS_READ) as view:
                self._end = view.rfind(b"\n") + 1
                torn = view[self._end :]
                if self.shared:
                    self._last_seq = _last_sequence(view, self._end)
            if torn:
                with open(self.path.with_name(self.path.name + ".torn"), "ab") as aside:
                    aside.write(torn + b"\n")
                os.ftruncate(self._fd, self._end)
        except OSError as error:
            raise io_error(self.path, "set the torn last line aside", error) from error


class Follower:
    """The reading end of a journal that is still being written.

    Parameters
    ----------
    path
        The file; it need not exist yet.

    Attributes
    ----------
    bad
        Complete lines skipped so far because they are not JSON objects in UTF-8.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.bad = 0
        self._offset = 0  # just after a newline, always: a torn tail may still be cut off and written anew

    def poll(self) -> list[dict[str, Any]]:
        """Return the complete records since the last call, oldest first; never a torn line.

        Raises
        ------
        RunError
            When the file cannot be read, or became shorter than what was already read.
        """
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            size, data = 0, b""
        except OSError as error:
            raise io_error(self.path, "read the journal", error) from error
        if size < self._offset:
            raise RunError(f"{self.path}: {size} bytes, but {self._offset} were read before; reopen the run.")
        records = []
        complete = data[: data.rfind(b"\n") + 1]
        for line in io.BytesIO(complete):
            record = _parse(line)
            if record is None:
                self.bad += 1
            else:
                records.append(record)
        self._offset += len(complete)
        return records


def _pointer(parent: str, key: object) -> str:
    """JSON pointer (RFC 6901) of a member of `parent`."""
    return f"{parent}/{str(key).replace('~', '~0').replace('/', '~1')}"


def _plain(value: Any, pointer: str, nonfinite: dict[str, str]) -> Any:
    """`value` in strict JSON's types; floats that are not finite become None and are entered in `nonfinite`."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        nonfinite[pointer] = str(value)
        return None
    if isinstance(value, Mapping):
        if bad := [key for key in value if not isinstance(key, str)]:
            raise RunError(f"{pointer or 'The record'} has the key {bad[0]!r}; a record's keys must be text.")
        return {key: _plain(item, _pointer(pointer, key), nonfinite) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, _pointer(pointer, index), nonfinite) for index, item in enumerate(value)]
    raise RunError(f"{pointer} is a {type(value).__name__}, which JSON lacks; give numbers, text, lists or mappings.")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of one line, or None for a line that is torn, not UTF-8 or not an object in strict JSON."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's parser would take."""
    raise ValueError(name)


def _last_sequence(view: mmap.mmap, end: int) -> int:
    """Highest number that the complete lines before `end` may have used; a bad line counts as one number."""
    unreadable = 0
    while end > 0:
        start = view.rfind(b"\n", 0, end - 1) + 1
        record = _parse(view[start:end])
        if record is not None and type(record.get("seq")) is int:
            return int(record["seq"]) + unreadable
        unreadable, end = unreadable + 1, start
    return unreadable
