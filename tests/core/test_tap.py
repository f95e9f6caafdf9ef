"""The spectral tap: neutral where nothing is painted, linear, norm-keeping, and blind to past errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from core import tap
from core.array import asarray
from core.frame import ZFrame
from core.steer import gains

FRAME = ZFrame.octaves(bands=4, sheets=5)
PAINTED = 2.0 ** np.random.default_rng(0).uniform(-3, 3, (4, 5))


def draw(seed: int, T: int = 32, dtype: type = np.float64) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, T, 3)).astype(dtype), rng.standard_normal((2, T, 3)).astype(dtype)


def tap_gradient(g: NDArray, x: NDArray, w: NDArray) -> NDArray:
    return tap.tap_gradient(asarray(g, g.dtype), asarray(x, x.dtype), FRAME, w).numpy()


def tap_correction(g: NDArray, x: NDArray, w: NDArray) -> NDArray:
    terms = tap.tap_correction(asarray(g, g.dtype), asarray(x, x.dtype), FRAME, w)
    return sum((t.numpy() for t in terms), np.zeros_like(g))


def test_gains_are_powers_of_two_of_the_clipped_layer() -> None:
    np.testing.assert_array_equal(gains(np.array([-9.0, -3.0, -1.0, 0.0, 2.0, 3.0, 7.0])),
                                  [0.125, 0.125, 0.5, 1.0, 4.0, 8.0, 8.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", [1, 2, 7, 32])
def test_gains_one_keep_every_bit(dtype: type, T: int) -> None:
    g, x = draw(1, T, dtype)
    np.testing.assert_array_equal(tap_gradient(g, x, np.ones((4, 5))), g)


def direct(g: NDArray, x: NDArray, frame: ZFrame, w: NDArray) -> NDArray:
    """The tap as sums over time, without FFTs but for the bands' own responses."""
    T, n, out = g.shape[1], 2 * g.shape[1], g.copy()
    twice = np.where(np.arange(T) == 0, 1, 2)
    double = np.where(np.arange(T + 1) % T == 0, np.sqrt(2), 2)
    for b, H in enumerate(frame.filters(n)):
        ahead, past = np.fft.irfft(H**2, n)[:T] * twice, np.fft.ifft(np.pad(H * double, (0, T - 1)))[:T] * twice
        for t in range(T):
            z = np.tensordot(past[: t + 1], x[:, t::-1], (0, 1))
            weight = np.tensordot(w[b] - 1, frame.hats(np.angle(z)), 1)
            out[:, t] += weight * np.tensordot(ahead[: T - t], g[:, t:], (0, 1))
    return out * (np.linalg.norm(g) / np.linalg.norm(out)) if g.any() else out


@pytest.mark.parametrize("T", [9, 16, 33])
@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_against_direct_sums(T: int, dtype: type, bound: float) -> None:
    g, x = draw(11, T, dtype)
    want = direct(g.astype(float), x.astype(float), FRAME, PAINTED)
    np.testing.assert_allclose(tap_gradient(g, x, PAINTED), want, atol=bound * np.abs(want).max())


@pytest.mark.parametrize("gain", [0.125, 0.7, 3.0])
def test_equal_gains_are_the_identity_to_rounding(gain: float) -> None:
    g, x = draw(2)
    np.testing.assert_allclose(tap_gradient(g, x, np.full((4, 5), gain)), g, atol=1e-13)


def test_equal_gains_one_band_at_a_time_add_up_with_and_without_phases() -> None:
    g, x = draw(3)
    level = np.ones((4, 5))
    level[1] = 4.0
    nearly = level.copy()
    nearly[1, 0] += 1e-9  # takes the way over the phases
    np.testing.assert_allclose(tap_correction(g, x, nearly), tap_correction(g, x, level),
                               atol=1e-8)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_norm_is_kept_and_zero_stays_zero(dtype: type, bound: float) -> None:
    g, x = draw(4, 64, dtype)
    out = tap_gradient(g, x, PAINTED)
    assert out.dtype == dtype
    assert np.linalg.norm(out.astype(float)) == pytest.approx(np.linalg.norm(g.astype(float)), rel=bound)
    assert np.abs(out - g).max() > 0.1
    np.testing.assert_array_equal(tap_gradient(np.zeros_like(g), x, PAINTED), 0)


def test_linear_form_against_finite_differences() -> None:
    g, x = draw(5)
    rng = np.random.default_rng(6)
    weight, direction = rng.standard_normal(g.shape), rng.standard_normal(g.shape)

    def value(h: NDArray) -> float:
        return float(np.sum(weight * tap_correction(h, x, PAINTED)))

    slope = (value(g + 1e-4 * direction) - value(g - 1e-4 * direction)) / 2e-4
    assert slope == pytest.approx(value(direction), rel=1e-9)
    assert value(2.5 * g + direction) == pytest.approx(2.5 * value(g) + value(direction), rel=1e-10)


def test_no_error_of_an_earlier_character_and_no_later_state_enters() -> None:
    g, x = draw(7)
    for t in (0, 9, 31):
        later_g, later_x = g.copy(), x.copy()
        later_g[:, :t] += 1.0  # errors before t
        later_x[:, t + 1:] += 1.0  # states after t
        a = tap_correction(g, x, PAINTED)
        b = tap_correction(later_g, later_x, PAINTED)
        np.testing.assert_allclose(a[:, t], b[:, t], atol=1e-12)
        if t:
            assert np.abs(a[:, t - 1] - b[:, t - 1]).max() > 1e-3


def test_real_part_of_the_response_is_the_painted_gain() -> None:
    T = 256
    impulse = np.zeros((1, T, 1))
    impulse[0, -1] = 1.0  # it answers on the side of the past: the response to an error that lies ahead
    level = np.array([8.0, 0.5, 1.0, 2.0])
    answer = tap_correction(impulse, impulse, np.repeat(level[:, None], 5, axis=1))[0, ::-1, 0]
    got = 1 + np.fft.rfft(answer, 2 * T).real
    want = level @ FRAME.filters(2 * T) ** 2
    assert np.abs(got - want).max() < 0.02 * want.max()  # a window cuts the tail of the lowest band's response


def test_strongest_paint_reaches_its_sheet_alone() -> None:
    T = 64
    t = np.arange(T)
    turn = 2 * np.pi * t * 2.0**-2.5  # the middle of band 2 of 4, where a one-sided band does not turn the phase
    x = np.cos(turn)[None, :, None]
    g = np.random.default_rng(8).standard_normal((1, T, 1))
    w = np.ones((4, 5))
    w[2, 0] = 8.0
    changed = np.abs(tap_correction(g, x, w)[0, :, 0])
    away = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    settled = t > 24
    assert changed[settled & (away > 2 * np.pi / 5 + 0.25)].max() == 0
    assert changed[settled & (away < 0.1)].max() > 0.1
