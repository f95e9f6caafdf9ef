"""Checkpoints: named arrays and a JSON object in one safetensors file, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.atlas import warp_layer
from core.errors import RunError
from core.frame import ZFrame
from core.runs.files import write_atomic
from core.runs.journal import io_error
from core.runs.store import RunFolder
from core.scheduler import Scheduler

SCHEMA = "zspace.checkpoint.v1"
_NAME = re.compile(r"step-(\d{8,})\.safetensors")


class _BrokenError(RunError):
    """The file's content is not what was written, so another checkpoint may serve."""


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian bytes, in the order of the names.

    Equal digests mean equal bits: 0.0 and -0.0 differ. Memory layout and byte order in memory do not matter.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        sha.update(json.dumps([name, little.dtype.str, little.shape]).encode())
        sha.update(little.tobytes())
    return sha.hexdigest()


def checkpoint_path(folder: RunFolder, step: int) -> Path:
    """Where the state after a step is kept, whether it is there or not."""
    return folder.checkpoints / f"step-{step:08d}.safetensors"


def save_checkpoint(
    folder: RunFolder, step: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], keep: int = 3,
    spare: Collection[int] = (),
) -> Path:
    """Write checkpoints/step-NNNNNNNN.safetensors beside, sync it, give it its name, and remove the oldest.

    Parameters
    ----------
    folder
        The run.
    step
        Steps done so far, >= 0; it names the file.
    arrays
        Parameters, optimiser state and whatever else `meta` cannot hold.
    meta
        JSON object, strict (no NaN).
    keep
        How many of the newest checkpoints stay, >= 1.
    spare
        Steps whose checkpoints stay, however old they are.

    Raises
    ------
    RunError
        For a negative step, keep < 1, a dtype that safetensors lacks, a `meta` that is not JSON, or when the
        operating system refuses; existing checkpoints are untouched then.
    """
    if step < 0 or keep < 1:
        raise RunError(f"A checkpoint needs step >= 0 and keep >= 1, not step={step} and keep={keep}.")
    path = checkpoint_path(folder, step)
    write_atomic(path, _encode(step, arrays, meta), kind="checkpoint")
    try:
        for age, (taken, old) in enumerate(_by_age(folder)):
            if age >= keep and taken not in spare:
                old.unlink()
    except OSError as error:
        raise io_error(folder.checkpoints, "remove old checkpoints", error) from error
    return path


def good_step(meta: Mapping[str, Any], every: int) -> int:
    """The step whose state a run goes back to should it diverge, from a checkpoint's `meta`; 0 is the seed's."""
    return int(meta.get("good", meta["step"] - meta["step"] % every))


