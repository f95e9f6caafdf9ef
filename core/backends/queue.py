"""What the backends share: a queue of launches, run when somebody reads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Container, Hashable
from typing import Any

import numpy as np

from core.backends import Buffer
from core.errors import BackendError
from core.primitives import Primitive, Shape


class Launch:
    """One queued primitive. It holds its inputs, but not its output: a result nobody wants is not computed."""

    __slots__ = ("dtype", "inputs", "out", "params", "primitive", "shape")

    def __init__(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
                 dtype: np.dtype[Any], out: Buffer) -> None:
        self.primitive, self.inputs, self.params = primitive, inputs, params
        self.shape, self.dtype, self.out = shape, dtype, weakref.ref(out)


class LaunchQueue:
    """The part of a backend that queues; a backend says how one launch and how a chain of elementwise ones run.

    Parameters
    ----------
    known : container of str
        Names of the primitives that the backend has kernels for.
    """

    name: str

    def __init__(self, known: Container[str]) -> None:
        self.kernels: dict[Hashable, Any] = {}
        self._known = known
        self._queue: list[Launch] = []
        self._lock = threading.RLock()

    def launch(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
               dtype: np.dtype[Any]) -> Buffer:
        """Queue one primitive."""
        if primitive.name not in self._known:
            raise BackendError(f"backend {self.name!r} has no kernel for {primitive.name!r}")
        out = Buffer()
        with self._lock:
            self._queue.append(Launch(primitive, inputs, params, shape, dtype, out))
        return out

    def flush(self) -> None:
        """Run every queued launch whose result somebody still holds, in order."""
        with self._lock:
            queue, self._queue = self._queue, []
            alive: list[Launch] = []
            while queue:  # from the end: dropping a dead launch frees its inputs, which may be dead then
                launch = queue.pop()
                if launch.out() is not None:
                    alive.append(launch)
            while alive:
                launch = alive.pop()
                if not launch.primitive.elementwise:
                    self._run(launch)
                    continue
                chain = [launch]
                while alive and alive[-1].primitive.elementwise and alive[-1].shape == launch.shape:
                    chain.append(alive.pop())
                self._run_chain(chain)

    def _run(self, launch: Launch) -> None:
        raise NotImplementedError

    def _run_chain(self, chain: list[Launch]) -> None:
        raise NotImplementedError
