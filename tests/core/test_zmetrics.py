"""z metrics against recorded numbers and a slow Fourier sum."""

from __future__ import annotations

import cmath
import math
from dataclasses import asdict

import numpy as np
import pytest

from core.zmetrics import LONGEST, ZReading, read_z

GOLDEN = [0.12, -0.03, 0.48, -0.2]


def slow(z: list[float], alpha: float) -> ZReading:
    """The definition, one term at a time."""
    n = len(z)
    energy = math.fsum(v * v for v in z)
    first = [z[i] - z[i - 1] for i in range(1, n)]
    second = [first[i] - first[i - 1] for i in range(1, n - 1)]
    v = math.fsum(map(abs, first)) / max(1, len(first))
    k = math.fsum(map(abs, second)) / max(1, len(second))
    lifted = moment = low = high = 0.0
    for j in range(n // 2 + 1):
        x = sum(z[t] * cmath.exp(-2j * math.pi * j * t / n) for t in range(n))
        power = (1 if j == 0 or 2 * j == n else 2) * abs(x) ** 2 / n
        w = 2 * j / n
        lifted, moment = lifted + w ** (2 * alpha) * power, moment + w * power
        low, high = (low + power, high) if w < 0.5 else (low, high + power)
    return ZReading(
        math.tanh(v + math.sqrt(energy) / (4 * n)), math.tanh(math.fsum(z) / n + energy / (4 * n)),
        math.tanh(1.5 * (1 / (1 + k) + 1 / (1 + v)) - 1), math.tanh(lifted / energy),
        math.tanh((high - low) / (high + low)), energy, moment / (low + high))


def test_the_recorded_numbers_are_met() -> None:
    reading = read_z(GOLDEN)
    assert reading.energy == pytest.approx(0.2857, rel=1e-14)
    assert reading.speed == pytest.approx(0.4463024613684294, rel=1e-14)
    assert reading.memory == pytest.approx(0.10991043037290935, rel=1e-14)
    assert reading.stability == pytest.approx(0.672934550609384, rel=1e-14)
    assert reading.frac == pytest.approx(0.6490008507207798, rel=1e-14)
    assert math.atanh(reading.frac) * reading.energy == pytest.approx(0.2210090973787923, rel=1e-13)
    assert reading.drs == pytest.approx(0.6413201743341207, rel=1e-14)
    assert reading.centroid == pytest.approx(0.7415120756037802, rel=1e-14)


def test_silence_is_steady_and_nothing_else() -> None:
    for n in (1, 2, 7):
        assert read_z(np.zeros(n)) == ZReading(0.0, 0.0, math.tanh(2), 0.0, 0.0, 0.0, 0.0)


def test_a_single_value_has_no_spectrum_to_lean_to() -> None:
    reading = read_z([0.5])
    assert (reading.frac, reading.drs, reading.centroid) == (0.0, 0.0, 0.0)
    assert reading.speed == pytest.approx(0.124353, abs=5e-7)
    assert reading.memory == pytest.approx(0.509830, abs=5e-7)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 16, 33, 64])
@pytest.mark.parametrize("alpha", [0.35, 1.0, 0.01])
def test_every_number_follows_its_definition(n: int, alpha: float) -> None:
    z = np.random.default_rng(n).standard_normal(n) + 0.2
    found, want = asdict(read_z(z, alpha)), asdict(slow(z.tolist(), alpha))
    for name, value in want.items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-13), name


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 3.0, np.zeros(LONGEST + 1), [1.0, math.nan], [math.inf], [1e200]])
def test_what_is_no_series_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"the series (has shape|holds values)"):
        read_z(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_alpha_must_be_above_zero(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha is"):
        read_z(GOLDEN, alpha)


def test_the_longest_series_is_taken() -> None:
    assert read_z(np.ones(LONGEST)).centroid == 0.0
