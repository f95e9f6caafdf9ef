"""Generation for a page: written by a process of its own, so that no page waits for it, and followed line by line.

The process is given one JSON object, what `check` returned and the scores of painted symbols, and prints JSON objects,
one a line::

    {"targets": "aeiou"}                    the symbols that the desire is about
    {"arm": "without", "text": "t"}         a symbol of the first seed; "tilted" with desire
    {"pairs": 3, "of": 8}                   pairs of texts written so far
    {"effect": {...}}                       over all seeds, see `core.runs.generations.Effect`
    {"error": "one sentence"}
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from core.desire import wish_scores
from core.errors import ZSpaceError
from core.generate import Drawn, Sampling
from core.runs.generations import Arm, Writer, measure_desire, new_name, targeted
from core.runs.store import RunFolder

Line = dict[str, Any]
SEEDS = 8  # texts a side, for the effect; the page shows the first
LONGEST = 2000  # characters a text
WISHES, WISH = 16, 200  # how many, and characters in one


class Number(NamedTuple):
    """What a setting may be, limits included; `default` is taken unless one is given."""

    low: float
    high: float
    default: float | None = None
    whole: bool = False


NUMBERS = {
    "length": Number(1, LONGEST, 300, whole=True), "seed": Number(0, 2**31 - 1, 0, whole=True),
    "temperature": Number(0, 5, 0.8), "top_k": Number(1, 65_535, whole=True), "top_p": Number(0.01, 1),
    "budget": Number(0, 10, 0.1), "entropy": Number(0.01, 20),
}


def check(ask: Line) -> Line:
    """What a page asks for, made whole.

    Raises
    ------
    ValueError
        A field that nobody reads, of the wrong type, or outside its limits.
    """
    if unknown := sorted(set(ask) - {*NUMBERS, "prompt", "wishes"}):
        raise ValueError(f"{unknown[0]!r:.40} is no part of this command: it takes prompt, wishes, "
                         f"{', '.join(NUMBERS)}")
    prompt, wishes = ask.get("prompt", ""), ask.get("wishes", [])
    if not isinstance(prompt, str) or len(prompt) > LONGEST:
        raise ValueError(f"prompt is {prompt!r:.40}: give a text of at most {LONGEST} characters")
    if not isinstance(wishes, list) or len(wishes) > WISHES or not all(map(_is_wish, wishes)):
        raise ValueError(f"wishes is {wishes!r:.40}: give a list of at most {WISHES} pairs, each of at most {WISH} "
                         "characters and their score")
    return {"prompt": prompt, "wishes": wishes, **{name: _number(ask, name) for name in NUMBERS}}


def _is_wish(value: object) -> bool:
    return isinstance(value, list) and [*map(type, value)] in ([str, int], [str, float]) and len(value[0]) <= WISH


def _number(ask: Line, name: str) -> float | None:
    """A setting, or its default."""
    rule, value = NUMBERS[name], ask.get(name)
    if value is None:
        return rule.default
    if type(value) not in ((int,) if rule.whole else (int, float)) or not rule.low <= value <= rule.high:
        raise ValueError(f"{name} is {value!r:.40}: give a {'whole ' if rule.whole else ''}number from {rule.low} to "
                         f"{rule.high}")
    return value


class Writing:
    """A generation at work.

    Parameters
    ----------
    folder : RunFolder
        Of the run that writes.
    ask : dict
        As `check` returned it, and `painted`: symbols and their scores.
    """

    def __init__(self, folder: RunFolder, ask: Line) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench.writing", str(folder.path)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(json.dumps(ask))
        self._lines: list[Line] = []
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        """Take in what is printed, until the end."""
        process = self._process
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            for line in process.stdout:
                self._lines.append(json.loads(line))
            said = process.stderr.read().strip().splitlines()
        if process.returncode > 0:
            self._lines.append({"error": f"the generation failed: {said[-1] if said else process.returncode}"})
        self._lines.append({"end": True})

    def news(self) -> list[Line]:
        """What came since the last call; texts of one side that follow each other are one."""
        found: list[Line] = []
        for _ in range(len(self._lines)):
            line = self._lines.pop(0)
            if found and "text" in line and found[-1].get("arm") == line["arm"]:
                found[-1]["text"] += line["text"]
            else:
                found.append(line)
        return found

    @property
    def at_work(self) -> bool:
        """Whether its process lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it now; what was recorded stays."""
        self._process.terminate()


def write(folder: RunFolder, ask: Line) -> None:
    """Write in this process, and print."""
    try:
        writer = Writer(folder)
        wanted = [*((n, s) for n, s in ask["wishes"]), *ask["painted"].items()]
        scores = wish_scores(wanted, writer.corpus.vocabulary) if wanted else None
        how = Sampling(ask["temperature"], ask["top_k"], ask["top_p"], scores, budget=ask["budget"],
                       target_entropy=ask["entropy"])
        prompt, length, seed = ask["prompt"] or writer.opening, ask["length"], ask["seed"]
        if scores is None:
            for drawn in writer.record(new_name(), prompt, length, seed, how):
                _say({"arm": "without", "text": writer.corpus.decode([drawn.symbol])})
            return
        _say({"targets": writer.corpus.decode(targeted(how).nonzero()[0])})
        drawn_so_far = 0

        def show(at: int, arm: Arm, drawn: Drawn) -> None:
            nonlocal drawn_so_far
            drawn_so_far += 1
            if at == seed:
                _say({"arm": arm, "text": writer.corpus.decode([drawn.symbol])})
            if drawn_so_far % (2 * length) == 0:
                _say({"pairs": drawn_so_far // (2 * length), "of": SEEDS})

        _say({"effect": asdict(measure_desire(writer, prompt, length, range(seed, seed + SEEDS), how, show))})
    except (ZSpaceError, ValueError) as error:
        _say({"error": str(error)})


def _say(line: Line) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    write(RunFolder(Path(sys.argv[1])), json.load(sys.stdin))
