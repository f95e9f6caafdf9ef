"""The wgpu backend: WGSL kernels on any GPU that Vulkan, Metal or Direct3D reaches, and on Mesa's software one.

A kernel is a function ``kernel(backend, launch, *inputs: View) -> View`` that calls three methods:

- ``backend.empty(shape, dtype) -> View``: room for values (a result, or scratch that is dropped when done),
- ``backend.contiguous(view) -> View``: the same values row-major, copied only where they are not yet,
- ``backend.dispatch(name, uniforms, inputs, outputs, workgroups)``: the one way a kernel of `core/kernels` runs.

The dispatches of a flush go into few submits, in order: what a dispatch wrote, the next one reads. The device works
while the host encodes the next submit; nothing waits for it but `read`. Everything happens under the queue's lock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core import kernels
from core.backends import Buffer
from core.backends.queue import Launch, LaunchQueue
from core.backends.wgpu_pool import Pool, Storage, View, row_major
from core.errors import BackendError
from core.primitives import Primitive, Shape

try:
    import wgpu

    ADAPTER = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
except Exception as error:  # no library, no Vulkan loader and no adapter all end here
    raise BackendError(f"backend 'wgpu' needs wgpu-py and a Vulkan, Metal or Direct3D driver ({error}): pip install "
                       "wgpu; apt-get install libvulkan1 mesa-vulkan-drivers; or use --backend cpu") from error

from core.backends import wgpu_rows, wgpu_signal
from core.backends.wgpu_chain import BUFFERS, EXPRESSIONS, FIELDS, run_chain
from core.backends.wgpu_kernels import KERNELS, copy
from core.backends.wgpu_shader import shader_module
from core.backends.wgpu_stamps import Stamps

TYPES = {np.dtype(kind) for kind in ("float32", "int32", "float16")}
SLOT = 4 * FIELDS  # bytes of one dispatch's uniforms: any device can bind them at a multiple of 256
SHORT = 64  # dispatches of a submit: encoding them takes the host several times as long as submitting
BATCH = 2048  # dispatches of a submit at most, while somebody times: the host shall not come between them
GRID = 65535  # workgroups a dimension
KEEP = 1 << 31  # bytes of free buffers kept after a flush
GROUPS = 20_000  # sets of bound buffers that are remembered
USAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST


class WgpuBackend(LaunchQueue):
    """Kernels on the adapter that wgpu deems fastest."""

    name = "wgpu"

    def __init__(self) -> None:
        super().__init__({**KERNELS, **wgpu_rows.KERNELS, **wgpu_signal.KERNELS}, EXPRESSIONS)
        wanted = ("max-storage-buffer-binding-size", "max-buffer-size")
        features = [name for name in ("timestamp-query",) if name in ADAPTER.features]
        self.device = ADAPTER.request_device_sync(required_features=features,
                                                  required_limits={k: ADAPTER.limits[k] for k in wanted})
        self.alignment = self.device.limits["min-storage-buffer-offset-alignment"]
        self.pool = Pool(self._buffer, min(ADAPTER.limits[k] for k in wanted))
        self.submits = 0
        self._uniforms = self.device.create_buffer(size=BATCH * SLOT, usage=wgpu.BufferUsage.UNIFORM
                                                   | wgpu.BufferUsage.COPY_DST)
        self._fields = bytearray(BATCH * SLOT)
        self._encoder: Any = None
        self._pass: Any = None
        self._encoded = 0
        self._stamps: Stamps | None = None
        self._clocking = False
        self._layouts: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._groups: dict[tuple[int, ...], Any] = {}

    # --- values ------------------------------------------------------------------------------------------------------
    def upload(self, values: NDArray[Any]) -> Buffer:
        """Copy host values to the device, after all that was launched before."""
        with self._lock:
            self.submit()  # the copy comes before whatever is still to be submitted, and may reuse its buffers
            view = self.empty(values.shape, values.dtype)
            data = values.tobytes()
            if data:
                self.device.queue.write_buffer(view.storage.buffer, 0, data.ljust(-(-len(data) // 4) * 4, b"\0"))
            return self._counted(Buffer(view))

    def empty(self, shape: Shape, dtype: DTypeLike = np.float32) -> View:
        """Room for values, row-major."""
        kind = _supported(np.dtype(dtype))
        size = 1
        for n in shape:
            size *= n
        return View(self.pool.take(size * kind.itemsize), shape, row_major(shape), 0, kind)

    def _buffer(self, nbytes: int) -> Any:
        """A new buffer of the device."""
        try:
            return self.device.create_buffer(size=nbytes, usage=USAGE)
        except wgpu.GPUOutOfMemoryError as error:
            used = self.pool.residency()
            raise BackendError(f"backend 'wgpu': the device has no {nbytes:,} bytes beside {used['in_use']:,} in use "
                               f"and {used['kept']:,} kept: use a smaller batch, or --backend cpu") from error

    def contiguous(self, view: View) -> View:
        """The same values row-major and bindable: the view itself where it is so already, else a copy."""
        if view.row_major and view.offset * view.dtype.itemsize % self.alignment == 0:
            return view
        out = self.empty(view.shape, view.dtype)
        copy(self, view, out)
        return out

    def _to_host(self, data: View) -> NDArray[Any]:
        with self._lock:
            view = self.contiguous(data)
            self.submit()
            nbytes = view.size * view.dtype.itemsize
            if not nbytes:
                return np.zeros(view.shape, view.dtype)
            raw = self.device.queue.read_buffer(view.storage.buffer, view.offset * view.dtype.itemsize,
                                                -(-nbytes // 4) * 4)
        return np.frombuffer(raw, view.dtype, view.size).reshape(view.shape)

    # --- launches ----------------------------------------------------------------------------------------------------
    def launch(self, primitive: Primitive, inputs: list[Buffer], params: dict[str, Any], shape: Shape,
               dtype: np.dtype[Any]) -> Buffer:
        """Queue one primitive."""
        return super().launch(primitive, inputs, params, shape, _supported(dtype))

    def flush(self) -> None:
        """Encode every queued launch whose result somebody still holds, and submit; nothing waits for the device."""
        with self._lock:
            try:
                super().flush()
            finally:  # what was encoded before an error is what its results claim to hold
                self.submit()
            if self.pool.trim(KEEP) or len(self._groups) > GROUPS:
                self._groups.clear()

    def _run_chain(self, chain: list[Launch]) -> None:
        run_chain(self, chain)

    def dispatch(self, name: str, uniforms: Sequence[int | float], inputs: Sequence[View | Storage],
                 outputs: Sequence[View | Storage], workgroups: int | tuple[int, int, int], entry: str = "main",
                 constants: Mapping[str, int | float] | None = None, text: str | None = None) -> None:
        """Run one kernel: binding 0 the uniforms, then the inputs (read), then the outputs (read_write).

        Parameters
        ----------
        name : str
            File of the kernel in `core/kernels`, without its ending; with `text`, only what to call it.
        uniforms : sequence of int or float
            At most 64 fields of 32 bits in the order of the kernel's uniform struct: an int becomes a u32 (below 0 the
            bits of an i32), a float an f32. The binding holds 256 bytes, whatever is given.
        inputs, outputs : sequence of View or Storage
            At most 8. A view is bound from its offset on, so pass what `contiguous` or `empty` gave; a storage is
            bound whole, for kernels that take strides and offsets (in values) as uniforms. A binding reaches to the
            end of the pooled buffer, beyond the array: kernels guard by sizes, not by arrayLength. Its length is a
            multiple of 16 bytes, so the bindings may be vec4s.
        workgroups : int or (int, int, int)
            A number of groups is folded into x and y where it is above 65,535 a dimension: the kernel's flat group is
            ``workgroup_id.x + num_workgroups.x * workgroup_id.y`` and may lie beyond the last. No groups, no launch.
        entry : str
            Entry point.
        constants : mapping of str to number, optional
            Values of the kernel's ``override`` constants.
        text : str, optional
            WGSL of a generated kernel.
        """
        grid = _grid(name, workgroups)
        if 0 in grid:
            return
        shape = len(inputs), len(outputs)
        if shape[0] + shape[1] > BUFFERS:
            raise BackendError(f"kernel {name!r} binds {sum(shape)} storage buffers, the limit is {BUFFERS}: "
                               "split it in two")
        if len(uniforms) > FIELDS:
            raise BackendError(f"kernel {name!r} has {len(uniforms)} uniform fields, the limit is {FIELDS}: split it")
        if self._encoded >= (BATCH if self._stamping else SHORT):
            self.submit()
        self._open()
        if self._pass is None:
            self._pass = self._encoder.begin_compute_pass(**self._stamp())
        at = self._encoded * SLOT
        kinds = ["f" if isinstance(v, float) else "I" for v in uniforms]
        struct.pack_into("<" + "".join(kinds), self._fields, at,
                         *[v if isinstance(v, float) else v & 0xFFFFFFFF for v in uniforms])
        self._encoded += 1
        self._pass.set_pipeline(self._pipeline(text or kernels.source(name), entry, constants, shape))
        self._pass.set_bind_group(0, self._group(shape, (*inputs, *outputs)), (at,))
        self._pass.dispatch_workgroups(*grid)
        if self._stamping:
            self._end_pass()

    def _open(self) -> None:
        if self._encoder is None:
            self._encoder = self.device.create_command_encoder()

    def submit(self) -> None:
        """Send what is encoded to the device."""
        if self._encoder is None:
            return
        self._end_pass()
        if self._stamps is not None and self._stamping:  # a stamp never written is waited for without end
            self._stamps.resolve(self._encoder, self._encoded)
        queue = self.device.queue
        if self._encoded:
            queue.write_buffer(self._uniforms, 0, self._fields, 0, self._encoded * SLOT)
        queue.submit([self._encoder.finish()])
        self._encoder = None
        self._encoded = 0
        self.submits += 1

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.end()
            self._pass = None

    def _layout(self, shape: tuple[int, int]) -> tuple[Any, Any]:
        """The layout of the bindings of kernels with so many inputs and outputs, and of their pipelines."""
        if shape not in self._layouts:
            kinds = ["read-only-storage"] * shape[0] + ["storage"] * shape[1]
            buffers: list[dict[str, Any]] = [{"type": "uniform", "has_dynamic_offset": True, "min_binding_size": SLOT}]
            buffers += [{"type": kind} for kind in kinds]
            group = self.device.create_bind_group_layout(entries=[
                {"binding": i, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": b} for i, b in enumerate(buffers)])
            self._layouts[shape] = group, self.device.create_pipeline_layout(bind_group_layouts=[group])
        return self._layouts[shape]

    def _pipeline(self, text: str, entry: str, constants: Mapping[str, int | float] | None,
                  shape: tuple[int, int]) -> Any:
        key = (text, entry, tuple(constants.items()) if constants else (), shape)
        pipeline = self.kernels.get(key)
        if pipeline is None:
            stage = {"module": shader_module(self.device, text), "entry_point": entry,
                     "constants": dict(constants or {})}
            pipeline = self.device.create_compute_pipeline(layout=self._layout(shape)[1], compute=stage)
            self.kernels[key] = pipeline
        return pipeline

    def _group(self, shape: tuple[int, int], bound: tuple[View | Storage, ...]) -> Any:
        places = [(x.storage, x.offset * x.dtype.itemsize) if isinstance(x, View) else (x, 0) for x in bound]
        key = (*shape, *[n for storage, at in places for n in (storage.key, at)])
        group = self._groups.get(key)
        if group is None:
            resources = [{"buffer": self._uniforms, "offset": 0, "size": SLOT}]
            resources += [{"buffer": s.buffer, "offset": at, "size": s.nbytes - at} for s, at in places]
            entries = [{"binding": i, "resource": r} for i, r in enumerate(resources)]
            group = self.device.create_bind_group(layout=self._layout(shape)[0], entries=entries)
            self._groups[key] = group
        return group

    # --- telemetry ---------------------------------------------------------------------------------------------------
    def _stamp(self) -> dict[str, Any]:
        """What a pass is opened with: while somebody times, each dispatch has its own pass and two timestamps."""
        if not self._stamping:
            return {}
        if self._stamps is None:
            self._stamps = Stamps(self.device, BATCH)
        return {"timestamp_writes": self._stamps.writes(self._encoded)}

    @property
    def _stamping(self) -> bool:
        return self.trace is not None or self._clocking

    def mark(self) -> Any:
        """How many dispatches were stamped so far."""
        return self._stamps.taken + self._encoded if self._stamps else 0

    def spans(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[float, float]]:
        """By the device's own clock: from the first dispatch between two marks, the sum of them all."""
        with self._lock:
            self.submit()
            times = self._stamps.read() if self._stamps else np.zeros((0, 2))
            self._stamps = None
        spans, last = [], float(times[0, 0]) if len(times) else 0.0
        for begin, end in pairs:
            part = times[begin:end]
            start = float(part[0, 0]) if len(part) else last  # a view dispatches nothing
            spans.append((start, float((part[:, 1] - part[:, 0]).sum())))
            last = float(part[-1, 1]) if len(part) else last
        return spans

    def seconds(self, run: Callable[[], object]) -> float:
        """By the device's clock, from the first dispatch on: encoding hundreds takes the host as long as they run."""
        with self._lock:
            self.submit()
            held = self._stamps, self._clocking  # of an outer run, which may time variants of a kernel on its way
            self._stamps, self._clocking = Stamps(self.device, BATCH), True
            try:
                run()
                self.submit()
                times = self._stamps.read()
            finally:
                self._stamps, self._clocking = held
            return float(times[-1, 1] - times[0, 0])

    def sequence(self, call: Callable[[], object], launches: int) -> Callable[[], object]:
        """Encoded one after the other, each result's buffer free for the next, and submitted together."""
        def run() -> None:
            with self._lock:
                for _ in range(launches):
                    kept = call()  # noqa: F841 - a result nobody holds would not be computed
                    super(WgpuBackend, self).flush()
                self.submit()

        return run

    def copier(self, values: NDArray[Any]) -> Callable[[], object]:
        """By a kernel: the driver's copy of a buffer reaches a third of that on an H100."""
        from core.array import asarray

        source = asarray(values, backend=self)
        return lambda: source * 1.0

    def residency(self) -> dict[str, int]:
        """Compiled pipelines; bytes on the device: in use, kept for the next use, and in use at most so far."""
        with self._lock:
            return {**super().residency(), **self.pool.residency()}

    def describe(self) -> dict[str, Any]:
        """What must be equal for two runs to be comparable bit for bit."""
        info = ADAPTER.info
        return {"backend": "wgpu", "device": info["device"], "driver": info["description"], "vendor": info["vendor"],
                "api": info["backend_type"], "wgpu": wgpu.__version__}


def _supported(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype not in TYPES:
        raise BackendError(f"backend 'wgpu' has no {dtype}: use float32, or --backend cpu")
    return dtype


def _grid(name: str, workgroups: int | tuple[int, int, int]) -> tuple[int, int, int]:
    """A grid within the limits: a number of groups is folded, three numbers are taken as they are."""
    if isinstance(workgroups, int):
        rows = -(-workgroups // GRID)
        workgroups = (-(-workgroups // rows) if rows else 0, rows, 1)
    if max(workgroups) > GRID:
        raise BackendError(f"kernel {name!r} asks for {workgroups} workgroups, the limit is {GRID:,} a dimension: "
                           "use a smaller batch, or --backend cpu")
    return workgroups


def open_backend(threads: int | None = None) -> WgpuBackend:
    """Make the wgpu backend; the host's threads have no part in it."""
    return WgpuBackend()
