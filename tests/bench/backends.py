"""A training step on two backends, in turns, and how far their losses drift apart.

    python -m tests.bench.backends [--preset tiny small base] [--other cuda] [--steps 30] [--rounds 3] [--drift]

Both train the same model from the same weights on the same windows of a seeded random text over 64 symbols. Printed per
preset: the median step of each backend over all rounds, their ratio, and the largest relative difference of a loss.
`--drift` prints instead how far the mean losses of steps 91 to 100 lie from the CPU's in float32, preset `tiny`, in
units of the gap between float32 and float64 on the CPU. Both are root mean squares over seeds: of one seed the gap may
happen to be next to nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import asarray, grad
from core.backends import Backend, open_backend, use_backend
from core.functions import cross_entropy
from core.nn.families import PRESETS, build
from core.optim import Adam, clip_by_norm

SYMBOLS = 64
# characters a window and windows a step: enough to fill a device
SHAPES = {"tiny": (64, 16), "small": (128, 16), "base": (256, 32), "large": (256, 64)}


def train(backend: Backend, preset: str, steps: int, dtype: Any = np.float32, seed: int = 1
          ) -> tuple[list[float], list[float]]:
    """Losses, and seconds of each step but the first three."""
    model = build("rnn", preset, SYMBOLS)
    window, batch = SHAPES[preset]
    text = np.random.default_rng(0).zipf(1.5, 200_000).clip(max=SYMBOLS) - 1
    losses, seconds = [], []
    with use_backend(backend):
        values: dict[str, Any] = model.initial_parameters(seed)
        p = {k: asarray(values[k], dtype, requires_grad=True) for k in sorted(values)}
        optimiser = Adam()
        moments = optimiser.start(p)
        for n in range(1, steps + 1):
            began = time.perf_counter()
            starts = np.random.default_rng([n, seed]).integers(0, len(text) - window, batch)
            tokens = np.stack([text[s : s + window + 1] for s in starts]).astype(np.int32)
            x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(batch, dtype))
            loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
            clipped, _ = clip_by_norm(dict(zip(p, grad(loss, list(p.values())), strict=True)), 1.0)
            p, moments = optimiser.step(p, clipped, moments, 1e-3, n)
            backend.flush()
            losses.append(float(loss))
            seconds.append(time.perf_counter() - began)
    return losses, seconds[3:]


def drift(others: list[str], seeds: int) -> None:
    """Print how far the mean losses of steps 91 to 100 lie apart."""
    def late(name: str, dtype: Any = np.float32) -> NDArray[np.float64]:
        backend = open_backend(name)
        return np.array([statistics.fmean(train(backend, "tiny", 100, dtype, s)[0][90:]) for s in range(seeds)])

    cpu = late("cpu")
    away = {"cpu float64": late("cpu", np.float64) - cpu} | {name: late(name) - cpu for name in others}
    size = {name: float(np.sqrt(np.mean(d * d))) for name, d in away.items()}
    for name, d in away.items():
        gaps = size[name] / size["cpu float64"]
        print(f"{name}: {size[name]:.2e} nats from cpu float32 over {seeds} seeds, {gaps:.2f} gaps; of each seed "
              f"{', '.join(f'{x:+.1e}' for x in d)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=["tiny", "small", "base"], choices=PRESETS)
    parser.add_argument("--other", nargs="+", default=["cuda"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drift", action="store_true")
    parser.add_argument("--seeds", type=int, default=8)
    ask = parser.parse_args()
    if ask.drift:
        drift(ask.other, ask.seeds)
    else:
        for other in ask.other:
            compare(other, ask)


def compare(other: str, ask: argparse.Namespace) -> None:
    """Print the steps of the CPU and another backend."""
    pair = [open_backend(name) for name in ("cpu", other)]
    print(*(b.describe() for b in pair), sep="\n")
    for preset in ask.preset:
        seconds: list[list[float]] = [[], []]
        for _ in range(ask.rounds):
            runs = [train(b, preset, ask.steps) for b in pair]
            for found, (_, spent) in zip(seconds, runs, strict=True):
                found += spent
        apart = max(abs(a - b) / abs(a) for a, b in zip(runs[0][0], runs[1][0], strict=True))
        cpu, there = map(statistics.median, seconds)
        print(f"{preset}: a step {1000 * cpu:.2f} ms on cpu, {1000 * there:.2f} ms on {other}, ratio "
              f"{cpu / there:.1f}; losses differ by at most {apart:.1e} in {ask.steps} steps", flush=True)


if __name__ == "__main__":
    main()
