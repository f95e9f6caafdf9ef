"""What curvature gains and costs beside Euclidean space, at low and at high dimension.

    python -m tests.bench.curvature tree [--depth 4] [--steps 1000] [--dimensions 2 10]
    python -m tests.bench.curvature text PATH [--model rnn] [--steps 800] [--widths 8 64]
    both: [--curvatures 0 -1 ...] [--seeds 0 1 2] [--threads 2]; the first curvature is the baseline, 0 is Euclidean

`tree` embeds the distances of a balanced binary tree, edges of length 1: Adam (cosine schedule) moves points to the
least mean squared relative error, while the curvature grows from 0 to its value, since a layout that began folded never
unfolds in strongly curved space. A row a dimension and curvature: each seed's mean distortion (mean of |d / d_tree -
1|), and of the best one its stretch (largest d / d_tree over the smallest). Curvature and the length of an edge are one
knob: c -> 4 c is edges twice as long. Euclidean distances here are 2 |x - y|, the limit c -> 0.

`text` trains the tiny preset at several widths of its residual stream, which is the dimension of its embeddings, and
scores the last tenth, every character once. The models of a seed and width begin as the same function and see the same
batches, so the differences to the baseline are paired by seed. The cost is processor time a step, the baseline's being
1, which other work on the machine moves less than the clock; the last column says how near the boundary points came.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray, grad
from core.backends import open_backend, use_backend
from core.data import Corpus, read_corpus
from core.evaluate import evaluate
from core.functions import cross_entropy, maximum, sqrt
from core.nn.families import FAMILIES
from core.nn.hyperbolic import distance, exp_map
from core.nn.model import Config
from core.optim import Adam, Schedule, clip_by_norm
from core.random import Philox
from core.runs.config import TRAINING

WINDOW = 256  # of the evaluation


# --- a tree's distances -----------------------------------------------------------------------------------------------


def tree_distances(depth: int) -> NDArray[np.float64]:
    """Edges between all nodes of a balanced binary tree; node i has the children 2 i + 1 and 2 i + 2."""
    n = 2 ** (depth + 1) - 1
    paths = []
    for node in range(n):
        path = [node]
        while path[-1]:
            path.append((path[-1] - 1) // 2)
        paths.append(path)
    return np.array([[len(set(a) ^ set(b)) for b in paths] for a in paths], np.float64)


def embedded(v: Array, curvature: float) -> Array:
    """All distances [N, N] between points that are given by their tangent vectors [N, D] at the origin."""
    n, d = v.shape
    if curvature:
        x = exp_map(v, curvature)
        return distance(x.reshape(n, 1, d), x.reshape(1, n, d), curvature)
    apart = v.reshape(n, 1, d) - v.reshape(1, n, d)
    squares = (apart * apart).sum(-1)
    return 2.0 * sqrt(maximum(squares, asarray(1e-30)))


def embed_tree(want: NDArray[np.float64], dimension: int, curvature: float, steps: int,
               seed: int) -> tuple[float, float]:
    """Mean distortion and stretch after learning."""
    n = len(want)
    pairs = np.triu_indices(n, 1)
    weights = asarray(np.divide(1, want, out=np.zeros_like(want), where=want > 0))
    p = {"v": asarray(np.random.default_rng(seed).standard_normal((n, dimension)) * 0.1, requires_grad=True)}
    adam, schedule = Adam(), Schedule(0.03, steps, shape="cosine")
    moments = adam.start(p)
    ones = asarray((want > 0).astype(np.float64))
    for i in range(steps):
        bent = curvature * min((i + 1) / (0.6 * steps), 1.0)
        error = embedded(p["v"], bent) * weights - ones
        loss = (error * error).sum() * (1 / (2 * len(pairs[0])))
        p, moments = adam.step(p, {"v": grad(loss, [p["v"]])[0]}, moments, schedule.rate(i), i + 1)
        p["v"].backend.flush()
    ratio = (embedded(p["v"], curvature).numpy()[pairs]) / want[pairs]
    return float(np.abs(ratio - 1).mean()), float(ratio.max() / ratio.min())


def tree(ask: argparse.Namespace) -> None:
    want = tree_distances(ask.depth)
    print(f"binary tree of depth {ask.depth}, {len(want)} nodes, {ask.steps} steps, seeds {ask.seeds}")
    print(f"{'dimension':>9} {'curvature':>9} {'mean distortion, by seed':>25} {'stretch of best':>15} {'CPU s':>6}")
    for dimension, curvature in itertools.product(ask.dimensions, ask.curvatures):
        began = time.process_time()
        found = [embed_tree(want, dimension, curvature, ask.steps, seed) for seed in ask.seeds]
        seconds = (time.process_time() - began) / len(ask.seeds)
        means = ", ".join(f"{mean:.3f}" for mean, _ in found)
        print(f"{dimension:>9} {curvature:>9g} {means:>25} {min(found)[1]:>15.2f} {seconds:>6.1f}", flush=True)


# --- a text -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Bits per character, processor seconds a step (median), and the points' largest norm, of the ball's radius."""

    bits: float
    seconds: float
    norm: float


