"""Two timestamps a dispatch, taken by the device while somebody traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import wgpu
from numpy.typing import NDArray
from wgpu.backends.wgpu_native import lib

from core.errors import BackendError


class Stamps:
    """The timestamps of a traced stretch of work.

    Parameters
    ----------
    device : wgpu.GPUDevice
    most : int
        Dispatches of one submit, at most.

    Attributes
    ----------
    taken : int
        Dispatches of the submits so far.
    """

    def __init__(self, device: Any, most: int) -> None:
        if "timestamp-query" not in device.features:
            raise BackendError("this wgpu adapter has no timestamp queries, so its launches cannot be timed: trace "
                               "with --backend cpu or cuda")
        self.device, self.taken = device, 0
        self._queries = device.create_query_set(type="timestamp", count=2 * most)
        self._resolved: list[Any] = []

    def writes(self, dispatch: int) -> dict[str, Any]:
        """What the pass of the nth dispatch of a submit is opened with."""
        return {"query_set": self._queries, "beginning_of_pass_write_index": 2 * dispatch,
                "end_of_pass_write_index": 2 * dispatch + 1}

    def resolve(self, encoder: Any, dispatches: int) -> None:
        """Keep what a submit will have stamped."""
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        buffer = self.device.create_buffer(size=16 * dispatches, usage=usage)
        encoder.resolve_query_set(self._queries, 0, 2 * dispatches, buffer, 0)
        self._resolved.append(buffer)
        self.taken += dispatches

    def read(self) -> NDArray[np.float64]:
        """Begin and end of each dispatch in seconds [n, 2]; waits for the device."""
        parts = [np.frombuffer(self.device.queue.read_buffer(buffer), np.uint64).reshape(-1, 2)
                 for buffer in self._resolved]
        ticks = np.concatenate(parts) if parts else np.zeros((0, 2), np.uint64)
        # wgpu-native hands out raw ticks; whole numbers first, as a tick is lost in a float64 of the device's age
        seconds = 1e-9 * float(lib.wgpuQueueGetTimestampPeriod(self.device.queue._internal))
        return (ticks - ticks.min(initial=np.iinfo(np.uint64).max)).astype(np.float64) * seconds
