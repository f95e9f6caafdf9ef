"""Does painting change what is learned? Low-painted, high-painted and unpainted twins, seed by seed.

    python -m tests.bench.steering TEXT... [--preset tiny] [--steps 300] [--seeds 3] [--first-seed 0]

Twins share seed, batches and initial weights; the layer is in the input log from the first step on. Printed: the low
share of the tapped layer's states on the probe (see `core.effect`), the contrast with its interval per gain, the final
loss of every run, and whether a neutral layer changes anything at all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from core.backends import use_backend
from core.effect import low_share, painted_layer, paired_contrast, probe_tokens
from core.frame import ZFrame
from core.runs.checkpoint import digest
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.trainer import Trainer

GAINS = (2.0, 4.0, 8.0)


def train(root: Path, config: RunConfig, layer: np.ndarray | None) -> tuple[float, float, str]:
    """Low share, final bits per character and parameter digest of one run."""
    folder = create_run(root, config)
    if layer is not None:
        paint(folder, layer)
    send(folder, "start")
    trainer = Trainer(folder)
    trainer.run()
    with use_backend(trainer.backend):
        share = low_share(trainer.model, trainer.parameters,
                          probe_tokens(trainer.corpus.validation, config.window), trainer.frame)
    rows, _ = read_records(folder.metrics)
    return share, rows[-1]["bits"], digest({k: v.numpy() for k, v in trainer.parameters.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    ask = parser.parse_args()
    shares: dict[tuple[str, float], list[float]] = {}
    bits: dict[tuple[str, float], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for seed in range(ask.first_seed, ask.first_seed + ask.seeds):
            config = RunConfig.from_preset(tuple(ask.text), ask.preset, threads=len(os.sched_getaffinity(0)),
                                           seed=seed, steps=ask.steps)
            frame = ZFrame.octaves()
            layers = {("unpainted", 1.0): None, ("neutral", 1.0): np.zeros((frame.bands, frame.sheets), np.float32)}
            layers |= {(where, g): painted_layer(frame, where, g) for g in GAINS for where in ("low", "high")}
            digests = {}
            for key, layer in layers.items():
                share, final, digests[key] = train(Path(name), config, layer)
                shares.setdefault(key, []).append(share)
                bits.setdefault(key, []).append(final)
                print(f"seed {seed}  {key[0]:<9} gain {key[1]:.0f}  low share {share:.4f}  {final:.4f} bits/char",
                      flush=True)
            same = digests["unpainted", 1.0] == digests["neutral", 1.0]
            print(f"seed {seed}  neutral layer against none: parameters {'equal bit for bit' if same else 'DIFFER'}")
    for gain in GAINS:
        contrast = paired_contrast(shares["low", gain], shares["high", gain])
        cost = {w: statistics.mean(np.subtract(bits[w, gain], bits["unpainted", 1.0])) for w in ("low", "high")}
        print(f"gain {gain:.0f}: contrast {contrast.mean:+.4f} ({contrast.interval[0]:+.4f} to "
              f"{contrast.interval[1]:+.4f}), loss against unpainted: low {cost['low']:+.4f}, "
              f"high {cost['high']:+.4f} bits/char")


if __name__ == "__main__":
    main()
