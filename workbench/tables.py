"""Tables that the command line prints."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from core.bench import Report
from core.trace import Ceilings, Total, Trace
from core.tuning import Entry

SHOWN = 24  # kernels by name; the rest share a row


def launch_table(trace: Trace, ceilings: Ceilings) -> Table:
    """Which kernel dominates: launches by name, the longest first, beside what the device reaches."""
    totals = trace.totals()
    seconds = sum(t.seconds for t in totals)
    table = _table("kernel", "launches", "ms", "share", "GB/s", "of copy", "GFLOP/s", "matmul")
    table.title = (f"launches: {1e3 * seconds:,.1f} ms on the device in {1e3 * trace.wall:,.1f} ms by the clock\n"
                   f"{ceilings}")
    rest = totals[SHOWN:]
    if rest:
        totals = [*totals[:SHOWN], Total(f"{len(rest)} others", sum(t.count for t in rest),
                                         *(sum(getattr(t, k) for t in rest)
                                           for k in ("seconds", "nbytes", "flops", "share")))]
    for t in totals:
        moved, done = (t.nbytes / t.seconds, t.flops / t.seconds) if t.seconds else (0.0, 0.0)
        table.add_row(t.name, f"{t.count:,}", f"{1e3 * t.seconds:,.2f}", f"{t.share:.1%}", f"{moved / 1e9:,.2f}",
                      f"{moved / ceilings.copy:.1%}", f"{done / 1e9:,.2f}", f"{done / ceilings.matmul:.1%}")
    table.add_section()
    table.add_row("all", f"{sum(t.count for t in totals):,}", f"{1e3 * seconds:,.2f}", "100.0%")
    return table


def timing_table(report: Report) -> Table:
    """Kernels, the share of their ceiling, and how many times as long a peer takes."""
    table = _table("kernel", "ms", "GB/s", "of ceiling", "launches")
    table.add_column("peer's time over ours", overflow="fold")
    where = ", ".join(f"{k} {v}" for k, v in report.device.items() if isinstance(v, str | int))
    table.title = (f"{where}\n{', '.join(f'{k} {v}' for k, v in report.versions.items())}\n{report.ceilings}\n"
                   f"random float32, {report.mib:g} MiB in the largest input, medians of sequences in turns with "
                   "a copy and the peers")
    for t in report.timings:
        peers = [f"{r.name} {r.ratio:.2f}" for r in t.rivals]
        numbers = (f"{1e3 * t.seconds:,.3f}", f"{t.bytes_per_second / 1e9:,.1f}", f"{t.share:.0%} {t.bound}",
                   f"{t.launches}")
        table.add_row(t.kernel, *(numbers if t.launches else ("-",) * 4), escape(", ".join([*peers, *t.notes])))
    return table


def choice_table(entries: Sequence[Entry]) -> Table:
    """What was tuned, for what, and when."""
    table = Table("kernel", "device", "type", "sizes up to", "choice", "frame", "age", box=box.SIMPLE_HEAD)
    for e in sorted(entries, key=lambda e: -e.time):
        table.add_row(escape(e.key.kernel), escape(e.key.device), e.key.dtype, " x ".join(map(str, e.key.shape)),
                      escape(json.dumps(e.choice)), (e.key.frame or "any")[:8], _age(time.time() - e.time))
    return table


def group_table(groups: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]) -> Table:
    """Groups of runs as `core.runs.compare.compare` gives them: mean, spread over seeds, difference to the first."""
    table = _table("group", "seeds", "at step", "bits/char", "spread", "minus the first")
    table.title = ("newest held-out loss: mean over seeds ± its standard error, standard deviation;\n"
                   "differences are paired (*) where two seeds or more match")
    for group, d in zip(groups, [None, *differences], strict=True):
        minus = "" if d is None else _number(d["mean"], d["error"], sign="+") + ("*" if d["pairs"] else " ")
        table.add_row(escape(group["label"]), str(len(group["seeds"])), _span(group["steps"]),
                      _number(group["mean"], group["error"]), _number(group["spread"]), minus)
    return table


def _span(steps: Sequence[int | None]) -> str:
    """The steps that figures are from."""
    known = sorted({s for s in steps if s is not None})
    return "-" if not known else f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _number(value: float | None, error: float | None = None, sign: str = "") -> str:
    """A loss, with its standard error where there is one."""
    if value is None:
        return "-"
    return f"{value:{sign}.4f}" + ("" if error is None else f" ± {error:.4f}")


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _table(first: str, *numbers: str) -> Table:
    """A table of names and right-aligned numbers that fits into 80 columns."""
    return Table(Column(first, overflow="fold"), *(Column(n, justify="right", no_wrap=True) for n in numbers),
                 box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
