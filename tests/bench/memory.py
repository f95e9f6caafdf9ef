"""Peak memory of a training step: ours, ours with blocks recomputed, and the same model in PyTorch.

    python -m tests.bench.memory --peer PYTHON_WITH_TORCH [--preset base small] [--steps 3] [--long 2048]

Each in a process of its own, one after the other, with the same shapes, batch, clipping and Adam. Peak: the process's
largest resident set over the steps (VmHWM, as Linux counts it) above what it had before the first one, when code,
threads, parameters and moments were there (a step on eight characters loads them). For ours the exact bytes of live
buffers stand beside it, parameters and moments taken off. The peer's recurrence is the leaner of two, see
`tests.bench.memory_peer`. `--long` compares plain and recomputed steps on windows of so many characters, 4 a batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.array import asarray, grad
from core.backends import open_backend, use_backend
from core.functions import cross_entropy
from core.nn.families import PRESETS
from core.nn.model import Config
from core.nn.rnn import TAPS, Rnn
from core.optim import Adam, clip_by_norm
from tests.bench.backends import SHAPES

VOCABULARY = 96
LONG_BATCH = 4
MEGABYTE = 1e6
Answer = dict[str, Any]


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most (see proc(5))."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return 1024 * int(line.split()[1])


def ours(ask: Answer) -> Answer:
    """Train a few steps in this process, as the trainer does."""
    model = Rnn(Config(ask["vocabulary"], ask["width"], ask["hidden"], ask["layers"]))
    backend, optimiser, rng = open_backend("cpu", threads=ask["threads"]), Adam(), np.random.default_rng(0)
    with use_backend(backend):
        p: Any = {k: asarray(v, requires_grad=True) for k, v in sorted(model.initial_parameters(0).items())}
        moments = optimiser.start(p)

        def gradients(batch: int, window: int) -> tuple[Any, dict[str, Any]]:
            tokens = rng.integers(0, ask["vocabulary"], (batch, window + 1)).astype(np.int32)
            x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(batch), recompute=ask["recompute"])
            loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
            return loss.detach(), dict(zip(p, grad(loss, list(p.values())), strict=True))

        def step(batch: int, window: int) -> float:
            nonlocal p, moments
            began = time.perf_counter()
            loss, grads = gradients(batch, window)
            grads, _ = clip_by_norm(grads, 1.0)
            p, moments = optimiser.step(p, grads, moments, 1e-3, 1)
            del grads
            backend.flush()
            assert np.isfinite(float(loss))
            return time.perf_counter() - began

        step(1, 8)
        backend.memory.restart()
        kept, before = backend.memory.live, resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        seconds = [step(ask["batch"], ask["window"]) for _ in range(ask["steps"])]
    return {"parameters": sum(x.size for x in p.values()), "peak": resident("VmHWM") - before,
            "buffers": backend.memory.peak - kept, "seconds": statistics.median(seconds)}


def measure(ask: Answer, peer: str | None = None) -> Answer:
    """The answer of a fresh process: ours, or the peer's."""
    here = Path(__file__)
    command = [sys.executable, "-m", "tests.bench.memory"] if peer is None else [
        peer, str(here.with_name("memory_peer.py"))]
    done = subprocess.run(command, input=json.dumps(ask), capture_output=True, text=True, cwd=here.parents[2])
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


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
        ask = {"vocabulary": VOCABULARY, **Rnn.presets[preset], "taps": TAPS, "batch": batch, "window": window,
               "steps": given.steps, "threads": given.threads, "recompute": False}
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
    if sys.stdin.isatty() or len(sys.argv) > 1:
        main()
    else:
        print(json.dumps(ours(json.load(sys.stdin))))
