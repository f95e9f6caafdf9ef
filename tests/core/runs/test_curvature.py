"""Runs whose symbols live on the Poincare ball: recorded, resumed to the bit, and absent from older runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from core.errors import RunError
from core.frame import ZFrame
from core.nn.hyperbolic import BOUNDARY
from core.runs.checkpoint import latest_checkpoint, load_checkpoint
from core.runs.opening import load_model
from core.runs.store import RunFolder
from tests.core.runs.test_trainer import rows, run

Make = Callable[..., RunFolder]


def test_a_curved_run_resumes_to_the_bit_and_stays_on_its_ball(make_run: Make) -> None:
    whole, halves = (make_run(curvature=-2.0, rate=0.05) for _ in range(2))
    run(whole)
    run(halves, until=11)
    run(halves)
    assert rows(halves) == rows(whole)
    record = whole.read_config()
    assert record["curvature"] == ZFrame.from_json(record["frame"]).curvature == -2.0
    path, _ = latest_checkpoint(whole)
    assert path is not None
    points = load_checkpoint(path)[0]["p.embedding"].astype(float)
    assert np.linalg.norm(points, axis=-1).max() <= BOUNDARY * (1 + 1e-6) / math.sqrt(2)
    assert load_model(whole)[0].config.curvature == -2.0


def test_a_run_from_before_curvature_is_euclidean(make_run: Make) -> None:
    now, before, curved = make_run(steps=4), make_run(steps=4), make_run(steps=4, curvature=-1.0)
    record = before.read_config()
    assert record.pop("curvature") == 0
    before.write_config(record)
    for folder in (now, before, curved):
        run(folder)
    assert rows(before) == rows(now) != rows(curved)


@pytest.mark.parametrize("curvature", [1.0, math.nan, "-1"])
def test_what_is_no_curvature_makes_no_run(make_run: Make, curvature: object) -> None:
    with pytest.raises(RunError, match=r"curvature is .*: it must be 0"):
        make_run(curvature=curvature)
