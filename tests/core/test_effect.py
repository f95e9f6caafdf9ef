"""The measure of steering: shares by hand, blind to a constant, and an interval as Student gave it."""

from __future__ import annotations

import numpy as np
import pytest

from core.array import asarray
from core.effect import low_share, painted_layer, paired_contrast, probe_tokens
from core.frame import ZFrame
from core.nn.model import Config
from core.nn.rnn import Rnn

FRAME = ZFrame.octaves(bands=4, sheets=3, echo_count=1)


def test_low_share_by_hand_and_without_the_constant_part() -> None:
    model = Rnn(Config(vocabulary=5, width=6, hidden=6, layers=2))
    p = {k: asarray(v) for k, v in model.initial_parameters(0).items()}
    tokens = np.random.default_rng(0).integers(0, 5, (3, 64)).astype(np.int32)
    x, _, _ = model.states(p, asarray(tokens), model.initial_state(3), stop=1)
    states = x.numpy().astype(np.float64)
    spectrum = np.abs(np.fft.rfft(states - states.mean((0, 1)), axis=1)) ** 2
    spectrum[:, 1:-1] *= 2
    power = np.einsum("bf,nfc->b", FRAME.filters(64) ** 2, spectrum)
    assert low_share(model, p, tokens, FRAME) == pytest.approx(power[:2].sum() / power.sum(), rel=1e-9)
    shifted = {**p, "0.out": p["0.out"] * 0.0, "embedding": p["embedding"] + 7.0}
    still = {**p, "0.out": p["0.out"] * 0.0}
    assert low_share(model, shifted, tokens, FRAME) == pytest.approx(low_share(model, still, tokens, FRAME), rel=1e-5)


def test_painted_layers_cover_half_the_bands() -> None:
    low, high = painted_layer(FRAME, "low", 4.0), painted_layer(FRAME, "high", 0.5)
    np.testing.assert_array_equal(low, [[2] * 3, [2] * 3, [0] * 3, [0] * 3])
    np.testing.assert_array_equal(high, [[0] * 3, [0] * 3, [-1] * 3, [-1] * 3])


def test_interval_is_students() -> None:
    got = paired_contrast([1.0, 2.0, 4.0], [0.5, 1.0, 1.0])  # differences 0.5, 1, 3
    assert got.mean == pytest.approx(1.5)
    reach = 4.302652729911275 * np.std([0.5, 1.0, 3.0], ddof=1) / np.sqrt(3)  # t of 2 degrees at 97.5 %, from tables
    assert got.interval == pytest.approx((1.5 - reach, 1.5 + reach))
    with pytest.raises(ValueError, match="at least 2 seeds"):
        paired_contrast([1.0], [0.0])


def test_the_probe_is_contiguous_and_bounded() -> None:
    text = np.arange(100, dtype=np.uint8)
    np.testing.assert_array_equal(probe_tokens(text, 30), text[:90].reshape(3, 30))
    assert probe_tokens(np.zeros(10_000, np.uint8), 10).shape == (32, 10)
    with pytest.raises(ValueError, match="at least one window of 200"):
        probe_tokens(text, 200)
