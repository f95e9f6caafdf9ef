"""Pictures of curves show the numbers that they were given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from core.runs.curves import AXES, Curve, Group, Run
from workbench.plots import COLOURS, render_curves


def group(number: int, seeds: int = 3) -> Group:
    """A group of made-up runs."""
    random, runs = np.random.default_rng(number), []
    for seed in range(seeds):
        step = np.arange(0.0, 60.0)
        train = Curve(step + 1, step * 2, step * 16, 3 + random.normal(size=60))
        held = Curve(step[::20], step[::20] * 2 + seed, step[::20] * 16, 3 - number / 9 + random.normal(size=3))
        runs.append(Run(f"run-{number}-{seed}", seed, {}, train, held))
    return Group(f"model {number}", {}, tuple(runs))


@pytest.mark.parametrize(("by", "log"), [*itertools.product(AXES, ("", "x", "xy"))])
def test_means_and_standard_errors_stand_where_they_belong(by: str, log: str) -> None:
    groups = [group(0), group(1, seeds=1)]
    (axes,) = render_curves(groups, by, 5.0, log).axes
    assert (axes.get_xscale() == "log", axes.get_yscale() == "log") == ("x" in log, "y" in log)
    assert axes.get_xlabel() == AXES[by]
    bars = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    drawn = {c.get_label(): c for c in bars}
    assert set(drawn) == {"model 0 (3 seeds)", "model 1"}
    mean, error = groups[0].curve()
    line, _, (whiskers,) = drawn["model 0 (3 seeds)"].lines
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([getattr(mean, by), mean.bits]))
    assert error is not None
    ends = np.array([s[:, 1] for s in whiskers.get_segments()])
    np.testing.assert_allclose(ends, np.column_stack([mean.bits - error, mean.bits + error]), rtol=1e-12)
    thin = [x for x in axes.lines if x.get_linewidth() < 1]
    assert len(thin) == 4
    np.testing.assert_allclose(thin[0].get_ydata(), groups[1].members[0].train.smoothed(5.0))


def test_of_many_groups_the_first_have_colours() -> None:
    figure = render_curves([group(n, seeds=2) for n in range(10)])
    (axes,), (legend,) = figure.axes, figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [f"model {n} (2 seeds)" for n in range(8)]
    assert "2 more in grey" in legend.get_title().get_text()
    assert len([x for x in axes.lines if x.get_linewidth() < 1]) == 2 * len(COLOURS)
