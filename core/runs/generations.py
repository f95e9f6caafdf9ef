"""Recorded generations: written symbol by symbol, repeated bit for bit, and compared with and without desire.

``generations/ID.jsonl`` begins with what decides the text: prompt, seed, length, the settings, the checkpoint's step
and digest, and the environment. Then one row a symbol, as `core.generate.Drawn` has it; `d` stands where it changes.
"""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.backends import current_backend, open_backend, use_backend
from core.effect import Shift, check_seeds, paired_shift
from core.errors import RunError
from core.generate import Drawn, Sampling, generate
from core.runs.checkpoint import digest, find_checkpoint
from core.runs.config import environment
from core.runs.events import Row, first_difference
from core.runs.journal import Follower, Journal, encode_record
from core.runs.opening import load_model
from core.runs.replay import Replay, other_environment
from core.runs.store import RunFolder

Arm = Literal["without", "tilted"]
ARMS: tuple[Arm, Arm] = "without", "tilted"


def new_name() -> str:
    """Of a generation: 12 hexadecimal digits."""
    return uuid.uuid4().hex[:12]


class Writer:
    """A run's model, ready to continue prompts on the current backend.

    Parameters
    ----------
    folder : RunFolder
    checkpoint : str or int
        "latest", "best" or a step.
    """

    def __init__(self, folder: RunFolder, checkpoint: str | int = "latest") -> None:
        self.folder = folder
        self.model, self.parameters, self.corpus, self.step = load_model(folder, checkpoint)
        self.digest = digest({name: values.numpy() for name, values in self.parameters.items()})

    @property
    def opening(self) -> str:
        """A prompt where none is given: a new line, or the text's first character where it has no lines."""
        return "\n" if "\n" in self.corpus.vocabulary else self.corpus.decode(self.corpus.train[:1])

    def draw(self, prompt: str, length: int, seed: int, how: Sampling) -> Iterator[Drawn]:
        """Continue a prompt.

        Raises
        ------
        ValueError
            The prompt is empty, or holds a character that the run's text lacks.
        """
        known = self.corpus.vocabulary[1:]  # all but the unknown symbol
        if lacking := sorted(set(prompt) - set(known)):
            raise ValueError(f"prompt: {', '.join(map(repr, lacking[:5]))} {'is' if len(lacking) == 1 else 'are'} not "
                             f"among the {len(known)} characters of this run's text: leave out what it never saw")
        return generate(self.model, self.parameters, self.corpus.encode(prompt), length, seed, how)

    def record(self, name: str, prompt: str, length: int, seed: int, how: Sampling) -> Iterator[Drawn]:
        """`draw`, each symbol written to generations/NAME.jsonl before it is given away."""
        drawing = self.draw(prompt, length, seed, how)
        first = next(drawing)  # what is refused leaves no file behind
        with Journal(self.folder.generations / f"{name}.jsonl") as journal:
            journal.append({"prompt": prompt, "seed": seed, "length": length, **asdict(how), "step": self.step,
                            "parameters": self.digest, "environment": environment(current_backend().describe())})
            for drawn, row in _rows(itertools.chain([first], drawing)):
                journal.append(row)
                yield drawn


def _rows(drawing: Iterable[Drawn]) -> Iterator[tuple[Drawn, Row]]:
    """Each symbol and its row; d only where it differs from the one before."""
    last = None
    for drawn in drawing:
        row = asdict(drawn)
        if last is not None and np.array_equal(last.d, drawn.d):  # type: ignore[arg-type]  # None equals None
            del row["d"]
        yield drawn, row
        last = drawn


def replay_generation(folder: RunFolder, name: str) -> Replay:
    """Draw a recorded generation again from its checkpoint and compare every row, bit for bit.

    Raises
    ------
    RunError
        There is no such generation, or its file is broken.
    """
    path = folder.generations / f"{name}.jsonl"
    if not re.fullmatch("[0-9a-f]{12}", name) or not path.exists():
        raise RunError(f"run {folder.id} has no generation {name!r:.40}: give the name that `zspace sample` printed, "
                       f"or that of a file in {folder.generations}")
    follower = Follower(path)  # of one that was killed the last line may be torn
    head, *rows = follower.poll() or [{}]
    if follower.bad or not head:
        raise RunError(f"{path}: {follower.bad} broken lines, or no first one: restore the file from a copy")
    if "environment" not in head:
        return Replay("not comparable", 0, f"generation {name} was recorded by a version that kept no environment")
    there = head["environment"]
    with use_backend(open_backend(there["backend"], threads=there.get("threads"))):
        if other := other_environment(there, environment(current_backend().describe())):
            return other
        if find_checkpoint(folder, head["step"]) is None:
            return Replay("not comparable", 0, f"the checkpoint of step {head['step']} is gone: a run keeps its newest")
        writer = Writer(folder, head["step"])
        if writer.digest != head["parameters"]:
            return Replay("not comparable", 0, f"the checkpoint of step {head['step']} holds other weights now")
        again = _rows(writer.draw(head["prompt"], head["length"], head["seed"], Sampling.from_json(head)))
        for i, (row, (_, repeated)) in enumerate(zip(rows, again, strict=False)):
            field = first_difference(row, json.loads(encode_record(repeated)))
            if field is not None:
                return Replay("departs", i, f"symbol {i} departs in {field!r}", i, field)
    return Replay("equal", len(rows), f"{len(rows)} symbols of {head['length']} repeated, every row equal bit for bit")


@dataclass(frozen=True)
class Effect:
    """What a desire did over several seeds.

    Attributes
    ----------
    symbols : str
        Those wanted (of positive score), or where none is, those not wanted; the shares are theirs.
    shift : Shift
    kl_mean, kl_largest : float
        Realised divergence, nats a symbol.
    names : list
        Of the recorded generations, a pair a seed: without, tilted.
    """

    symbols: str
    shift: Shift
    kl_mean: float
    kl_largest: float
    names: list[tuple[str, str]]


def targeted(how: Sampling) -> NDArray[np.bool_]:
    """Which symbols a desire is about [V]: those of positive score, or where there are none, of negative."""
    wanted = how.wanted
    if wanted is None or not wanted.any():
        raise ValueError("nothing is wanted, so there is no effect to measure: score some characters or give a hint")
    return wanted > 0 if (wanted > 0).any() else wanted < 0


def measure_desire(writer: Writer, prompt: str, length: int, seeds: Sequence[int], how: Sampling,
                   on_symbol: Callable[[int, Arm, Drawn], None] = lambda *_: None) -> Effect:
    """Write the same prompt and seeds with and without desire.

    Parameters
    ----------
    seeds : sequence of int
        At least `core.effect.FEWEST_SEEDS`.
    on_symbol : callable, optional
        Called with every symbol as it is drawn.

    Raises
    ------
    ValueError
        Nothing is wanted, or there are too few seeds.
    """
    target = targeted(how)
    check_seeds(len(seeds))
    shares: dict[Arm, list[float]] = {arm: [] for arm in ARMS}
    costs, names = [], []
    for seed in seeds:
        pair = new_name(), new_name()
        names.append(pair)
        for arm, name, settings in zip(ARMS, pair, (how.without_desire(), how), strict=True):
            drawn = []
            for symbol in writer.record(name, prompt, length, seed, settings):
                drawn.append(symbol)
                on_symbol(seed, arm, symbol)
            shares[arm].append(float(np.mean(target[[d.symbol for d in drawn]])))
        costs += [d.kl for d in drawn]
    return Effect(writer.corpus.decode(np.flatnonzero(target)), paired_shift(shares["without"], shares["tilted"]),
                  float(np.mean(costs)), max(costs), names)
