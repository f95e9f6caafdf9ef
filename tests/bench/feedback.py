"""Does painting on the page change what is learned? Strokes as the page records them, beside unpainted twins.

    python -m tests.bench.feedback TEXT... [--strokes FILE.json] [--preset tiny] [--steps 300] [--seeds 5]
                                           [--first-seed 100]

FILE holds a `canvas.strokes.Recording` that favours the low bands; by default three lines along the lower half of the
bands. Its mirror, bands reversed, favours the high ones. Both are replayed to a layer, scaled so that its largest
|value| is log2 of the gain, and painted when 50 steps are done. The twin goes on from there without paint.

Printed per gain: the contrast of the low share on the probe (see `core.effect`), low-painted minus high-painted, and
painted minus twin in bits per character on the validation part: all of it, and by position in the window, since
context grows with it. Intervals are 95 % Student intervals of the paired differences over seeds. A neutral layer, all
zeros, is painted too and must change nothing. `tests.bench.feedback_disk` asks the same of the disk.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from canvas.strokes import Point, Recording, Stroke
from core.backends import use_backend
from core.effect import Contrast, low_share, paired_contrast, probe_tokens
from core.evaluate import losses
from core.frame import ZFrame
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.events import Row, comparable
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from core.runs.twin import make_twin
from tests.bench.steering import GAINS

PAINTED_AFTER = 50
GROUPS = 4  # of positions in the window
SIDES = ("low", "high")


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    share: float
    bits: float
    by_position: NDArray[np.float64]  # [GROUPS]
    parameters: dict[str, NDArray[np.float32]]
    rows: list[Row]


def lower_half(bands: int, sheets: int) -> Recording:
    """One line along all sheets in the middle of each lower band, so narrow that nothing reaches the upper half."""
    strokes = []
    for band in range(bands // 2):
        points = tuple(Point(i / 32, (band + 0.5) / bands, 1000 * i / 60) for i in range(33))
        strokes.append(Stroke(points, size=0.05, strength=1.0))
    return Recording(bands, sheets, tuple(strokes))


def mirror(recording: Recording) -> Recording:
    """The same strokes with the bands reversed."""
    strokes = (replace(s, points=tuple(p._replace(y=1 - p.y) for p in s.points)) for s in recording.strokes)
    return replace(recording, strokes=tuple(strokes))


def begin(root: Path, config: RunConfig, layer: NDArray[np.float64]) -> RunFolder:
    """A run that has done `PAINTED_AFTER` steps and takes a layer at the next."""
    folder = create_run(root, config)
    send(folder, "start")
    Trainer(folder, until=PAINTED_AFTER).run()
    paint(folder, layer)
    return folder


def finish(folder: RunFolder) -> Outcome:
    """Go on with a run to its end, and look at what it learned."""
    trainer = Trainer(folder)
    trainer.run()
    part, window = trainer.corpus.validation, trainer.config.window
    with use_backend(trainer.backend):
        share = low_share(trainer.model, trainer.parameters, probe_tokens(part, window), trainer.frame)
        scored = losses(trainer.model, trainer.parameters, part, window)
    whole = np.concatenate([batch for batch in scored if batch.shape[1] == window]).astype(np.float64) / math.log(2)
    rows = [comparable(row) for row in read_records(folder.metrics)[0]]
    return Outcome(share, rows[-1]["bits"], np.array([g.mean() for g in np.array_split(whole, GROUPS, axis=1)]),
                   {k: v.numpy() for k, v in trainer.parameters.items()}, rows)


def one_seed(root: Path, config: RunConfig, layers: dict[tuple[str, float], NDArray[np.float64]]
             ) -> tuple[Outcome, dict[tuple[str, float], Outcome]]:
    """The unpainted twin, and every painted run; they share their first steps, so one twin is that of all."""
    twin, painted = None, {}
    for key, layer in layers.items():
        folder = begin(root, config, layer)
        painted[key] = finish(folder)
        twin = twin or finish(make_twin(folder))
        before = [[r for r in o.rows if r["step"] <= PAINTED_AFTER] for o in (painted[key], twin)]
        if before[0] != before[1]:
            raise SystemExit(f"seed {config.seed}, {key}: rows before the paint depart from the twin's")
    assert twin is not None
    return twin, painted


def show(contrast: Contrast, unit: str = "") -> str:
    """Mean and interval."""
    low, high = contrast.interval
    return f"{contrast.mean:+.4f}{unit} ({low:+.4f} to {high:+.4f}){' *' if low * high <= 0 else ''}"


def trend(values: Sequence[float]) -> str:
    """Whether they are monotone."""
    steps = np.diff(values)
    return "rises" if (steps > 0).all() else "falls" if (steps < 0).all() else "turns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--strokes", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    ask = parser.parse_args()
    frame = ZFrame.octaves()
    recording = (Recording.from_json(json.loads(ask.strokes.read_text())) if ask.strokes
                 else lower_half(frame.bands, frame.sheets))
    if (recording.bands, recording.sheets) != (frame.bands, frame.sheets):
        parser.error(f"the strokes are on {recording.bands} x {recording.sheets} cells, a run has "
                     f"{frame.bands} x {frame.sheets}")
    relations = dict(zip(SIDES, (np.array(r.replay()) for r in (recording, mirror(recording))), strict=True))
    if not all(relation.any() for relation in relations.values()):
        parser.error("the strokes leave nothing on the chart")
    for side, relation in relations.items():
        means = " ".join(f"{v:+.3f}" for v in relation.mean(axis=1) / np.abs(relation).max())
        print(f"{side}-painted layer, mean by band from the lowest, largest |value| 1: {means}")
    layers = {("neutral", 1.0): np.zeros((frame.bands, frame.sheets))}
    layers |= {(side, gain): relation * (math.log2(gain) / np.abs(relation).max())
               for gain in GAINS for side, relation in relations.items()}
    twins: list[Outcome] = []
    runs: dict[tuple[str, float], list[Outcome]] = {key: [] for key in layers}
    for seed in range(ask.first_seed, ask.first_seed + ask.seeds):
        config = RunConfig.from_preset(tuple(map(os.path.abspath, ask.text)), ask.preset, seed=seed, steps=ask.steps,
                                       threads=len(os.sched_getaffinity(0)))
        with tempfile.TemporaryDirectory() as root:
            twin, painted = one_seed(Path(root), config, layers)
        twins.append(twin)
        print(f"seed {seed}  twin              low share {twin.share:.4f}  {twin.bits:.4f} bits/char")
        for (side, gain), outcome in painted.items():
            runs[side, gain].append(outcome)
            print(f"seed {seed}  {side:<7}  gain {gain:.0f}   low share {outcome.share:.4f}  "
                  f"{outcome.bits:.4f} bits/char")
        neutral = painted["neutral", 1.0]
        apart = max(float(np.abs(v - twin.parameters[k]).max()) for k, v in neutral.parameters.items())
        rows = sum(a != b for a, b in zip(neutral.rows, twin.rows, strict=True))
        print(f"seed {seed}  neutral layer against the twin: largest difference of a parameter {apart:g}, "
              f"{rows} of {len(twin.rows)} rows differ", flush=True)
    print(f"\n{ask.seeds} seeds, painted minus twin or low minus high: mean (95 % interval), * where that holds zero")
    unpainted = [o.bits for o in twins]
    contrasts = {}
    for gain in GAINS:
        shares = {side: [o.share for o in runs[side, gain]] for side in SIDES}
        contrasts[gain] = paired_contrast(shares["low"], shares["high"])
        print(f"gain {gain:.0f}: contrast of the low share {show(contrasts[gain])}")
        for side in SIDES:
            beside = paired_contrast(shares[side], [o.share for o in twins])
            cost = paired_contrast([o.bits for o in runs[side, gain]], unpainted)
            print(f"  {side:<4} against the twin: low share {show(beside)}, loss {show(cost, ' bits/char')}")
            places = [paired_contrast([o.by_position[g] for o in runs[side, gain]], [o.by_position[g] for o in twins])
                      for g in range(GROUPS)]
            edges = [len(a) for a in np.array_split(np.arange(config.window), GROUPS)]
            starts = np.cumsum([0, *edges])
            for (start, end), place in zip(pairwise(starts), places, strict=True):
                print(f"       after {start + 1:3d} to {end:3d} characters: {show(place, ' bits/char')}")
    by_seed = [[low.share - high.share for low, high in zip(runs["low", g], runs["high", g], strict=True)]
               for g in GAINS]
    seeds = [trend(values) for values in zip(*by_seed, strict=True)]
    print(f"from gain to gain the contrast {trend([contrasts[g].mean for g in GAINS])} in the mean; by seed it "
          + ", ".join(f"{word} in {seeds.count(word)}" for word in dict.fromkeys(seeds)))


if __name__ == "__main__":
    main()
