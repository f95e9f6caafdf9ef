"""What tracing costs a training step: off against a queue that cannot trace at all, and on against off, in turns.

    python -m tests.bench.tracing [--preset tiny] [--steps 20] [--rounds 15]

Printed: the median ratio of each pair with its interquartile range.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from core.backends import open_backend
from core.backends.queue import Launch, LaunchQueue
from core.nn.families import PRESETS
from core.trace import Trace
from tests.bench.backends import train


def flush(self: LaunchQueue) -> None:
    """`LaunchQueue.flush` without the question whether somebody traces."""
    with self._lock:
        queue, self._queue = self._queue, []
        alive: list[Launch] = []
        while queue:
            launch = queue.pop()
            if launch.out() is not None:
                alive.append(launch)
        while alive:
            chain = [alive.pop()]
            while (chain[0].primitive.elementwise and alive and alive[-1].primitive.elementwise
                   and alive[-1].shape == chain[0].shape):
                chain.append(alive.pop())
            self._execute(chain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=PRESETS)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    ask = parser.parse_args()
    backend: Any = open_backend()
    asks = LaunchQueue.flush

    def step(way: Callable[[LaunchQueue], None], on: bool = False) -> float:
        LaunchQueue.flush = way  # type: ignore[method-assign]
        if not on:
            return statistics.median(train(backend, ask.preset, ask.steps)[1])
        with Trace(backend):
            return statistics.median(train(backend, ask.preset, ask.steps)[1])

    step(asks)
    rounds = [(step(flush), step(asks), step(asks, True)) for _ in range(ask.rounds)]
    for what, ratios in (("off against none", [off / none for none, off, _ in rounds]),
                         ("on against off", [on / off for _, off, on in rounds])):
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{what}: {middle:.4f} (quartiles {low:.4f} to {high:.4f}) of a step's time, {ask.rounds} pairs")


if __name__ == "__main__":
    main()
