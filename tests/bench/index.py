"""How long a thousand runs take to list: with the index, without it, and as the shell command.

    python -m tests.bench.index [--runs 1000] [--steps 400] [--rounds 7]

Run folders are written as a trainer would leave them after so many steps. Printed are medians: the files of every run
read, the index made from nothing, the index in use in the same process, the same after one run went on, and `zspace
runs --json` in a fresh process beside `zspace --help`; and the ratio of the index in use to reading every file, as the
median of pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from core.runs.compare import summary
from core.runs.heartbeat import Heartbeat
from core.runs.index import RunIndex
from core.runs.store import RunFolder, RunStore
from tests.bench.spawn import stamp

CONFIG = {"model": "rnn", "preset": "tiny", "baselines": {"unigram": 4.2, "bigram": 3.4, "xz": 2.9},
          "corpus": {"digest": "0" * 64, "vocabulary": "".join(map(chr, range(32, 127))), "files": []}}
BANDS = [1 / 6] * 6


def fill(folder: RunFolder, steps: int) -> None:
    """Rows as long as a trainer's; the lines are made by `json` alone, because a thousand runs are many."""
    rows = []
    for step in range(1, steps + 1):
        row = {"step": step, "split": "train", "loss": 3 / step, "bits": 4 / step, "gradient_norm": 1.2345678901234,
               "rate": 0.00123456789, "measured": {"time": time.time(), "seconds": 0.0123456789, "peak_bytes": 10**7,
                                                   "characters_per_second": 123456.789}}
        if step % 10 == 0:
            row |= {"bands": {"state": BANDS, "gradient": BANDS}}
        rows.append(row)
        if step % 50 == 0:
            rows.append({"step": step, "split": "validation", "bits": 4 / step, "characters": 4096})
    rows.append({"step": steps, "split": "final", "bits": 2.5, "interval": [2.4, 2.6]})
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Heartbeat(folder.heartbeat).beat(steps, "finished")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def zspace(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "workbench.cli", *words], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    ask = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["ZSPACE_CACHE"] = str(Path(name, "cache"))
        store = RunStore(Path(name, "runs"))
        for seed in range(ask.runs):
            fill(store.create({**CONFIG, "seed": seed, "steps": ask.steps}), ask.steps)
        index, newest = RunIndex(store.root), store.list()[0]
        size = newest.metrics.stat().st_size
        made = seconds(index.summaries)
        pairs, touched, shell, bare = [], [], [], []
        for _ in range(ask.rounds):
            pairs.append((seconds(index.summaries), seconds(lambda: [summary(f) for f in store.list()])))
            os.utime(newest.metrics)
            touched.append(seconds(index.summaries))
            shell.append(seconds(lambda: zspace("runs", "--json", "--runs", str(store.root))))
            bare.append(seconds(lambda: zspace("--help")))
    used, read = (statistics.median(x) for x in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{stamp()}: {ask.runs:,} runs of {size:,} bytes of rows; every file read {read:.3f} s, index made "
          f"{made:.3f} s, in use {used:.3f} s, after one run went on {statistics.median(touched):.3f} s: {ratio:.1f} "
          f"times as fast as reading every file; zspace runs {statistics.median(shell):.2f} s in a fresh process, "
          f"zspace --help {statistics.median(bare):.2f} s")


if __name__ == "__main__":
    main()
