"""CanvasProjector: a picture of a bounded queue of relations, and the patch that the queue comes to."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from canvas.palettes import palette_name, palette_table
from core.array import Array
from core.errors import PatchError
from core.scheduler import MAX_CELLS, Fold, fold_layers

FOLLOW = 0.2  # share of the way that the shown range goes to a new one at a push


class CanvasProjector:
    """Shows the weighted mean of the last relations pushed.

    Differs from a training run's scheduler in that only what was pushed counts: the queue begins empty, and one push
    shows that relation. The shown range follows the values at every push, never at a read, so that a picture does not
    depend on how often it is looked at. Usable from any thread.

    Parameters
    ----------
    width, height : int
        Cells; at most 65,536 in all.
    capacity : int
        Relations kept, the oldest leaves first: the loop's damping.
    palette : str
        "blue-magenta", "turbo" or "grayscale".

    Raises
    ------
    ValueError
        A size, capacity or palette that cannot be.
    """

    def __init__(self, width: int = 64, height: int = 64, *, capacity: int = 32, palette: str = "blue-magenta") -> None:
        if width < 1 or height < 1 or width * height > MAX_CELLS:
            raise ValueError(f"a canvas has 1 to {MAX_CELLS} cells, got {width} x {height}")
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: a queue holds at least one relation")
        self.width, self.height, self.capacity = width, height, capacity
        self._palette = palette_name(palette)
        self._queue: deque[tuple[float, NDArray[np.float32]]] = deque(maxlen=capacity)
        self._range: tuple[float, float] | None = None
        self._lock = threading.Lock()

    @property
    def palette(self) -> str:
        """Name of the palette."""
        return self._palette

    def set_palette(self, name: str) -> None:
        """Show in other colours from now on."""
        self._palette = palette_name(name)

    @property
    def queue_len(self) -> int:
        """Relations in the queue."""
        return len(self._queue)

    @property
    def total_weight(self) -> float:
        """Sum of their weights."""
        with self._lock:
            return sum(weight for weight, _ in self._queue)

    def push_patch(self, relation: ArrayLike | Array, *, coherence: float = 1.0, tension: float = 1.0,
                   depth: int = 0) -> None:
        """Add a relation with weight coherence / (1 + tension).

        Parameters
        ----------
        relation : array_like or Array [height, width]
            Finite numbers; nested lists, arrays and tensors alike.
        coherence, tension : float
            Finite, above 0.
        depth : int
            Strokes so far; takes no part in the fold.

        Raises
        ------
        PatchError
            Another shape, values that are not finite, or a weight that is none; the queue stays as it was.
        """
        weight = _weight(coherence, tension, depth)
        values = relation.numpy() if isinstance(relation, Array) else np.asarray(relation)
        if values.shape != (self.height, self.width) or values.dtype.kind not in "fiu":
            raise PatchError(f"the canvas takes numbers in shape {(self.height, self.width)}, "
                             f"got shape {values.shape} of {values.dtype}")
        with np.errstate(over="ignore"):
            layer = values.astype(np.float32)  # a copy: what the caller does with his array later is not shown
        if not np.isfinite(layer).all():
            raise PatchError(f"the relation holds {np.count_nonzero(~np.isfinite(layer))} values that are not finite "
                             "in float32")
        with self._lock:
            self._queue.append((weight, layer))
            shown = fold_layers(self._queue).relation
            local = float(shown.min()), float(shown.max())
            before = self._range or local
            self._range = (before[0] + FOLLOW * (local[0] - before[0]), before[1] + FOLLOW * (local[1] - before[1]))

    def emit_zspace_patch(self, *, coherence: float = 1.0, tension: float = 1.0, depth: int = 0) -> dict[str, Any]:
        """What the queue comes to, ready to be pushed again; the queue stays.

        Returns
        -------
        dict
            relation (float32 [height, width], amplitude and sign kept, so that pushed into a queue of capacity 1 it
            gives itself), amplitude (its L2 norm), energy (the picture, 0 to 1), coherence, tension, depth, weight.

        Raises
        ------
        PatchError
            Nothing was pushed yet.
        """
        weight = _weight(coherence, tension, depth)
        fold, energy = self._shown()
        if fold is None:
            raise PatchError("the queue is empty: push_patch a relation first")
        return {"relation": fold.relation.astype(np.float32), "amplitude": fold.amplitude,
                "energy": energy.astype(np.float32), "coherence": coherence, "tension": tension,
                "depth": depth, "weight": weight}

    def tensor(self) -> NDArray[np.float32]:
        """The fold [height, width]; zeros while the queue is empty."""
        fold, _ = self._shown()
        return np.zeros((self.height, self.width), np.float32) if fold is None else fold.relation.astype(np.float32)

    def rgba(self) -> bytes:
        """The picture: height x width RGBA8, row 0 first; transparent while the queue is empty."""
        fold, energy = self._shown()
        if fold is None:
            return bytes(4 * self.width * self.height)
        return palette_table(self._palette)[np.round(255 * energy).astype(np.uint8)].tobytes()

    def clear_queue(self) -> None:
        """Forget every relation."""
        with self._lock:
            self._queue.clear()

    def reset_normalizer(self) -> None:
        """Forget the shown range: the next push sets it."""
        with self._lock:
            self._range = None

    def _shown(self) -> tuple[Fold | None, NDArray[np.float64]]:
        """The fold, and its values over the shown range in 0..1; the middle where that range is one value."""
        with self._lock:
            fold, bounds = fold_layers(self._queue) if self._queue else None, self._range
        if fold is None:
            return None, np.zeros((self.height, self.width))
        low, high = bounds or (float(fold.relation.min()), float(fold.relation.max()))
        if high <= low:
            return fold, np.full(fold.relation.shape, 0.5)
        return fold, np.clip((fold.relation - low) / (high - low), 0, 1)


def _weight(coherence: float, tension: float, depth: int) -> float:
    """coherence / (1 + tension), where that is a weight."""
    for name, value in (("coherence", coherence), ("tension", tension)):
        if not 0 < value < np.inf:
            raise PatchError(f"{name} is {value!r}: it must be a number above 0")
    if depth < 0:
        raise PatchError(f"depth is {depth!r}: it must be at least 0")
    weight = float(coherence) / (1 + float(tension))
    if not 1e-100 <= weight <= 1e100:  # sums and products of weights stay far inside float64
        raise PatchError(f"coherence {coherence} over 1 + tension {tension} is no weight in 1e-100..1e100")
    return weight
