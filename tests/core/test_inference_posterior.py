"""The posterior of a latent against recorded numbers, a slow Fourier sum and its invariances."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.posterior import (
    LATENT_BASIS,
    LONGEST,
    SHORT,
    ZSpacePosterior,
    barycentric,
    decode_zspace_embedding,
)

GOLDEN = [0.12, -0.03, 0.48, -0.2]
METRICS = ("speed", "memory", "stability", "frac", "drs")
latents = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=80)


def slow(z: list[float], alpha: float) -> dict[str, Any]:
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
    edge = [0.0, *z, 0.0]
    gradient = [((edge[i] - edge[i - 1]) + (edge[i + 1] - edge[i])) / 2 for i in range(1, n + 1)]
    three = (math.tanh(v + math.sqrt(energy) / (4 * n)), math.tanh(math.fsum(z) / n + energy / (4 * n)),
             math.tanh(1.5 * (1 / (1 + k) + 1 / (1 + v)) - 1))
    soft = [math.log(1 + math.exp(m)) for m in three]
    return {
        **dict(zip(METRICS, three, strict=False)), "frac": math.tanh(lifted / energy),
        "drs": math.tanh((high - low) / (high + low)) if n > 1 else 0.0,
        "gradient": tuple(g / max(1.0, *map(abs, gradient)) for g in gradient),
        "barycentric": tuple(s / math.fsum(soft) for s in soft), "energy": energy, "spectral_energy": low + high,
        "frac_energy": lifted, "fractional_energy_ratio": lifted / energy, "spectral_centroid": moment / (low + high),
    }


def test_the_recorded_numbers_are_met() -> None:
    found = decode_zspace_embedding(GOLDEN)
    assert found.z_state == tuple(GOLDEN)
    assert found.energy == pytest.approx(0.2857, rel=1e-15)
    assert found.frac_energy == pytest.approx(0.2210090973787923, rel=1e-15)
    assert found.fractional_energy_ratio == pytest.approx(0.7735705193517406, rel=1e-15)
    assert found.spectral_centroid == pytest.approx(0.7415120756037802, rel=1e-15)
    assert found.spectral_bins == 3
    assert found.gradient == pytest.approx((-0.015, 0.18, -0.085, -0.24), rel=1e-15)
    assert found.gradient_basis == LATENT_BASIS == "spiraltorch.zspace.latent.central_difference.zero_boundary.v1"
    assert found.metrics == pytest.approx({
        "speed": 0.4463024613684294, "memory": 0.10991043037290935, "stability": 0.672934550609384,
        "drs": 0.6413201743341207, "frac": 0.6490008507207798}, rel=1e-15)
    assert found.barycentric == pytest.approx((0.339000, 0.270054, 0.390946), abs=5e-7)


def test_silence_is_steady_and_nothing_else() -> None:
    for n in (1, 2, 7, SHORT + 1):
        found = decode_zspace_embedding(np.zeros(n))
        assert found.metrics == {"speed": 0.0, "memory": 0.0, "stability": math.tanh(2), "frac": 0.0, "drs": 0.0}
        assert found.barycentric == pytest.approx((0.259277, 0.259277, 0.481446), abs=5e-7)
        assert (found.energy, found.spectral_energy, found.parseval_relative_error, found.spectral_centroid) == (0,) * 4


def test_a_single_value_has_no_spectrum_to_lean_to() -> None:
    found = decode_zspace_embedding([0.5])
    assert (found.metrics["frac"], found.metrics["drs"], found.spectral_centroid, found.gradient) == (0, 0, 0, (0.0,))
    assert found.metrics["speed"] == pytest.approx(0.124353, abs=5e-7)
    assert found.metrics["memory"] == pytest.approx(0.509830, abs=5e-7)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 16, 33, SHORT, SHORT + 1, 130])
@pytest.mark.parametrize("alpha", [0.35, 1.0, 0.01])
def test_every_number_follows_its_definition(n: int, alpha: float) -> None:
    z = np.random.default_rng(n).standard_normal(n) * 2 + 0.2
    found, want = decode_zspace_embedding(z, alpha=alpha), slow(z.tolist(), alpha)
    assert found.spectral_bins == n // 2 + 1
    for name, value in want.items():
        seen = found.metrics[name] if name in METRICS else getattr(found, name)
        assert seen == pytest.approx(value, rel=1e-12, abs=1e-13), name


@given(latents)
def test_parseval_holds_and_the_barycentric_coordinates_add_up(z: list[float]) -> None:
    found = decode_zspace_embedding(z)
    assert found.parseval_relative_error < 1e-13
    assert math.fsum(found.barycentric) == pytest.approx(1, abs=1e-15)
    assert all(0 < b < 1 for b in found.barycentric)
    assert all(-1 <= m <= 1 for m in found.metrics.values())
    assert max(map(abs, found.gradient)) <= 1


@given(latents)
def test_reversing_keeps_the_metrics_and_turns_the_gradient(z: list[float]) -> None:
    one, other = decode_zspace_embedding(z), decode_zspace_embedding(z[::-1])
    assert other.metrics == pytest.approx(one.metrics, rel=1e-9, abs=1e-12)
    assert other.gradient == pytest.approx([-g for g in reversed(one.gradient)], rel=1e-9, abs=1e-12)


@given(latents, st.integers(0, 79))
def test_rotating_keeps_what_the_spectrum_says(z: list[float], by: int) -> None:
    one, other = decode_zspace_embedding(z), decode_zspace_embedding(np.roll(z, by))
    for name in ("energy", "frac_energy", "spectral_centroid"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9, abs=1e-9)


@given(latents.filter(lambda z: max(map(abs, z)) > 1e-3), st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_squares_the_energies_and_keeps_the_shares(z: list[float], by: float) -> None:
    one, other = decode_zspace_embedding(z), decode_zspace_embedding([by * v for v in z])
    assert other.energy == pytest.approx(by * by * one.energy, rel=1e-12)
    assert other.frac_energy == pytest.approx(by * by * one.frac_energy, rel=1e-12)
    for name in ("frac", "drs"):
        assert other.metrics[name] == pytest.approx(one.metrics[name], rel=1e-12, abs=1e-14)
    assert other.spectral_centroid == pytest.approx(one.spectral_centroid, rel=1e-12, abs=1e-14)
    if max(map(abs, (*one.gradient, *other.gradient))) < 1:
        assert other.gradient == pytest.approx([by * g for g in one.gradient], rel=1e-12)


@settings(max_examples=30)
@given(st.floats(-2000, 2000), st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_barycentric_coordinates_are_shares_of_softplus(a: float, b: float, c: float) -> None:
    found = barycentric(a, b, c)
    soft = np.logaddexp(0, [a, b, c])
    assert math.fsum(found) == pytest.approx(1, abs=1e-15)
    if soft.max() > 1e-100:  # of denormal floats few digits are left
        assert found == pytest.approx(soft / soft.sum(), rel=1e-8, abs=1e-200)


def test_barycentric_coordinates_of_extremes_are_there() -> None:
    assert barycentric(-900.0, -900.0, -900.0) == pytest.approx((1 / 3,) * 3)
    assert barycentric(1.7e308, 1.7e308, 1.7e308) == pytest.approx((1 / 3,) * 3)
    assert barycentric(-1000.0, -1001.0, -5000.0) == pytest.approx((1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0))


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 3.0, np.zeros(LONGEST + 1)])
def test_what_is_no_row_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"the latent has shape .*: give 1 to 4096 values in one row"):
        decode_zspace_embedding(bad)


@pytest.mark.parametrize(("bad", "message"), [
    ([1.0, math.nan], "value 1 is nan: remove"), ([-math.inf], "value 0 is -inf: remove"),
    ([1e200], r"reaches 1e\+200: the sum of its squares overflows"), (["1"], "holds <U1: give real numbers"),
    ([1j], "holds complex128: give real numbers")])
def test_what_is_no_latent_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_zspace_embedding(bad)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_alpha_must_be_above_zero(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*: it must be finite and above 0"):
        decode_zspace_embedding(GOLDEN, alpha=alpha)


def test_the_longest_latent_is_taken_and_the_callers_values_stay() -> None:
    z = np.full(LONGEST, 2.0)
    found = decode_zspace_embedding(z)
    assert found.spectral_centroid == pytest.approx(0, abs=1e-15)
    assert (z == 2).all()
    z[:] = 0
    assert found.z_state[0] == 2


def test_a_posterior_keeps_its_latent() -> None:
    posterior = ZSpacePosterior(GOLDEN, alpha=0.5)
    assert (posterior.z_state, posterior.alpha) == (tuple(GOLDEN), 0.5)
    assert posterior.decode() == decode_zspace_embedding(GOLDEN, alpha=0.5)
    plain = posterior.decode().as_dict()
    assert plain["z_state"] == GOLDEN
    assert plain["metrics"] == dict(posterior.decode().metrics)
    assert type(plain["gradient"]) is list
