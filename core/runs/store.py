"""Run folders on disk: their names, their files, and a status that stays true when the process dies."""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.runs.failpoints import failpoint
from core.runs.journal import io_error

SCHEMA = "zspace.run.v1"
STATES = ("running", "paused", "finished", "stopped", "failed")
BEAT_SECONDS = 1.0
STALE_SECONDS = 30.0  # older heartbeats of a process that cannot be looked up count as dead

_PLACES = [
    "alder", "bay", "birch", "brook", "cliff", "coast", "dale", "dune", "fen", "field", "fjord", "forest", "glen",
    "heath", "hill", "lake", "marsh", "meadow", "moor", "oak", "pine", "pond", "reed", "ridge", "river", "shore",
    "stone", "valley", "willow", "wood",
]
_BIRDS = [
    "bunting", "crake", "crane", "curlew", "dipper", "diver", "dove", "dunlin", "eider", "falcon", "finch",
    "gannet", "goose", "grebe", "gull", "heron", "jay", "kestrel", "lark", "linnet", "martin", "owl", "pipit",
    "plover", "robin", "shrike", "snipe", "stork", "swift", "tern", "thrush", "wagtail", "wren",
]


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
        _sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)  # half a file on a full disk would only make it fuller
        raise io_error(path, "write the file", error) from error


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; the properties name its files, whether they exist yet or not.

    Parameters
    ----------
    path
        The folder; its last part is the run's id.
    """

    path: Path

    @property
    def id(self) -> str:
        """Name of the run, such as marsh-wren-07."""
        return self.path.name

    @property
    def config(self) -> Path:
        """run.json: schema version and configuration."""
        return self.path / "run.json"

    @property
    def inputs(self) -> Path:
        """Shared journal of what was asked of the run."""
        return self.path / "inputs.jsonl"

    @property
    def applied(self) -> Path:
        """Journal of what took effect at which step."""
        return self.path / "applied.jsonl"

    @property
    def metrics(self) -> Path:
        """Journal of measurements."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """Folder of sampled text."""
        return self.path / "samples"

    @property
    def generations(self) -> Path:
        """Folder of recorded generations."""
        return self.path / "generations"

    @property
    def evaluations(self) -> Path:
        """Folder of evaluations, made by the first."""
        return self.path / "evaluations"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The parameters with the best validation loss so far."""
        return self.checkpoints / "best.safetensors"

    @property
    def initial(self) -> Path:
        """The parameters it began with, where they are not drawn from its seed."""
        return self.path / "initial.safetensors"

    @property
    def atlas(self) -> Path:
        """The atlas's history."""
        return self.path / "atlas.npz"

    @property
    def live(self) -> Path:
        """The newest fields, shared with other processes, see `core.runs.live`."""
        return self.path / "live.bin"

    @property
    def trace(self) -> Path:
        """Chrome trace of a few steps' launches, see `core.trace`."""
        return self.path / "trace.json"

    @property
    def heartbeat(self) -> Path:
        """Sign of life, see `Heartbeat`."""
        return self.path / "heartbeat.json"

    def read_config(self) -> dict[str, Any]:
        """Read run.json.

        Raises
        ------
        RunError
            When it is missing, is not a JSON object, or has another schema version than `SCHEMA`.
        """
        config = _read_object(self.config)
        if config.get("schema") != SCHEMA:
            raise RunError(
                f"{self.config} has schema {config.get('schema')!r}, but this version reads {SCHEMA!r}; "
                "open the run with the version that wrote it."
            )
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write run.json as a whole."""
        write_atomic(self.config, json.dumps(config, indent=1).encode() + b"\n")

    def read_heartbeat(self) -> dict[str, Any] | None:
        """Read the newest sign of life (see `Heartbeat`), or None where there was none yet.

        Raises
        ------
        RunError
            When the file is not such a record.
        """
        if not self.heartbeat.exists():
            return None
        beat = _read_object(self.heartbeat)
        if beat.get("state") not in STATES or not isinstance(beat.get("time"), int | float):
            raise RunError(f"{self.heartbeat} is no heartbeat (time, and one of {', '.join(STATES)}); delete it.")
        return beat

    def status(self) -> str:
        """Say what the run does now, as far as can be known.

        Returns
        -------
        str
            "created" before the first heartbeat; "finished", "stopped" or "failed" as the run stated it; "running"
            or "paused" only while its process lives, else "interrupted". The process is looked up by pid, start time
            and boot id. A process of another machine (or container), or of a system without /proc, cannot be looked
            up: it counts as alive while its heartbeat is younger than `STALE_SECONDS`.

        Raises
        ------
        RunError
            When the heartbeat file is broken.
        """
        return status_of(self.read_heartbeat())


def status_of(beat: Mapping[str, Any] | None) -> str:
    """What a run does now, by its newest sign of life; see `RunFolder.status`."""
    if beat is None:
        return "created"
    state = str(beat["state"])
    return state if state not in ("running", "paused") or _is_alive(beat) else "interrupted"


class RunStore:
    """The folder under which all runs live.

    Parameters
    ----------
    root
        The folder; made by the first `create`.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def create(self, config: Mapping[str, Any]) -> RunFolder:
        """Make a new run folder under a fresh name, with run.json and empty journals.

        Parameters
        ----------
        config
            What run.json shall hold, as JSON takes it; `schema`, `id` and `created` (UTC) are added.

        Raises
        ------
        RunError
            When the folder cannot be made or the configuration is not JSON.
        """
        if taken := {"schema", "id", "created"} & set(config):
            raise RunError(f"The configuration sets {sorted(taken)}, which the store writes itself; leave them out.")
        try:
            json.dumps(config, allow_nan=False)  # before a folder is made that nobody could use
        except (TypeError, ValueError) as error:
            raise RunError(f"The configuration cannot be written as strict JSON: {error}.") from error
        folder = self._claim()
        try:
            for part in (folder.samples, folder.generations, folder.checkpoints):
                part.mkdir()
            for journal in (folder.inputs, folder.applied, folder.metrics):
                journal.touch()
        except OSError as error:
            raise io_error(folder.path, "fill the new run folder", error) from error
        head = {"schema": SCHEMA, "id": folder.id, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        folder.write_config({**head, **config})
        return folder

    def open(self, run: str | Path) -> RunFolder:
        """Find a run by its id, or by a path that lies inside the root.

        Raises
        ------
        RunError
            When there is no such run, or the path leads out of the root (by `..`, a link, or outright).
        """
        named = Path(run)
        try:
            root = self.root.resolve()
            is_id = len(named.parts) == 1 and named.parts[0] != ".." and not named.is_absolute()
            path = ((self.root / named) if is_id else named).resolve()
            inside = path.is_relative_to(root) and path != root
            found = inside and (path / "run.json").is_file()
        except (OSError, RuntimeError, ValueError) as error:  # link loop, name too long, NUL byte
            raise RunError(f"{str(run)!r} cannot name a run ({error}); give an id such as marsh-wren-07.") from error
        if not inside:
            raise RunError(f"{str(run)!r} leads out of the runs folder {root}; give an id such as marsh-wren-07.")
        if not found:
            raise RunError(f"{root} holds no run {str(run)!r} (no run.json there); `zspace runs` names those it holds.")
        return RunFolder(path)

    def list(self) -> list[RunFolder]:
        """Return the runs directly under the root, newest first; links and folders without run.json are left out."""
        if not self.root.is_dir():
            return []
        dated = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                config = Path(entry.path, "run.json")
                if entry.is_dir(follow_symlinks=False) and config.is_file():
                    dated.append((config.stat().st_mtime_ns, entry.name))
        return [RunFolder(self.root / name) for _, name in sorted(dated, reverse=True)]

    def _claim(self) -> RunFolder:
        """Make the folder of a name that nobody has; mkdir fails where somebody else was faster."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for _ in range(1000):
                name = f"{secrets.choice(_PLACES)}-{secrets.choice(_BIRDS)}-{secrets.randbelow(100):02d}"
                try:
                    (self.root / name).mkdir()
                except FileExistsError:
                    continue
                _sync_folder(self.root)
                return RunFolder(self.root / name)
        except OSError as error:
            raise io_error(self.root, "make a run folder", error) from error
        raise RunError(f"{self.root}: 1000 names tried and all are taken; move old runs away.")


class Heartbeat:
    """Signs of life of this process: heartbeat.json {pid, start, boot_id, host, time, step, state}.

    `start` is the process's start time in clock ticks after boot, `time` is Unix time in seconds. While paused, too,
    beat every few seconds, for readers on other machines.

    Parameters
    ----------
    folder
        The run that this process works on; one process a run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.heartbeat
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


def _read_object(path: Path) -> dict[str, Any]:
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


def _sync_folder(path: Path) -> None:
    """Force a folder's entries onto the disk, so that a new name survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
