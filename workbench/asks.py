"""What a page's command names, checked."""

from __future__ import annotations

from typing import Any

from canvas.codec import Refusal
from canvas.palettes import NAMES
from canvas.spectra import AXES, WINDOWS
from workbench.controller import Answer
from workbench.projection import SOURCES, SUBJECTS, View

VIEW = {"source": SOURCES, "palette": NAMES, "of": SUBJECTS, "axis": tuple(AXES), "window": tuple(WINDOWS)}


def run_in(ask: Answer, needed: bool = True) -> Any:
    """The run that a command names."""
    run = ask.get("run")
    if not (isinstance(run, str) and 0 < len(run) <= 200) and (needed or run is not None):
        raise Refusal("command", f"run is {run!r:.40}: name a run, such as marsh-wren-07")
    return run


def kind_in(ask: Answer) -> str:
    """Which of the two fields a command means."""
    kind = ask.get("kind", "state")
    if kind not in ("state", "gradient"):
        raise Refusal("command", f"kind is {kind!r:.40}: use state or gradient")
    return str(kind)


def number_in(ask: Answer) -> int:
    """The number of a queued run."""
    value = ask.get("id")
    if type(value) is not int:
        raise Refusal("command", f"id is {value!r:.40}: give the number of a queued run")
    return value


def view_in(ask: Answer) -> View | None:
    """What the Projector view is to show, the first of each unless it is said; None: nobody looks any more."""
    if unknown := sorted(set(ask) - set(VIEW)):
        raise Refusal("command", f"{unknown[0]!r:.40} is no part of this command: it takes {', '.join(VIEW)}")
    if ask.get("source", "") is None:
        return None
    chosen = {name: ask.get(name, choices[0]) for name, choices in VIEW.items()}
    for name, choices in VIEW.items():
        if chosen[name] not in choices:
            raise Refusal("command", f"{name} is {chosen[name]!r:.40}: use one of {', '.join(choices)}")
    return View(**chosen)
