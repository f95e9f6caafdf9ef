"""The CPU backend: a queue of launches run on a small thread pool with NumPy, SciPy and Numba kernels.

BLAS is pinned to one thread and the pool splits the work, so the order of every sum depends on shapes alone.
Elementwise launches in a row run block by block through the cache: one pass over memory for a whole chain.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import platform
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from core.backends import Buffer, cpu_loops, cpu_math, cpu_random
from core.backends.cpu_kernels import ELEMENTWISE, KERNELS
from core.backends.queue import Launch, LaunchQueue
from core.primitives import Shape

BLOCK_BYTES = 1 << 19  # of one operand: smaller ones hand the interpreter's lock over too often
PARALLEL_BYTES = 1 << 16  # below this one thread is faster than handing work over


class CpuBackend(LaunchQueue):
    """Kernels on the host.

    Parameters
    ----------
    threads : int, optional
        Size of the pool; all usable cores by default. Recorded with a run.
    """

    name = "cpu"
    overlaps = False

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(KERNELS, ELEMENTWISE)
        self.threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="zspace-cpu")
        weakref.finalize(self, self._pool.shutdown, wait=False)
        _keep_freed_memory()
        threadpool_limits(1)  # for the process: our pool is the only one that splits work

    def upload(self, values: NDArray[Any]) -> Buffer:
        """Copy host values in."""
        data = values.copy()
        data.flags.writeable = False
        return self._counted(Buffer(data))

    def dlpack_device(self) -> tuple[int, int]:
        """kDLCPU."""
        return 1, 0

    def export(self, buffer: Buffer, **options: Any) -> Any:
        """Read-only where the consumer speaks DLPack 1.0, which can say so; JAX does not, but never writes."""
        values = self.read(buffer)
        if (options.get("max_version") or (0,))[0] < 1:
            options.pop("max_version", None)
            values = np.asarray(_Unmarked(values))
        return values.__dlpack__(**options)

    def _from_dlpack(self, external: Any) -> NDArray[Any]:
        return np.from_dlpack(external)

    def map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> None:
        """Run `work` over items, a contiguous part of them a thread, the first part on this one."""
        def run(part: Sequence[Any]) -> None:
            for item in part:
                work(item)

        parts = max(1, min(self.threads, len(items)))
        cuts = [len(items) * i // parts for i in range(parts + 1)]
        others = [self._pool.submit(run, items[a:b]) for a, b in itertools.pairwise(cuts[1:])]
        try:
            run(items[: cuts[1]])
        finally:
            wait(others)  # they write into arrays that an error here would free
        for other in others:
            other.result()

    def chunks(self, n: int, nbytes: int) -> list[slice]:
        """Split n rows into one contiguous chunk a thread (one in all where splitting would not pay)."""
        parts = min(self.threads, n) if nbytes >= PARALLEL_BYTES else 1
        cuts = [n * i // max(parts, 1) for i in range(parts + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(cuts)] or [slice(0, n)]

    def describe(self) -> dict[str, Any]:
        """What must be equal for two runs to be comparable bit for bit."""
        blas = sorted({f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip()
                       for i in threadpool_info() if i["user_api"] == "blas"})
        return {"backend": "cpu", "device": _processor(), "threads": self.threads, "blas": blas}

    def residency(self) -> dict[str, int]:
        """How many loops Numba has compiled or loaded in this process, one a combination of types."""
        loops = [*vars(cpu_loops).values(), cpu_random.philox]
        return {"kernels": sum(len(loop.signatures) for loop in loops if hasattr(loop, "signatures"))
                + cpu_math.ufunc.cache_info().currsize}

    def copier(self, values: NDArray[Any]) -> Callable[[], None]:
        """A copy in main memory on all threads."""
        out, parts = np.empty_like(values), self.chunks(len(values), values.nbytes)
        return lambda: self.map(lambda s: np.copyto(out[s], values[s]), parts)

    def _to_host(self, data: NDArray[Any]) -> NDArray[Any]:
        return data.view()

    def _run_chain(self, chain: list[Launch]) -> None:
        """Run elementwise launches of one shape together, block after block of rows."""
        shape = chain[0].shape
        columns = shape[-1] if shape else 1
        rows = math.prod(shape[:-1])
        made = {id(x.out()): i for i, x in enumerate(chain)}
        sources = [[made[id(b)] if id(b) in made else _rows_of(b.data, shape) for b in x.inputs] for x in chain]
        for x in chain:
            x.inputs = []  # from here on only whoever still wants a result keeps its buffer alive
        kept = {i: out for i, x in enumerate(chain) if (out := x.out()) is not None}
        results = {i: np.empty((rows, columns), chain[i].dtype) for i in kept}

        def block(s: slice) -> None:
            values: list[NDArray[Any]] = []  # what nobody holds lives in the cache for one block
            for i, x in enumerate(chain):
                values.append(results[i][s] if i in kept else np.empty((s.stop - s.start, columns), x.dtype))
                ELEMENTWISE[x.primitive.name](values[i], *(
                    values[a] if isinstance(a, int) else a[0][s] if a[1] else a[0] for a in sources[i]), **x.params)

        size = max(1, BLOCK_BYTES // max(1, columns * chain[0].dtype.itemsize))
        self.map(block, [slice(i, min(i + size, rows)) for i in range(0, rows, size)] or [slice(0, 0)])
        for i, out in kept.items():
            out.data = results[i].reshape(shape)


class _Unmarked:
    """An array without its read-only mark, for a protocol that has none."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.__array_interface__ = {**values.__array_interface__, "data": (values.ctypes.data, False)}


def _rows_of(a: NDArray[Any], shape: Shape) -> tuple[NDArray[Any], bool]:
    """An operand as rows to slice along with the output, or whole where every row sees the same."""
    if math.prod(a.shape[:-1]) == 1:
        return a.reshape(1, -1) if a.ndim else a, False
    last = a.shape[-1]
    full = (*shape[:-1], last)
    return (a if a.shape == full else np.broadcast_to(a, full)).reshape(math.prod(full[:-1]), last), True


def _keep_freed_memory() -> None:
    """Let glibc reuse freed arrays: fresh pages for each 8 MB result would cost more than the arithmetic."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, its largest value
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-4, 0)  # M_MMAP_MAX: larger ones, too


def _processor() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def open_backend(threads: int | None = None) -> CpuBackend:
    """Make the CPU backend."""
    return CpuBackend(threads)
