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
            memory.dropped.append(storage)  # atomic: any thread may drop a buffer


class Memory:
    """Bytes of the storages that live buffers hold; one that several buffers view counts once.

    Attributes
    ----------
    peak : int
        Most bytes at a time since `restart`.
    """

    def __init__(self) -> None:
        self.peak = self._live = 0
        self.dropped: deque[int] = deque()
        self._views: dict[int, list[int]] = {}  # storage -> [buffers that view it, bytes]
        self._lock = threading.Lock()

    @property
    def live(self) -> int:
        """Bytes now."""
        with self._lock:
            return self._settle()

    def restart(self) -> None:
        """Let the peak begin with what is live now."""
        with self._lock:
            self.peak = self._settle()

    def count(self, buffer: Buffer, storage: int, nbytes: int) -> None:
        """Count a buffer whose values are there now."""
        buffer.counted = self, storage
        with self._lock:
            self._settle()
            views = self._views.setdefault(storage, [0, nbytes])
            views[0] += 1
            if views[0] == 1:
                self._live += nbytes
                self.peak = max(self.peak, self._live)

    def _settle(self) -> int:
        """Take off what was dropped."""
        while self.dropped:
            storage = self.dropped.popleft()
            views = self._views[storage]
            views[0] -= 1
            if not views[0]:
                self._live -= self._views.pop(storage)[1]
        return self._live


class Backend(Protocol):
    """What a backend must offer; launches are queued, `read` and `flush` are the only points that wait."""

    name: str
    kernels: dict[Hashable, Any]  # what was built for a kernel, a shape and, where it is specialised to one, a frame
    trace: Trace | None  # what records launches, see `core.trace`
    memory: Memory

    def upload(self, values: NDArray[Any]) -> Buffer: ...

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
