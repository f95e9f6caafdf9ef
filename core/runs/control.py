"""Asking a run for something: every request is one record in its input log, acknowledged once it is written."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from core.errors import PatchError, RunError
from core.frame import ZFrame
from core.runs.journal import Follower, Journal
from core.runs.store import RunFolder
from core.scheduler import Patch, relative_change

Record = dict[str, Any]


def send(folder: RunFolder, kind: Literal["start", "pause", "resume", "stop", "save", "rate"],
         **values: float) -> Record:
    """Append a request; it takes effect at the run's next step boundary.

    Parameters
    ----------
    kind : str
        "save" asks for a checkpoint of the state before that boundary, at once where the run is paused; "rate" needs
        ``scale``, a factor > 0 on the scheduled learning rate.
    """
    if kind == "rate" and not 0 < values.get("scale", 0) < float("inf"):
        raise RunError(f"scale is {values.get('scale')}: give a factor above 0 for the learning rate")
    with Journal(folder.inputs, shared=True) as journal:
        return _append(folder, journal, {"kind": kind, **values})


def paint(folder: RunFolder, relation: ArrayLike, chart: str = "atlas", coherence: float = 1.0) -> Record:
    """Append a painted layer (see `Painter.paint`)."""
    with closing(Painter(folder)) as painter:
        return painter.paint(relation, chart, coherence)


class Painter:
    """Appends painted layers to a run's input log; it knows what was painted before, whoever did.

    Parameters
    ----------
    folder : RunFolder
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.frame = folder, ZFrame.from_json(folder.read_config()["frame"])
        # kept open: a log opened and synced for every layer would cost more than all the rest of a layer's way
        self._journal, self._follower = Journal(folder.inputs, shared=True), Follower(folder.inputs)
        self._signature = self.frame.signature()
        self._last, self._count = np.zeros((self.frame.bands, self.frame.sheets), np.float32), 0
        self._own = 0  # number of the newest layer that was painted here

    def paint(self, relation: ArrayLike, chart: str = "atlas", coherence: float = 1.0) -> Record:
        """Append a layer.

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
        layer = np.asarray(relation)
        if layer.dtype.kind not in "fiu" or layer.shape != self._last.shape:
            raise PatchError(f"the layer has shape {layer.shape} and type {layer.dtype}: the atlas chart of run "
                             f"{self.folder.id} needs numbers of shape {self._last.shape}, bands by sheets")
        for record in self._follower.poll():
            if record.get("kind") == "patch":
                self._count += 1
                if record["seq"] > self._own:
                    with suppress(PatchError):  # another writer's; the run refuses it too
                        self._last = Patch.from_record(record).relation
        patch = Patch(relation=layer.astype(np.float32), coherence=coherence,
                      tension=relative_change(layer, self._last), depth=self._count + 1, chart=chart,
                      frame=self._signature, sequence=self._count + 1, time=time.time())
        written = _append(self.folder, self._journal, {"kind": "patch", **patch.to_record()})
        self._own, self._last = written["seq"], patch.relation
        return written

    def close(self) -> None:
        """Sync and close the log."""
        self._journal.close()


def _append(folder: RunFolder, journal: Journal, record: Record) -> Record:
    if folder.status() == "finished":
        raise RunError(f"run {folder.id} is finished, nothing can change it any more: start a new run")
    return journal.append(record)
