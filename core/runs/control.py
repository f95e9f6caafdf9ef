"""Asking a run for something: every request is one record in its input log, acknowledged once it is written."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from core.errors import PatchError, RunError
from core.frame import ZFrame
from core.runs.journal import Journal, read_records
from core.runs.store import RunFolder
from core.scheduler import Patch, relative_change

Record = dict[str, Any]


def send(folder: RunFolder, kind: Literal["start", "pause", "resume", "stop", "rate"], **values: float) -> Record:
    """Append a request; it takes effect at the run's next step boundary.

    Parameters
    ----------
    kind : str
        "rate" needs ``scale``, a factor > 0 on the scheduled learning rate.
    """
    if kind == "rate" and not 0 < values.get("scale", 0) < float("inf"):
        raise RunError(f"scale is {values.get('scale')}: give a factor above 0 for the learning rate")
    return _append(folder, {"kind": kind, **values})


def paint(folder: RunFolder, relation: ArrayLike, chart: str = "atlas", coherence: float = 1.0) -> Record:
    """Append a painted layer.

    Parameters
    ----------
    relation : array_like [B, S]
        The whole layer as log2 gains, 0 neutral, clipped to [-3, 3] where it is applied.
    coherence : float
        Trust in this layer, > 0.

    Raises
    ------
    PatchError
        Unknown chart, wrong shape, or values that are not finite numbers.
    """
    if chart != "atlas":
        raise PatchError(f"chart {chart!r} does not steer training: use 'atlas'")
    frame = ZFrame.from_json(folder.read_config()["frame"])
    layer = np.asarray(relation)
    if layer.dtype.kind not in "fiu" or layer.shape != (frame.bands, frame.sheets):
        raise PatchError(f"the layer has shape {layer.shape} and type {layer.dtype}: the atlas chart of run "
                         f"{folder.id} needs numbers of shape ({frame.bands}, {frame.sheets}), bands by sheets")
    records, _ = read_records(folder.inputs)
    earlier = [r for r in records if r.get("kind") == "patch"]
    last = Patch.from_record(earlier[-1]).relation if earlier else np.zeros(layer.shape)
    patch = Patch(relation=layer.astype(np.float32), coherence=coherence, tension=relative_change(layer, last),
                  depth=len(earlier) + 1, chart=chart, frame=frame.signature(), sequence=len(earlier) + 1,
                  time=time.time())
    return _append(folder, {"kind": "patch", **patch.to_record()})


def _append(folder: RunFolder, record: Record) -> Record:
    if folder.status() == "finished":
        raise RunError(f"run {folder.id} is finished, nothing can change it any more: start a new run")
    with Journal(folder.inputs, shared=True) as journal:
        return journal.append(record)
