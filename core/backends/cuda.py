"""The CUDA backend: CuPy arrays in CuPy's memory pool, a chain of elementwise launches as one generated kernel.

Launches are queued as on every backend, and CuPy itself does not wait for the device: `read` alone does. Sums keep one
order that depends on shapes alone: no float atomics, and no TF32 in cuBLAS unless CUPY_TF32 asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.backends import Buffer
from core.backends.queue import Launch, LaunchQueue
from core.errors import BackendError

try:
    import cupy as cp

    cp.cuda.runtime.getDeviceCount()
except Exception as error:  # no library, no driver and no device all end here
    raise BackendError(f"backend 'cuda' needs CuPy and an NVIDIA GPU ({error}): pip install cupy-cuda13x, "
                       "or use --backend cpu") from error

from core.backends.cuda_kernels import EXPRESSIONS, KERNELS

TYPES = {np.dtype(kind): (kind, word)  # CuPy's name of a type and CUDA's
         for kind, word in (("float32", "float"), ("float64", "double"), ("int32", "int"))}


class CudaBackend(LaunchQueue):
    """Kernels on the current CUDA device."""

    name = "cuda"

    def __init__(self) -> None:
        super().__init__(KERNELS, EXPRESSIONS)

    def upload(self, values: NDArray[Any]) -> Buffer:
        """Copy host values to the device."""
        return self._counted(Buffer(cp.asarray(values)))

    def dlpack_device(self) -> tuple[int, int]:
        """kDLCUDA and the current device."""
        return 2, int(cp.cuda.Device().id)

    def export(self, buffer: Buffer, **options: Any) -> Any:
        """Not marked read-only, which CuPy cannot; the consumer's stream, in `options`, waits for what was launched."""
        self.flush()
        return buffer.data.__dlpack__(**options)

    def _from_dlpack(self, external: Any) -> Any:
        return cp.from_dlpack(external)  # on the current stream, which the owner makes wait for its own

    def describe(self) -> dict[str, Any]:
        """What must be equal for two runs to be comparable bit for bit."""
        properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
        return {"backend": "cuda", "device": properties["name"].decode(), "driver": cp.cuda.runtime.driverGetVersion(),
                "runtime": cp.cuda.runtime.runtimeGetVersion(), "cupy": cp.__version__}

    def mark(self) -> Any:
        """An event on the stream."""
        event = cp.cuda.Event()
        event.record()
        return event

    def spans(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
        """By the device's own clock."""
        cp.cuda.Device().synchronize()
        return [(cp.cuda.get_elapsed_time(pairs[0][0], begin) / 1e3, cp.cuda.get_elapsed_time(begin, end) / 1e3)
                for begin, end in pairs]

    def residency(self) -> dict[str, int]:
        """Generated chains, and CuPy's pool: bytes in use and bytes held from the device."""
        pool = cp.get_default_memory_pool()
        return {**super().residency(), "used_bytes": pool.used_bytes(), "pool_bytes": pool.total_bytes()}

    def copier(self, values: NDArray[Any]) -> Callable[[], None]:
        """A copy in device memory."""
        source = cp.asarray(values)
        target = cp.empty_like(source)
        return lambda: cp.copyto(target, source)

    def _to_host(self, data: Any) -> NDArray[Any]:
        values: NDArray[Any] = cp.asnumpy(data)
        return values

    def _run_chain(self, chain: list[Launch]) -> None:
        """Run elementwise launches of one shape as one kernel; what nobody holds any more stays in registers."""
        declared, lines, arguments = _write(chain)
        for x in chain:
            x.inputs = []  # from here on only whoever still wants a result keeps its buffer alive
        kept = [(i, out) for i, x in enumerate(chain) if (out := x.out()) is not None]
        lines += [f"y{i} = t{i};" for i, _ in kept]
        results = [cp.empty(chain[i].shape, chain[i].dtype) for i, _ in kept]
        source = ", ".join(declared), ", ".join(f"{TYPES[chain[i].dtype][0]} y{i}" for i, _ in kept), " ".join(lines)
        if source not in self.kernels:
            self.kernels[source] = cp.ElementwiseKernel(*source, "zspace_chain")
        if kept and results[0].size:
            self.kernels[source](*arguments, *results)
        for (_, out), result in zip(kept, results, strict=True):
            out.data = result


def _write(chain: list[Launch]) -> tuple[list[str], list[str], list[Any]]:
    """A chain as CUDA: the arguments declared, a line a launch, and the arguments."""
    names = {id(x.out()): f"t{i}" for i, x in enumerate(chain)}
    declared: list[str] = []
    lines: list[str] = []
    arguments: list[Any] = []
    for i, x in enumerate(chain):
        places, (kind, word) = [], TYPES[x.dtype]
        for b in x.inputs:
            if id(b) not in names:
                names[id(b)] = f"x{len(arguments)}"
                declared.append(f"{TYPES[b.data.dtype][0]} {names[id(b)]}")
                arguments.append(b.data)
            places.append(names[id(b)])
        for value in x.params.values():  # a number is an argument of the kernel, not a part of its text
            places.append(f"x{len(arguments)}")
            declared.append(f"{kind} {places[-1]}")
            arguments.append(x.dtype.type(value))
        lines.append(f"{word} t{i} = {EXPRESSIONS[x.primitive.name].format(*places, T=word)};")
    return declared, lines, arguments


def open_backend(threads: int | None = None) -> CudaBackend:
    """Make the CUDA backend; the host's threads have no part in it."""
    return CudaBackend()
