"""CanvasProjector: a picture of a bounded queue of relations, and the patch that the queue comes to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from canvas.normalizer import CanvasNormalizer
from canvas.palettes import palette_name
from canvas.picture import Picture
from canvas.spectra import decibels, power
from core.array import Array
from core.backends import Backend
from core.errors import PatchError, PatchShapeError
from core.scheduler import MAX_CELLS, fold_layers
from core.session import innermost


class CanvasProjector:
    """Shows the weighted mean of the last relations pushed.

    Differs from a training run's scheduler in that only what was pushed counts: the queue begins empty, and one push
    shows that relation. `refresh` makes a picture of this moment and is meant to be called once a tick; `tensor`,
    `rgba`, `vector_field` and `trail` read the last picture, their `refresh_` twins and whatever emits make a new one.
    What a picture shows depends on the pushes and the clock, never on how often somebody looks. Usable from any thread.

    The fold is the scheduler's, in float64 on the host, and so are the colours, whose bytes are wanted there; vectors
    and spectra are computed on the backend.

    Parameters
    ----------
    width, height : int
        Cells; at most 65,536 in all.
    capacity : int
        Relations kept, the oldest leaves first: the loop's damping.
    palette : str
        "blue-magenta", "turbo", "grayscale" or "viridis".
    half_life : float
        Seconds in which the shown range comes half way to the values' own, and in which a trail loses half.
    clock : callable
        Gives the seconds.
    backend : Backend, optional
        Where vectors and spectra are computed: by default the backend of the session that is open here, without one
        the current backend of whoever asks.

    Raises
    ------
    ValueError
        A size, capacity, palette or half-life that cannot be.
    """

    def __init__(self, width: int = 64, height: int = 64, *, capacity: int = 32, palette: str = "blue-magenta",
                 half_life: float = 0.5, clock: Callable[[], float] = time.monotonic,
                 backend: Backend | None = None) -> None:
        if width < 1 or height < 1 or width * height > MAX_CELLS:
            raise PatchShapeError(f"a canvas has 1 to {MAX_CELLS} cells, got {width} x {height}")
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: a queue holds at least one relation")
        session = innermost()
        self.width, self.height, self.capacity = width, height, capacity
        self._backend = backend or (session.backend if session else None)
        self._clock, self._lock = clock, threading.Lock()
        self._palette = palette_name(palette)
        self._normalizer = CanvasNormalizer(half_life)
        self._queue: deque[tuple[float, NDArray[np.float32]]] = deque(maxlen=capacity)
        self._fold: NDArray[np.float64]
        self._trail: NDArray[np.float64]
        self._empty()
        self.refresh()

    # --- the queue ----------------------------------------------------------------------------------------------------

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
            Another shape (`PatchShapeError`), values that are not finite, or a weight that is none; the queue stays as
            it was.
        """
        weight, layer = _weight(coherence, tension, depth), self._layer(relation)
        with self._lock:
            self._queue.append((weight, layer))
            fold, now = fold_layers(self._queue).relation, self._clock()
            self._normalizer.aim((float(fold.min()), float(fold.max())), now)
            self._trail = self._trail_at(now) + np.abs(fold - self._fold)
            self._fold, self._moved = fold, now

    def clear_queue(self) -> None:
        """Forget every relation, and the trail that they left; the shown range stays."""
        with self._lock:
            self._queue.clear()
            self._normalizer.aim(None, self._clock())
            self._empty()

    def _empty(self) -> None:
        """Nothing is there, and nothing moved."""
        self._fold = self._trail = np.zeros((self.height, self.width))
        self._moved = self._clock()

    def _trail_at(self, now: float) -> NDArray[np.float64]:
        return self._trail * self._normalizer.left(now - self._moved)

    def _layer(self, relation: ArrayLike | Array) -> NDArray[np.float32]:
        """A copy of what was pushed: what the caller does with his array later is not shown."""
        try:
            values = relation.numpy() if isinstance(relation, Array) else np.asarray(relation)
        except ValueError as error:  # rows of different lengths
            raise PatchShapeError(f"the canvas takes numbers in shape {(self.height, self.width)}: {error}") from error
        if values.shape != (self.height, self.width) or values.dtype.kind not in "fiu":
            raise PatchShapeError(f"the canvas takes numbers in shape {(self.height, self.width)}, "
                                  f"got shape {values.shape} of {values.dtype}")
        with np.errstate(over="ignore"):
            layer = values.astype(np.float32)
        if not np.isfinite(layer).all():
            raise PatchError(f"the relation holds {np.count_nonzero(~np.isfinite(layer))} values that are not finite "
                             "in float32")
        return layer

    # --- how it is shown ----------------------------------------------------------------------------------------------

    @property
    def half_life(self) -> float:
        """Seconds in which half of a change is left of the shown range and of a trail."""
        return self._normalizer.half_life

    def palette(self) -> str:
        """Name of the palette."""
        return self._palette

    def set_palette(self, name: str) -> None:
        """Show in other colours from the next refresh on."""
        self._palette = palette_name(name)

    def reset_normalizer(self) -> None:
        """Forget the shown range: the values' own is shown from the next refresh on."""
        with self._lock:
            self._normalizer.reset()

    # --- pictures -----------------------------------------------------------------------------------------------------

    def refresh(self) -> Picture:
        """Make a picture of this moment."""
        with self._lock:
            now = self._clock()
            self._picture = Picture(self._fold, not self._queue, self._normalizer.at(now), self._trail_at(now),
                                    self._palette, self._backend)
            return self._picture

    @property
    def picture(self) -> Picture:
        """The last one made."""
        return self._picture

    def tensor(self) -> NDArray[np.float32]:
        """The fold [height, width]; zeros while the queue is empty."""
        return self._picture.relation.astype(np.float32)

    def rgba(self) -> bytes:
        """The colours: height x width RGBA8, row 0 first; transparent while the queue is empty."""
        return self._picture.rgba

    def vector_field(self) -> NDArray[np.float32]:
        """Energy, gradient, spin and curvature [height, width, 4], see `canvas.vectors.vector_field`.

        Raises
        ------
        PatchError
            The queue is empty.
        """
        return self._picture.vectors.numpy()

    def trail(self) -> NDArray[np.float32]:
        """How far each cell moved lately [height, width]: the sum of |its steps|, each halved every half-life."""
        return self._picture.trail.astype(np.float32)

    def refresh_tensor(self) -> NDArray[np.float32]:
        """`tensor` of a new picture."""
        self.refresh()
        return self.tensor()

    def refresh_rgba(self) -> bytes:
        """`rgba` of a new picture."""
        return self.refresh().rgba

    def refresh_vector_field(self) -> NDArray[np.float32]:
        """`vector_field` of a new picture."""
        return self.refresh().vectors.numpy()

    def refresh_vector_fft_tensor(self, *, inverse: bool = False, axis: str = "rows",
                                  window: str = "rectangular") -> NDArray[np.float32]:
        """Fourier transform of a new picture's vectors, see `canvas.spectra.spectrum`.

        Returns
        -------
        array of float32 [height, 8 width], over columns [width, 8 height]
            Real and imaginary part of energy, gradient, spin and curvature at one frequency after another.

        Raises
        ------
        PatchError
            The queue is empty.
        ValueError
            No such axis or window.
        """
        found = self.refresh().vector_spectrum(axis=axis, window=window, inverse=inverse)
        return found.reshape(found.shape[0], -1).numpy()

    def refresh_vector_fft_power_db_tensor(self, *, inverse: bool = False, axis: str = "rows",
                                           window: str = "rectangular") -> NDArray[np.float32]:
        """Its power in decibels, at least -120: [height, 4 width], over columns [width, 4 height]; raises the same."""
        found = decibels(power(self.refresh().vector_spectrum(axis=axis, window=window, inverse=inverse)))
        return found.reshape(found.shape[0], -1).numpy()

    def refresh_power_spectrum(self, *, axis: str = "rows", window: str = "rectangular") -> NDArray[np.float64]:
        """|DFT|^2 of the relation itself, in its units squared: [height, width], over columns [width, height].

        The vectors' energy is what is shown; here amplitude is kept. Raises as `refresh_vector_fft_tensor`.
        """
        return self.refresh().power_spectrum(axis=axis, window=window)

    # --- what leaves --------------------------------------------------------------------------------------------------

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
        weight, picture = _weight(coherence, tension, depth), self.refresh()
        if picture.blank:
            raise PatchError("the queue is empty: push_patch a relation first")
        return {"relation": picture.relation.astype(np.float32), "amplitude": picture.amplitude,
                "energy": picture.energy.astype(np.float32), "coherence": coherence, "tension": tension,
                "depth": depth, "weight": weight}

    def emit_wasm_trail(self, curvature: float = 1.0) -> dict[str, Any]:
        """The picture as points in space.

        Returns
        -------
        dict
            curvature, width, height, samples (float32 [height width, 7]: x and y of a cell's middle in 0..1,
            z = tanh(curvature) energy, energy, gradient, spin, curvature) and moved (float32 [height width], `trail`).

        Raises
        ------
        PatchError
            The queue is empty.
        ValueError
            A curvature that is not finite.
        """
        picture = self.refresh()
        return {"curvature": curvature, "width": self.width, "height": self.height,
                "samples": picture.samples(curvature).numpy(), "moved": picture.trail.astype(np.float32).ravel()}

    def emit_atlas_frame(self, *, prefix: str = "canvas", refresh: bool = True,
                         timestamp: float | None = None) -> dict[str, Any]:
        """Telemetry: numbers about queue and picture; published on the session's bus where one is open here.

        Parameters
        ----------
        prefix : str
            What the names begin with.
        refresh : bool
            Make a new picture first, or tell of the last.
        timestamp : float, optional
            Unix time in seconds, now by default.

        Returns
        -------
        dict
            timestamp, and metrics: dotted names to numbers, as `core.fuse_zspace_telemetry` takes them.
        """
        picture = self.refresh() if refresh else self.picture
        metrics = {"queue_len": float(self.queue_len()), "total_weight": float(self.total_weight),
                   "normalizer.half_life": self.half_life, **picture.metrics()}
        frame = {"timestamp": time.time() if timestamp is None else timestamp,
                 "metrics": {f"{prefix}.{name}": value for name, value in sorted(metrics.items())}}
        if session := innermost():
            session.telemetry.publish("canvas", **frame)
        return frame


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
