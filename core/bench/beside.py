"""Our CUDA backend in a process of its own: wgpu's peer on the same card.

In one process, a CUDA graph that has run leaves Vulkan waiting for a submit that never ends (H100, driver 580).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from core.backends import open_backend, use_backend
from core.bench.cases import CASES
from core.errors import BackendError
from core.trace import timed


class CudaBeside:
    """A process that times cases on the CUDA backend while it is entered.

    Attributes
    ----------
    lacks : str or None
        Why there is no CUDA here.
    """

    def __enter__(self) -> CudaBeside:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # or the end of the process would not end the pipe
        self.lacks: str | None = self._pipe.recv()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pipe.close()
        self._process.join()

    def sequence(self, name: str, n: int) -> Callable[[int], float]:
        """``sequence(launches) -> seconds a call`` of a case of about n values."""
        def run(launches: int) -> float:
            self._pipe.send((name, n, launches))
            seconds: float = self._pipe.recv()
            return seconds

        return run


def _serve(pipe: Connection[Any, Any]) -> None:
    """Say what is lacking, then answer until the other end closes."""
    try:
        backend = open_backend("cuda")
    except BackendError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    held = None
    with use_backend(backend):
        while True:
            try:
                name, n, launches = pipe.recv()
            except EOFError:
                return
            if held != (name, n):
                call = CASES[name].call(CASES[name].draw(np.random.default_rng(0), n))
                held = name, n
            pipe.send(timed(backend, call, launches))
