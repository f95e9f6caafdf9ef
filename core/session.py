"""Sessions: what belongs together while somebody works - atlas, backend, kernel cache, telemetry and scheduler."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core import backends
from core.atlas import Chart, ZAtlas
from core.errors import NothingObservedError
from core.field import Field, measure_field
from core.frame import ZFrame
from core.scheduler import Scheduler
from core.ztensor import ZTensor

if TYPE_CHECKING:
    from core.inference.projection import ZSpaceInference

log = logging.getLogger(__name__)
_stack: ContextVar[tuple[Session, ...]] = ContextVar("zspace_sessions", default=())
Event = dict[str, Any]


class TelemetryBus:
    """Events to whoever listens; the last `capacity` are kept for those who come late."""

    def __init__(self, capacity: int = 1024) -> None:
        self.recent: deque[Event] = deque(maxlen=capacity)
        self._listeners: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener(event)` from now on; returns the function that ends it."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, kind: str, **values: Any) -> None:
        """Send one event; a listener that fails is logged and harms nobody else."""
        event = {"kind": kind, "time": time.time(), **values}
        with self._lock:
            self.recent.append(event)
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a telemetry listener failed on %r", kind)


class Session:
    """A place of work; use it as a context manager, from any thread, as often as you like.

    Parameters
    ----------
    frame : ZFrame, optional
        How signals are looked at; six octave bands, eight sheets, four echoes by default.
    backend : str, optional
        See `core.backends.choose`.
    capacity : int
        Charts that the atlas keeps.
    """

    def __init__(self, frame: ZFrame | None = None, backend: str | None = None, capacity: int = 256) -> None:
        self.frame = frame or ZFrame.octaves()
        self.backend = backends.open_backend(backend)
        self.atlas = ZAtlas(capacity)
        self.telemetry = TelemetryBus()
        self.scheduler = Scheduler({"atlas": (self.frame.bands, self.frame.sheets)})
        self.feedback: ZSpaceInference | None = None  # the last one that a runtime or pipeline made in it
        self._observed: NDArray[np.float64] | None = None

    def __enter__(self) -> Session:
        _stack.set((*_stack.get(), self))
        backends._current.set(self.backend)
        return self

    def __exit__(self, *exc: object) -> None:
        rest = _stack.get()[:-1]
        _stack.set(rest)
        backends._current.set(rest[-1].backend if rest else None)

    @property
    def kernels(self) -> dict[Hashable, Any]:
        """The backend's cache of what was built for kernels, shapes and frames."""
        return self.backend.kernels

    def observe(self, x: ArrayLike | ZTensor, step: int | None = None, **provenance: Any) -> Field:
        """Look at a signal [T], [T, C] or [N, T, C]: its field enters the atlas.

        Parameters
        ----------
        step : int, optional
            Training step it belongs to; the number of charts so far by default.
        provenance
            Where the signal comes from, kept with the chart.
        """
        frame = x.frame if isinstance(x, ZTensor) else self.frame
        signal = np.array(x.numpy() if isinstance(x, ZTensor) else x, np.float64)  # a copy: the caller may reuse x
        field = measure_field(signal, frame)
        at = len(self.atlas) if step is None else step
        self.atlas.append(Chart(frame, field, at, time.time(), provenance, signal))
        self._observed = signal
        self.telemetry.publish("chart", step=at, power=float(field.rho[:, :, 0].sum()), **provenance)
        return field

    @property
    def signal(self) -> NDArray[np.float64] | None:
        """What was last observed, read-only; None before."""
        if self._observed is None:
            return None
        view = self._observed.view()
        view.flags.writeable = False
        return view

    def sample_field(self, x: ArrayLike | None = None, frame: ZFrame | None = None) -> Field:
        """The field of `x`, or of what was last observed, through `frame` (the session's by default).

        Raises
        ------
        NothingObservedError
            No `x` given and nothing observed yet.
        """
        if x is None and self._observed is None:
            raise NothingObservedError("nothing observed yet: pass a signal, sample_field(x), or call observe(x) first")
        return measure_field(np.asarray(self._observed if x is None else x, np.float64), frame or self.frame)


def innermost() -> Session | None:
    """The innermost session of this context, None where there is none."""
    stack = _stack.get()
    return stack[-1] if stack else None


def current_session() -> Session:
    """The innermost session of this context.

    Raises
    ------
    NothingObservedError
        There is none.
    """
    session = innermost()
    if session is None:
        raise NothingObservedError("no session is open: write `with st.zspace.session() as s:` around this")
    return session


def current_frame() -> ZFrame:
    """The frame of the innermost session of this context; octaves where there is none."""
    session = innermost()
    return session.frame if session else ZFrame.octaves()


def note_inference(inference: ZSpaceInference) -> None:
    """Keep an inference as the feedback of this context's innermost session, and publish it; no session, no note."""
    session = innermost()
    if session:
        session.feedback = inference
        session.telemetry.publish("inference", metrics=dict(inference.metrics), confidence=inference.confidence,
                                  residual=inference.residual)
