"""What all runs of a folder came to, fast: an index in SQLite, derived from the runs' files.

The files are the truth. An entry holds as long as the files that it was read from have the same inode, size and time of
change; what is missing or stale is read again, and an index that cannot be read is made anew. It lies in the user's
cache folder, because the folder of runs may be read-only or shared by machines over a network.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from core.errors import ZSpaceError
from core.runs import compare
from core.runs.heartbeat import status_of
from core.runs.store import RunFolder, RunStore
from core.tuning import cache_folder

UNREADABLE = "unreadable"
PATIENCE = 10.0  # seconds to wait for another process that writes
_CODE = hashlib.sha256(Path(compare.__file__).read_bytes()).hexdigest()[:16]  # other code may sum a run up differently
Entry = dict[str, Any]


class RunIndex:
    """The index of one folder of runs; any number of processes and threads may hold one each.

    Parameters
    ----------
    root : Path
        The folder of runs.

    Attributes
    ----------
    file : Path
        The database; it may be deleted at any time.
    """

    def __init__(self, root: Path | str) -> None:
        self.store = RunStore(root)
        name = hashlib.sha256(str(self.store.root.resolve()).encode()).hexdigest()[:16]
        self.file = cache_folder() / f"runs-{name}.sqlite"

    def summaries(self) -> list[Entry]:
        """All runs, newest first, as `core.runs.compare.summary` sums them up, each with its status as it is now.

        A run that cannot be read is {"run", "status": "unreadable", "reason"}.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._refreshed()
            except sqlite3.OperationalError:  # locked, read-only, disk full: nothing is broken
                raise
            except (sqlite3.DatabaseError, ValueError, TypeError):
                for path in (self.file, self.file.with_name(f"{self.file.name}-journal")):
                    path.unlink(missing_ok=True)
                return self._refreshed()
        except (sqlite3.Error, OSError) as error:
            warnings.warn(f"the runs are listed without their index {self.file} ({error}): ZSPACE_CACHE names another "
                          "folder for it", RuntimeWarning, stacklevel=2)
            return [_now(folder, read_entry(folder)) for folder in self.store.list()]

    def _refreshed(self) -> list[Entry]:
        """From the index, which takes in what changed."""
        with closing(sqlite3.connect(self.file, timeout=PATIENCE)) as database:
            with database:
                database.execute("CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, key TEXT, entry TEXT)")
            # known before the folders are listed: what is known and not listed is gone, not new
            known = {run: (key, json.loads(entry)) for run, key, entry in database.execute("SELECT * FROM runs")}
            folders = self.store.list()
            found, fresh = [], []
            for folder in folders:
                key = _key(folder)
                before, entry = known.pop(folder.id, (None, None))
                if before != key:
                    entry = read_entry(folder)
                    if "reason" not in entry:  # what could not be read is tried again each time
                        fresh.append((folder.id, key, json.dumps(entry)))
                found.append(_now(folder, entry))
            if fresh or known:
                with database:
                    database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", fresh)
                    database.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in known])
        return found


def read_entry(folder: RunFolder) -> Entry:
    """What a run's files say: its summary and its newest heartbeat, or why they cannot be read."""
    try:
        return {"summary": compare.summary(folder), "beat": folder.read_heartbeat()}
    except (ZSpaceError, LookupError, TypeError, AttributeError) as error:
        said = str(error) if isinstance(error, ZSpaceError) else f"{type(error).__name__}: {error}"
        return {"reason": said}


def _now(folder: RunFolder, entry: Mapping[str, Any]) -> Entry:
    """An entry as it is true now: a process may have died since, and no file would change."""
    if "reason" in entry:
        return {"run": folder.id, "status": UNREADABLE, "reason": entry["reason"]}
    return {**entry["summary"], "status": status_of(entry["beat"])}


def _key(folder: RunFolder) -> str:
    """What an entry rests on."""
    stats: list[Any] = [_CODE]
    for path in (folder.config, folder.metrics, folder.inputs, folder.heartbeat):
        try:
            stat = path.stat()
            stats.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            stats.append(None)
    return json.dumps(stats)
