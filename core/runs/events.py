"""A run's logs as the trainer sees them: inputs that take effect at steps, and rows that must repeat bit for bit."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.runs.journal import Follower, Journal, encode_record, read_records

Row = dict[str, Any]


class Rows:
    """A journal of computed rows. Rows already there, from before an interruption, must be met bit for bit."""

    def __init__(self, path: Path, after: int) -> None:
        self.journal = Journal(path)
        known, bad = read_records(path)
        if bad:
            raise RunError(f"{path}: {bad} broken lines inside the file: restore it from a copy")
        self.expected = deque(r for r in known if r["step"] > after)
        self.last_step = max((r["step"] for r in known), default=0)

    def emit(self, row: Row) -> None:
        """Append a row, or check it against the one that is there."""
        if not self.expected:
            self.journal.append(row)
            return
        there = self.expected.popleft()
        field = first_difference(comparable(there), comparable(json.loads(encode_record(row))))
        if field is not None:
            raise RunError(f"{self.journal.path}: step {row['step']}, field {field!r} departs from the row recorded "
                           "before the interruption: `zspace replay` says more; start a new run to go on")


def comparable(row: Row) -> Row:
    """A row without what is timed."""
    return {k: v for k, v in row.items() if k != "measured"}


def first_difference(a: Row, b: Row) -> str | None:
    """The first key whose values differ, None where all are equal."""
    return next((k for k in [*a, *(k for k in b if k not in a)] if k not in a or k not in b or a[k] != b[k]), None)


class Inputs:
    """The input log seen from the trainer: what takes effect at which step."""

    def __init__(self, path: Path) -> None:
        self.journal, self._follower = Journal(path, shared=True), Follower(path)
        self.script: dict[int, list[Row]] = {}
        self.pending: list[Row] = []

    def poll(self) -> None:
        """Take in what was appended since the last call."""
        for record in self._follower.poll():
            boundary = record.get("kind") == "boundary"
            if not all(type(record.get(k)) is int for k in ("seq", *(("step", "through") if boundary else ()))):
                raise RunError(f"{self.journal.path}: the record {record!r:.80} lacks its numbers: restore the file")
            if not boundary:
                self.pending.append(record)
                continue
            step, through = record["step"], record["through"]
            self.script.setdefault(step, []).extend(r for r in self.pending if r["seq"] <= through)
            self.pending = [r for r in self.pending if r["seq"] > through]

    def take(self, step: int) -> list[Row]:
        """Assign what is pending to this step, in the log first."""
        if self.pending:
            self.journal.append({"kind": "boundary", "step": step, "through": self.pending[-1]["seq"]})
            self.poll()
        return self.script.get(step, [])


def any_of(records: list[Row], kind: str) -> bool:
    """Whether a record among these is of `kind`."""
    return any(r.get("kind") == kind for r in records)


def last_of(records: list[Row], kind: str, others: tuple[str, ...]) -> bool:
    """Whether the last record among these kinds is of `kind`."""
    kinds = [r.get("kind") for r in records if r.get("kind") in (kind, *others)]
    return bool(kinds) and kinds[-1] == kind
