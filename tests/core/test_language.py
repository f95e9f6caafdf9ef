"""Text into Z-space: recorded numbers, a slow Fourier sum, the transform's identities, and the `st.z` notation."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import core as st
from core.frame import ZFrame
from core.language import LanguageWaveEncoder, encode_zspace
from core.ztensor import lift

texts = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
curvatures = some.floats(-9, -0.05)
temperatures = some.floats(0.01, 3)


def slow(text: str, curvature: float, temperature: float) -> list[float]:
    """The definition, one term at a time."""
    n, root = len(text), math.sqrt(-curvature)
    s = [temperature * ((ord(c) % 1024) / 1024 + abs(math.sin((i + 1) / n))) for i, c in enumerate(text)]
    row: list[float] = []
    for k in range(n):
        x = sum(s[i] * cmath.exp(-2j * math.pi * i * k / n) for i in range(n))
        point = cmath.rect(math.tanh(abs(x) * root), cmath.phase(x))
        row += [point.real, point.imag]
    norm = math.sqrt(math.fsum(v * v for v in row))
    return [v * math.tanh(norm / root) / norm for v in row]


def test_the_recorded_numbers_are_met() -> None:
    np.testing.assert_allclose(encode_zspace("a").numpy(), [[0.410874, 0]], atol=5e-7)
    np.testing.assert_allclose(encode_zspace("hi").numpy(), [[0.561596, 0, -0.156924, 0]], atol=5e-7)


@pytest.mark.parametrize("text", ["a", "hi", "Ünïcödé 🜁", "a bird at the window", "0" * 33])
@pytest.mark.parametrize(("curvature", "temperature"), [(-1.0, 0.5), (-4.0, 0.02), (-0.25, 1.5)])
def test_every_coordinate_follows_its_definition(text: str, curvature: float, temperature: float) -> None:
    want = slow(text, curvature, temperature)
    row = LanguageWaveEncoder(curvature, temperature).coordinates(text)
    np.testing.assert_allclose(row, [want], rtol=1e-11, atol=1e-13)
    point = encode_zspace(text, curvature=curvature, temperature=temperature)
    assert (point.shape, point.dtype) == ((1, 2 * len(text)), np.float32)
    np.testing.assert_allclose(point.numpy(), [want], rtol=1e-7, atol=1e-13)


@given(texts, temperatures)
@settings(max_examples=100)
def test_the_wave_keeps_the_energy_mirrors_itself_and_scales(text: str, temperature: float) -> None:
    n = len(text)
    wave = LanguageWaveEncoder(-1.0, temperature).encode_wave(text)[0]
    angles = temperature * np.array([(ord(c) % 1024) / 1024 + abs(math.sin((i + 1) / n)) for i, c in enumerate(text)])
    assert np.sum(np.abs(wave) ** 2) == pytest.approx(n * np.sum(angles**2), rel=1e-12)  # Parseval
    np.testing.assert_allclose(wave, np.conj(np.roll(wave[::-1], 1)), atol=1e-12 * np.abs(wave).max())
    assert wave[0] == pytest.approx(angles.sum(), rel=1e-12)
    twice = LanguageWaveEncoder(-1.0, 2 * temperature).encode_wave(text)[0]
    np.testing.assert_allclose(twice, 2 * wave, rtol=1e-12, atol=1e-13)


@given(texts, curvatures, temperatures)
@settings(max_examples=100)
def test_points_lie_in_the_unit_ball_at_the_angles_of_the_wave(text: str, curvature: float, temperature: float) -> None:
    encoder = LanguageWaveEncoder(curvature, temperature)
    row, wave = encoder.coordinates(text)[0], encoder.encode_wave(text)[0]
    point = row[::2] + 1j * row[1::2]
    assert np.linalg.norm(row) < 1
    assert np.linalg.norm(encoder.encode_z_space(text).numpy().astype(np.float64)) < 1
    heard = np.abs(wave) > 1e-9
    np.testing.assert_allclose(point[heard] / np.abs(point[heard]), wave[heard] / np.abs(wave[heard]), atol=1e-9)


def test_a_long_text_stays_inside_the_ball() -> None:
    for curvature in (-1.0, -0.01, -100.0):
        row = encode_zspace("In the beginning " * 200, curvature=curvature).numpy().astype(np.float64)
        assert 0.9 < np.linalg.norm(row) < 1


def test_texts_of_one_length_are_encoded_as_alone() -> None:
    batch = LanguageWaveEncoder(-2.0, 0.5).coordinates(["fish", "fowl", "🜁🜂🜃🜄"])
    assert batch.shape == (3, 8)
    for row, text in zip(batch, ("fish", "fowl", "🜁🜂🜃🜄"), strict=True):
        np.testing.assert_allclose(row, slow(text, -2.0, 0.5), rtol=1e-11, atol=1e-13)


def test_a_shorter_text_is_silent_after_its_end() -> None:
    encoder = LanguageWaveEncoder(-1.0, 0.5)
    wave = encoder.encode_wave(["abcdef", "abc"])
    alone = encoder.encode_wave("abc")[0]
    np.testing.assert_allclose(wave[1, ::2], alone, rtol=1e-12)  # the shared frequencies
    assert np.sum(np.abs(wave[1]) ** 2) == pytest.approx(2 * np.sum(np.abs(alone) ** 2), rel=1e-12)


@pytest.mark.parametrize("curvature", [0.0, 1.0, -math.inf, math.nan])
def test_a_curvature_that_is_not_below_zero_is_refused(curvature: float) -> None:
    with pytest.raises(ValueError, match=rf"curvature is {curvature}: it must be finite and below 0"):
        LanguageWaveEncoder(curvature, 0.5)
    with pytest.raises(ValueError, match="curvature is"):
        encode_zspace("a", curvature=curvature)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=rf"temperature is {temperature}: it must be finite and above 0"):
        LanguageWaveEncoder(-1.0, temperature)


def test_what_is_no_text_is_refused() -> None:
    encoder = LanguageWaveEncoder(-1.0, 0.5)
    for encode in (encoder.encode_wave, encoder.encode_z_space, encode_zspace):
        with pytest.raises(ValueError, match="text 0 of 1 is empty"):
            encode("")
        with pytest.raises(ValueError, match="text 1 of 2 is empty"):
            encode(["a", ""])
        with pytest.raises(ValueError, match="no text to encode"):
            encode([])
        for bad in (3, b"hi", ["a", 3], None):
            with pytest.raises(TypeError, match="text must be a string or a sequence of strings, got"):
                encode(bad)  # type: ignore[operator]
    with pytest.raises(TypeError, match="curvature must be a real number, got '-1'"):
        LanguageWaveEncoder("-1", 0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="encoder must be a LanguageWaveEncoder, got 3"):
        encode_zspace("a", encoder=3)  # type: ignore[arg-type]


def test_an_encoder_takes_the_place_of_its_settings() -> None:
    encoder = LanguageWaveEncoder(-2.0, 0.75)
    assert (encoder.curvature(), encoder.temperature()) == (-2.0, 0.75)
    got = encode_zspace("wren", encoder=encoder, curvature=-1.0, temperature=0.5).numpy()[0]
    np.testing.assert_allclose(got, slow("wren", -2.0, 0.75), rtol=1e-6, atol=1e-13)


# --- st.z -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("point", "curvature", "temperature"), [
    (lambda: st.z("wren"), -1.0, 0.5),
    (lambda: st.z("wren", temperature=0.7, curvature=-2.0), -2.0, 0.7),
    (lambda: st.z["wren"], -1.0, 0.5),
    (lambda: st.z["wren",], -1.0, 0.5),
    (lambda: st.z["wren", 0.42], -1.0, 0.42),
    (lambda: st.z["wren", np.float32(0.5)], -1.0, 0.5),
    (lambda: st.z["wren", ("temperature", 0.42)], -1.0, 0.42),
    (lambda: st.z["wren", 0.42, ("curvature", -3.0)], -3.0, 0.42),
    (lambda: st.z["wren", {"curvature": -3.0, "temperature": 0.42}], -3.0, 0.42),
    (lambda: st.z["wren", ("encoder", LanguageWaveEncoder(-3.0, 0.42))], -3.0, 0.42),
])
def test_the_notation_encodes(point: Any, curvature: float, temperature: float) -> None:
    got = point()
    assert isinstance(got, st.ZTensor)
    np.testing.assert_allclose(got.numpy()[0], slow("wren", curvature, temperature), rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize(("key", "message"), [
    (3, r"starts with a text, such as .*; got 3"),
    ((), "starts with a text"),
    (b"hi", "starts with a text"),
    ((0.5, "hi"), r"starts with a text.*got 0\.5"),
    (("hi", "there"), "takes a temperature.*got 'there'"),
    (("hi", None), "takes a temperature.*got None"),
    (("hi", True), "takes a temperature.*got True"),
    (("hi", ("temperature", 0.4, 0.5)), "takes a temperature"),
    (("hi", (1, 0.5)), "takes a temperature"),
    (("hi", {1: 0.5}), "takes a temperature"),
    (("hi", 0.4, 0.5), "temperature is given twice"),
    (("hi", 0.4, {"temperature": 0.5}), "temperature is given twice"),
    (("hi", ("heat", 0.4)), "heat"),
])
def test_what_the_notation_does_not_know_is_refused(key: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        st.z[key]


def test_a_point_is_seen_through_the_frame_of_its_session() -> None:
    frame = ZFrame.octaves(3, 4, 2)
    with st.zspace.session(frame):
        assert st.z["hi"].frame == frame
    assert st.z["hi"].frame == ZFrame.octaves()


def test_a_text_is_embedded_by_its_windows() -> None:
    text = "the quick brown fox jumps over it"  # 33 characters: windows of 16 at 0, 8 and 16
    gaussian = st.z.embed(text, window=16)
    assert gaussian.mu.shape == gaussian.sigma.shape == (3, 32)
    rows = np.array([slow(text[at: at + 16], -1.0, 0.5) for at in (0, 8, 16)])
    np.testing.assert_allclose(gaussian.mu.numpy(), rows, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(gaussian.sigma.numpy()[1], rows.var(axis=0), rtol=1e-9, atol=1e-15)
    assert len(gaussian.indices) == 3
    short = st.z.embed("hi")
    np.testing.assert_allclose(short.mu.numpy(), [[0.561596, 0, -0.156924, 0]], atol=5e-7)
    assert not short.sigma.numpy().any()


def test_several_texts_are_embedded_as_a_row_each() -> None:
    frame = ZFrame.octaves(3, 4, 2)
    gaussian = st.z.embed(["fish", "fowl", "a much longer one"], frame)
    assert gaussian.mu.shape == (3, 34)
    assert gaussian.mu.frame == frame
    np.testing.assert_allclose(gaussian.mu.numpy()[2], slow("a much longer one", -1.0, 0.5), rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match="window is 0"):
        st.z.embed("hi", window=0)
    with pytest.raises(ValueError, match="text 0 of 1 is empty"):
        st.z.embed("")


# --- the predecessor's distance ---------------------------------------------------------------------------------------
def distance(p: Any, q: Any, curvature: float) -> float:
    frame = ZFrame.octaves()
    return lift(np.array([p], float), frame).hyperbolic_distance(lift(np.array([q], float), frame), curvature)


def test_the_recorded_distance_is_met() -> None:
    assert distance([0.25, -0.5], [0.75, 0], -1.0) == pytest.approx(1.859394, abs=5e-7)
    by_hand = 1 + (0.5**2 + 0.5**2) / 4 / math.sqrt((1 - 1 / 64) * (1 - 9 / 64) + (1 - 1 / 16) * 1)
    assert distance([0.25, -0.5], [0.75, 0], -4.0) == pytest.approx(2 * math.acosh(by_hand), rel=1e-12)
    assert distance([2.0], [3.0], -1.0) == pytest.approx(2 * math.acosh(1 + 1 / math.sqrt(24)), rel=1e-12)
    assert distance([0.5], [2.0], -1.0) == pytest.approx(2 * math.acosh(1 + 2.25 / 1e-3), rel=1e-12)  # the floor


@given(some.lists(some.tuples(some.floats(-0.9, 0.9), some.floats(-0.9, 0.9)), min_size=1, max_size=6), curvatures)
@settings(max_examples=100)
def test_the_distance_is_symmetric_and_zero_only_in_place(pairs: list[tuple[float, float]], curvature: float) -> None:
    p, q = zip(*pairs, strict=True)
    assert distance(p, p, curvature) == 0
    assert distance(p, q, curvature) == distance(q, p, curvature) >= 0


def test_the_distance_is_not_the_geodesic() -> None:
    step = 1e-5  # near the origin the ball's metric is 2 |dx|
    assert distance([0.0], [step], -1.0) == pytest.approx(math.sqrt(2) * 2 * step, rel=1e-6)


def test_distances_need_equal_shapes_and_a_curvature() -> None:
    with pytest.raises(RuntimeError, match=r"shapes \(1, 2\) and \(1, 3\): they must be equal"):
        distance([0, 0], [0, 0, 0], -1.0)
    for curvature in (0.0, 1.0, math.nan, -math.inf):
        with pytest.raises(ValueError, match="curvature is"):
            distance([0], [0], curvature)
