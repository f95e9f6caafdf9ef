"""Layers fold as defined, settle whatever the rate of sending, and hostile records are refused."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import PatchError
from core.scheduler import TENSION_FLOOR, Patch, Scheduler, relative_change

SHAPE = (3, 4)
LAYER = np.random.default_rng(0).uniform(-3, 3, SHAPE).astype(np.float32)


def patch(layer: NDArray = LAYER, coherence: float = 1.0, tension: float = 0.5, n: int = 1) -> Patch:
    return Patch(layer, coherence, tension, n, "atlas", "f" * 64, n, 1.5)


def folds(capacity: int, sent: dict[int, list[Patch]], count: int) -> list[NDArray[np.float64]]:
    scheduler, out = Scheduler({"atlas": SHAPE}, capacity), []
    for i in range(count):
        for p in sent.get(i, []):
            scheduler.push(p)
        scheduler.boundary()
        out.append(scheduler.fold("atlas").relation)
    return out


def test_fold_is_the_weighted_mean_in_float64() -> None:
    rng = np.random.default_rng(1)
    layers = [patch(rng.uniform(-3, 3, SHAPE).astype(np.float32), *rng.uniform(0.1, 2, 2), n=i) for i in range(3)]
    got = folds(4, {i: [p] for i, p in enumerate(layers)}, 3)[-1]
    weights = [1 / (1 + TENSION_FLOOR), *(p.coherence / (1 + p.tension) for p in layers)]
    stack = np.stack([np.zeros(SHAPE), *(p.relation.astype(np.float64) for p in layers)])
    np.testing.assert_allclose(got, np.tensordot(weights, stack, 1) / sum(weights), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("capacity", [1, 3, 8])
@pytest.mark.parametrize("burst", [1, 5])
def test_a_stroke_settles_after_capacity_boundaries_to_the_bit(capacity: int, burst: int) -> None:
    others = [patch(-LAYER, n=i) for i in range(burst - 1)]
    got = folds(capacity, {2: [*others, patch(n=9)]}, capacity + 4)
    np.testing.assert_array_equal(got[1], 0)
    distance = [np.linalg.norm(f - LAYER) for f in got[1:]]
    assert all(a >= b for a, b in itertools.pairwise(distance))
    np.testing.assert_array_equal(got[1 + capacity], LAYER)
    if capacity > 1:
        assert (got[capacity] != LAYER).any()


def test_sending_the_same_layer_at_every_boundary_settles_as_fast_as_sending_it_once() -> None:
    once, always = folds(5, {0: [patch()]}, 7), folds(5, {i: [patch()] for i in range(7)}, 7)
    for a, b in zip(once, always, strict=True):
        np.testing.assert_array_equal(a, b)


def test_amplitude_and_pattern() -> None:
    scheduler = Scheduler({"atlas": SHAPE}, 1)
    zero = scheduler.fold("atlas")
    assert zero.amplitude == 0
    np.testing.assert_array_equal(zero.pattern, 0)
    scheduler.push(patch())
    scheduler.boundary()
    fold = scheduler.fold("atlas")
    assert fold.amplitude == pytest.approx(np.sqrt((LAYER.astype(float) ** 2).sum()))
    np.testing.assert_allclose(fold.amplitude * fold.pattern, LAYER, rtol=1e-12)


def test_state_comes_back_to_the_bit() -> None:
    import json

    scheduler = Scheduler({"atlas": SHAPE}, 4)
    for i in range(3):
        scheduler.push(patch(LAYER * np.float32(i / 3), coherence=1 / (i + 1)))
        scheduler.boundary()
    other = Scheduler({"atlas": SHAPE}, 4)
    other.restore(json.loads(json.dumps(scheduler.state())))
    for s in (scheduler, other):
        s.boundary()
    np.testing.assert_array_equal(scheduler.fold("atlas").relation, other.fold("atlas").relation)


def test_layers_are_clipped_and_weighed() -> None:
    p = patch(np.full(SHAPE, 9.0), coherence=3.0, tension=0.5)
    np.testing.assert_array_equal(p.relation, 3.0)
    assert p.weight == 2.0
    assert not p.relation.flags.writeable


def test_records_keep_every_bit() -> None:
    odd = LAYER.copy()
    odd[0] = [1e-45, -0.0, np.nextafter(np.float32(1), np.float32(2)), -3.0]
    again = Patch.from_record(patch(odd).to_record())
    assert again.relation.tobytes() == odd.tobytes()
    assert (again.coherence, again.depth, again.frame, again.time) == (1.0, 1, "f" * 64, 1.5)


hostile = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
                    st.lists(st.integers(-2, 10**12), max_size=3), st.dictionaries(st.text(max_size=2), st.integers()))


@given(st.sampled_from(sorted(patch().to_record())), hostile)
@settings(max_examples=400)
def test_a_changed_record_is_a_valid_patch_or_a_patch_error(key: str, value: Any) -> None:
    record = {**patch().to_record(), key: value}
    try:
        p = Patch.from_record(record)
    except PatchError:
        return
    assert np.isfinite(p.relation).all()
    assert 0 < p.weight < np.inf
    assert p.chart in ("atlas", "disk")


@pytest.mark.parametrize(("change", "sentence"), [
    ({"relation": "!!!"}, "not base64"), ({"relation": "AAAA"}, "3 bytes"), ({"shape": [10**9, 10**9]}, "at most"),
    ({"coherence": 0}, "coherence is 0"), ({"coherence": True}, "coherence is True"), ({"tension": None}, "tension"),
    ({"depth": -1}, "depth is -1"), ({"chart": "moon"}, "'moon' is unknown"), ({"time": float("nan")}, "finite time"),
])
def test_hostile_records_get_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PatchError, match=sentence):
        Patch.from_record({**patch().to_record(), **change})


def test_missing_keys_and_values_that_are_not_finite() -> None:
    for key in patch().to_record():
        with pytest.raises(PatchError):
            Patch.from_record({k: v for k, v in patch().to_record().items() if k != key})
    with pytest.raises(PatchError, match="1 values that are not finite"):
        patch(np.array([[np.inf, 0.0]]))
    scheduler = Scheduler({"atlas": (2, 2)})
    with pytest.raises(PatchError, match=r"shape \(3, 4\)"):
        scheduler.push(patch())
    with pytest.raises(PatchError, match="not scheduled here"):
        scheduler.push(Patch(np.zeros((2, 2), np.float32), 1.0, 1.0, 0, "disk", "", 0, 0.0))


def test_tension_is_a_relative_change() -> None:
    assert relative_change(LAYER, LAYER) == TENSION_FLOOR
    assert relative_change(LAYER, np.zeros(SHAPE)) == pytest.approx(1.0)
    assert relative_change(LAYER, -LAYER) == pytest.approx(1.0)
    assert relative_change(np.zeros(SHAPE), np.zeros(SHAPE)) == TENSION_FLOOR
    assert relative_change(3 * LAYER, 2 * LAYER) == pytest.approx(0.2)


def test_many_threads_may_push() -> None:
    scheduler = Scheduler({"atlas": SHAPE}, 2)
    threads = [threading.Thread(target=lambda: [scheduler.push(patch()) for _ in range(200)]) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(50):
        scheduler.boundary()
    for t in threads:
        t.join()
    for _ in range(2):
        scheduler.boundary()
    np.testing.assert_array_equal(scheduler.fold("atlas").relation, LAYER)
