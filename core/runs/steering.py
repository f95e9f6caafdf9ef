"""Painted layers in a run's input log: what a trainer makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from core.errors import PatchError
from core.frame import ZFrame
from core.runs.events import Row
from core.scheduler import Patch, Scheduler


def first_painted(script: Mapping[int, list[Row]], frame: ZFrame) -> int | None:
    """The first step at which a painted layer steers, None where none does; one that is refused never does."""
    trial = new_scheduler(frame, 1)
    for step in sorted(script):
        for record in script[step]:
            if record.get("kind") == "patch":
                with suppress(PatchError):
                    push(trial, frame, record)
                    return step
    return None


def new_scheduler(frame: ZFrame, capacity: int) -> Scheduler:
    """The charts that steer training."""
    return Scheduler({"atlas": (frame.bands, frame.sheets)}, capacity)


def push(scheduler: Scheduler, frame: ZFrame, record: Row) -> None:
    """Offer a recorded layer."""
    patch = Patch.from_record(record)
    if patch.frame != frame.signature():
        raise PatchError(f"the patch was painted on frame {patch.frame[:12]}, the run has {frame.signature()[:12]}: "
                         "repaint it")
    scheduler.push(patch)
