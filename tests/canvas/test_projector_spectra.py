"""Spectra against SciPy in float64: transforms, windows, powers, and Parseval's identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as hs
from numpy.typing import NDArray

from canvas.projector import CanvasProjector
from canvas.spectra import AXES, WINDOWS, cosine_window
from core.backends import Backend

SHAPES = [(1, 1), (2, 3), (5, 7), (8, 16), (17, 30), (64, 48)]
NAMES = {"rectangular": "boxcar"}  # where SciPy's differs


def projector(shape: tuple[int, int], backend: Backend, scale: float = 1.0) -> CanvasProjector:
    p = CanvasProjector(shape[1], shape[0], backend=backend)
    p.push_patch(np.random.default_rng(shape[0] + 10 * shape[1]).normal(0.1, scale, shape))
    return p


def transform(x: NDArray[Any], axis: str, taper: str, inverse: bool = False) -> NDArray[np.complex128]:
    """Rows, columns (one a row) or both of [H, W, C], windowed, by SciPy in float64."""
    x = x.astype(np.float64)
    for a in AXES[axis]:
        shape = [1] * x.ndim
        shape[a] = -1
        x = x * scipy.signal.get_window(NAMES.get(taper, taper), x.shape[a], fftbins=False).reshape(shape)
    out = (scipy.fft.ifftn if inverse else scipy.fft.fftn)(x, axes=AXES[axis])
    return out.swapaxes(0, 1) if axis == "columns" else out


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 33])
def test_windows_are_scipys_symmetric_ones(name: str, n: int) -> None:
    want = scipy.signal.get_window(NAMES.get(name, name), n, fftbins=False)
    np.testing.assert_allclose(cosine_window(name, n), want, atol=1e-15)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("taper", WINDOWS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("shape", SHAPES)
def test_transforms_are_scipys(shape: tuple[int, int], axis: str, taper: str, inverse: bool, backend: Backend) -> None:
    p = projector(shape, backend)
    got = p.refresh_vector_fft_tensor(axis=axis, window=taper, inverse=inverse)
    first, second = shape[::-1] if axis == "columns" else shape
    assert got.shape == (first, 8 * second)
    bins = got.reshape(first, second, 4, 2).astype(np.float64)
    want = transform(p.vector_field(), axis, taper, inverse)
    for channel in range(4):
        error = np.abs(bins[..., channel, 0] + 1j * bins[..., channel, 1] - want[..., channel])
        assert error.max() <= 1e-5 * max(np.abs(want).max(), 1e-30)


@pytest.mark.parametrize("taper", WINDOWS)
@pytest.mark.parametrize("axis", AXES)
def test_decibels_are_those_of_the_power_from_120_below_on(axis: str, taper: str, backend: Backend) -> None:
    p = projector((12, 15), backend)
    got = p.refresh_vector_fft_power_db_tensor(axis=axis, window=taper)
    first, second = (15, 12) if axis == "columns" else (12, 15)
    assert got.shape == (first, 4 * second)
    want = np.abs(transform(p.vector_field(), axis, taper)) ** 2
    got = 10 ** (got.reshape(first, second, 4).astype(np.float64) / 10)
    np.testing.assert_allclose(got, np.maximum(want, 1e-12), rtol=2e-4, atol=1e-5 * want.max())
    level = CanvasProjector(8, 4, backend=backend)
    level.push_patch(np.zeros((4, 8)))
    np.testing.assert_allclose(level.refresh_vector_fft_power_db_tensor().reshape(4, 8, 4)[..., 1:], -120, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("taper", WINDOWS)
@pytest.mark.parametrize("axis", AXES)
def test_the_relations_power_keeps_its_units(axis: str, taper: str, scale: float, backend: Backend) -> None:
    p = projector((9, 20), backend, scale)
    got = p.refresh_power_spectrum(axis=axis, window=taper)
    want = np.abs(transform(p.tensor(), axis, taper)) ** 2
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-5 * want.max()


def test_a_row_has_scipys_periodogram(backend: Backend) -> None:
    """Two-sided, of one row: |X|^2 over the window's power."""
    p = projector((3, 32), backend)
    got = p.refresh_power_spectrum(window="hann") / np.sum(cosine_window("hann", 32) ** 2)
    _, want = scipy.signal.periodogram(p.tensor().astype(np.float64), window=cosine_window("hann", 32), detrend=False,
                                       return_onesided=False)
    np.testing.assert_allclose(got, want, atol=1e-5 * want.max())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=hs.integers(1, 12), columns=hs.integers(1, 12), axis=hs.sampled_from(sorted(AXES)),
       taper=hs.sampled_from(sorted(WINDOWS)), seed=hs.integers(0, 1 << 30))
def test_power_is_conserved(rows: int, columns: int, axis: str, taper: str, seed: int, backend: Backend) -> None:
    """Parseval: the sum over frequencies is that over cells times how many were transformed."""
    p = CanvasProjector(columns, rows, backend=backend)
    p.push_patch(np.random.default_rng(seed).normal(size=(rows, columns)))
    weight = np.ones((rows, columns))
    for a in AXES[axis]:
        weight = weight * np.expand_dims(cosine_window(taper, (rows, columns)[a]), 1 - a)
    count = np.prod([(rows, columns)[a] for a in AXES[axis]])
    want = count * ((p.refresh_tensor().astype(np.float64) * weight) ** 2).sum()
    assert p.refresh_power_spectrum(axis=axis, window=taper).sum() == pytest.approx(want, rel=1e-5, abs=1e-12)


def test_a_wave_has_its_power_at_its_frequency(backend: Backend) -> None:
    y, x = np.mgrid[0:16, 0:24]
    p = CanvasProjector(24, 16, backend=backend)
    p.push_patch(0.5 * np.cos(2 * np.pi * (3 * x / 24 + 2 * y / 16)))
    want = np.zeros((16, 24))
    want[2, 3] = want[-2, -3] = (0.5 * 16 * 24 / 2) ** 2
    np.testing.assert_allclose(p.refresh_power_spectrum(axis="2d"), want, atol=1e-5 * want.max())


@pytest.mark.parametrize("options", [{"axis": "diagonal"}, {"window": "kaiser"}])
def test_what_is_unknown_is_refused(options: dict[str, str], backend: Backend) -> None:
    p = projector((3, 3), backend)
    with pytest.raises(ValueError, match=r"is unknown: choose one of (rows|rectangular)"):
        p.refresh_vector_fft_tensor(**options)  # type: ignore[arg-type]