def train(corpus: Corpus, family: str, width: int, curvature: float, steps: int, seed: int) -> Result:
    """The tiny preset at another width, as `zspace train` does it."""
    window, batch, rate, *_ = TRAINING["tiny"]
    sizes = {**FAMILIES[family].presets["tiny"], "width": width}
    model = FAMILIES[family](Config(vocabulary=len(corpus.vocabulary), curvature=curvature, **sizes))
    p = {k: asarray(v, requires_grad=True) for k, v in sorted(model.initial_parameters(seed).items())}
    adam, schedule, random, taken = Adam(), Schedule(rate, steps), Philox(seed), []
    moments = adam.start(p)
    for i in range(steps):
        began = time.process_time()
        starts = random.choice_offsets(2, i + 1, batch, len(corpus.train) - window).astype(np.int64)
        tokens = np.stack([corpus.train[s : s + window + 1] for s in starts]).astype(np.int32)
        x, _, _ = model.states(p, asarray(tokens[:, :-1]), model.initial_state(batch))
        loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
        grads, _ = clip_by_norm(dict(zip(p, grad(loss, list(p.values())), strict=True)), 1.0)
        updated, moments = adam.step(p, grads, moments, schedule.rate(i), i + 1)
        p = model.constrain(updated)
        p["norm"].backend.flush()
        taken.append(time.process_time() - began)
    norms = np.linalg.norm(p["embedding"].numpy().astype(float), axis=-1)
    return Result(evaluate(model, p, corpus.validation, WINDOW).bits, statistics.median(taken),
                  float(norms.max()) * math.sqrt(abs(curvature)))


def text(ask: argparse.Namespace) -> None:
    corpus = read_corpus(ask.path, window=WINDOW)
    print(f"{ask.model} tiny, {ask.steps} steps, {len(corpus.train):,} characters to learn from, seeds {ask.seeds}")
    print(f"{'width':>5} {'curvature':>9} {'bits/char':>9} {'to baseline, by seed':>26} {'cost':>6} {'norm':>7}")
    for width in ask.widths:
        found: dict[float, list[Result]] = {c: [] for c in ask.curvatures}
        for seed, c in itertools.product(ask.seeds, ask.curvatures):  # interleaved: the machine's moods are shared
            found[c].append(train(corpus, ask.model, width, c, ask.steps, seed))
        base = found[ask.curvatures[0]]
        for c, results in found.items():
            deltas = ", ".join(f"{r.bits - b.bits:+.4f}" for r, b in zip(results, base, strict=True))
            cost = statistics.median(r.seconds / b.seconds for r, b in zip(results, base, strict=True))
            print(f"{width:>5} {c:>9g} {statistics.fmean(r.bits for r in results):>9.4f} {deltas:>26} {cost:>6.3f} "
                  f"{max(r.norm for r in results):>7.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    trees, texts = commands.add_parser("tree"), commands.add_parser("text")
    for command, function, steps, curvatures in ((trees, tree, 1000, [0.0, -0.25, -1.0, -4.0]),
                                                 (texts, text, 800, [0.0, -1.0])):
        command.set_defaults(function=function)
        command.add_argument("--steps", type=int, default=steps)
        command.add_argument("--curvatures", type=float, nargs="+", default=curvatures)
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        command.add_argument("--threads", type=int, default=2)
    trees.add_argument("--depth", type=int, default=4)
    trees.add_argument("--dimensions", type=int, nargs="+", default=[2, 10])
    texts.add_argument("path")
    texts.add_argument("--model", default="rnn", choices=FAMILIES)
    texts.add_argument("--widths", type=int, nargs="+", default=[8, 64])
    ask = parser.parse_args()
    with use_backend(open_backend("cpu", threads=ask.threads)):
        ask.function(ask)


if __name__ == "__main__":
    main()