def save_best(folder: RunFolder, step: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write checkpoints/best.safetensors in place of the one before; arguments as `save_checkpoint` takes them."""
    write_atomic(folder.best, _encode(step, arrays, meta), kind="best")


def save_initial(folder: RunFolder, parameters: Mapping[str, NDArray[Any]]) -> None:
    """Write initial.safetensors: the parameters that a run begins with instead of those of its seed."""
    write_atomic(folder.initial, _encode(0, {f"p.{k}": v for k, v in parameters.items()}, {}), kind="initial")


def load_initial(folder: RunFolder) -> dict[str, NDArray[Any]] | None:
    """The parameters that a run begins with, None where run.json says that they come from the seed.

    Raises
    ------
    RunError
        They are not there, or not those that run.json tells the digest of.
    """
    record = folder.read_config()
    if "initial" not in record:
        return None
    parameters = parameters_of(load_checkpoint(folder.initial)[0])
    if digest(parameters) != record["initial"]:
        raise RunError(f"{folder.initial} is not what run {record['id']} began with: restore it from a copy")
    return parameters


def _encode(step: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """The file's bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        header = json.dumps({"schema": SCHEMA, "step": step, "digest": digest(arrays), "meta": meta}, allow_nan=False)
        # safetensors takes the bytes as they lie in memory, so they are laid out row by row first
        return save({name: np.asarray(array, order="C") for name, array in arrays.items()}, {"zspace": header})
    except (SafetensorError, TypeError, ValueError) as error:
        raise RunError(f"The checkpoint of step {step} cannot be written as safetensors: {error}.") from error


def load_checkpoint(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a checkpoint and check it against the digest it carries.

    Returns
    -------
    arrays
        As they were saved.
    meta
        As it was saved.

    Raises
    ------
    RunError
        When the file is missing, partial, changed, or no checkpoint of this schema.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise io_error(path, "read the checkpoint", error) from error
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")  # safetensors: length of the JSON header, then the header
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["zspace"])
        schema, stated, meta = header["schema"], header["digest"], header["meta"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _BrokenError(f"{path} is broken or no checkpoint ({error}); resume from an older one.") from error
    if schema != SCHEMA:
        raise RunError(f"{path} has schema {schema!r}, but {SCHEMA!r} is read here; use the version that wrote it.")
    if digest(arrays) != stated:
        raise _BrokenError(f"{path} was changed after it was written (its digest differs); resume from an older one.")
    return arrays, meta


def parameters_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The parameters among a checkpoint's arrays, by name."""
    return {k.removeprefix("p."): v for k, v in arrays.items() if k.startswith("p.")}


def warp_checkpoint(
    arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], old: ZFrame, new: ZFrame,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """A checkpoint that was written under one frame, for a run under another.

    Weights and moments know no frame. The queued layers and their fold move by `core.atlas.warp_layer`; the atlas,
    which lies beside the checkpoint, by `ZAtlas.warp`. Kernels are cached by frame, so nothing built for the old frame
    is met under the new one.

    Returns
    -------
    arrays, meta
        As `save_checkpoint` takes them.
    """
    queues = Scheduler({"atlas": (old.bands, old.sheets)}, len(meta["scheduler"]["atlas"]))
    queues.restore(meta["scheduler"])
    moved = queues.moved({"atlas": (new.bands, new.sheets)}, lambda layer: warp_layer(layer, old, new))
    return {**arrays, "fold": moved.fold("atlas").relation}, {**meta, "scheduler": moved.state()}


def latest_checkpoint(folder: RunFolder, before: int | None = None) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint that is whole; broken ones on the way are renamed to `<name>.broken`.

    Parameters
    ----------
    folder
        The run.
    before
        Only states from before this step count, where it is given.

    Returns
    -------
    path
        The file, verified, or None where there is none.
    warnings
        One sentence for each file that was set aside, to be shown to the user.

    Raises
    ------
    RunError
        When a file cannot be read or renamed, or was written by another version.
    """
    warnings = []
    for step, path in _by_age(folder):
        if before is not None and step >= before:
            continue
        try:
            load_checkpoint(path)
        except _BrokenError as error:
            aside = path.with_name(path.name + ".broken")
            try:
                path.replace(aside)
            except OSError as refusal:
                raise io_error(path, "set the broken checkpoint aside", refusal) from error
            warnings.append(f"{error} It was set aside as {aside.name}.")
        else:
            return path, warnings
    return None, warnings


def find_checkpoint(folder: RunFolder, which: str | int) -> Path | None:
    """The file of the "latest" or the "best" checkpoint, or of that of a step, None where there is none.

    Raises
    ------
    RunError
        Another word than these.
    """
    if which == "latest":
        return latest_checkpoint(folder)[0]
    best = folder.best if folder.best.exists() else None
    if which == "best":
        return best
    if not isinstance(which, int):
        raise RunError(f"checkpoint {which!r:.40} is unknown: choose latest or best")
    path = checkpoint_path(folder, which)
    if path.exists():
        return path
    return best if best and load_checkpoint(best)[1]["step"] == which else None


def _by_age(folder: RunFolder) -> list[tuple[int, Path]]:
    """Step and path of the files named like checkpoints, newest step first."""
    steps = [(int(match[1]), path) for path in folder.checkpoints.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(steps, reverse=True)
