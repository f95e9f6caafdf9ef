"""Does painting on the disk change what is written, and at what price? Texts with and without it, of equal seeds.

    python -m tests.bench.feedback_disk TEXT... [--out feedback-disk.jsonl] [--preset tiny] [--steps 300] [--seeds 5]
                                        [--first-seed 100] [--texts 12] [--length 400]

A row a model seed, appended to `--out` as a JSON line; a seed whose row is there is skipped. For each a model is
trained, and its disk painted by a script: two clicks of "avoid" under each of `AVOID`, then two of "want" under each of
`WANT`, as far as the text has them; neighbours are painted with them. A symbol counts as wanted, avoided or unpainted
by what lies under it. Every generation seed is written without the painting and with it, once for each of `BUDGETS`.

Printed: the share of the text that each class takes, with minus without, as 95 % Student intervals over the model seeds
of the mean over generation seeds. The price is the KL divergence in nats a symbol, computed again from the logits of
one parallel pass over what was written (generation goes symbol by symbol), and from the painting by another
interpolation. Controls: a budget of 0, and a painting where no symbol lies, must leave every text as it is, bit for
bit; the scripted strokes must come out of the page's own code as the same bits, where there is Chromium to ask.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.special import log_softmax, rel_entr, softmax

from canvas.dabs import SIDE, DiskStroke, painted
from core.array import asarray
from core.backends import use_backend
from core.disk import DiskChart, scores
from core.effect import paired_contrast
from core.generate import Drawn, Sampling
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.generations import Writer
from core.runs.opening import create_run
from core.runs.trainer import Trainer
from tests.bench.feedback import show
from tests.canvas.javascript import blank_page, lacking
from tests.canvas.test_dabs import PAINT

WANT, AVOID = "aeiou", "nrst"
SIZE = 0.06  # of the brush
TEMPERATURE = 0.8
BUDGETS = (0.02, 0.1)  # nats a symbol; the page's own is the second
CLASSES = ("wanted", "avoided", "unpainted")
KEY = ("seed", "preset", "steps", "texts", "length", "corpus")
Row = dict[str, Any]
A = NDArray[Any]


def script(symbols: Sequence[str], places: A) -> list[DiskStroke]:
    """Two clicks under each symbol."""
    clicks = [(tool, places[symbols.index(c)]) for tool, which in (("avoid", AVOID), ("want", WANT))
              for c in which if c in symbols]
    return [DiskStroke(tool, SIZE, ((float(x), float(y), 0.0),)) for tool, (x, y) in clicks for _ in range(2)]


def beside_all(places: A) -> list[DiskStroke]:
    """A click in the square's emptiest spot."""
    grid = np.stack(np.meshgrid(*2 * (np.linspace(-0.9, 0.9, 37),)), -1).reshape(-1, 2)
    x, y = grid[np.linalg.norm(grid[:, None] - places, axis=-1).min(1).argmax()]
    return [DiskStroke("want", SIZE, ((float(x), float(y), 0.0),))]


def layer(strokes: Sequence[DiskStroke]) -> A:
    """What strokes leave."""
    return np.reshape(np.frombuffer(painted(strokes), np.float32), (SIDE, SIDE))


def read_again(painting: A, places: A) -> A:
    """Scores of the known symbols, by another interpolation than `core.disk.scores`."""
    middles = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    found = RegularGridInterpolator((middles, middles), painting[::-1].astype(np.float64))(places[:, ::-1])
    return np.array([0.0, *found[1:]])


def prices(writer: Writer, prompt: str, drawn: Sequence[Drawn], d: A) -> A:
    """KL(p' || p) of every symbol [n], from the logits of one pass over the whole text."""
    tokens = np.concatenate([writer.corpus.encode(prompt), [s.symbol for s in drawn[:-1]]]).astype(np.int32)
    x, _, _ = writer.model.states(writer.parameters, asarray(tokens[None]), writer.model.initial_state(1))
    logits = writer.model.logits(writer.parameters, x).numpy()[0, -len(drawn):].astype(np.float64)
    p = log_softmax(logits / TEMPERATURE, axis=-1)
    beta = np.array([s.beta for s in drawn])[:, None]
    return np.asarray(rel_entr(softmax(p + beta * d, axis=-1), np.exp(p)).sum(-1))


def same_as_the_page(paintings: Sequence[Sequence[DiskStroke]]) -> str:
    """Whether static/dabs.js leaves the same bits."""
    if missing := lacking():
        return f"not compared: there is no {missing}"
    with blank_page() as page:
        equal = [b64decode(page.evaluate(PAINT, [vars(s) for s in strokes])) == painted(strokes).tobytes()
                 for strokes in paintings]
    return "equal bit for bit" if all(equal) else "DIFFERENT"


def one_seed(text: Sequence[str], row: Row) -> Row:
    """Train, paint, write, and measure."""
    with tempfile.TemporaryDirectory() as root:
        config = RunConfig.from_preset(tuple(map(os.path.abspath, text)), row["preset"], seed=row["seed"],
                                       steps=row["steps"], threads=len(os.sched_getaffinity(0)))
        folder = create_run(root, config)
        send(folder, "start")
        trainer = Trainer(folder)
        trainer.run()
        with use_backend(trainer.backend):
            return row | measure(Writer(folder), row["texts"], row["length"])


