"""What every launch costs: its time on the device, the bytes it moves, the arithmetic it does.

    with Trace(backend) as trace:
        ...
    trace.totals(), trace.to_chrome()

A backend without a trace pays one comparison a launch. While one is on, the queue brackets each launch by two
`LaunchQueue.mark`s, and `LaunchQueue.spans` turns pairs of marks into device seconds when the trace ends: the
host's clock on the CPU, events on CUDA. Tracing changes no number.

Bytes: inputs read once and outputs written, neither what broadcasting repeats nor what a fused chain keeps to itself;
views are free. FLOPs: `FLOPS` below.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.primitives import Shape

if TYPE_CHECKING:
    from core.backends import Backend
    from core.backends.queue import Launch

NAMED = 4  # primitives of a chain that its name spells out
COPY_BYTES = 64 << 20  # of the copy that says how fast memory is: more than any cache holds
COPYING = 0.1  # seconds of such copies in a row, so that waiting for the device at their end does not count
VIEWS = {"reshape", "transpose", "broadcast", "slice", "tap"}
GATHERS = {"take", "take_along"}  # read of their first input what they give, not all of it


def _fft(shape: Shape, *, n: int, axis: int) -> float:
    return 2.5 * math.log2(max(n, 2)) * n * math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])


# FLOPs of a launch from the shapes of its result and of its inputs; one a value of the result where nothing stands here
FLOPS: dict[str, Callable[..., float]] = {
    **{name: lambda out, *_, **__: 0.0 for name in (*VIEWS, "cast", "pad", "concat", "take", "take_along")},
    **{name: lambda out, x, *_, **__: 1.0 * math.prod(x) for name in ("sum", "max", "scatter_add", "scatter_along")},
    "matmul": lambda out, a, b, *, ta, tb: 2.0 * math.prod(out) * a[-2 if ta else -1],
    "linear_recurrence": lambda out, *_, **__: 2.0 * math.prod(out),
    "complex_recurrence": lambda out, *_, **__: 4.0 * math.prod(out),  # 8 a complex value
    "complex_mul": lambda out, *_, **__: 3.0 * math.prod(out),  # 6 a complex value
    "causal_conv": lambda out, x, w, *_, **__: 2.0 * w[0] * math.prod(x),
    "causal_conv_dx": lambda out, g, w, **_: 2.0 * w[0] * math.prod(g),
    "causal_conv_dw": lambda out, g, *_, **__: 2.0 * out[0] * math.prod(g),
    "causal_conv_dtail": lambda out, g, w, **_: 2.0 * w[0] * math.prod(out),
    "rfft": lambda out, x, **p: _fft(x, **p),
    "irfft": lambda out, x, **p: _fft(out, **p),
    **{f"{kind}_norm{part}": lambda out, x, *_, **__: 5.0 * math.prod(x)
       for kind in ("rms", "layer") for part in ("", "_dx", "_dw")},
    "cross_entropy": lambda out, logits, *_, **__: 4.0 * math.prod(logits),
    "cross_entropy_grad": lambda out, *_, **__: 4.0 * math.prod(out),
}


@dataclass(frozen=True)
class Record:
    """One launch.

    Attributes
    ----------
    name : str
        The primitive, or the primitives of a fused chain.
    shape : tuple of int
        Of the result.
    start, seconds : float
        On the device, from the trace's first launch.
    nbytes, flops : float
    """

    name: str
    shape: Shape
    start: float
    seconds: float
    nbytes: float
    flops: float


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches: bytes moved a second by a copy (read and written), FLOP/s by a float32 product."""

    copy: float
    matmul: float

    def __str__(self) -> str:
        return (f"measured here: a copy of {COPY_BYTES >> 20} MiB moves {self.copy / 1e9:,.1f} GB/s, a float32 matmul "
                f"does {self.matmul / 1e9:,.0f} GFLOP/s")


@dataclass(frozen=True)
class Total:
    """Launches of one name together: how many, seconds, bytes, FLOPs, and the share of the time of all launches."""

    name: str
    count: int
    seconds: float
    nbytes: float
    flops: float
    share: float


