"""The roundtable against a lane-by-lane version of the published scores, and its published examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from core.roundtable import ABOVE, BENEATH, HERE, Profile, classify_roundtable

EXAMPLE = np.array([0.93, 0.88, 0.10, 0.10, 0.89, 0.20, 0.10, 0.10])
RICH = Profile(4, 0.08167, 0.12, 0.01)


def by_hand(g: NDArray[np.float64], above: int, beneath: int, p: Profile) -> list[int]:
    """reference/core.md 2.3, one lane after another."""
    n, size = len(g), [abs(float(v)) for v in g]
    width = -(-n // min(p.sheet_hint, n))
    energy = [sum(size[i : i + width]) for i in range(0, n, width)]
    dominant = max(i for i, e in enumerate(energy) if e == max(energy))
    d = np.diff(g)
    bend = sum(abs(b - a) for a, b in itertools.pairwise(d)) / (
        sum(abs(a) + abs(b) for a, b in itertools.pairwise(d)) + 1e-6)
    top, bottom = [], []
    for i in range(n):
        total = agree = 0.0
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                w = max(min(size[i], size[j]), 1e-6)
                total, agree = total + w, agree + (w if g[i] * g[j] >= 0 else -w)
        coherence = (agree / total + 1) / 2
        left, right = g[max(i - 1, 0)], g[min(i + 1, n - 1)]
        local = min(abs(right - 2 * g[i] + left) / (abs(right) + abs(g[i]) + abs(left) + 1e-6), 1.0)
        unstable = 0.5 * local + 0.5 * min(local / bend, 1.0)
        affinity = energy[i // width] / energy[dominant]
        confidence, steady, rel = energy[dominant] / sum(size), coherence * (1 - unstable), size[i] / max(size)
        top.append(rel + p.spectral * affinity * confidence + p.coherence * coherence - 0.45 * p.neutrality * steady)
        bottom.append((1 - rel) + p.spectral * (1 - affinity) * confidence + p.coherence * (1 - coherence)
                      - 0.30 * p.neutrality * steady)
    seats = [HERE] * n
    for i in sorted(range(n), key=lambda i: (-top[i], -size[i], i))[:above]:
        seats[i] = ABOVE
    free = [i for i in range(n) if seats[i] == HERE]
    for i in sorted(free, key=lambda i: (-bottom[i], size[i], i))[:beneath]:
        seats[i] = BENEATH
    return seats


@pytest.mark.parametrize(("profile", "above", "beneath"), [(Profile(), {0, 4}, {3}), (RICH, {0, 1}, {3})])
def test_published_example(profile: Profile, above: set[int], beneath: set[int]) -> None:
    seats = classify_roundtable(EXAMPLE, above=2, beneath=1, profile=profile).seats
    assert set(np.flatnonzero(seats == ABOVE)) == above
    assert set(np.flatnonzero(seats == BENEATH)) == beneath


@pytest.mark.parametrize("profile", [Profile(), RICH, Profile(3, 0.14, 0.16, 0.16)])
@pytest.mark.parametrize("n", [3, 8, 31, 200])
def test_seats_lane_by_lane(n: int, profile: Profile) -> None:
    for seed in range(5):
        g = np.random.default_rng(seed).standard_normal(n)
        above, beneath = n // 3, n // 4
        assert classify_roundtable(g, above, beneath, profile=profile).seats.tolist() == by_hand(
            g, above, beneath, profile)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_split_then_combine_is_exact_and_parts_do_not_overlap(dtype: type) -> None:
    g = np.random.default_rng(1).standard_normal((7, 9)).astype(dtype)
    g[0, :3] = [0.0, -0.0, 1e-40]
    lanes = classify_roundtable(g)
    parts = lanes.split(g)
    assert lanes.combine(parts).tobytes() == g.tobytes()
    assert (np.stack([p != 0 for p in parts]).sum(0) <= 1).all()
    assert lanes.counts() == (21, 23, 19)  # a third each, but the two zeros sit Here
    assert sum(lanes.energy(g)) == pytest.approx(np.abs(g, dtype=np.float64).sum(), rel=1e-12)
    doubled = lanes.combine(parts, (2.0, 1.0, 0.0))
    np.testing.assert_array_equal(doubled, 2 * parts[0] + parts[1])


def test_zeros_and_small_lanes_sit_here() -> None:
    g = np.array([5.0, 0.0, 0.01, -4.0, 0.0, 3.0])
    seats = classify_roundtable(g, above=1.0, beneath=0.0, tolerance=0.05).seats
    assert seats.tolist() == [ABOVE, HERE, HERE, ABOVE, HERE, ABOVE]
    assert classify_roundtable(np.zeros(5)).counts() == (0, 5, 0)


def test_bad_streams_are_named() -> None:
    with pytest.raises(ValueError, match="got 0 with"):
        classify_roundtable(np.zeros(0))
    with pytest.raises(ValueError, match="1 not finite"):
        classify_roundtable(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"1\.5: it must lie in \[0, 1\]"):
        classify_roundtable(np.ones(3), above=1.5)
    with pytest.raises(ValueError, match="these seats are for 3"):
        classify_roundtable(np.ones(3)).split(np.ones(4))
