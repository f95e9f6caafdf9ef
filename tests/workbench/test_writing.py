"""Generation for a page: what may be asked, what comes back line by line, and that it can be stopped."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.runs.generations import replay_generation
from core.runs.store import RunFolder
from tests.serving import records, wait_for
from tests.workbench.test_session import Page, settled
from workbench.controller import Controller
from workbench.writing import LONGEST, SEEDS, Writing, check, write

ASK = {"prompt": "the ", "length": 12, "seed": 3, "wishes": [["vowels", 1], ["z", -0.5]], "budget": 0.2}


@pytest.mark.parametrize(("ask", "sentence"), [
    ({"colour": "red"}, "'colour' is no part of this command"), ({"prompt": 7}, "prompt is 7"),
    ({"prompt": "a" * (LONGEST + 1)}, "give a text of at most 2000"),
    *[({"wishes": wishes}, "give a list of at most 16 pairs, each of at most 200 characters")
      for wishes in ("e=1", [["e", "1"]], [["e", True]], [["e"]], [["e" * 201, 1]], [["e", 1]] * 17)],
    ({"length": 0}, "length is 0: give a whole number from 1"), ({"length": 2.5}, "length is 2.5: give a whole number"),
    ({"temperature": -1}, "temperature is -1: give a number"), ({"top_p": "half"}, "top_p is 'half'"),
    ({"seed": True}, "seed is True"), ({"budget": 11}, "from 0 to 10"),
])
def test_what_may_not_be_asked(ask: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(ask)


def test_defaults_are_filled_in() -> None:
    assert check({"seed": 5, "temperature": 1}) == {
        "prompt": "", "wishes": [], "length": 300, "seed": 5, "temperature": 1, "top_k": None, "top_p": None,
        "budget": 0.1, "entropy": None}


def lines(writing: Writing) -> list[dict[str, Any]]:
    """All that a generation says until its end."""
    found: list[dict[str, Any]] = []
    wait_for(lambda: found.extend(writing.news()) or {"end": True} in found)
    assert not writing.at_work
    return found


def test_texts_come_side_by_side_with_their_effect(finished: RunFolder) -> None:
    found = lines(Writing(finished, {**check({**ASK, "wishes": [["vowels", 1]]}), "painted": {}}))
    effect = next(line["effect"] for line in found if "effect" in line)
    assert set(next(line["targets"] for line in found if "targets" in line)) == set("aeiou")
    assert [line["pairs"] for line in found if "pairs" in line] == [*range(1, SEEDS + 1)]
    assert effect["kl_largest"] <= 0.1 * 2
    vocabulary = finished.read_config()["corpus"]["vocabulary"]
    for arm, name in zip(("without", "tilted"), effect["names"][0], strict=True):
        head, *rows = records(finished.generations / f"{name}.jsonl")
        assert head["seed"] == 3
        assert "".join(line["text"] for line in found if line.get("arm") == arm) == "".join(
            vocabulary[r["symbol"]] for r in rows)
    assert replay_generation(finished, effect["names"][0][1]).verdict == "equal"


def test_one_text_without_desire_and_a_sentence_for_what_cannot_be(
        finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(folder: RunFolder, **ask: Any) -> list[dict[str, Any]]:
        write(folder, {**check(ask), "painted": {}})
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    plain = printed(finished, length=9)
    assert [line["arm"] for line in plain] == ["without"] * 9
    assert printed(finished, prompt="5")[0]["error"].startswith("prompt: '5' is not among the")
    assert printed(finished, wishes=[["5", 1]])[0]["error"].startswith("desire: '5' is no character of this")
    assert "nowhere" in printed(RunFolder(Path("nowhere")))[0]["error"]


def test_a_page_asks_reads_and_stops(controller: Controller, finished: RunFolder) -> None:
    page = Page(controller)

    def news() -> list[dict[str, Any]]:
        page.acknowledge()
        page.session.tick()
        return [line for said in page.said("writing") for line in said["news"]]

    async def until(key: str) -> None:
        deadline = time.monotonic() + 30
        while not any(key in line for line in news()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def talk() -> None:
        page.ask("hello")
        await settled(page, 1)
        page.session.tick()
        page.ask("generate", length=2000, wishes=[["e", 1]])
        await until("text")
        page.ask("hush")
        await until("end")
        page.ask("generate", length="long")
        await settled(page, 4)
        page.ask("generate", length=2000)
        await settled(page, 5)
        page.session.close()

    asyncio.run(talk())
    assert [r["ok"] for r in page.said("reply")] == [True, True, True, False, True]
    assert not any("effect" in line or "error" in line for line in news())
    assert page.session.writing is not None
    wait_for(lambda: page.session.writing and not page.session.writing.at_work, 5)  # it ends with the page


def test_no_more_than_two_at_a_time(controller: Controller, finished: RunFolder) -> None:
    watch = controller.watch(finished.id)
    assert watch is not None
    busy = [controller.generate(watch, {"length": 2000, "seed": seed}, {}) for seed in range(2)]
    with pytest.raises(ValueError, match="2 generations are at work"):
        controller.generate(watch, {}, {})
    for writing in busy:
        writing.stop()
    wait_for(lambda: not any(w.at_work for w in busy))
    lines(controller.generate(watch, {"length": 1}, {}))
