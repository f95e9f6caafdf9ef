"""A training step of `rnn`, ours or the same model in PyTorch, in a process of its own: seconds and peak memory.

``measure(ask, peer)`` asks a fresh process. `ask` holds {vocabulary, width, hidden, layers, taps, batch, window, steps,
threads, backend, recompute}, for the peer also its `scan`, see `tests.bench.step_peer`. Peak: the process's largest
resident set over the steps (VmHWM, as Linux counts it) above what it had before the first one, when code, threads,
parameters and moments were there (a step on eight characters loads them).
"""

from __future__ import annotations

import gc
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
from core.nn.model import Config
from core.nn.rnn import TAPS, Rnn
from core.optim import Adam, clip_by_norm
from core.packing import Packing

VOCABULARY = 96
Answer = dict[str, Any]


def asked(preset: str, batch: int, window: int, steps: int, threads: int, backend: str = "cpu") -> Answer:
    """What to ask about a preset."""
    return {"vocabulary": VOCABULARY, **Rnn.presets[preset], "taps": TAPS, "batch": batch, "window": window,
            "steps": steps, "threads": threads, "backend": backend, "recompute": False}


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most (see proc(5))."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return 1024 * int(line.split()[1])


def ours(ask: Answer) -> Answer:
    """Train a few steps in this process, as the trainer does."""
    model = Rnn(Config(ask["vocabulary"], ask["width"], ask["hidden"], ask["layers"]))
    backend, optimiser, rng = open_backend(ask["backend"], threads=ask["threads"]), Adam(), np.random.default_rng(0)
    with use_backend(backend):
        values = model.initial_parameters(0)
        packing = Packing({k: v.shape for k, v in values.items()})
        packed: Any = packing.put(values)
        p: Any = packing.unpack(packed)
        moments = optimiser.start(packed)

        def gradients(batch: int, window: int) -> tuple[Any, dict[str, Any]]:
            tokens = rng.integers(0, ask["vocabulary"], (batch, window + 1)).astype(np.int32)
            x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(batch), recompute=ask["recompute"])
            loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
            backend.start()
            return loss.detach(), dict(zip(p, grad(loss, list(p.values())), strict=True))

        def step(batch: int, window: int) -> float:
            nonlocal p, packed, moments
            began = time.perf_counter()
            loss, grads = gradients(batch, window)
            backend.flush()
            grads, _ = clip_by_norm(packing.pack(grads), 1.0)
            packed, moments = optimiser.step(packed, grads, moments, 1e-3, 1)
            p = packing.unpack(packed)
            del grads
            backend.flush()
            assert np.isfinite(float(loss))
            return time.perf_counter() - began

        step(1, 8)
        gc.collect()
        gc.freeze()
        backend.memory.restart()
        kept, before = backend.memory.live, resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        seconds = [step(ask["batch"], ask["window"]) for _ in range(ask["steps"])]
    return {"parameters": sum(x.size for x in p.values()), "peak": resident("VmHWM") - before,
            "buffers": backend.memory.peak - kept, "seconds": statistics.median(seconds)}


def measure(ask: Answer, peer: str | None = None) -> Answer:
    """The answer of a fresh process: ours, or the peer's."""
    here = Path(__file__)
    command = [sys.executable, "-m", "tests.bench.step"] if peer is None else [
        peer, str(here.with_name("step_peer.py"))]
    done = subprocess.run(command, input=json.dumps(ask), capture_output=True, text=True, cwd=here.parents[2])
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(ours(json.load(sys.stdin))))
