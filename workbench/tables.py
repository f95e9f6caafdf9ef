"""Tables that the command line prints."""

from __future__ import annotations

from rich import box
from rich.table import Column, Table

from core.trace import Ceilings, Total, Trace

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


def _table(first: str, *numbers: str) -> Table:
    """A table of names and right-aligned numbers that fits into 80 columns."""
    return Table(Column(first, overflow="fold"), *(Column(n, justify="right", no_wrap=True) for n in numbers),
                 box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
