"""Twins: a painted run as it would have gone on without paint, from the same checkpoint."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from core.atlas import ZAtlas
from core.errors import RunError
from core.frame import ZFrame
from core.runs.checkpoint import checkpoint_path, good_step, latest_checkpoint, load_checkpoint
from core.runs.events import Inputs, Row
from core.runs.files import write_atomic
from core.runs.journal import Follower, encode_record, io_error
from core.runs.steering import first_painted
from core.runs.store import RunFolder, RunStore

LEFT_OUT = ("patch", "pause", "resume", "stop", "save")  # paint, and what leaves no trace in the rows
_SAMPLE = re.compile(r"step-(\d{8,})\.(txt|bits\.json)")


def make_twin(folder: RunFolder) -> RunFolder:
    """Lay out the unpainted twin of a painted run beside it; ``python -m core.runs.trainer TWIN`` goes on with it.

    The twin begins at the newest whole checkpoint from before the first step at which a layer steered, or at the seed
    where there is none, and meets every other input that took effect, such as a learning rate, at the same step. What
    was asked of the painted run and has not taken effect yet, it does not meet.

    Returns
    -------
    RunFolder
        A run like any other; its run.json says {"twin": {"of": id of the painted run, "step": where it begins}}.

    Raises
    ------
    RunError
        Nothing was painted, the run is a twin itself, a file of it is broken, or the disk refuses. Nothing is left
        behind then.
    """
    try:
        return _make(folder)
    except OSError as error:
        raise io_error(folder.path, "make its twin", error) from error
    except (LookupError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"run {folder.id} has a broken file ({type(error).__name__}: {error}), so no twin can be made: "
                       "restore it from a copy") from error


def _make(folder: RunFolder) -> RunFolder:
    """See `make_twin`."""
    config = folder.read_config()
    if "twin" in config:
        raise RunError(f"run {folder.id} is the twin of {config['twin']['of']}: ask for a twin of that run")
    inputs = Inputs(folder.inputs)
    inputs.poll()
    inputs.journal.close()
    painted = first_painted(inputs.script, ZFrame.from_json(config["frame"]))
    if painted is None:
        raise RunError(f"no layer has steered run {folder.id}, so it has no unpainted twin: paint first")
    checkpoint, _ = latest_checkpoint(folder, before=painted)
    meta = {"step": 0} if checkpoint is None else load_checkpoint(checkpoint)[1]
    step = int(meta["step"])
    settings = {k: v for k, v in config.items() if k not in ("schema", "id", "created")}
    settings["twin"] = {"of": folder.id, "step": step}
    root = folder.path.parent
    # filled out of sight: a twin that is there is whole
    with tempfile.TemporaryDirectory(prefix=".twin-", dir=root) as beside:
        twin = RunStore(beside).create(settings)
        while (root / twin.id).exists():
            twin = RunStore(beside).create(settings)
        _copy_history(folder, twin, inputs.script, step)
        good = checkpoint_path(folder, good_step(meta, config["checkpoint_every"]))  # to go back to
        for path in {checkpoint, good} if checkpoint else ():
            if path.exists():
                write_atomic(twin.checkpoints / path.name, path.read_bytes())
        if "initial" in config:
            write_atomic(twin.initial, folder.initial.read_bytes())
        return RunFolder(twin.path.rename(root / twin.id))


def _copy_history(folder: RunFolder, twin: RunFolder, script: dict[int, list[Row]], step: int) -> None:
    """Everything until `step`, and the inputs that the twin will still meet."""
    kept = {r["seq"] for records in script.values() for r in records if r.get("kind") not in LEFT_OUT}
    steps = {at for at, records in script.items() if any(r["seq"] in kept for r in records)}
    _write(twin.inputs, [r for r in _read(folder.inputs) if
                         (r["step"] in steps if r.get("kind") == "boundary" else r["seq"] in kept)])
    applied = []
    for row in _read(folder.applied):
        if row["step"] <= step and ("rollback" in row or kept.intersection(row["seq"])):
            refused = [r for r in row.pop("rejected", []) if r["seq"] in kept]
            applied.append(row | {"seq": [s for s in row["seq"] if s in kept]}
                           | ({"rejected": refused} if refused else {}))
    _write(twin.applied, applied)
    _write(twin.metrics, [row for row in _read(folder.metrics) if row["step"] <= step])
    for path in folder.samples.iterdir():
        if (name := _SAMPLE.fullmatch(path.name)) and int(name[1]) <= step:
            shutil.copy(path, twin.samples)
    if folder.atlas.exists():
        _copy_atlas(folder.atlas, twin.atlas, step)


def _copy_atlas(source: Path, target: Path, step: int) -> None:
    """The charts until `step`."""
    atlas = ZAtlas.load_npz(source)
    early = ZAtlas(atlas.capacity)
    for chart in atlas:
        if chart.step <= step:
            early.append(chart)
    early.save_npz(target)


def _read(path: Path) -> list[Row]:
    """The records of a journal whose writer may be at work: its last line may be torn, no other."""
    follower = Follower(path)
    records = follower.poll()
    if follower.bad:
        raise RunError(f"{path}: {follower.bad} broken lines inside the file: restore it from a copy")
    return records


def _write(path: Path, records: list[Row]) -> None:
    """A journal as its writer would have left it."""
    write_atomic(path, b"".join(map(encode_record, records)))
