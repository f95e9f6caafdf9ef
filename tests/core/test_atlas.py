"""Atlases: bounded history, the move between frames against plain sums, and lossless files."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas, transition
from core.field import Field, measure_field
from core.frame import Temporal, ZFrame

OLD = ZFrame.octaves()
NEW = ZFrame((0.02, 0.09, 0.3), 5, Temporal((0, 3), 0.7), -0.5)
FRAMES = [OLD, NEW, ZFrame.octaves(bands=1, sheets=2), ZFrame.octaves(bands=10, sheets=3),
          ZFrame((0.2, 0.201), 7, NEW.temporal)]


def noise(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def chart(x: NDArray[np.float64], frame: ZFrame = OLD, step: int = 0, keep: bool = False) -> Chart:
    return Chart(frame, measure_field(x, frame), step, 1.7e9 + step / 3, {"signal": "state"}, x if keep else None)


def atlas_of(*charts: Chart) -> ZAtlas:
    atlas = ZAtlas(8)
    for c in charts:
        atlas.append(c)
    return atlas


def test_history_is_bounded_and_in_order() -> None:
    atlas = ZAtlas(3)
    with pytest.raises(IndexError, match="the atlas is empty: observe a signal first"):
        _ = atlas.latest
    for step in range(5):
        atlas.append(chart(noise(step, 32), step=step))
    assert (len(atlas), atlas.capacity) == (3, 3)
    assert [c.step for c in atlas] == [2, 3, 4]
    assert atlas.latest.step == 4
    with pytest.raises(ValueError, match="capacity is 0: an atlas holds at least one chart"):
        ZAtlas(0)


@pytest.mark.parametrize("old", FRAMES)
@pytest.mark.parametrize("new", FRAMES)
def test_band_transition_is_the_plain_sum_over_frequencies(old: ZFrame, new: ZFrame) -> None:
    bands, _ = transition(old, new)
    n = 1 << 17
    every = np.abs(np.fft.fftfreq(n, 1 / n)).astype(int)  # negative frequencies too: DC and Nyquist are there once
    h, onto = old.filters(n)[:, every] ** 2, new.filters(n)[:, every] ** 2
    want = np.array([[(a * b).sum() / a.sum() for b in onto] for a in h])
    np.testing.assert_allclose(bands, want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(bands.sum(axis=1), 1, rtol=0, atol=1e-14)
    assert (bands >= 0).all()


def test_bands_narrower_than_any_window_resolves_have_their_rows_too() -> None:
    bands, _ = transition(ZFrame.octaves(bands=40), OLD)
    np.testing.assert_allclose(bands.sum(axis=1), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(bands[:30, 0], 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("old", [2, 3, 5, 8])
@pytest.mark.parametrize("new", [2, 3, 5, 8])
def test_sheet_transition_is_the_overlap_of_arcs(old: int, new: int) -> None:
    _, sheets = transition(ZFrame.octaves(sheets=old), ZFrame.octaves(sheets=new))
    np.testing.assert_allclose(sheets.sum(axis=1), 1, rtol=0, atol=1e-14)
    fine = (np.arange(240_000) + 0.5) / 240_000  # points of the circle, each in the arc of its nearest centre
    share = np.zeros((old, new))
    np.add.at(share, (np.round(fine * old).astype(int) % old, np.round(fine * new).astype(int) % new), old / len(fine))
    np.testing.assert_allclose(sheets, share, rtol=0, atol=1e-4)
    if old == new:
        np.testing.assert_allclose(sheets, np.eye(old), rtol=0, atol=1e-14)


@pytest.mark.parametrize("new", FRAMES[1:])
def test_warp_conserves_energy_at_echo_zero(new: ZFrame) -> None:
    for seed in range(5):
        x = noise(seed, 2, 101, 3) + 1
        field = atlas_of(chart(x)).warp(new).latest.field
        assert field.rho[:, :, 0].sum() == pytest.approx(np.mean(x**2), rel=1e-12, abs=0)
        assert field.missing_echoes == tuple(range(1, new.echo_count))
        assert field.features is None


def test_warp_measures_a_kept_signal_anew() -> None:
    x = noise(3, 2, 101, 3)
    moved = atlas_of(chart(x, keep=True, step=9)).warp(NEW)
    want = measure_field(x, NEW)
    np.testing.assert_array_equal(moved.latest.field.rho, want.rho)
    assert moved.latest.field.features == want.features
    assert (moved.latest.frame, moved.latest.field.frame, moved.latest.step, moved.capacity) == (NEW, NEW, 9, 8)
    np.testing.assert_array_equal(moved.warp(OLD).latest.field.rho, measure_field(x, OLD).rho)


@pytest.mark.parametrize("new", [NEW, ZFrame.octaves(4, 3), ZFrame.octaves(8, 6)])
def test_warp_splits_a_flat_spectrum_as_measuring_anew_does(new: ZFrame) -> None:
    def both(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        return tuple(atlas_of(chart(x, keep=k)).warp(new).latest.field.rho[:, :, 0] for k in (False, True))

    def error(x: NDArray[np.float64]) -> float:
        moved, anew = (rho.sum(axis=1) for rho in both(x))
        return float(np.abs(moved / anew - 1).max())

    impulse = np.zeros(1 << 14)
    impulse[100] = 1
    white = noise(4, 16, 1 << 12, 1)
    assert error(impulse) < 5e-3
    assert error(np.cumsum(white, axis=1)) > 5e-3  # the control: a steep spectrum is split differently
    moved, anew = both(white)  # its phases are even, so every cell agrees up to chance
    spread = np.sqrt(new.sheets / (white.size * anew.sum(axis=1, keepdims=True) / anew.sum()))
    assert (np.abs(moved / anew - 1) < 6 * spread).all()


def test_warp_leaves_what_the_new_frame_does_not_touch() -> None:
    start = chart(noise(5, 64))
    for frame in (OLD, replace(OLD, curvature=-3.0)):
        found = atlas_of(start).warp(frame).latest
        assert found.frame == found.field.frame == frame
        np.testing.assert_array_equal(found.field.rho, start.field.rho)
        assert found.field.features == start.field.features


def test_warp_says_when_a_kept_signal_is_too_short() -> None:
    with pytest.raises(ValueError, match="has 10 samples, the frame's longest lag is 16"):
        atlas_of(chart(noise(6, 10), keep=True)).warp(ZFrame.octaves(echo_count=6))


def awkward() -> ZAtlas:
    """Charts with every kind of value a file must keep."""
    rho = noise(7, *NEW.shape)
    rho[0, 0, 0], rho[1, 0, 0], rho[2, 0, 0], rho[3, 0, 0] = 0.1 + 0.2, 5e-324, -0.0, math.nextafter(1, 2)
    odd = Chart(NEW, Field(NEW, rho, None), 2**40, 1.7e9 + 1e-7, {"text": "señal ⟨z⟩", "nested": {"a": [1, None, 0.1]}})
    moved = atlas_of(chart(noise(8, 40))).warp(NEW).latest
    return atlas_of(odd, moved, chart(noise(9, 2, 40, 3), keep=True, step=3), chart(noise(10, 40)))


def assert_equal(a: ZAtlas, b: ZAtlas) -> None:
    assert (a.capacity, len(a)) == (b.capacity, len(b))
    for one, other in zip(a, b, strict=True):
        assert (one.frame, one.step, one.time) == (other.frame, other.step, other.time)
        assert one.provenance == other.provenance
        assert one.field.features == other.field.features
        assert one.field.missing_echoes == other.field.missing_echoes
        assert one.field.rho.tobytes() == other.field.rho.tobytes()
        assert (one.signal is None) == (other.signal is None)
        if one.signal is not None and other.signal is not None:
            assert one.signal.shape == other.signal.shape
            assert one.signal.tobytes() == other.signal.tobytes()


def test_json_is_lossless_and_strict() -> None:
    atlas = awkward()
    text = json.dumps(atlas.to_json(), allow_nan=False)
    assert_equal(ZAtlas.from_json(json.loads(text)), atlas)
    assert_equal(ZAtlas.from_json(ZAtlas(3).to_json()), ZAtlas(3))


def test_npz_is_lossless_and_holds_plain_arrays(tmp_path: Path) -> None:
    atlas, path = awkward(), tmp_path / "atlas.npz"
    atlas.save_npz(path)
    assert_equal(ZAtlas.load_npz(path), atlas)
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        assert names == {"head.npy", "rho0.npy", "rho1.npy", "rho2.npy", "rho3.npy", "signal2.npy"}
        for name in names:
            assert np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False).dtype != object
    assert [p.name for p in tmp_path.iterdir()] == ["atlas.npz"]


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "atlas.npz"
    np.savez(path, head=np.array([{"capacity": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        ZAtlas.load_npz(path)


def test_a_damaged_record_is_refused() -> None:
    record = atlas_of(chart(noise(11, 40))).to_json()
    record["charts"][0]["rho"] = np.transpose(record["charts"][0]["rho"], (1, 0, 2)).tolist()
    with pytest.raises(ValueError, match="they must agree"):
        ZAtlas.from_json(record)


def test_changing_only_the_echoes_moves_no_energy_between_bands() -> None:
    frame = ZFrame.octaves(bands=5, sheets=4, echo_count=3)
    field = measure_field(np.cos(2 * np.pi * 0.0442 * np.arange(256)), frame)
    atlas = ZAtlas(1)
    atlas.append(Chart(frame, field, 0, 0.0))
    warped = atlas.warp(replace(frame, temporal=Temporal((0, 1), 0.5))).latest.field
    np.testing.assert_allclose(warped.rho[:, :, 0], field.rho[:, :, 0], atol=1e-15)
    assert warped.missing_echoes == (1,)
