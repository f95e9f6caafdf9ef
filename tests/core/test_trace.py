"""What a launch costs, against figures worked out by hand; the files that say so; training with a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.array import Array, apply, asarray
from core.backends import open_backend
from core.functions import exp, silu
from core.primitives import PRIMITIVES
from core.runs.config import RunConfig
from core.runs.events import comparable
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.trainer import WARM_STEPS, Trainer
from core.trace import COPY_BYTES, FLOPS, Ceilings, Record, Trace, measure_ceilings

INDEX = np.arange(12).reshape(3, 4) % 5


@pytest.fixture(scope="module")
def backend() -> Any:
    return open_backend("cpu", threads=1)


def values(backend: Any, *shape: int) -> Array:
    return asarray(np.random.default_rng(0).standard_normal(shape), np.float32, backend)


def record(backend: Any, call: Any) -> list[Record]:
    """The launches of a call whose result somebody holds."""
    with Trace(backend) as trace:
        kept = call()
    assert kept is not None
    return trace.records


def test_a_chain_is_one_launch_that_reads_inputs_once_and_writes_what_is_held(backend: Any) -> None:
    x, y = values(backend, 100, 30), values(backend, 30)
    (r,) = record(backend, lambda: exp(x * y + x))
    assert (r.name, r.shape) == ("mul*add*exp", (100, 30))
    assert r.nbytes == 4 * (3000 + 30 + 3000)
    assert r.flops == 3 * 3000
    (r,) = record(backend, lambda: (s := silu(x), s * y))
    assert r.nbytes == 4 * (3000 + 30 + 2 * 3000)  # the caller holds both
    long = x
    with Trace(backend) as trace:
        for _ in range(40):
            long = long + y
    assert [r.name for r in trace.records] == ["add*add*add*add*36 more"]


@pytest.mark.parametrize(("name", "inputs", "params", "nbytes", "flops"), [
    ("matmul", [(6, 5), (5, 7)], {"ta": False, "tb": False}, 4 * (6 * 5 + 5 * 7 + 6 * 7), 2 * 6 * 5 * 7),
    ("matmul", [(5, 6), (7, 5)], {"ta": True, "tb": True}, 4 * (6 * 5 + 5 * 7 + 6 * 7), 2 * 6 * 5 * 7),
    ("rms_norm", [(12, 5), (5,)], {}, 4 * (60 + 5 + 60), 5 * 60),
    ("cross_entropy", [(3, 4, 5), INDEX], {}, 4 * (60 + 12 + 12), 4 * 60),
    ("linear_recurrence", [(2, 6, 4), (2, 6, 4), (2, 4)], {"reverse": False}, 4 * (3 * 48 + 8), 2 * 48),
    ("complex_recurrence", [(2, 6, 4, 2), (2, 6, 4, 2), (2, 4, 2)], {"reverse": False}, 4 * (3 * 96 + 16), 8 * 48),
    ("causal_conv", [(2, 6, 4), (3, 4), (2, 2, 4)], {"dilation": 1}, 4 * (48 + 12 + 16 + 48), 2 * 3 * 48),
    ("rfft", [(3, 16)], {"n": 16, "axis": 1}, 4 * (3 * 16 + 3 * 9 * 2), 3 * 2.5 * 16 * 4),
    ("irfft", [(3, 9, 2)], {"n": 16, "axis": 1}, 4 * (3 * 16 + 3 * 9 * 2), 3 * 2.5 * 16 * 4),
    ("sum", [(12, 5)], {"axis": (1,), "keepdims": False}, 4 * (60 + 12), 60),
    ("take", [(1000, 5), INDEX], {}, 4 * (12 + 12 * 5 + 12 * 5), 0),  # twelve rows of a table of a thousand
    ("transpose", [(12, 5)], {"axes": (1, 0)}, 0, 0),
])
def test_bytes_and_flops_worked_out_by_hand(backend: Any, name: str, inputs: list[Any], params: dict[str, Any],
                                            nbytes: float, flops: float) -> None:
    arrays = [values(backend, *x) if isinstance(x, tuple) else asarray(x, backend=backend) for x in inputs]
    (r,) = record(backend, lambda: apply(name, *arrays, **params))
    assert (r.name, r.nbytes, r.flops) == (name, nbytes, flops)


def test_what_broadcasting_repeats_is_read_once(backend: Any) -> None:
    x = values(backend, 1, 30)
    wide = apply("broadcast", x, shape=(100, 30))
    backend.flush()
    (r,) = record(backend, lambda: wide + values(backend, 100, 30))
    assert r.nbytes == 4 * (30 + 3000 + 3000)


def test_every_rule_belongs_to_a_primitive() -> None:
    assert set(FLOPS) <= set(PRIMITIVES)


def test_off_means_nothing_is_recorded(backend: Any) -> None:
    x = values(backend, 4)
    before = x + x
    with Trace(backend) as trace:
        pass
    after = x * x
    backend.flush()
    assert trace.records == []
    assert backend.trace is None
    assert float((before + after).sum()) == pytest.approx(float((2 * x.numpy() + x.numpy() ** 2).sum()), rel=1e-5)


def test_totals_sum_to_the_whole(backend: Any) -> None:
    x = values(backend, 64, 64)
    with Trace(backend) as trace:
        kept = [exp(x), (x @ x).sum(), x @ x]
    totals = trace.totals()
    assert sum(t.share for t in totals) == pytest.approx(1)
    assert sum(t.seconds for t in totals) == pytest.approx(sum(r.seconds for r in trace.records))
    assert sum(t.count for t in totals) == len(trace.records) == len(kept) + 1
    assert [t.seconds for t in totals] == sorted((t.seconds for t in totals), reverse=True)
    assert 0 < sum(t.seconds for t in totals) < trace.wall


def test_perfetto_gets_complete_events_and_names(backend: Any) -> None:
    x = values(backend, 64, 64)
    with Trace(backend) as trace:
        kept = [(x @ x).sum(), x.transpose()]
    text = trace.to_chrome(Ceilings(2e9, 3e9)).decode()
    read = json.loads(text, parse_constant=pytest.fail)  # strict JSON: no NaN
    events = read["traceEvents"]
    assert {e["name"] for e in events if e["ph"] == "M"} == {"process_name", "thread_name"}
    launches = [e for e in events if e["ph"] == "X"]
    assert len(launches) == len(kept) + 1
    end = 0.0
    for e in launches:
        assert {"name", "pid", "tid", "ts", "dur", "cat", "args", "ph"} == set(e)
        assert {"bytes", "flops", "shape", "GB/s"} == set(e["args"])
        assert e["ts"] >= end - 1e-3  # one launch after the other
        end = e["ts"] + e["dur"]
    assert read["otherData"]["copy GB/s"] == 2


def test_ceilings_are_measured(backend: Any) -> None:
    found = measure_ceilings(backend, sequences=1)
    assert found.copy > 1e8
    assert found.matmul > 1e8
    assert f"{COPY_BYTES >> 20} MiB" in str(found)


def test_a_traced_run_has_the_rows_of_one_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the tide turns under a grey moon and nobody counts the waves\n" * 60)
    rows, texts = [], []
    for steps in (0, 4):
        config = RunConfig.from_preset((str(tmp_path / "a.txt"),), "tiny", threads=1, steps=12, batch=2, window=16)
        folder = create_run(tmp_path / "runs", config)
        trainer = Trainer(folder, trace_steps=steps)
        assert trainer.run() == "finished"
        found, _ = read_records(folder.metrics)
        rows.append([comparable(r) for r in found])
        texts.append([p.read_bytes() for p in sorted(folder.samples.iterdir())])
        assert folder.trace.exists() == bool(steps)
        resident = [r["measured"]["residency"] for r in found if "residency" in r["measured"]]
        assert len(resident) == 1
        assert resident[0]["kernels"] > 0
    assert rows[0] == rows[1]
    assert texts[0] == texts[1]
    assert trainer.traced is not None
    trace, _ = trainer.traced
    counts = {t.name: t.count for t in trace.totals()}
    assert counts["cross_entropy"] == 4
    assert WARM_STEPS + 4 < 12
    assert len(json.loads(folder.trace.read_text())["traceEvents"]) == len(trace.records) + 2
