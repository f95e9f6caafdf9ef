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

    def seconds(self, run: Callable[[], object]) -> float:
        """By events."""
        begin = self.mark()
        run()
        return self.spans([(begin, self.mark())])[0][1]

    def residency(self) -> dict[str, int]:
        """Generated chains, and CuPy's pool: bytes in use and bytes held from the device."""
        pool = cp.get_default_memory_pool()
        return {**super().residency(), "used_bytes": pool.used_bytes(), "pool_bytes": pool.total_bytes()}

    def sequence(self, call: Callable[[], object], launches: int) -> Callable[[], object]:
        """Captured as one CUDA graph, where CuPy can: a launch from Python takes longer than many a kernel."""
        plain = super().sequence(call, launches)
        stream, pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()  # the graph's own: it writes there again
        with stream, cp.cuda.using_allocator(pool.malloc):
            plain()  # compiles, and fills the pool: a capture must not allocate from the device
            stream.synchronize()
            stream.begin_capture()
            try:
                plain()
            except NotImplementedError:  # cuBLAS through CuPy cannot be captured; its products outlast their launch
                stream.end_capture()
                return plain
            graph = stream.end_capture()

        def run(pool: Any = pool) -> None:
            graph.launch()

        return run

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
        places: dict[int, int] = {}  # of each operand: its number among the arguments, or -1 - the line that makes it
        form: list[Any] = []
        arguments: list[Any] = []
        for i, x in enumerate(chain):
            refs = []
            for b in x.inputs:
                if id(b) not in places:
                    places[id(b)] = len(arguments)
                    arguments.append(b.data)
                refs.append(places[id(b)])
            for value in x.params.values():  # a number is an argument of the kernel, not a part of its text
                refs.append(len(arguments))
                arguments.append(x.dtype.type(value))
            form.append((x.primitive.name, x.dtype, *refs))
            places[id(x.out())] = -1 - i
        for x in chain:
            x.inputs = []  # from here on only whoever still wants a result keeps its buffer alive
        kept = [(i, out) for i, x in enumerate(chain) if (out := x.out()) is not None]
        results = [cp.empty(chain[i].shape, chain[i].dtype) for i, _ in kept]
        key = ("chain", *form, *(a.dtype for a in arguments), *(i for i, _ in kept))
        if key not in self.kernels:
            self.kernels[key] = _compile(form, [a.dtype for a in arguments], [i for i, _ in kept])
        if kept and results[0].size:
            self.kernels[key](*arguments, *results)
        for (_, out), result in zip(kept, results, strict=True):
            out.data = result


def _compile(form: list[Any], types: list[Any], kept: list[int]) -> Any:
    """A chain as one CUDA kernel: a line a launch."""
    lines = []
    for i, (name, dtype, *refs) in enumerate(form):
        places, word = [f"x{r}" if r >= 0 else f"t{-1 - r}" for r in refs], TYPES[dtype][1]
        lines.append(f"{word} t{i} = {EXPRESSIONS[name].format(*places, T=word)};")
    declared = ", ".join(f"{TYPES[dtype][0]} x{i}" for i, dtype in enumerate(types))
    made = ", ".join(f"{TYPES[form[i][1]][0]} y{i}" for i in kept)
    text = " ".join([*lines, *(f"y{i} = t{i};" for i in kept)])
    # no fused multiply-add, or a digit would depend on what a launch was fused with
    return cp.ElementwiseKernel(declared, made, text, "zspace_chain", options=("--fmad=false",))


def open_backend(threads: int | None = None) -> CudaBackend:
    """Make the CUDA backend; the host's threads have no part in it."""
    return CudaBackend()
