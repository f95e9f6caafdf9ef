"""Timing in turns: a sequence of our launches, then one of each peer's, round after round."""

from __future__ import annotations

import importlib
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.backends import Backend, available, open_backend, use_backend
from core.bench.cases import CASES, Case
from core.errors import BackendError
from core.trace import COPY_BYTES, COPYING, Ceilings, Trace, clocked, enough, measure_ceilings, timed

ROUNDS = 3
LIBRARIES = ("numpy", "scipy", "numba", "torch", "cupy-cuda13x", "wgpu")


@dataclass(frozen=True)
class Rival:
    """A peer's median seconds a call, and how many times as long as ours that is (median over the rounds)."""

    name: str
    seconds: float
    ratio: float


@dataclass(frozen=True)
class Timing:
    """One kernel.

    Attributes
    ----------
    launches : int
        Of one of our sequences.
    seconds : float
        A launch, median of the sequences.
    bytes_per_second, flops_per_second : float
    share : float
        Of the ceiling that `bound` names: a copy timed in turns with the kernel, or the measured matmul peak.
    rivals : tuple of Rival
    notes : tuple of str
        What could not be timed, and why.
    """

    kernel: str
    shape: tuple[int, ...]
    launches: int
    seconds: float
    bytes_per_second: float
    flops_per_second: float
    share: float
    bound: str
    rivals: tuple[Rival, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A run of the benchmark: where, with what, what the device reaches, and the kernels."""

    device: dict[str, Any]
    versions: dict[str, str]
    mib: float
    ceilings: Ceilings
    timings: list[Timing]


def run(backend: Backend, mib: float, names: Sequence[str] = tuple(CASES), seconds: float = 1.0,
        on_timing: Callable[[Timing], None] = lambda _: None) -> Report:
    """Time kernels on random float32 values.

    Parameters
    ----------
    mib : float
        MiB in the largest input of each.
    names : sequence of str
        Of `core.bench.cases.CASES`.
    seconds : float
        Of a sequence of launches.
    on_timing : callable
        Called with each result as it comes.
    """
    ceilings = measure_ceilings(backend)
    copy = backend.copier(np.random.default_rng(1).standard_normal(COPY_BYTES // 4, np.float32))
    timings = []
    for name in names:
        timings.append(_time(backend, name, int(mib * (1 << 18)), seconds, ceilings, copy))
        on_timing(timings[-1])
    return Report(backend.describe(), {"python": platform.python_version(), **_versions()}, mib, ceilings, timings)


def _time(backend: Backend, name: str, n: int, seconds: float, ceilings: Ceilings, copy: Callable[[], object]
          ) -> Timing:
    """One kernel, a copy and the peers, in turns: whatever else the machine does meets all of them."""
    case = CASES[name]
    drawn = case.draw(np.random.default_rng(0), n)
    with use_backend(backend):
        call = case.call(drawn)
        try:
            with Trace(backend) as trace:
                kept = call()
        except BackendError as error:
            return Timing(name, (), 0, 0.0, 0.0, 0.0, 0.0, case.bound, (), (str(error),))
        launches = enough(lambda k: timed(backend, call, k), seconds)
        found, notes = _peers(backend, case, drawn)
        copies = enough(lambda k: timed(backend, copy, k), COPYING)
        ours_in_turn, copies_in_turn = backend.sequence(call, launches), backend.sequence(copy, copies)
        sequences: dict[str, Callable[[], float]] = {"ours": lambda: clocked(backend, ours_in_turn, launches),
                                                     "copy": lambda: clocked(backend, copies_in_turn, copies)}
        for peer, run_peer in found.items():
            try:
                k = enough(run_peer, seconds)
            except Exception as error:  # a peer that fails here is said to, and the others go on
                notes.append(f"{peer}: {type(error).__name__}: {' '.join(str(error).split()):.100}")
            else:
                sequences[peer] = _bound(run_peer, k)
        rounds = [{who: sequence() for who, sequence in sequences.items()} for _ in range(ROUNDS)]
    once = statistics.median(r["ours"] for r in rounds)
    rivals = tuple(Rival(who, statistics.median(r[who] for r in rounds),
                         statistics.median(r[who] / r["ours"] for r in rounds))
                   for who in sequences if who not in ("ours", "copy"))
    nbytes, flops = (sum(getattr(r, kind) for r in trace.records) for kind in ("nbytes", "flops"))
    share = (statistics.median(nbytes / r["ours"] * r["copy"] / (2 * COPY_BYTES) for r in rounds)
             if case.bound == "copy" else flops / once / ceilings.matmul)
    return Timing(name, kept.shape, launches, once, nbytes / once, flops / once, share, case.bound, rivals,
                  tuple(notes))


def _bound(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _peers(backend: Backend, case: Case, drawn: list[NDArray[Any]]) -> tuple[dict[str, Callable[[int], float]],
                                                                             list[str]]:
    """``sequence(launches) -> seconds a call`` of each library that is here, and which are not."""
    found: dict[str, Callable[[int], float]] = {}
    on_cuda, threads = backend.name == "cuda", backend.describe().get("threads", 1)
    if backend.name == "wgpu" and "cuda" in available():  # the same card, by its maker's own road
        cuda = open_backend("cuda")
        with use_backend(cuda):
            call = case.call(drawn)

        def sequence(launches: int) -> float:
            with use_backend(cuda):
                return timed(cuda, call, launches)

        return {"our cuda": sequence}, []
    if on_cuda:
        cupy: Any = importlib.import_module("cupy")
        arrays = [cupy.asarray(x) for x in drawn]
        found["cupy"] = _sequence(_bound(case.array, cupy, *arrays), cupy.cuda.Device().synchronize)
    else:
        found[case.host] = _sequence(_bound(case.array, np, *drawn), lambda: None, threads)
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return found, ["torch is not here"]
    if on_cuda and not torch.cuda.is_available():
        return found, ["this torch has no CUDA"]
    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(x).to("cuda" if on_cuda else "cpu") for x in drawn]
    wait = torch.cuda.synchronize if on_cuda else lambda: None
    found["torch"] = _sequence(_bound(case.torch, torch, *tensors), wait)
    if on_cuda and case.compiles:
        torch._dynamo.reset()  # or it counts every kernel as the same function with other shapes, and gives up
        found["torch.compile"] = _sequence(_bound(torch.compile(lambda *x: case.torch(torch, *x)), *tensors), wait)
    return found, []


def _sequence(call: Callable[[], Any], wait: Callable[[], Any], blas_threads: int | None = None
              ) -> Callable[[int], float]:
    """Calls in a row and one wait; NumPy's BLAS, which our pool pins to one thread, gets as many as our pool."""
    def run(launches: int) -> float:
        with threadpool_limits(blas_threads, "blas") if blas_threads else nullcontext():
            wait()
            began = time.perf_counter()
            for _ in range(launches):
                call()
            wait()
            return (time.perf_counter() - began) / launches

    return run


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
