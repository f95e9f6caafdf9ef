"""Tables that the command line prints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from core.bench import Report
from core.memorisation import GRAM
from core.runs.generations import Effect
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


def evaluation_tables(found: dict[str, Any]) -> Iterator[Table]:
    """What `core.runs.evaluation.evaluate_run` found: figures beside the baselines, calibration, loss by context."""
    scored, memorised, measured = found["scored"], found["memorisation"], found["measured"]
    where = f"the held-out part ({scored['split']})" if scored["text"] is None else escape(scored["text"])
    table = Table("figure", Column("value", justify="right", no_wrap=True), Column("", overflow="fold"),
                  box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.title = (f"{found['run']} at step {found['step']:,} on {found['environment']['backend']}: {where}, "
                   f"{scored['characters']:,} characters in windows of {found['window']:,}")
    interval = "95 % interval {:.4f} to {:.4f}".format(*found["interval"])
    table.add_row("bits/char", f"{found['bits']:.4f}",
                  interval if found["characters"] > found["window"] else "one window, so no interval")
    for name, bits in found["baselines"].items():
        if bits is not None:
            table.add_row(f"  {name}", f"{bits:.4f}", "baseline of the same text")
    table.add_row("perplexity", f"{found['perplexity']:.3f}", "of a character")
    table.add_row("accuracy", f"{found['accuracy']:.2%}", "the likeliest character came")
    table.add_row("calibration error", f"{found['calibration_error']:.2%}", "expected, see the bins below")
    if memorised:
        low, high = memorised["range"]
        table.add_row("memorised", f"{memorised['generated']:.2%}", f"of the {memorised['gram']}-grams in "
                      f"{memorised['characters']:,} generated characters are in the training text")
        table.add_row("  scored text", f"{memorised['held_out']:.2%}", f"the same, mean of {memorised['pieces']} "
                      f"pieces as long (95 % of them {low:.2%} to {high:.2%})")
    else:
        table.add_row("memorised", "-", f"the text is too short for a {GRAM}-gram")
    table.add_row("scoring", f"{measured['scored_per_second']:,.0f}", "characters/s")
    table.add_row("generating", f"{measured['generated_per_second']:,.0f}", "characters/s")
    yield table
    calibration = _table("calibration: confidence", "right", "characters")
    for b in found["calibration"]:
        calibration.add_row(f"{b['confidence']:.1%}", f"{b['accuracy']:.1%}", f"{b['characters']:,}")
    yield calibration
    context = _table("loss by context: characters before", "nats/char", "bits/char", "characters")
    for o in found["context"]:
        span = f"{o['first']:,}" if o["first"] == o["last"] else f"{o['first']:,} to {o['last']:,}"
        context.add_row(span, f"{o['nats']:.4f}", f"{o['nats'] / math.log(2):.4f}", f"{o['characters']:,}")
    yield context


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


def effect_table(effect: Effect) -> Table:
    """What a desire did to the share of its symbols, and what it cost."""
    shift, table = effect.shift, _table("measure", "value")
    low, high = shift.interval
    table.title = f"{len(effect.names)} seeds, with and without desire, for the symbols {escape(repr(effect.symbols))}"
    table.add_row("share without", f"{shift.without:.2%}")
    table.add_row("share with desire", f"{shift.tilted:.2%}")
    table.add_row("difference (95 % interval)",
                  f"{100 * shift.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})")
    table.add_row("p value", f"{shift.p:.2g}")
    table.add_row("KL, mean", f"{effect.kl_mean:.4f} nats a character")
    table.add_row("KL, largest", f"{effect.kl_largest:.4f} nats")
    return table
