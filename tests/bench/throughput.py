"""Characters a second in training beside the same model in PyTorch, and what length costs.

    python -m tests.bench.throughput --peer PYTHON_WITH_TORCH [--preset base] [--width W] [--hidden H]
        [--batch 16] [--window 256] [--backend cpu cuda wgpu] [--rounds 3] [--steps 10] [--threads 2]
    python -m tests.bench.throughput --lengths 256 1024 4096 16384 65536 [--preset tiny] [--backend cpu]

Pairs: a process of ours, then one of the peer's with each of its two recurrences (a loop over time, a scan in log
space; on a GPU the scan alone, compiled: a compiler would unroll the loop for minutes), round after round. A ratio is
the time of the fastest other one over ours in the same round; a second backend of ours counts as another. `--lengths`:
seconds a character of a training step on one window, and the largest bytes of live buffers while so many characters are
generated one by one, both over those at the first length: linear time and constant memory show as ones.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from core.array import asarray
from core.backends import open_backend, use_backend
from core.nn.families import PRESETS, build
from tests.bench.step import VOCABULARY, asked, measure


def pairs(given: argparse.Namespace) -> None:
    """Ratios in turns."""
    ratios = []
    ask = asked(given.preset, given.batch, given.window, given.steps, given.threads, given.backend[0])
    ask |= {k: v for k in ("width", "hidden") if (v := getattr(given, k))}
    for i in range(given.rounds):
        seconds = {"ours": measure(ask)["seconds"]}
        for other in given.backend[1:]:
            seconds[f"ours on {other}"] = measure({**ask, "backend": other})["seconds"]
        if given.peer:
            for kind in ("log",) if given.backend[0] == "cuda" else ("loop", "log"):
                seconds[f"PyTorch, {kind}"] = measure({**ask, "scan": kind}, given.peer)["seconds"]
        ratios.append(min(v for k, v in seconds.items() if k != "ours") / seconds["ours"])
        print(f"round {i + 1}: " + ", ".join(f"{k} {given.batch * given.window / v:,.0f}" for k, v in seconds.items())
              + f" characters/s; ratio {ratios[-1]:.2f}", flush=True)
    print(f"{given.preset}, {ask['width']} and {ask['hidden']} wide, on {given.backend[0]}, {given.batch} x "
          f"{given.window}: ratio to the fastest other, median of {given.rounds} rounds: "
          f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def generating(given: argparse.Namespace, length: int) -> int:
    """Bytes of live buffers at most, parameters aside, while a text of a length is made character by character."""
    backend, model = open_backend(given.backend[0], threads=given.threads), build("rnn", given.preset, VOCABULARY)
    with use_backend(backend):
        p = {k: asarray(v) for k, v in model.initial_parameters(0).items()}
        state = model.initial_state(1)
        backend.flush()
        backend.memory.restart()
        before = backend.memory.live
        for _ in range(length):
            x, state, _ = model.states(p, asarray(np.zeros((1, 1), np.int32)), state)
            model.logits(p, x).numpy()
        return backend.memory.peak - before


def lengths(given: argparse.Namespace) -> None:
    """What a character costs by the length of the text."""
    first: tuple[float, int] | None = None
    for n in given.lengths:
        seconds = measure(asked(given.preset, 1, n, given.steps, given.threads, given.backend[0]))["seconds"] / n
        held = generating(given, n)
        first = first or (seconds, held)
        print(f"{n:>7,} characters: a training step takes {seconds * 1e6:8.2f} us a character, "
              f"{seconds / first[0]:.2f} of the first; generating holds {held:,} bytes, {held / first[1]:.2f} of the "
              "first", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer")
    parser.add_argument("--preset", default="base", choices=PRESETS)
    parser.add_argument("--width", type=int, help="other than the preset's")
    parser.add_argument("--hidden", type=int, help="other than the preset's")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--backend", nargs="+", default=["cpu"], choices=["cpu", "cuda", "wgpu"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", type=int, nargs="+")
    given = parser.parse_args()
    if given.lengths:
        lengths(given)
    elif given.peer or len(given.backend) > 1:
        pairs(given)
    else:
        parser.error("name a --peer, a second --backend, or --lengths")


if __name__ == "__main__":
    main()
