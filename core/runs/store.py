"""Run folders on disk: their names and their files."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.runs.files import read_object, sync_folder, write_atomic
from core.runs.heartbeat import read_heartbeat, status_of
from core.runs.journal import io_error

SCHEMA = "zspace.run.v1"

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
        """Sign of life, see `core.runs.heartbeat`."""
        return self.path / "heartbeat.json"

    def read_config(self) -> dict[str, Any]:
        """Read run.json.

        Raises
        ------
        RunError
            When it is missing, is not a JSON object, or has another schema version than `SCHEMA`.
        """
        config = read_object(self.config)
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
        """Read the newest sign of life, see `core.runs.heartbeat`; None where there was none yet.

        Raises
        ------
        RunError
            When the file is not such a record.
        """
        return read_heartbeat(self.heartbeat)

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
                sync_folder(self.root)
                return RunFolder(self.root / name)
        except OSError as error:
            raise io_error(self.root, "make a run folder", error) from error
        raise RunError(f"{self.root}: 1000 names tried and all are taken; move old runs away.")
