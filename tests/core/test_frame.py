"""Frames: the filters against their formula, digests across processes, indices and distances."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from core.frame import Temporal, ZFrame, ZIndex

ECHOES = Temporal((0, 1, 3), 0.8)
UNEVEN = ZFrame((0.013, 0.1, 0.11, 0.3, 0.49), 5, ECHOES)
FRAMES = [ZFrame.octaves(), ZFrame.octaves(bands=1), ZFrame.octaves(3, 2, 1), UNEVEN]


def fall(f: float, edge: float) -> float:
    """Raised cosine in log2 f, from 1 at edge / sqrt 2 to 0 at edge sqrt 2."""
    if f <= edge / math.sqrt(2):
        return 1.0
    if f >= edge * math.sqrt(2):
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (math.log2(f / edge) + 0.5)))


def test_octaves_are_what_they_say() -> None:
    frame = ZFrame.octaves(bands=6, sheets=8, echo_count=5, decay=0.9, curvature=-2)
    assert frame.edges == (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
    assert frame.temporal.lags == (0, 1, 2, 4, 8)
    assert (frame.bands, frame.sheets, frame.echo_count, frame.temporal.echo_count) == (6, 8, 5, 5)
    assert frame.shape == (6, 8, 5)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 1000])
def test_filters_follow_the_formula_and_are_tight(frame: ZFrame, n: int) -> None:
    h = frame.filters(n)
    assert h.shape == (frame.bands, n // 2 + 1)
    np.testing.assert_allclose((h**2).sum(axis=0), 1, rtol=0, atol=1e-15)
    for k in range(n // 2 + 1):
        below = [0.0, *(fall(k / n, e) for e in frame.edges), 1.0]
        want = [b - a for a, b in itertools.pairwise(below)]
        np.testing.assert_allclose(h[:, k] ** 2, want, rtol=0, atol=1e-14)


def test_filters_are_cached_and_cannot_be_written_to() -> None:
    h = FRAMES[0].filters(64)
    assert ZFrame.octaves().filters(64) is h
    with pytest.raises(ValueError, match="read-only"):
        h[0, 0] = 2
    with pytest.raises(ValueError, match="n is 0: filters need a window of at least 1 sample"):
        FRAMES[0].filters(0)


@pytest.mark.parametrize("sheets", [2, 3, 8])
def test_hats_follow_the_formula_and_sum_to_one(sheets: int) -> None:
    frame = ZFrame.octaves(sheets=sheets)
    angle = np.random.default_rng(sheets).uniform(-10, 10, (4, 25))
    hats = frame.hats(angle)
    assert hats.shape == (sheets, 4, 25)
    np.testing.assert_allclose(hats.sum(axis=0), 1, rtol=0, atol=1e-14)
    for s in range(sheets):
        for (i, j), a in np.ndenumerate(angle):
            away = math.acos(math.cos(a - 2 * math.pi * s / sheets))
            want = math.cos(sheets * away / 4) ** 2 if away < 2 * math.pi / sheets else 0.0
            assert hats[s, i, j] == pytest.approx(want, abs=1e-7)  # acos near 0 and pi keeps half the digits
    np.testing.assert_allclose(frame.hats(2 * np.pi * np.arange(sheets) / sheets), np.eye(sheets), atol=1e-30)


def test_signature_is_the_digest_of_this_canonical_form() -> None:
    frame = ZFrame((0.25,), 3, Temporal((0, 2), 0.5), -1)
    canonical = ('{"curvature": "-0x1.0000000000000p+0", "decay": "0x1.0000000000000p-1", '
                 '"edges": ["0x1.0000000000000p-2"], "lags": [0, 2], '
                 '"shape": "root-raised-cosine-octave/cos2-hats/1", "sheets": 3}')
    assert frame.signature() == hashlib.sha256(canonical.encode()).hexdigest()


def test_equal_frames_hash_and_digest_alike_in_every_process() -> None:
    made = ZFrame(np.array([0.1, 0.25]), np.int64(4), Temporal([0, np.int32(3)], np.float64(1)), np.float32(-1))  # type: ignore[arg-type]
    frame = ZFrame((0.1, 0.25), 4, Temporal((0, 3), 1.0), -1.0)
    assert made == frame
    assert hash(made) == hash(frame)
    assert made.signature() == frame.signature()
    assert pickle.loads(pickle.dumps(frame)) == frame
    code = ("from core.frame import Temporal, ZFrame\n"
            "print(ZFrame((0.1, 0.25), 4, Temporal((0, 3), 1.0), -1.0).signature())")
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": seed})
        assert done.stdout.strip() == frame.signature()


def test_every_part_enters_the_signature() -> None:
    frame = UNEVEN
    others = [replace(frame, edges=(*frame.edges[:-1], math.nextafter(0.49, 1))), replace(frame, edges=frame.edges[1:]),
              replace(frame, sheets=6), replace(frame, temporal=Temporal((0, 1, 4), 0.8)),
              replace(frame, temporal=Temporal((0, 1, 3), 0.81)), replace(frame, curvature=-1.5)]
    assert len({f.signature() for f in (frame, *others)}) == 7


@pytest.mark.parametrize("frame", FRAMES)
def test_json_is_lossless(frame: ZFrame) -> None:
    again = ZFrame.from_json(json.loads(json.dumps(frame.to_json())))
    assert again == frame
    assert again.signature() == frame.signature()


def test_a_frame_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        UNEVEN.sheets = 3  # type: ignore[misc]


@pytest.mark.parametrize(("changes", "message"), [
    ({"edges": (0.2, 0.2)}, "increase strictly"), ({"edges": (0.0, 0.2)}, r"inside \(0, 0.5\)"),
    ({"edges": (0.5,)}, r"inside \(0, 0.5\)"), ({"edges": (math.nan,)}, "increase strictly"),
    ({"sheets": 1}, "sheets is 1: a frame needs at least 2"), ({"curvature": 0.0}, "curvature is 0.0"),
    ({"curvature": -math.inf}, "must be finite"), ({"curvature": math.nan}, "must be finite")])
def test_bad_values_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(UNEVEN, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("lags", "decay", "message"), [
    ((), 0.9, "begin with 0"), ((1, 2), 0.9, "begin with 0"), ((0, 2, 2), 0.9, "increase strictly"),
    ((0,), 0.0, r"decay is 0.0: it must lie in \(0, 1\]"), ((0,), 1.1, "decay is 1.1"),
    ((0,), math.nan, "decay is nan")])
def test_bad_echoes_are_refused(lags: tuple[int, ...], decay: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Temporal(lags, decay)


def test_counts_and_lags_are_whole_numbers() -> None:
    with pytest.raises(TypeError):
        Temporal((0, 1.5), 0.9)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ZFrame((0.25,), 2.5, ECHOES)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bands is 0"):
        ZFrame.octaves(bands=0)


def test_check_names_the_value_and_the_limit() -> None:
    frame = ZFrame.octaves()
    assert frame.check(ZIndex(5, 7, 3)) == (5, 7, 3)
    for index, message in (((6, 0, 0), "band 6 is out of range: this frame has 6, from 0 to 5"),
                           ((0, 8, 0), "sheet 8"), ((0, 0, 4), "echo 4"), ((-1, 0, 0), "band -1")):
        with pytest.raises(IndexError, match=message):
            frame.check(ZIndex(*index))
        with pytest.raises(IndexError, match=message):
            frame.distance(ZIndex(0, 0, 0), ZIndex(*index))


@pytest.mark.parametrize("sheets", [2, 3, 8])
def test_distance_counts_steps(sheets: int) -> None:
    frame = ZFrame.octaves(bands=3, sheets=sheets, echo_count=2)
    for a, b in itertools.product(itertools.product(*map(range, frame.shape)), repeat=2):
        steps = next(k for k in range(sheets) if (a[1] + k) % sheets == b[1] or (a[1] - k) % sheets == b[1])
        assert frame.distance(ZIndex(*a), ZIndex(*b)) == (abs(a[0] - b[0]), steps, abs(a[2] - b[2]))
