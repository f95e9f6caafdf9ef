"""Curves, groups of seeds and their differences, against NumPy and SciPy on numbers written by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core.runs.compare import compare
from core.runs.config import RunConfig
from core.runs.curves import Curve, Group, curves_csv, difference, group_runs, read_run
from core.runs.journal import Journal
from core.runs.store import RunFolder, RunStore

Make = Callable[..., RunFolder]
BITS = {("rnn", 0): [4.0, 2.0, 1.50], ("rnn", 1): [4.0, 2.2, 1.62], ("rnn", 2): [4.0, 2.1, 1.53],
        ("scan", 0): [4.1, 1.9, 1.41], ("scan", 1): [4.1, 1.8, 1.50], ("scan", 2): [4.1, 2.0, 1.47]}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run whose held-out bits are given for steps 0, 10 and 20; a step takes half a second, a look one."""

    def make(model: str, seed: int, held: list[float], **changes: Any) -> RunFolder:
        config = RunConfig.from_preset(("text",), "tiny", model=model, seed=seed, steps=20, threads=1, window=8,
                                       batch=2)
        folder = RunStore(tmp_path).create({**config.to_json(), "corpus": {"digest": "ab" * 32}, "baselines": {},
                                            **changes})
        with Journal(folder.metrics) as journal:
            for step in range(10 * len(held) - 9):
                if step:
                    journal.append({"step": step, "split": "train", "bits": 5 - step / 10 + (-1) ** step,
                                    "measured": {"seconds": 0.5}})
                if step % 10 == 0:
                    last = {"split": "final", "interval": [1, 2]} if step == 20 else {"split": "validation"}
                    journal.append({"step": step, **last, "bits": held[step // 10], "measured": {"seconds": 1.0}})
        return folder

    return make


@pytest.fixture
def groups(make: Make) -> list[Group]:
    return group_runs([read_run(make(model, seed, held)) for (model, seed), held in BITS.items()])


def test_a_curve_has_steps_seconds_at_work_and_characters(make: Make) -> None:
    run = read_run(make("rnn", 0, BITS["rnn", 0]))
    assert run.train.step.tolist() == list(range(1, 21))
    assert run.train.characters.tolist() == [16 * s for s in range(1, 21)]
    # the looks after steps 0 and 10 took a second each
    assert run.train.time.tolist() == [1 + 0.5 * s + (s > 10) for s in range(1, 21)]
    assert run.held.step.tolist() == [0, 10, 20]
    assert run.held.time.tolist() == [1, 7, 13]
    assert run.held.bits.tolist() == BITS["rnn", 0]


def test_a_step_of_several_batches_has_seen_them_all(make: Make) -> None:
    run = read_run(make("rnn", 0, BITS["rnn", 0], accumulate=3))
    assert run.train.characters.tolist() == [3 * 16 * s for s in range(1, 21)]


def test_smoothing_is_the_weighted_mean_of_the_past() -> None:
    random = np.random.default_rng(0)
    step, bits = np.cumsum(random.integers(1, 9, 40)).astype(float), random.normal(size=40)
    curve = Curve(step, step, step, bits)
    weights = np.tril(np.exp(-(step[:, None] - step) / 7.0))
    np.testing.assert_allclose(curve.smoothed(7.0), weights @ bits / weights.sum(1), rtol=1e-12)
    assert curve.smoothed(0) is bits
    flat = dataclasses.replace(curve, bits=np.full(40, 2.5))
    np.testing.assert_allclose(flat.smoothed(100), 2.5, rtol=1e-12)


def test_thinning_keeps_means() -> None:
    x = np.arange(10.0)
    thin = Curve(x, 2 * x, 3 * x, x**2).thinned(4)
    np.testing.assert_allclose(thin.step, [1, 4, 7, 9])
    np.testing.assert_allclose(thin.bits, [5 / 3, 50 / 3, 149 / 3, 81])
    assert len(Curve(x, x, x, x).thinned(10).step) == 10


def test_seeds_of_one_setting_are_a_group_with_its_spread(groups: list[Group]) -> None:
    assert [g.label for g in groups] == ["model rnn", "model scan"]
    assert [g.settings for g in groups] == [{"model": "rnn"}, {"model": "scan"}]
    for group, model in zip(groups, ("rnn", "scan"), strict=True):
        last = [BITS[model, seed][-1] for seed in range(3)]
        assert [m.seed for m in group.members] == [0, 1, 2]
        assert group.bits.tolist() == last
        assert group.mean == pytest.approx(np.mean(last), rel=1e-12)
        assert group.error == pytest.approx(stats.sem(last), rel=1e-12)
        assert group.spread == pytest.approx(stats.tstd(last), rel=1e-12)
        mean, error = group.curve()
        table = np.array([BITS[model, seed] for seed in range(3)])
        np.testing.assert_allclose(mean.bits, table.mean(0), rtol=1e-12)
        np.testing.assert_allclose(mean.characters, [0, 160, 320])
        assert error is not None
        np.testing.assert_allclose(error, stats.sem(table), atol=1e-12)


def test_differences_are_paired_where_seeds_match(groups: list[Group]) -> None:
    a, b = groups
    paired = difference(a, b)
    test = stats.ttest_rel(b.bits, a.bits)
    assert paired["pairs"] == 3
    assert paired["mean"] == pytest.approx(b.mean - a.mean, rel=1e-12)
    assert paired["mean"] / paired["error"] == pytest.approx(test.statistic, rel=1e-9)
    other = dataclasses.replace(b, members=tuple(dataclasses.replace(m, seed=m.seed + 2) for m in b.members))
    welch = difference(a, other)  # one seed in common is no pair
    assert welch["pairs"] == 0
    assert welch["mean"] / welch["error"] == pytest.approx(stats.ttest_ind(b.bits, a.bits, equal_var=False).statistic)
    assert difference(a, dataclasses.replace(b, members=b.members[:1])) == {
        "mean": pytest.approx(b.bits[0] - a.mean), "error": None, "pairs": 0}


def test_what_is_not_the_same_experiment_is_another_group(make: Make) -> None:
    plain, painted, twin, other = (make("rnn", 0, BITS["rnn", 0], **extra) for extra in (
        {}, {}, {"twin": {"of": "marsh-wren-07", "step": 3}}, {"corpus": {"digest": "cd" * 32}}))
    with Journal(painted.inputs, shared=True) as journal:
        journal.append({"kind": "patch"})
    same = [make("rnn", seed, BITS["rnn", seed], threads=seed + 2, paths=["elsewhere"]) for seed in (1, 2)]
    groups = group_runs([read_run(f) for f in (plain, painted, twin, other, *same)])
    assert [[m.id for m in g.members] for g in groups] == [
        [plain.id, *(f.id for f in same)], [painted.id], [twin.id], [other.id]]
    assert [g.label for g in groups[1:]] == [painted.id, twin.id, other.id]
    assert groups[0].error is not None
    assert groups[1].error is None


def test_a_seed_that_was_run_twice_counts_once(make: Make) -> None:
    short, long, second = make("rnn", 0, [4.0, 2.0]), make("rnn", 0, BITS["rnn", 0]), make("rnn", 1, BITS["rnn", 1])
    for order in ((short, long, second), (long, short, second)):
        (group,) = group_runs([read_run(f) for f in order])
        assert [m.id for m in group.members] == [long.id, second.id]
        assert group.label == "rnn"
    assert group_runs([]) == []


def test_runs_without_rows_or_with_a_loss_that_is_no_number_have_no_figure(make: Make) -> None:
    empty = make("rnn", 0, BITS["rnn", 0])
    empty.metrics.write_text("")
    lost = make("rnn", 1, [4.0, math.nan])
    found = compare([empty, lost])["groups"][0]
    assert (found["bits"], found["steps"]) == ([None, 4.0], [None, 0])
    assert (found["mean"], found["error"], found["curve"]["step"]) == (None, None, [])


def test_the_table_of_the_plot_reads_back(groups: list[Group]) -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv([*groups, dataclasses.replace(
        groups[0], label='a "b", c', members=groups[0].members[:1])]))))
    assert len(rows) == 9
    assert rows[2]["group"] == "model rnn"
    assert float(rows[2]["bits_per_character"]) == groups[0].mean
    assert float(rows[2]["standard_error"]) == groups[0].error
    assert (rows[8]["group"], rows[8]["seeds"], rows[8]["standard_error"]) == ('a "b", c', "1", "")