def measure(writer: Writer, texts: int, length: int) -> Row:
    """Everything about one model."""
    embedding, symbols = writer.parameters["embedding"].numpy(), writer.corpus.vocabulary
    places = DiskChart.of(embedding, writer.model.config.curvature).places(embedding)
    strokes, elsewhere = script(symbols, places), beside_all(places)
    painting = layer(strokes)
    d, prompt = scores(painting, places), writer.opening
    if np.abs(d - read_again(painting, places)).max() > 1e-12:
        raise SystemExit("two interpolations of the painting disagree")
    members = dict(zip(CLASSES, (d > 0, d < 0, d == 0), strict=True))

    def write(**settings: Any) -> list[list[Drawn]]:
        how = Sampling(TEMPERATURE, **settings)
        return [list(writer.draw(prompt, length, seed, how)) for seed in range(texts)]

    def shares(written: list[list[Drawn]]) -> dict[str, list[float]]:
        drawn = np.array([[s.symbol for s in text] for text in written])
        return {name: inside[drawn].mean(1).tolist() for name, inside in members.items()}

    plain = write()
    found: Row = {"page": same_as_the_page([strokes, elsewhere]),
                  "classes": {name: writer.corpus.decode(np.flatnonzero(inside)) for name, inside in members.items()},
                  "without": shares(plain), "with": {},
                  "budget 0": write(desire=d, budget=0.0) == plain,
                  "painted beside": write(desire=scores(layer(elsewhere), places)) == plain}
    for budget in BUDGETS:
        written = write(desire=d, budget=budget)
        recorded = np.array([[s.kl for s in text] for text in written])
        again = np.array([prices(writer, prompt, text, d) for text in written])
        found["with"][str(budget)] = shares(written) | {
            "mean price": again.mean(), "largest price": again.max(), "recorded": recorded.max(),
            "apart": np.abs(again - recorded).max(), "bound": np.mean([s.beta < 1 for t in written for s in t])}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("feedback-disk.jsonl"))
    parser.add_argument("--preset", default="tiny")
    for name, default in (("steps", 300), ("seeds", 5), ("first-seed", 100), ("texts", 12), ("length", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    ask = parser.parse_args()
    known = [json.loads(line) for line in ask.out.read_text().splitlines()] if ask.out.exists() else []
    rows = []
    for seed in range(ask.first_seed, ask.first_seed + ask.seeds):
        row = {"seed": seed, "preset": ask.preset, "steps": ask.steps, "texts": ask.texts, "length": ask.length,
               "corpus": [Path(t).name for t in ask.text]}
        found = next((r for r in known if all(r[k] == row[k] for k in KEY)), None)
        if found is None:
            found = one_seed(ask.text, row)
            with open(ask.out, "a", encoding="utf-8") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
        rows.append(found)
        print(f"seed {seed}: " + ", ".join(f"{name} {c!r}" for name, c in found["classes"].items()), flush=True)
        print(f"  scripted strokes in Python and in the page's code: {found['page']}; budget 0 leaves every text "
              f"{_equal(found['budget 0'])}; paint where no symbol lies {_equal(found['painted beside'])}", flush=True)
    report(rows)


def _equal(same: bool) -> str:
    return "as it is, bit for bit" if same else "CHANGED"


def report(rows: Sequence[Row]) -> None:
    """Over the model seeds."""
    print(f"\n{len(rows)} model seeds, {rows[0]['texts']} texts of {rows[0]['length']} symbols each; share of the "
          "text, painted minus unpainted: mean (95 % interval), * where that holds zero")
    still = []
    for budget in map(str, BUDGETS):
        tilted = [row["with"][budget] for row in rows]
        largest, recorded, apart = (max(t[k] for t in tilted) for k in ("largest price", "recorded", "apart"))
        mean, bound = (float(np.mean([t[k] for t in tilted])) for k in ("mean price", "bound"))
        print(f"budget {budget} nats a symbol: mean price {mean:.4f}, largest {largest:.6f} (recorded {recorded:.6f}, "
              f"the two at most {apart:.1e} apart); the budget held the tilt back at {100 * bound:.0f} % of symbols")
        if recorded > float(budget) or apart > 1e-5:  # float32 logits of one pass and of many
            raise SystemExit("the budget was exceeded, or what was recorded is not the price")
        for name in CLASSES:
            without, after = ([float(np.mean(r[name])) for r in rs] for rs in ([r["without"] for r in rows], tilted))
            moved = paired_contrast(after, without)
            print(f"  {name:<9} {100 * np.mean(without):5.2f} % to {100 * np.mean(after):5.2f} %: {show(moved)}")
            if moved.interval[0] * moved.interval[1] <= 0:
                still.append(f"{name} at budget {budget}")
    print("no effect shown on: " + (", ".join(still) or "none of them") + "; none at all, bit for bit: "
          + ", ".join(name for name in ("budget 0", "painted beside") if all(row[name] for row in rows)))


if __name__ == "__main__":
    main()
