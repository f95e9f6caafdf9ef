"""Backends: columns of kernels under one table of primitives, and the choice between them."""

from __future__ import annotations

import importlib
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import BackendError
from core.primitives import Primitive, Shape

if TYPE_CHECKING:
    from core.trace import Trace

MOST_EVENTS = 1 << 16  # that are noted before they are added up: a step has a thousand
COLUMNS = {"cpu": "core.backends.cpu", "cuda": "core.backends.cuda", "wgpu": "core.backends.wgpu"}


class Buffer:
    """A place for values that a launch will fill; `data` is the backend's own storage, None until then."""

    __slots__ = ("__weakref__", "counted", "data")

    def __init__(self, data: Any = None) -> None:
        self.data = data
        self.counted: tuple[Memory, int] | None = None  # who counts its storage, and the storage's identity

    def __del__(self) -> None:
        if self.counted is not None:
            memory, storage = self.counted
            memory.events.append((storage, None))  # atomic: any thread may drop a buffer


class Memory:
    """Bytes of the storages that live buffers hold; one that several buffers view counts once.

    What comes and goes is noted, and added up when somebody asks: by then the device is at work.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[int, int | None]] = deque()  # storage, and its bytes, or None where a buffer went
        self._peak = self._live = 0
        self._views: dict[int, list[int]] = {}  # storage -> [buffers that view it, bytes]
        self._lock = threading.Lock()

    @property
    def live(self) -> int:
        """Bytes now."""
        with self._lock:
            self._settle()
            return self._live

    @property
    def peak(self) -> int:
        """Most bytes at a time since `restart`."""
        with self._lock:
            self._settle()
            return self._peak

    def restart(self) -> None:
        """Let the peak begin with what is live now."""
        with self._lock:
            self._settle()
            self._peak = self._live

    def count(self, buffer: Buffer, storage: int, nbytes: int) -> None:
        """Count a buffer whose values are there now."""
        buffer.counted = self, storage
        self.events.append((storage, nbytes))
        if len(self.events) > MOST_EVENTS:
            with self._lock:
                self._settle()

    def _settle(self) -> None:
        """Add up what came and went, in order."""
        while self.events:
            storage, nbytes = self.events.popleft()
            if nbytes is None:
                views = self._views[storage]
                views[0] -= 1
                if not views[0]:
                    self._live -= self._views.pop(storage)[1]
            elif storage in self._views:
                self._views[storage][0] += 1
            else:
                self._views[storage] = [1, nbytes]
                self._live += nbytes
                self._peak = max(self._peak, self._live)


class Backend(Protocol):
    """What a backend must offer; launches are queued, `read` and `flush` are the only points that wait."""

    name: str
    kernels: dict[Hashable, Any]  # what was built for a kernel, a shape and, where it is specialised to one, a frame
    trace: Trace | None  # what records launches, see `core.trace`
    memory: Memory

    def upload(self, values: NDArray[Any]) -> Buffer: ...

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Buffer: ...

    def launch(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
               dtype: np.dtype[Any]) -> Buffer: ...

    def start(self) -> None: ...

    def flush(self) -> None: ...

    def read(self, buffer: Buffer) -> NDArray[Any]: ...

    def dlpack_device(self) -> tuple[int, int]: ...

    def adopt(self, external: Any) -> Buffer: ...

    def export(self, buffer: Buffer, **options: Any) -> Any: ...

    def describe(self) -> dict[str, Any]: ...

    def mark(self) -> Any: ...

    def spans(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]: ...

    def residency(self) -> dict[str, int]: ...

    def sequence(self, call: Callable[[], object], launches: int) -> Callable[[], object]: ...
    def seconds(self, run: Callable[[], object]) -> float: ...

    def copier(self, values: NDArray[Any]) -> Callable[[], object]: ...


_current: ContextVar[Backend | None] = ContextVar("zspace_backend", default=None)


def choose(name: str | None = None) -> tuple[str, str]:
    """Pick a backend name: argument, then `ZSPACE_BACKEND`, then probing.

    Returns
    -------
    (name, reason)

    Raises
    ------
    BackendError
        The named backend does not work here; nothing is replaced silently.
    """
    asked, source = name, "argument"
    if asked in (None, "auto"):
        asked, source = os.environ.get("ZSPACE_BACKEND"), "ZSPACE_BACKEND"
    if asked and asked != "auto":
        if asked not in COLUMNS:
            raise BackendError(f"backend {asked!r} is unknown: choose one of {', '.join(COLUMNS)} or auto")
        if lack := _lack(asked):
            raise lack
        return asked, source
    lack = _lack("cuda")
    return ("cpu", f"cuda is not here: {lack.__cause__}") if lack else ("cuda", "an NVIDIA GPU is here")


def available() -> list[str]:
    """Names of the backends that work on this machine."""
    return [name for name in COLUMNS if not _lack(name)]


def _lack(name: str) -> BackendError | None:
    """What a backend misses on this machine; the CPU misses nothing, and is not loaded to find out."""
    if name != "cpu":
        try:
            importlib.import_module(COLUMNS[name])
        except BackendError as error:
            return error
    return None


def open_backend(name: str | None = None, **options: Any) -> Backend:
    """Make a backend by name (see `choose`)."""
    chosen, _ = choose(name)
    backend: Backend = importlib.import_module(COLUMNS[chosen]).open_backend(**options)
    return backend


def current_backend() -> Backend:
    """The backend of the innermost session or `use_backend`, else the process's default one."""
    return _current.get() or _default()


@cache
def _default() -> Backend:
    return open_backend()


class use_backend:  # noqa: N801 - a context manager reads as a verb
    """``with use_backend(b):`` new arrays live on `b`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def __enter__(self) -> Backend:
        self._token = _current.set(self.backend)
        return self.backend

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)
