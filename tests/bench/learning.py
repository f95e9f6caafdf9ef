"""Learning and speed beside torch.nn.GRU: same text, same budget, same evaluation, interleaved in one run.

    python -m tests.bench.learning TEXT --peer PYTHON_WITH_TORCH [--pairs 3] [--full]

Speed: median over the steps of each round, rounds interleaved. `--full` also trains both for 300 steps of 32 windows
of 256 characters and scores the whole last tenth, every character once, state reset at each window.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from typing import Any

from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.trainer import Trainer


def ours(text: str, steps: int, threads: int, until: int | None = None) -> dict[str, Any]:
    """Train the base preset; a short round runs the first steps of the same schedule."""
    with tempfile.TemporaryDirectory() as root:
        config = RunConfig.from_preset((text,), "base", threads=threads, steps=steps, window=256, batch=32, rate=8e-3,
                                       checkpoint_every=10_000, sample_every=10_000, evaluate_every=100)
        folder = create_run(root, config)
        send(folder, "start")
        trainer = Trainer(folder, until)
        trainer.run()
        rows, _ = read_records(folder.metrics)
    speeds = [r["measured"]["characters_per_second"] for r in rows if r["split"] == "train"][1:]
    final = [r for r in rows if r["split"] == "final"]
    return {"parameters": sum(p.size for p in trainer.parameters.values()),
            "characters_per_second": statistics.median(speeds), "bits": final[0]["bits"] if final else None,
            "interval": final[0]["interval"] if final else None}


def peer(python: str, text: str, steps: int, threads: int, evaluate: bool) -> dict[str, Any]:
    """Train torch.nn.GRU in its own process."""
    ask = {"text": text, "steps": steps, "batch": 32, "window": 256, "threads": threads, "rate": 3e-3,
           "evaluate": evaluate}
    script = os.path.join(os.path.dirname(__file__), "gru_peer.py")
    done = subprocess.run([python, script], input=json.dumps(ask), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    ask = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    ratios = []
    for i in range(ask.pairs):
        a, b = ours(ask.text, 300, threads, until=20), peer(ask.peer, ask.text, 20, threads, False)
        ratios.append(a["characters_per_second"] / b["characters_per_second"])
        print(f"pair {i + 1}: ours {a['characters_per_second']:,.0f} characters/s, torch.nn.GRU "
              f"{b['characters_per_second']:,.0f}, ratio {ratios[-1]:.2f}", flush=True)
    print(f"speed ratio, median of {ask.pairs} pairs: {statistics.median(ratios):.2f} (goal: at least 0.50)")
    if ask.full:
        a, b = ours(ask.text, 300, threads), peer(ask.peer, ask.text, 300, threads, True)
        low, high = a["interval"]
        print(f"bits/char, whole last tenth: ours {a['bits']:.4f} ({low:.4f} to {high:.4f}) with {a['parameters']:,} "
              f"parameters, torch.nn.GRU {b['bits']:.4f} with {b['parameters']:,} (goal: at most 1.95)")


if __name__ == "__main__":
    main()
