"""Fields: density against a slow transcription of the formula, energy, reconstruction, steadiness, features."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas
from core.field import Field, analytic_bands, field_density, measure_field, sample_features
from core.frame import Temporal, ZFrame, ZIndex

OCTAVES = ZFrame.octaves()
SMALL = ZFrame((0.1, 0.27), 3, Temporal((0, 1, 3), 0.8))


def noise(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def slow_response(frame: ZFrame, b: int, f: float) -> float:
    """H_b(f), from raised cosines in log2 f one octave wide."""
    def fall(edge: float) -> float:
        if f <= edge / math.sqrt(2) or f >= edge * math.sqrt(2):
            return float(f <= edge)
        return 0.5 * (1 + math.cos(math.pi * (math.log2(f / edge) + 0.5)))

    upper = fall(frame.edges[b]) if b < len(frame.edges) else 1.0
    return math.sqrt(max(upper - (fall(frame.edges[b - 1]) if b else 0.0), 0.0))


def slow_analytic(x: NDArray[np.float64], frame: ZFrame, b: int) -> list[complex]:
    """z_b of one series by explicit Fourier sums."""
    n = len(x)
    z = [0j] * n
    for k in range(n // 2 + 1):
        coefficient = sum(x[t] * cmath.exp(-2j * math.pi * k * t / n) for t in range(n))
        double = math.sqrt(2) if k == 0 or 2 * k == n else 2.0
        for t in range(n):
            z[t] += double * slow_response(frame, b, k / n) * coefficient * cmath.exp(2j * math.pi * k * t / n) / n
    return z


def slow_density(x: NDArray[np.float64], frame: ZFrame) -> NDArray[np.float64]:
    """rho[b,s,e] as DESIGN writes it, one term at a time; x is [N, T, C]."""
    rho = np.zeros(frame.shape)
    sectors, width = frame.sheets, 2 * math.pi / frame.sheets
    for b in range(frame.bands):
        for batch in x:
            for series in batch.T:
                z = slow_analytic(series, frame, b)
                for t in range(len(z)):
                    for s in range(sectors):
                        away = abs((cmath.phase(z[t]) - s * width + math.pi) % (2 * math.pi) - math.pi)
                        hat = math.cos(sectors * away / 4) ** 2 if away < width else 0.0
                        for e, lag in enumerate(frame.temporal.lags):
                            power = 0.5 * (z[t] * z[(t - lag) % len(z)].conjugate()).real
                            rho[b, s, e] += frame.temporal.decay**e * hat * power / x.size
    return rho


@pytest.mark.parametrize("sheets", [2, 3, 5, 8])
@pytest.mark.parametrize("shape", [(1, 4, 1), (2, 11, 2), (1, 12, 3)])
def test_density_follows_the_formula(sheets: int, shape: tuple[int, int, int]) -> None:
    frame = ZFrame(SMALL.edges, sheets, SMALL.temporal)
    x = noise(sheets, *shape) + 0.3
    np.testing.assert_allclose(field_density(x, frame), slow_density(x, frame), rtol=0, atol=1e-14)


def test_shapes_are_read_as_documented() -> None:
    x = noise(1, 40)
    want = field_density(x[None, :, None], SMALL)
    np.testing.assert_array_equal(field_density(x, SMALL), want)
    np.testing.assert_array_equal(field_density(x[:, None], SMALL), want)
    batch = noise(2, 3, 40, 2)
    mean = np.mean([field_density(batch[i, :, c], SMALL) for i in range(3) for c in range(2)], axis=0)
    np.testing.assert_allclose(field_density(batch, SMALL), mean, rtol=0, atol=1e-15)
    assert analytic_bands(batch, SMALL).shape == (3, 3, 40, 2)


@pytest.mark.parametrize("n", [9, 64, 65, 1000, 1001])
def test_energy_at_echo_zero_is_the_mean_power(n: int) -> None:
    alternating = (-1.0) ** np.arange(n)  # Nyquist where n is even
    for seed, frame in enumerate((OCTAVES, SMALL, ZFrame.octaves(1, 2, 1), ZFrame.octaves(9, 3, 2))):
        x = noise(seed, 2, n, 3) + 2.5 + 1.5 * alternating[:, None]
        assert field_density(x, frame)[:, :, 0].sum() == pytest.approx(np.mean(x**2), rel=1e-12, abs=0)
    for x in (np.ones(n), alternating):
        assert field_density(x, OCTAVES)[:, :, 0].sum() == pytest.approx(1, rel=1e-12, abs=0)


@pytest.mark.parametrize("n", [9, 64, 65, 1000])
def test_filtering_twice_and_summing_gives_the_signal_back(n: int) -> None:
    x = noise(n, n) + 1
    for frame in (OCTAVES, SMALL):
        def filtered(v: NDArray[np.float64], h: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.fft.irfft(np.fft.rfft(v) * h, n)

        back = sum(filtered(filtered(x, h), h) for h in frame.filters(n))
        np.testing.assert_allclose(back, x, rtol=0, atol=1e-12)


def tones() -> list[NDArray[np.float64]]:
    """Pure tones with zero crossings on samples: at band edges, between them and between Fourier bins."""
    t = np.arange(256)
    return [wave(2 * np.pi * f * t) for f in (1 / 64, 1 / 16, 1 / 8, 1 / 4, 3 / 32, 0.171) for wave in (np.sin, np.cos)]


@pytest.mark.parametrize("seed", range(4))
def test_a_breath_of_noise_moves_no_cell(seed: int) -> None:
    breath = 1e-14 * noise(seed, 256)
    for x in tones():
        for frame in (OCTAVES, *(ZFrame.octaves(sheets=s) for s in (2, 3, 4))):
            moved = np.abs(field_density(x + breath, frame) - field_density(x, frame)).max()
            assert moved <= 1e-12


def test_the_breath_of_noise_would_move_hard_sectors() -> None:
    """The control of the test above: the same tones and noise, with sectors cut instead of hats."""
    def hard(x: NDArray[np.float64]) -> NDArray[np.float64]:
        z = analytic_bands(x, ZFrame.octaves(sheets=4))[:, 0, :, 0]
        sector = np.round(np.angle(z) / (np.pi / 2)).astype(int) % 4
        return np.array([(np.abs(z) ** 2 / 2 * (sector == s)).mean(axis=1) for s in range(4)])

    breath = 1e-14 * noise(0, 256)
    one_sample = 0.5 * 0.5 / 256  # of a tone's power 1/2, in a band that holds half of it
    assert max(np.abs(hard(x + breath) - hard(x)).max() for x in tones()) > 0.9 * one_sample


def test_golden_features() -> None:
    """Published values of the predecessor's reference, section 9."""
    found = sample_features(np.array([0.8, 0.9, 0.1, 0.05, -0.2, -0.1]), 3)
    assert found.window_index == 0
    np.testing.assert_allclose(found[1:], (0.790698, 0.916666, 0.976330, 0.358333), rtol=0, atol=5e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("windows", [-1, 1, 3, 8, 100])
def test_features_follow_their_sums(n: int, windows: int) -> None:
    x = noise(n, n)
    count = max(1, min(windows, n))
    width = math.ceil(n / count)
    sums = [sum(abs(v) for v in x[i * width:(i + 1) * width]) for i in range(count)]
    bends = lengths = product = total = 0.0
    for a, b, c in zip(x, x[1:], x[2:], strict=False):
        bends += abs((c - b) - (b - a))
        lengths += abs(b - a) + abs(c - b)
    for a, b in itertools.pairwise(x):
        product, total = product + a * b, total + abs(a * b)
    want = (sums.index(max(sums)), max(sums) / sum(abs(x)), bends / (lengths + 1e-6), product / (total + 1e-6),
            np.abs(x).mean())
    np.testing.assert_allclose(sample_features(x, windows), want, rtol=1e-13, atol=1e-15)


def test_features_at_their_ends() -> None:
    assert sample_features(np.zeros(8), 4) == (0, 0, 0, 0, 0)
    zigzag = sample_features(np.tile([10.0, -10.0], 25), 4)
    assert zigzag.curvature < 1
    assert zigzag.curvature == pytest.approx(1, abs=1e-6)
    assert zigzag.spin == pytest.approx(-1, abs=1e-6)
    assert sample_features(np.array([0.0, 0, 1, 1, 0, 0, 1, 1]), 4).window_index == 1  # the first of equals
    with pytest.raises(ValueError, match="the series is empty"):
        sample_features(np.zeros(0), 4)


def test_a_field_answers_by_cell() -> None:
    x = noise(5, 2, 64, 3)
    field = measure_field(x, OCTAVES)
    assert field[ZIndex(2, 3, 1)] == field.rho[2, 3, 1]
    cell = field.cell(ZIndex(4, 1, 0))
    assert cell.density == field.rho[4, 1, 0]
    assert cell.component == field.homology.labels[4, 1]
    assert field.homology is field.homology
    assert field.homology.threshold == pytest.approx(field.rho[:, :, 0].mean())
    assert field.features == sample_features(x.mean(axis=(0, 2)), 8)
    assert field.missing_echoes == ()
    for index in (ZIndex(6, 0, 0), ZIndex(0, -1, 0), ZIndex(0, 0, 4)):
        with pytest.raises(IndexError, match="out of range"):
            field[index]
        with pytest.raises(IndexError, match="out of range"):
            field.cell(index)


def test_a_field_cannot_be_changed_and_fits_its_frame() -> None:
    rho = noise(6, *SMALL.shape)
    field = Field(SMALL, rho, None)
    with pytest.raises(ValueError, match="read-only"):
        field.rho[0, 0, 0] = 1
    before = field.rho[0, 0, 0]
    rho[0, 0, 0] += 1
    assert field.rho[0, 0, 0] == before
    with pytest.raises(ValueError, match="they must agree"):
        Field(SMALL, rho.transpose(2, 1, 0)[:2], None)


def test_missing_echoes_are_named() -> None:
    atlas = ZAtlas(1)
    atlas.append(Chart(OCTAVES, measure_field(noise(7, 64), OCTAVES), 0, 0.0))
    field = atlas.warp(SMALL).latest.field
    assert field.missing_echoes == (1, 2)
    assert math.isnan(field[ZIndex(0, 0, 1)])
    assert math.isfinite(field[ZIndex(0, 0, 0)])


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros(0), "not empty"), (np.zeros((3, 0, 2)), "not empty"), (np.float64(1), r"got \(\)"),
    (np.zeros((1, 2, 3, 4)), "a signal has shape"), (np.array([1.0, np.nan, np.inf, 2, 2, 2]), "2 values that are not"),
    (np.ones(4), "has 4 samples, the frame's longest lag is 4"), (np.ones(8) * 1j, "the signal is complex")])
def test_bad_signals_are_refused(x: NDArray[np.float64], message: str) -> None:
    for look in (measure_field, field_density, analytic_bands):
        with pytest.raises(ValueError, match=message):
            look(x, OCTAVES)


def test_the_lowest_band_may_be_lower_than_the_window_resolves() -> None:
    frame = ZFrame.octaves(bands=12)
    x = noise(8, 16)
    assert field_density(x, frame)[:, :, 0].sum() == pytest.approx(np.mean(x**2), rel=1e-12)
