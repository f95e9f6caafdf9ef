"""How well every family learns beside PyTorch's peers: same text, same characters seen, same evaluation, like sizes.

    python -m tests.bench.quality TEXT [--out quality.jsonl] [--peer PYTHON_WITH_TORCH] [--models rnn ... lstm ...]
        [--preset base] [--seeds 0 1 2] [--characters 2457600] [--backend cpu] [--threads 2]

A row a run, appended to `--out` as a JSON line; a run whose row is there is skipped, so the table can be filled bit by
bit, on several machines, and is printed at the end. Ours train as `zspace train` does, with the preset's window, batch
and rate. A peer (of at most as many parameters as the limit allows) takes the same characters a step and first tries
each of `RATES` with seed 0 on a tenth of the characters; those runs are rows of the table, too. Bits per character:
the whole last tenth, every character once, in contiguous windows of 256, the state reset at each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.backends import use_backend
from core.data import read_corpus
from core.evaluate import evaluate, summary
from core.nn.families import FAMILIES
from core.runs.config import TRAINING, RunConfig
from core.runs.control import send
from core.runs.trainer import Trainer, create_run

PEERS = ("lstm", "gru", "mingru", "transformer")
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
WINDOW = 256  # of the evaluation
KEY = ("model", "preset", "seed", "characters", "window", "batch", "rate", "backend")
Row = dict[str, Any]


def ours(text: str, row: Row, threads: int) -> Row:
    """Train one of our families."""
    with tempfile.TemporaryDirectory() as root:
        config = RunConfig.from_preset(
            (text,), row["preset"], model=row["model"], backend=row["backend"], threads=threads, seed=row["seed"],
            steps=row["characters"] // (row["window"] * row["batch"]), window=row["window"], batch=row["batch"],
            rate=row["rate"], evaluate_every=10**9, sample_every=10**9, checkpoint_every=10**9)
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
        ask = {**row, "symbols": str(symbols), "vocabulary": len(corpus.vocabulary), "threads": threads,
               "scored": WINDOW, "steps": row["characters"] // (row["window"] * row["batch"])}
        done = subprocess.run([python, str(Path(__file__).with_name("quality_peer.py"))], input=json.dumps(ask),
                              capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer = json.loads(done.stdout)
    found = summary(np.array(answer["sums"]), np.array(answer["counts"]))
    return {"parameters": answer["parameters"], "bits": found.bits, "interval": found.interval,
            "seconds": answer["seconds"]}


class Table:
    """Rows in a file of JSON lines."""

    def __init__(self, path: Path, text: str, python: str | None, threads: int) -> None:
        self.path, self.text, self.python, self.threads = path, text, python, threads
        self.rows: list[Row] = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []

    def fill(self, row: Row) -> Row:
        """The row with its figures, measured now unless it is there."""
        for known in self.rows:
            if all(known[k] == row[k] for k in KEY):
                return known
        is_ours = row["model"] in FAMILIES
        assert is_ours or self.python, "peers need --peer"
        found = row | (ours(self.text, row, self.threads) if is_ours
                       else peer(str(self.python), self.text, row, self.threads))
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        self.rows.append(found)
        print(json.dumps(found), flush=True)
        return found


def settings(model: str, preset: str, table: Table, row: Row) -> Row:
    """Window, batch and rate; a peer's rate is the best of a grid at a tenth of the characters."""
    window, batch, rate, _ = TRAINING[preset]
    if model in FAMILIES:
        return {**row, "window": window, "batch": batch, "rate": rate}
    if model == "transformer":  # it sees no further than its window
        window, batch = WINDOW, max(window * batch // WINDOW, 1)
    trial = {**row, "window": window, "batch": batch, "seed": 0, "characters": row["characters"] // 10}
    best = min((table.fill({**trial, "rate": r}) for r in RATES), key=lambda found: float(found["bits"]))
    return {**row, "window": window, "batch": batch, "rate": best["rate"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--peer")
    parser.add_argument("--models", nargs="+", default=None, choices=[*FAMILIES, *PEERS])
    parser.add_argument("--preset", default="base", choices=("base", "large"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--characters", type=int, default=2_457_600)
    parser.add_argument("--backend", default="cpu", choices=["cpu", "cuda", "wgpu"])
    parser.add_argument("--threads", type=int, default=2)
    ask = parser.parse_args()
    table = Table(ask.out, ask.text, ask.peer, ask.threads)
    groups = []
    for model in ask.models or [*FAMILIES, *(PEERS if ask.peer else ())]:
        row = {"model": model, "preset": ask.preset, "characters": ask.characters, "backend": ask.backend}
        groups.append([table.fill(settings(model, ask.preset, table, {**row, "seed": seed})) for seed in ask.seeds])
    print(f"\n{'model':<12} {'parameters':>10} {'window x batch':>15} {'rate':>7}  bits/char: mean, each seed, seed "
          f"{ask.seeds[0]}'s 95 % interval")
    for rows in sorted(groups, key=lambda g: statistics.fmean(r["bits"] for r in g)):
        first, seeds = rows[0], ", ".join(f"{r['bits']:.4f}" for r in rows)
        shape = f"{first['window']} x {first['batch']}"
        print(f"{first['model']:<12} {first['parameters']:>10,} {shape:>15} {first['rate']:>7.0e}  "
              f"{statistics.fmean(r['bits'] for r in rows):.4f}, {seeds}, "
              f"{first['interval'][0]:.3f} to {first['interval'][1]:.3f}")


if __name__ == "__main__":
    main()
