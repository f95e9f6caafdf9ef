"""Device time of what the canvas asks of a GPU for one frame, at 1024 x 1024 cells and pixels, by wgpu's timestamps.

    python -m tests.bench.dispatches [--side 1024] [--frames 50]

The list is `static/surface.js`'s at 60 frames a second while somebody paints: a deposit of 64 dabs, four steps of the
wave, the colours; apart from it the area means that are sent, and the spectrum (at most ten times a second). Beside
each the time that a copy of the bytes it must move takes on the same device: the ratio says what is left to gain.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from core.backends import open_backend
from core.trace import measure_ceilings
from tests.kernels.cases import WAVE, by_fours, pairs, some_tables

BANDS, SHEETS, DABS, STEPS = 6, 8, 64, 4
SMALL = 256  # cells along an edge of what is transformed
LIMIT = 2e-3  # seconds that a frame may take


class Frame:
    """The dispatches, on arrays of their own."""

    def __init__(self, backend: Any, side: int) -> None:
        rng = np.random.default_rng(0)
        self.backend, self.side = backend, side

        def put(values: Any) -> Any:
            return backend.upload(np.ascontiguousarray(values)).data

        marks = np.column_stack([rng.uniform(0, side, (DABS, 2)), np.full(DABS, side / 16), np.ones(DABS)])
        self.marks = put(marks.astype(np.float32))
        self.layer, self.velocity, self.shown = (put(rng.uniform(-1, 1, (side, side)).astype(np.float32))
                                                 for _ in range(3))
        self.other = put(np.zeros((side, side), np.float32))
        self.field = put(rng.uniform(0, 1, (BANDS, SHEETS)).astype(np.float32))
        self.tables = put(some_tables(rng).view(np.int32).ravel())
        self.pixels, self.means = put(np.zeros((side, side), np.int32)), put(np.zeros((BANDS, SHEETS), np.float32))
        self.small, self.decibels = (put(np.zeros((SMALL, SMALL), np.float32)) for _ in range(2))
        self.rowed, self.whole = (put(np.zeros((SMALL, SMALL, 2), np.float32)) for _ in range(2))
        self.roots = put(pairs(np.exp(-2j * np.pi * np.arange(SMALL) / SMALL)).astype(np.float32))
        self.nothing = put(np.zeros(4, np.float32))

    def paint(self) -> None:
        """One frame: six dispatches."""
        run, side, blocks = self.backend.dispatch, self.side, -(-self.side**2 // 256)
        run("deposit", [side, side, DABS, 0, 0, 0.5, 0.0], [self.marks], [self.layer], blocks)
        for _ in range(STEPS):
            run("wave", [side, side, *WAVE.values()], [self.layer, self.shown], [self.velocity, self.other], blocks)
            self.shown, self.other = self.other, self.shown
        self.colour(self.shown, side, self.field, (BANDS, SHEETS), (0.0, 1.0), side)

    def reduce(self) -> None:
        """The area means over the frame's grid."""
        self.backend.dispatch("reduce", [self.side, self.side, BANDS, SHEETS], [self.layer], [self.means],
                              -(-BANDS * SHEETS // 4))

    def spectrum(self) -> None:
        """Reduction, two transforms, decibels, colours."""
        run, held, radices = self.backend.dispatch, 1024 // SMALL, by_fours(SMALL)
        run("reduce", [self.side, self.side, SMALL, SMALL], [self.layer], [self.small], SMALL * SMALL // 4)
        for source, given, out, inner in ((1, self.small, self.rowed, 1), (0, self.rowed, self.whole, SMALL)):
            constants = {"source": source, "target_kind": 0, "N": SMALL, "INNER": inner, "RADIX": SMALL, "SPAN": 1,
                         "COLUMNS": held}
            run("fft", [SMALL // inner, SMALL, len(radices), 0, *radices], [given, self.roots], [out], SMALL // held,
                "inside", constants)
        run("power", [SMALL, SMALL], [self.whole], [self.decibels], SMALL * SMALL // 256)
        self.colour(self.nothing, 1, self.decibels, (SMALL, SMALL), (-80.0, 10.0), SMALL)

    def colour(self, layer: Any, cells: int, field: Any, grid: tuple[int, int], over: tuple[float, float],
               pixels: int) -> None:
        """A picture of so many pixels along an edge."""
        self.backend.dispatch("colour", [cells, cells, *grid, pixels, pixels, -(-pixels // 64) * 64, *over],
                              [layer, field, self.tables], [self.pixels], (-(-pixels // 256), pixels, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=50)
    given = parser.parse_args()
    backend: Any = open_backend("wgpu")
    frame, cells = Frame(backend, given.side), 4 * given.side**2
    copy = measure_ceilings(backend).copy
    lists: tuple[tuple[str, Callable[[], None], int], ...] = (
        ("a frame: deposit, 4 steps, colours", frame.paint, cells * (2 + 5 * STEPS + 2)),
        ("area means", frame.reduce, cells),
        ("spectrum", frame.spectrum, cells + 4 * SMALL**2 * 13))
    print(f"{backend.describe()['device']}: a copy moves {copy / 1e9:,.0f} GB/s")
    for name, run, nbytes in lists:
        backend.seconds(run)
        times = sorted(backend.seconds(run) for _ in range(given.frames))
        middle, last = statistics.median(times), times[int(0.99 * (len(times) - 1))]
        print(f"{name}: {middle * 1e3:.3f} ms on the device, 99 % within {last * 1e3:.3f}; {middle / LIMIT:.2f} of "
              f"{LIMIT * 1e3:.0f} ms, {middle * copy / nbytes:.1f} x a copy of the {nbytes / 1e6:.0f} MB it moves")


if __name__ == "__main__":
    main()
