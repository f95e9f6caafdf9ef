"""What the backends share: a queue of launches, run when somebody reads."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.backends import Buffer, Memory
from core.errors import BackendError
from core.kernels import digest
from core.primitives import Primitive, Shape
from core.tuning import key, tuned

if TYPE_CHECKING:
    from core.trace import Trace

ZEROS_KEPT = 32  # arrays
TUNED_FROM = 1 << 20  # values of a result from which a launch's variants are measured
WORTH, REPEATS = 2e-2, 16  # seconds of a measurement, or launches in a row: waiting for the device should not count
Variant = TypeVar("Variant")


class Launch:
    """One queued primitive. It holds its inputs, but not its output: a result nobody wants is not computed."""

    __slots__ = ("dtype", "inputs", "out", "params", "primitive", "shape")

    def __init__(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
                 dtype: np.dtype[Any], out: Buffer) -> None:
        self.primitive, self.inputs, self.params = primitive, inputs, params
        self.shape, self.dtype, self.out = shape, dtype, weakref.ref(out)


class LaunchQueue:
    """The part of a backend that queues; a backend says how a chain of elementwise launches runs.

    Parameters
    ----------
    table : mapping of str to callable
        Kernels that are not elementwise: ``kernel(backend, launch, *inputs) -> array``.
    elementwise : collection of str
        Names of the elementwise ones.
    """

    name: str
    overlaps = True  # whether the device works while the host goes on

    def __init__(self, table: Mapping[str, Callable[..., Any]], elementwise: Collection[str]) -> None:
        self.kernels: dict[Hashable, Any] = {}
        self.known = {*table, *elementwise}
        self.trace: Trace | None = None
        self.memory = Memory()
        self._table = table
        self._queue: list[Launch] = []
        self._zeros: dict[tuple[Shape, np.dtype[Any]], Buffer] = {}
        self._lock = threading.RLock()

    def zeros(self, shape: Shape, dtype: np.dtype[Any]) -> Buffer:
        """Zeros. The newest are kept: each step wants the same, and to bring them takes long beside a launch."""
        asked = shape, dtype
        with self._lock:
            if asked not in self._zeros:
                if len(self._zeros) == ZEROS_KEPT:
                    del self._zeros[next(iter(self._zeros))]
                self._zeros[asked] = self.upload(np.zeros(shape, dtype))
            return self._zeros[asked]

    def launch(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
               dtype: np.dtype[Any]) -> Buffer:
        """Queue one primitive."""
        if primitive.name not in self.known:
            raise BackendError(f"backend {self.name!r} has no kernel for {primitive.name!r}")
        out = Buffer()
        with self._lock:
            self._queue.append(Launch(primitive, inputs, params, shape, dtype, out))
        return out

    def start(self) -> None:
        """Begin with what is queued, where the device overlaps with the host.

        It saves the device a wait, and costs memory: what a launch yet to come would be fused with is written out.
        """
        if self.overlaps:
            self.flush()

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
                chain = [alive.pop()]
                while (chain[0].primitive.elementwise and alive and alive[-1].primitive.elementwise
                       and alive[-1].shape == chain[0].shape):
                    chain.append(alive.pop())
                if self.trace is None:
                    self._execute(chain)
                else:
                    with self.trace.launch(chain):
                        self._execute(chain)

    def read(self, buffer: Buffer) -> NDArray[Any]:
        """Run what is queued and give the values on the host, read-only."""
        if buffer.data is None:
            self.flush()
        values = self._to_host(buffer.data)
        values.flags.writeable = False
        return values

    def dlpack_device(self) -> tuple[int, int]:
        """DLPack's device type and index of this backend's memory."""
        raise self._closed()

    def upload(self, values: NDArray[Any]) -> Buffer:
        """Copy host values to the device."""
        raise NotImplementedError

    def adopt(self, external: Any) -> Buffer:
        """A buffer over memory of another library that speaks DLPack, without a copy."""
        own, found = self.dlpack_device(), tuple(map(int, external.__dlpack_device__()))
        if found != own:
            raise BackendError(f"backend {self.name!r} cannot take what lies on {device_in_words(*found)}: move it to "
                               f"{device_in_words(*own)} first, or name another backend")
        try:
            data = self._from_dlpack(external)
        except (BufferError, RuntimeError, TypeError) as error:  # a type the array library lacks, or the owner's reason
            raise ValueError(f"from_dlpack: {getattr(external, 'dtype', 'this type')} does not come in as it is "
                             f"({error}): cast it to float32, or detach it, first") from error
        return self._counted(Buffer(data))

    def export(self, buffer: Buffer, **options: Any) -> Any:
        """A DLPack capsule of the values, without a copy; `options` are the protocol's."""
        raise self._closed()

    def _closed(self) -> BackendError:
        return BackendError(f"backend {self.name!r} shares no memory through DLPack: x.numpy() copies to the host, "
                            "asarray(values) to the device")

    def _from_dlpack(self, external: Any) -> Any:
        raise NotImplementedError

    def mark(self) -> Any:
        """A point between two launches, for `spans`: here the host's clock, right where kernels run when called."""
        return time.perf_counter()

    def spans(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
        """Start on the device's time axis and device seconds between two marks, for each pair; waits for the device."""
        return [(begin, end - begin) for begin, end in pairs]

    def fastest(self, launch: Launch, source: str, variants: Sequence[Variant], run: Callable[[Variant], object],
                sizes: Shape = ()) -> Variant:
        """The variant of a launch's kernel that is fastest on this device, measured where it is not known yet.

        Parameters
        ----------
        source : str
            Text of the kernel: another text, another choice.
        variants : sequence
            They differ in no bit of the result. The first serves small launches, which are not worth measuring.
        run : callable
            ``run(variant)`` launches it.
        sizes : tuple of int
            What the choice depends on besides the result's shape.
        """
        if math.prod(launch.shape) < TUNED_FROM:
            return variants[0]
        of = key(launch.primitive.name, digest(source), *self._device, launch.dtype.name, (*launch.shape, *sizes))

        def measure(variant: Variant) -> float:
            once = self.seconds(lambda: run(variant))
            again = min(int(WORTH / once), REPEATS)
            return self.seconds(lambda: [run(variant) for _ in range(again)]) / again if again > 1 else once

        return tuned(of, variants, measure)

    @cached_property
    def _device(self) -> tuple[str, str]:
        found = self.describe()
        return found["device"], str(found["driver"])

    def describe(self) -> dict[str, Any]:
        """What must be equal for two runs to be comparable bit for bit."""
        raise NotImplementedError

    def seconds(self, run: Callable[[], object]) -> float:
        """How long the device takes for what a function launches; waits for it."""
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    def residency(self) -> dict[str, int]:
        """What the backend keeps: how many compiled kernels, and the bytes of its pool where it has one."""
        return {"kernels": len(self.kernels)}

    def sequence(self, call: Callable[[], object], launches: int) -> Callable[[], object]:
        """A function that makes so many calls with as little of the host between them as the backend allows."""
        def run() -> None:
            for _ in range(launches):
                kept = call()  # noqa: F841 - a result nobody holds would not be computed
                self.flush()

        return run

    def copier(self, values: NDArray[Any]) -> Callable[[], object]:
        """A function that copies `values` from device memory to device memory: the ceiling of what only moves."""
        raise NotImplementedError

    def _execute(self, chain: list[Launch]) -> None:
        """Run an elementwise chain, or one launch of another kind."""
        held = [b for launch in chain for b in launch.inputs if b.data is not None]
        if chain[0].primitive.elementwise:
            self._run_chain(chain)
        else:
            self._run(chain[0])
        for launch in chain:
            if (out := launch.out()) is not None:
                self._counted(out)
        del held  # until now: inputs and results are there at the same time

    def _counted(self, buffer: Buffer) -> Buffer:
        """The buffer, its storage counted: what its data view, which NumPy and CuPy call `base` and wgpu `storage`."""
        owner = getattr(buffer.data, "storage", buffer.data)
        while hasattr(base := getattr(owner, "base", None), "nbytes"):
            owner = base
        repeated = 1
        if 0 in getattr(owner, "strides", ()):  # what another library broadcast
            repeated = math.prod(n for n, s in zip(owner.shape, owner.strides, strict=True) if not s)
        self.memory.count(buffer, id(owner), owner.nbytes // max(repeated, 1))
        return buffer

    def _run(self, launch: Launch) -> None:
        """Run one kernel that is not elementwise."""
        out = launch.out()
        if out is not None:
            out.data = self._table[launch.primitive.name](self, launch, *(b.data for b in launch.inputs))
            launch.inputs = []

    def _to_host(self, data: Any) -> NDArray[Any]:
        raise NotImplementedError

    def _run_chain(self, chain: list[Launch]) -> None:
        raise NotImplementedError


DLPACK_DEVICES = {1: "the CPU", 2: "CUDA device", 3: "pinned host memory of CUDA device", 4: "OpenCL device",
                  7: "Vulkan device", 8: "Metal device", 10: "ROCm device", 13: "managed memory of CUDA device"}


def device_in_words(kind: int, index: int) -> str:
    """A DLPack device in words."""
    return DLPACK_DEVICES[1] if kind == 1 else f"{DLPACK_DEVICES.get(kind, f'DLPack device type {kind},')} {index}"
