"""Peak memory of a training step: ours, ours with blocks recomputed, and the same model in PyTorch.

    python -m tests.bench.memory --peer PYTHON_WITH_TORCH [--preset base small] [--steps 3] [--long 2048]

Each in a process of its own, one after the other, with the same shapes, batch, clipping and Adam (`tests.bench.step`).
For ours the exact bytes of live buffers stand beside the resident peak, parameters and moments taken off. The peer's
recurrence is the leaner of two. `--long` compares plain and recomputed steps on windows of so many characters, 4 a
batch.
"""

from __future__ import annotations

import argparse

from core.nn.families import PRESETS
from tests.bench.backends import SHAPES
from tests.bench.step import Answer, asked, measure

LONG_BATCH = 4
MEGABYTE = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer")
    parser.add_argument("--preset", nargs="+", default=["base", "small"], choices=PRESETS)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--long", type=int, default=2048)
    given = parser.parse_args()

    def say(name: str, a: Answer) -> None:
        print(f"  {name:<28} {a['peak'] / MEGABYTE:8.1f} MB resident"
              + (f", {a['buffers'] / MEGABYTE:8.1f} MB of buffers" if "buffers" in a else "")
              + f", {a['seconds']:6.2f} s a step", flush=True)

    for preset, window, batch in [*((p, *SHAPES[p]) for p in given.preset), ("base", given.long, LONG_BATCH)]:
        ask = asked(preset, batch, window, given.steps, given.threads)
        plain, again = measure(ask), measure({**ask, "recompute": True})
        print(f"{preset}, {batch} windows of {window} characters, {plain['parameters']:,} parameters")
        say("ours", plain)
        say("ours, blocks recomputed", again)
        if given.peer:
            peers = {kind: measure({**ask, "scan": kind}, given.peer) for kind in ("loop", "log")}
            for kind, answer in peers.items():
                say(f"PyTorch, {kind}", answer)
            leaner = min(a["peak"] for a in peers.values())
            assert all(a["parameters"] == plain["parameters"] for a in peers.values())
            print(f"  ours / PyTorch's leaner one: {plain['peak'] / leaner:.2f}, "
                  f"recomputed {again['peak'] / leaner:.2f}")


if __name__ == "__main__":
    main()
