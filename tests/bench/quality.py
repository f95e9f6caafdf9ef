"""How well every family learns beside PyTorch's peers: same text, same characters seen, same evaluation, like sizes.

    python -m tests.bench.quality TEXT [--out quality.jsonl] [--peer PYTHON_WITH_TORCH] [--models rnn ... lstm ...]
        [--preset base] [--seeds 0 1 2] [--characters 2457600] [--backend cpu] [--threads 2] [--jobs 1]
        [--rate 2e-3] [--dropout 0.2]

A row a run, appended to `--out` as a JSON line; a run whose row is there is skipped, so the table can be filled bit by
bit, on several machines, and is printed at the end. Ours train as `zspace train` does, with the preset's window, batch,
rate and dropout. A peer (of at most as many parameters as the limit allows) has a window and a batch of its own and
first tries each of `RATES` with seed 0 on a tenth of the characters; those runs are rows of the table, too. `--dropout`
is the peers', of the embedding, between layers and before the head. Bits per character: the whole last tenth, every
character once, in contiguous windows of 256, the state reset at each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from core.backends import use_backend
from core.data import read_corpus
from core.evaluate import evaluate, summary
from core.nn.families import FAMILIES
from core.runs.config import TRAINING, RunConfig
from core.runs.control import send
from core.runs.opening import create_run
from core.runs.trainer import Trainer

PEERS = ("lstm", "gru", "mingru", "transformer")
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
SHAPES = {"base": (64, 16), "large": (256, 128)}  # of a peer: characters a window, windows a step
WINDOW = 256  # of the evaluation
LOOKS = ("field_every", "evaluate_every", "sample_every", "checkpoint_every", "digest_every")  # they teach nothing
KEY = ("model", "preset", "seed", "characters", "window", "batch", "rate", "dropout", "backend")
Row = dict[str, Any]


def ours(text: str, row: Row, threads: int) -> Row:
    """Train one of our families."""
    with tempfile.TemporaryDirectory() as root:
        config = RunConfig.from_preset(
            (text,), row["preset"], model=row["model"], backend=row["backend"], threads=threads, seed=row["seed"],
            steps=row["characters"] // (row["window"] * row["batch"]), window=row["window"], batch=row["batch"],
            rate=row["rate"], dropout=row["dropout"], **dict.fromkeys(LOOKS, 10**9))
        folder = create_run(root, config)
        send(folder, "start")
        trainer, began = Trainer(folder), time.perf_counter()
        trainer.run()
        seconds = time.perf_counter() - began
        with use_backend(trainer.backend):
            found = evaluate(trainer.model, trainer.parameters, trainer.corpus.validation, WINDOW)
    return {"parameters": sum(p.size for p in trainer.parameters.values()), "bits": found.bits,
            "interval": found.interval, "seconds": seconds}


def peer(python: str, text: str, row: Row, threads: int) -> Row:
    """Train a peer in its own process, on our symbols."""
    corpus = read_corpus(text, window=WINDOW)
    with tempfile.TemporaryDirectory() as root:
        symbols = Path(root, "symbols.npz")
        np.savez(symbols, train=corpus.train, validation=corpus.validation)
        answer = _answer([python, str(Path(__file__).with_name("quality_peer.py"))], {
            **row, "symbols": str(symbols), "vocabulary": len(corpus.vocabulary), "threads": threads,
            "scored": WINDOW, "steps": row["characters"] // (row["window"] * row["batch"])})
    found = summary(np.array(answer["sums"]), np.array(answer["counts"]))
    return {"parameters": answer["parameters"], "bits": found.bits, "interval": found.interval,
            "seconds": answer["seconds"]}


def _answer(command: list[str], ask: Row) -> Row:
    """What a process prints last when it is asked in JSON."""
    done = subprocess.run(command, input=json.dumps(ask), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: Row = json.loads(done.stdout.splitlines()[-1])
    return answer


class Table:
    """Rows in a file of JSON lines; runs in processes of their own, so many at a time."""

    def __init__(self, path: Path, ask: argparse.Namespace) -> None:
        self.path, self.ask = path, ask
        self.rows: list[Row] = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
        self._lock = Lock()

    def fill(self, row: Row) -> Row:
        """The row with its figures, measured now unless it is there."""
        for known in self.rows:
            if all(known[k] == row[k] for k in KEY):
                return known
        assert row["model"] in FAMILIES or self.ask.peer, "peers need --peer"
        found = row | _answer([sys.executable, "-m", "tests.bench.quality", self.ask.text, "--peer",
                               self.ask.peer or "", "--threads", str(self.ask.threads), "--one"], row)
        with self._lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        self.rows.append(found)
        print(json.dumps(found), flush=True)
        return found


def settings(model: str, ask: argparse.Namespace) -> Row:
    """All of a row but its seed, and but a peer's rate."""
    row = {"model": model, "preset": ask.preset, "characters": ask.characters, "backend": ask.backend}
    if model in FAMILIES:
        usual = TRAINING[ask.preset]
        return {**row, "window": usual.window, "batch": usual.batch, "rate": usual.rate, "dropout": usual.dropout}
    window, batch = SHAPES[ask.preset]
    if model == "transformer":  # it sees no further than its window
        window, batch = WINDOW, max(window * batch // WINDOW, 1)
    return {**row, "window": window, "batch": batch, "dropout": ask.dropout}


def fill(table: Table, models: Sequence[str]) -> list[list[Row]]:
    """Rows of each model, a seed each; a peer's rate is the best of a grid at a tenth of the characters."""
    ask = table.ask
    asked = {m: settings(m, ask) for m in models}
    with ThreadPoolExecutor(ask.jobs) as pool:
        trials = {m: [pool.submit(table.fill, {**row, "seed": 0, "characters": ask.characters // 10, "rate": r})
                      for r in ([] if ask.rate else RATES)] for m, row in asked.items() if m in PEERS}
        started = {m: [pool.submit(table.fill, {**row, "seed": s}) for s in ask.seeds]
                   for m, row in asked.items() if m in FAMILIES}
        for m, runs in trials.items():
            rate = ask.rate or min((run.result() for run in runs), key=lambda found: float(found["bits"]))["rate"]
            started[m] = [pool.submit(table.fill, {**asked[m], "seed": s, "rate": rate}) for s in ask.seeds]
        return [[run.result() for run in runs] for runs in started.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--peer")
    parser.add_argument("--models", nargs="+", default=None, choices=[*FAMILIES, *PEERS])
    parser.add_argument("--rate", type=float, help="of the peers, instead of the best of the grid")
    parser.add_argument("--dropout", type=float, default=0.0, help="of the peers")
    parser.add_argument("--preset", default="base", choices=SHAPES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--characters", type=int, default=2_457_600)
    parser.add_argument("--backend", default="cpu", choices=["cpu", "cuda", "wgpu"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--one", action="store_true", help="read one row from standard input, and print its figures")
    ask = parser.parse_args()
    if ask.one:
        row = json.load(sys.stdin)
        print(json.dumps(ours(ask.text, row, ask.threads) if row["model"] in FAMILIES
                         else peer(ask.peer, ask.text, row, ask.threads)))
        return
    groups = fill(Table(ask.out, ask), ask.models or [*FAMILIES, *(PEERS if ask.peer else ())])
    print(f"\n{'model':<12} {'parameters':>10} {'window x batch':>15} {'rate':>7} {'dropout':>7}  bits/char: mean, "
          f"each seed, seed {ask.seeds[0]}'s 95 % interval")
    for rows in sorted(groups, key=lambda g: statistics.fmean(r["bits"] for r in g)):
        first, seeds = rows[0], ", ".join(f"{r['bits']:.4f}" for r in rows)
        shape = f"{first['window']} x {first['batch']}"
        print(f"{first['model']:<12} {first['parameters']:>10,} {shape:>15} {first['rate']:>7.0e} "
              f"{first['dropout']:>7g}  {statistics.fmean(r['bits'] for r in rows):.4f}, {seeds}, "
              f"{first['interval'][0]:.3f} to {first['interval'][1]:.3f}")


if __name__ == "__main__":
    main()
