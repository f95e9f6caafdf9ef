"""Latents decoded, blended and inferred a second, one call each and 1,024 at once, beside the predecessor's calls.

    python -m tests.bench.inference --peer PYTHON_WITH_SPIRALTORCH [--sizes 4 16 64] [--rounds 5] [--seconds 0.1]
        [--backend host cpu cuda wgpu] [--batch 1024]

Pairs: in each round ours, then the peer's, for every call and size, each by the fastest of five parts; a process of
either stays for all rounds. Printed are medians over the rounds, and of the ratios within a round. "at once" is a call
of ours on a batch, counted by its latents, over the peer's single calls in that round: there are no batches there. On
"host" values are NumPy's; on a backend they lie there in its widest type, and a call ends when all results do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.array import Array, asarray
from core.backends import open_backend, use_backend
from core.inference.batch import blend_many, decode_many, infer_many
from tests.bench.inference_peer import rate

PEER = Path(__file__).with_name("inference_peer.py")
CALLS = ("decode", "blend", "infer", "infer with three")
WEIGHTS = [1.0, 2.0, 0.5]


def asking(python: str, module: str) -> Callable[..., float]:
    """A process that times the calls of a module, as a function."""
    process = subprocess.Popen([python, str(PEER), module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(PEER.parents[2])})
    assert process.stdin
    assert process.stdout
    to, of = process.stdin, process.stdout

    def ask(**question: Any) -> float:
        print(json.dumps(question), file=to, flush=True)
        return float(json.loads(of.readline()))
    return ask


def batched(size: int, count: int, backend: str) -> dict[str, Callable[[], object]]:
    """The same calls on many latents at once."""
    rng = np.random.default_rng(0)
    dtype = np.float64 if backend in ("host", "cpu", "cuda") else np.float32

    def drawn(*shape: int) -> Any:
        values = rng.uniform(-1, 1, shape).astype(dtype)
        return values if backend == "host" else asarray(values)

    z, a, b, gradient = drawn(count, size), drawn(count), drawn(count), drawn(count, size)
    three = [{"speed": a, "memory": b}, {"speed": b, "gradient": gradient, "gradient_basis": "b"}, {"drs": a}]
    told = {"energy": 2, "focus": 0.4}

    def done(call: Callable[[], Any]) -> Callable[[], object]:
        def run() -> object:
            result = call()
            if isinstance(z, Array):
                z.backend.flush()
                next(iter((result if isinstance(result, dict) else result.metrics).values())).numpy()
            return result
        return run

    return {"decode": done(lambda: decode_many(z)), "blend": done(lambda: blend_many(three, weights=WEIGHTS)),
            "infer": done(lambda: infer_many(z, {"speed": a, "mem": b}, telemetry=told)),
            "infer with three": done(lambda: infer_many(z, blend_many(three, weights=WEIGHTS), telemetry=told))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--backend", nargs="+", default=["host"], choices=["host", "cpu", "cuda", "wgpu"])
    parser.add_argument("--batch", type=int, default=1024)
    given = parser.parse_args()
    ours, peer = asking(sys.executable, "core"), asking(given.peer, "spiraltorch")
    print(f"{'call':<18}{'values':>7}{'ours/s':>12}{'peer/s':>12}{'ratio':>8}"
          + "".join(f"{f'{b} {given.batch}/s':>18}{'ratio':>8}" for b in given.backend))
    for name in CALLS:
        for size in given.sizes:
            rows = []
            for _ in range(given.rounds):
                question = {"call": name, "size": size, "seconds": given.seconds}
                row = [ours(**question), peer(**question)]
                for backend in given.backend:
                    with use_backend(open_backend("cpu" if backend == "host" else backend)):
                        row.append(given.batch * rate(batched(size, given.batch, backend)[name], given.seconds))
                rows.append(row)
            single, other, *many = (statistics.median(column) for column in zip(*rows, strict=True))
            ratios = [statistics.median(r[i] / r[1] for r in rows) for i in (0, *range(2, 2 + len(many)))]
            print(f"{name:<18}{size:>7}{single:>12,.0f}{other:>12,.0f}{ratios[0]:>8.2f}"
                  + "".join(f"{m:>18,.0f}{r:>8.1f}" for m, r in zip(many, ratios[1:], strict=True)), flush=True)


if __name__ == "__main__":
    main()