class Trace:
    """The launches of a backend while it is on.

    Parameters
    ----------
    backend : Backend

    Attributes
    ----------
    wall : float
        Seconds by the host's clock from start to stop.
    records : list of Record
        The launches in order, once it has stopped.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend, self.wall, self.records = backend, 0.0, list[Record]()
        self._open: list[tuple[str, Shape, float, float, Any, Any]] = []

    def start(self) -> Trace:
        """Record from here on; what was queued before runs unrecorded."""
        self.backend.flush()
        self._began = time.perf_counter()
        self.backend.trace = self
        return self

    def stop(self) -> None:
        """Run what is queued, and record no more; waits for the device."""
        self.backend.flush()
        self.backend.trace = None
        spans = self.backend.spans([x[4:] for x in self._open])
        self.wall = time.perf_counter() - self._began
        origin = spans[0][0] if spans else 0.0
        self.records = [Record(name, shape, start - origin, seconds, nbytes, flops)
                        for (name, shape, nbytes, flops, *_), (start, seconds) in zip(self._open, spans, strict=True)]

    def __enter__(self) -> Trace:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @contextmanager
    def launch(self, chain: list[Launch]) -> Iterator[None]:
        """Around the run of one launch or chain; the queue calls it."""
        flops = sum(_flops(x) for x in chain)
        made = {id(x.out()) for x in chain}
        inputs = {id(b): b.data for x in chain for b in x.inputs if id(b) not in made}
        view = chain[0].primitive.name in VIEWS
        read = 0.0 if view else sum(_nbytes(data) for data in inputs.values())
        if chain[0].primitive.name in GATHERS:
            table, index = chain[0].inputs
            read = _nbytes(index.data) + min(_nbytes(table.data), math.prod(chain[0].shape) * chain[0].dtype.itemsize)
        del inputs
        begin = self.backend.mark()
        yield
        end = self.backend.mark()
        kept = [x for x in chain if x.out() is not None]  # after the run: what only the chain needed is gone
        written = 0.0 if view else sum(math.prod(x.shape) * x.dtype.itemsize for x in kept)
        self._open.append((_name(chain), chain[0].shape, read + written, flops, begin, end))

    def totals(self) -> list[Total]:
        """The launches by name, the longest in total first."""
        whole = sum(r.seconds for r in self.records)
        groups: dict[str, list[Record]] = {}
        for r in self.records:
            groups.setdefault(r.name, []).append(r)
        found = []
        for name, group in groups.items():
            seconds = sum(r.seconds for r in group)
            found.append(Total(name, len(group), seconds, sum(r.nbytes for r in group), sum(r.flops for r in group),
                               seconds / whole if whole else 0.0))
        return sorted(found, key=lambda t: -t.seconds)

    def to_chrome(self, ceilings: Ceilings | None = None) -> bytes:
        """Chrome's trace JSON, which Perfetto (ui.perfetto.dev) opens; times in microseconds."""
        described = self.backend.describe()
        names = {"process_name": f"{described['backend']}: {described['device']}", "thread_name": "launches"}
        events: list[dict[str, Any]] = [{"ph": "M", "name": kind, "pid": 1, "tid": 1, "args": {"name": name}}
                                        for kind, name in names.items()]
        for r in self.records:
            events.append({"ph": "X", "cat": "launch", "name": r.name, "pid": 1, "tid": 1, "ts": 1e6 * r.start,
                           "dur": 1e6 * r.seconds,
                           "args": {"shape": list(r.shape), "bytes": r.nbytes, "flops": r.flops,
                                    "GB/s": r.nbytes / r.seconds / 1e9 if r.seconds else None}})
        other = {**described, "seconds by the clock": self.wall}
        if ceilings is not None:
            other |= {"copy GB/s": ceilings.copy / 1e9, "matmul GFLOP/s": ceilings.matmul / 1e9}
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}).encode()


def clocked(backend: Backend, run: Callable[[], object], launches: int) -> float:
    """Seconds a launch, on the device, of a function that makes so many."""
    return backend.seconds(run) / launches


def timed(backend: Backend, call: Callable[[], object], launches: int) -> float:
    """`clocked` of a sequence of calls."""
    return clocked(backend, backend.sequence(call, launches), launches)


def enough(sequence: Callable[[int], float], seconds: float, most: int = 1000) -> int:
    """How many calls take so many seconds, by the second of two: the first warms up."""
    sequence(1)
    return max(1, min(most, int(seconds / sequence(1))))


def measure_ceilings(backend: Backend, sequences: int = 5) -> Ceilings:
    """The best of a few copies of random values and of a few large products, on this device, now."""
    from core.array import asarray

    rng = np.random.default_rng(0)
    copy = backend.copier(rng.standard_normal(COPY_BYTES // 4, np.float32))
    copies = enough(lambda k: timed(backend, copy, k), COPYING)
    seconds = min(timed(backend, copy, copies) for _ in range(sequences))
    n, spent = 512, 0.0
    while spent < 0.02 and n < 8192:  # large enough to fill the device, small enough to wait for
        n *= 2
        a, b = (asarray(rng.standard_normal((n, n), np.float32), backend=backend) for _ in range(2))
        timed(backend, lambda a=a, b=b: a @ b, 1)  # type: ignore[misc]
        spent = timed(backend, lambda a=a, b=b: a @ b, 1)  # type: ignore[misc]
    best = min(timed(backend, lambda: a @ b, 1) for _ in range(sequences))
    return Ceilings(2 * COPY_BYTES / seconds, 2.0 * n**3 / best)


def _name(chain: list[Launch]) -> str:
    """The primitives of a chain in order, bounded."""
    names = [x.primitive.name for x in chain]
    rest = len(names) - NAMED
    return "*".join(names[:NAMED]) + (f"*{rest} more" if rest > 0 else "")


def _flops(launch: Launch) -> float:
    """By the rule of its primitive."""
    rule = FLOPS.get(launch.primitive.name)
    if rule is None:
        return float(math.prod(launch.shape))
    return rule(launch.shape, *(b.data.shape for b in launch.inputs), **launch.params)


def _nbytes(data: Any) -> int:
    """Bytes that lie behind an array: an axis of stride 0 repeats one value."""
    return math.prod(n for n, stride in zip(data.shape, data.strides, strict=True) if stride) * data.dtype.itemsize
