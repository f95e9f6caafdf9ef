"""Live fields: the newest looks of a running trainer in one memory-mapped file, for readers in other processes.

The file is a header and a ring of `CAPACITY` records of one size, little-endian, without locks: the trainer stores a
record into the mapping and then the number of it into the header. A record carries its number and a CRC-32 of its
bytes, so that a reader knows a whole one from one that is just being overwritten, whatever instant it looked at, and
whatever instant the trainer was killed at. Latest wins: a reader that is slower than 512 looks misses the oldest.

Every start of a trainer makes a new file beside and renames it, so that a reader keeps the old one until it looks.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.errors import RunError
from core.runs.files import write_atomic
from core.runs.journal import io_error

CAPACITY = 512
KINDS = ("state", "gradient")
MAGIC = b"zlive.v1"
_HEAD = struct.Struct("<8sQIIII")  # magic, generation, capacity, bands, sheets, echoes; then a CRC-32 of these bytes
_NEWEST = 40  # offset of the newest record's number, 0 before the first; aligned, so that it is stored at once
_RECORDS = 64  # offset of the first record; number n lies in slot n % capacity


@dataclass(frozen=True, eq=False)
class Look:
    """One field as it was seen in training.

    Attributes
    ----------
    step : int
        Training step.
    kind : {"state", "gradient"}
        Which signal was looked at.
    time : float
        Unix time in seconds.
    rho : array of float64 [B, S, E]
        Density, see `core.field.Field`.
    """

    step: int
    kind: str
    time: float
    rho: NDArray[np.float64]


class LiveWriter:
    """The writing end; one a run, in the process that holds the run's journals.

    Parameters
    ----------
    path : Path
        `RunFolder.live`; a file that is there is replaced by an empty one of a new generation.
    frame_shape : (int, int, int)
        Bands, sheets and echoes of every field.

    Raises
    ------
    RunError
        The operating system refuses.
    """

    def __init__(self, path: Path, frame_shape: tuple[int, int, int]) -> None:
        self.path, self._shape, self._seq = path, frame_shape, 0
        self._record = np.zeros((), _layout(frame_shape))
        head = _HEAD.pack(MAGIC, time.time_ns(), CAPACITY, *frame_shape)
        start = (head + zlib.crc32(head).to_bytes(4, "little")).ljust(_RECORDS, b"\0")
        # all of it is written now: a store into a hole of the file would kill the trainer on a full disk
        write_atomic(path, start + bytes(CAPACITY * self._record.nbytes), kind="live")
        try:
            with open(path, "r+b") as file:
                self._map = mmap.mmap(file.fileno(), 0)
        except OSError as error:
            raise io_error(path, "map the live fields", error) from error

    def append(self, look: Look) -> None:
        """Add a look; the oldest gives way.

        Raises
        ------
        RunError
            Another kind or shape than the file holds.
        """
        if look.kind not in KINDS or look.rho.shape != self._shape:
            raise RunError(f"{self.path}: a look of kind {look.kind!r} and shape {look.rho.shape} does not fit: give "
                           f"one of {', '.join(KINDS)} and shape {self._shape}")
        self._seq += 1
        self._record[()] = (0, KINDS.index(look.kind), self._seq, look.step, look.time, look.rho)
        data = self._record.tobytes()[4:]
        at = _RECORDS + self._seq % CAPACITY * self._record.nbytes
        self._map[at : at + self._record.nbytes] = zlib.crc32(data).to_bytes(4, "little") + data
        self._map[_NEWEST : _NEWEST + 8] = self._seq.to_bytes(8, "little")

    def close(self) -> None:
        """Let go of the mapping; the file stays, to be read."""
        self._map.close()


class LiveReader:
    """The reading end; as many as there are who look.

    It copies with pread(2), which sees the stores of the mapping and, unlike a mapping of its own, does not kill the
    reader where somebody cuts the file short.

    Parameters
    ----------
    path : Path
        `RunFolder.live`; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._generation = self._last = 0
        self._capacity, self._layout = 0, np.dtype([])

    def poll(self) -> tuple[bool, list[Look]]:
        """The looks since the last call.

        Returns
        -------
        restarted : bool
            Whether these looks begin a new history: at the first file that is found, and whenever a trainer has
            started since the last call. What was shown before no longer counts.
        looks : list of Look
            Oldest first, at most the capacity; those that were overwritten before they were copied are missing.

        Raises
        ------
        RunError
            The file is broken, of another version, or cannot be read; the next call tries anew.
        """
        try:
            restarted = self._follow()
            if self._file is None:
                return False, []
            newest = int.from_bytes(self._read(_NEWEST, 8), "little")
            looks = []
            for seq in range(max(self._last, newest - self._capacity) + 1, newest + 1):
                record = self._whole_record(seq)
                if record is not None:
                    _, kind, _, step, at, rho = record
                    looks.append(Look(int(step), KINDS[kind], float(at), rho.astype(np.float64)))
                    self._last = seq
        except FileNotFoundError:  # removed between two looks at it
            return False, []
        except OSError as error:
            raise io_error(self.path, "read the live fields", error) from error
        return restarted, looks

    def close(self) -> None:
        """Let go of the file; a later `poll` opens it anew."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _follow(self) -> bool:
        """Open the file that has the name now; True where that is another history than the last one read."""
        there = os.stat(self.path)
        if self._file is not None and os.path.samestat(there, os.fstat(self._file.fileno())):
            return False
        self.close()
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - it stays open between the calls
        try:
            head = self._read(0, _HEAD.size + 4)
            magic, generation, capacity, *shape = _HEAD.unpack(head[:-4])
            if magic != MAGIC or zlib.crc32(head[:-4]).to_bytes(4, "little") != head[-4:]:
                raise self._broken()
            layout = _layout(tuple(shape))
            if os.fstat(self._file.fileno()).st_size != _RECORDS + capacity * layout.itemsize:
                raise self._broken()
        except RunError:
            self.close()
            raise
        restarted = bool(generation != self._generation)
        if restarted:
            self._generation, self._last = generation, 0
        self._capacity, self._layout = capacity, layout
        return restarted

    def _whole_record(self, seq: int) -> Any:
        """The record of this number, None where it is being overwritten or was."""
        data = self._read(_RECORDS + seq % self._capacity * self._layout.itemsize, self._layout.itemsize)
        record = np.frombuffer(data, self._layout)[0]
        return record if record["seq"] == seq and record["crc"] == zlib.crc32(data[4:]) else None

    def _read(self, at: int, size: int) -> bytes:
        """Copy of a part of the file."""
        assert self._file is not None
        data = os.pread(self._file.fileno(), size, at)
        if len(data) != size:
            raise self._broken()
        return data

    def _broken(self) -> RunError:
        return RunError(f"{self.path} is broken or was written by another version: delete it, the trainer makes a new "
                        "one whenever it starts")


def _layout(shape: tuple[int, ...]) -> np.dtype[Any]:
    """One record; the CRC-32 is that of all the bytes after it."""
    return np.dtype([("crc", "<u4"), ("kind", "<u4"), ("seq", "<u8"), ("step", "<i8"), ("time", "<f8"),
                     ("rho", "<f8", shape)])
