"""The disk chart of one page: where the shown run's symbols lie, and what the page painted under them."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.disk import DiskChart, scores
from core.errors import RunError
from core.runs.checkpoint import latest_checkpoint, load_checkpoint
from core.runs.store import RunFolder

Answer = dict[str, Any]
KEPT = 8  # paintings, for those who look at how they came


class Painting(NamedTuple):
    """A painted disk, [128, 128] in [-1, 1], and when it came in Unix seconds."""

    time: float
    values: NDArray[np.float32]


class Disk:
    """A chart that stays until the page asks for a new one, and the painting on it.

    Parameters
    ----------
    folder : RunFolder

    Attributes
    ----------
    paintings : deque of Painting
        The last few, oldest first; `painted` counts all.

    Raises
    ------
    RunError
        The run has no checkpoint yet.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self._record = folder, folder.read_config()
        self.symbols = tuple(self._record["corpus"]["vocabulary"])
        self.paintings: deque[Painting] = deque(maxlen=KEPT)
        self.painted = 0
        self._chart: DiskChart | None = None
        self.renew()

    def renew(self) -> Answer:
        """Read the newest checkpoint, and turn its chart onto the one before; the painting stays."""
        path, _ = latest_checkpoint(self.folder)
        if path is None:
            raise RunError(f"run {self.folder.id} has no checkpoint yet: wait for its first, or save one")
        arrays, meta = load_checkpoint(path)
        embedding = arrays["p.embedding"]
        self._chart = (self._chart.renewed(embedding) if self._chart
                       else DiskChart.of(embedding, self._record.get("curvature", 0.0)))
        self._places, self._step = self._chart.places(embedding), int(meta["step"])
        return self.facts

    @property
    def facts(self) -> Answer:
        """Step, epoch, and each known symbol with its place."""
        assert self._chart is not None
        return {"step": self._step, "epoch": self._chart.epoch, "symbols": self.symbols[1:],
                "places": self._places[1:].tolist()}

    def paint(self, painting: ArrayLike) -> Answer:
        """Take a painting in place of the one before; the scores of the known symbols."""
        found = scores(painting, self._places)
        self.paintings.append(Painting(time.time(), np.asarray(painting, np.float32)))
        self.painted += 1
        return {"scores": found[1:].tolist()}

    @property
    def wanted(self) -> dict[str, float]:
        """Symbols that something is painted under, and their scores."""
        if not self.paintings:
            return {}
        found = scores(self.paintings[-1].values, self._places)
        return {s: float(d) for s, d in zip(self.symbols, found, strict=True) if d}
