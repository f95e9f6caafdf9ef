"""Sessions: nested, isolated, usable from any thread; tensors with frames."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import core as st
from core.array import asarray
from core.functions import sigmoid
from core.session import TelemetryBus
from core.tap import tap_gradient

WIDE = st.ZFrame.octaves(bands=3, sheets=4, echo_count=2)


def signal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_nothing_observed_says_how() -> None:
    with st.zspace.session(), pytest.raises(st.NothingObservedError, match="pass a signal"):
        st.zspace.sample_field()
    with pytest.raises(st.NothingObservedError, match=r"with st\.zspace\.session"):
        st.zspace.sample_field(signal(0, 64))


def test_observe_then_sample_uses_the_last_signal() -> None:
    x = signal(1, 128, 3)
    with st.zspace.session(WIDE) as s:
        s.observe(x, step=7, signal="state")
        field = st.zspace.sample_field()
        assert field.rho[:, :, 0].sum() == pytest.approx(np.mean(x**2), rel=1e-12)
        assert s.atlas.latest.step == 7
        assert s.telemetry.recent[-1]["kind"] == "chart"
        assert (s.frame.bands, s.frame.sheets, s.frame.temporal.echo_count) == (3, 4, 2)


def test_what_was_observed_does_not_change_with_the_callers_array() -> None:
    x = signal(1, 64)
    with st.zspace.session(WIDE) as s:
        s.observe(x)
        power = np.mean(x**2)
        x[:] = 0
        again = s.atlas.warp(st.ZFrame.octaves(echo_count=3)).latest.field
        assert again.rho[:, :, 0].sum() == pytest.approx(power, rel=1e-12)
        with pytest.raises(ValueError, match=r"reaches 1e\+200, its power would overflow"):
            s.observe(np.full(64, 1e200))


def test_sessions_nest_and_do_not_mix() -> None:
    with st.zspace.session(WIDE) as outer:
        outer.observe(signal(2, 64))
        with st.zspace.session() as inner:
            inner.observe(signal(3, 64, 2))
            inner.observe(signal(4, 64, 2))
        assert len(outer.atlas) == 1
        assert len(inner.atlas) == 2
        assert st.zspace.sample_field().rho.shape == (3, 4, 2)
        assert outer.kernels is not inner.kernels
        assert asarray([1.0]).backend is outer.backend


def test_a_session_serves_other_threads_and_their_own_sessions_stay_apart() -> None:
    seen: list[int] = []
    with st.zspace.session(WIDE) as shared:
        def work() -> None:
            with pytest.raises(st.NothingObservedError):
                st.zspace.sample_field(signal(5, 64))  # a new thread begins without a session
            with shared:
                st.zspace.sample_field(signal(5, 64))
                shared.observe(signal(5, 64))
            seen.append(len(shared.atlas))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(seen)[-1] == len(shared.atlas) == 3


def test_a_failing_listener_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus, got = TelemetryBus(capacity=2), []
    bus.subscribe(lambda event: 1 / 0)
    end = bus.subscribe(got.append)
    bus.publish("a", value=1)
    end()
    bus.publish("b")
    bus.publish("c")
    assert [e["kind"] for e in got] == ["a"]
    assert [e["kind"] for e in bus.recent] == ["b", "c"]
    assert "listener failed on 'a'" in caplog.text


def test_a_frame_travels_through_primitives() -> None:
    x = st.lift(signal(6, 32, 4), WIDE, np.float64)
    w = asarray(signal(7, 4, 4), np.float64)
    for y in (x + 1.0, sigmoid(x @ w), x.mean(axis=1), x[:8], asarray(np.ones((32, 4)), np.float64) * x):
        assert isinstance(y, st.ZTensor)
        assert y.frame == WIDE
    np.testing.assert_allclose((x + x).numpy(), 2 * x.numpy())


def test_kernels_specialised_to_a_frame_are_built_once_and_kept_apart_by_signature() -> None:
    other = st.ZFrame.octaves(bands=3, sheets=5, echo_count=2)
    g = signal(13, 2, 16, 3)
    with st.zspace.session(WIDE) as s:
        results = []
        for frame in (WIDE, other, WIDE):
            gains = np.linspace(0.5, 2, frame.bands * frame.sheets).reshape(frame.bands, frame.sheets)
            array = asarray(g, np.float64)
            results.append(tap_gradient(array, array, frame, gains).numpy())
        assert [key[1] for key in s.kernels] == [WIDE.signature(), other.signature()]
        np.testing.assert_array_equal(results[0], results[2])
        assert np.abs(results[0] - results[1]).max() > 1e-3


def test_two_frames_do_not_mix() -> None:
    a, b = st.lift(signal(8, 16, 2), WIDE), st.lift(signal(9, 16, 2), st.ZFrame.octaves())
    with pytest.raises(st.FrameMismatchError) as caught:
        _ = a + b
    assert WIDE.signature()[:12] in str(caught.value)
    assert st.ZFrame.octaves().signature()[:12] in str(caught.value)
    assert (a + b.reframe(WIDE)).frame == WIDE


def test_lift_then_project_is_the_identity() -> None:
    x = signal(10, 16, 2)
    np.testing.assert_array_equal(st.lift(x, WIDE, np.float64).project().numpy(), x)
    assert type(st.lift(x, WIDE).project()).__name__ == "Array"


def test_numpy_and_dlpack_speak_to_it() -> None:
    x = signal(11, 6, 4)
    z = st.lift(x, WIDE, np.float64)
    for got, want in ((np.tanh(z), np.tanh(x)), (np.add(z, 1.5), x + 1.5), (np.matmul(z, x.T), x @ x.T),
                      (np.sum(z, axis=1, keepdims=True), x.sum(1, keepdims=True)), (np.sin(z), np.sin(x)),
                      (np.transpose(z), x.T), (-z, -x)):
        assert isinstance(got, st.ZTensor)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)
    np.testing.assert_array_equal(np.asarray(z), x)
    np.testing.assert_array_equal(np.from_dlpack(z), x)
    with pytest.raises(TypeError, match=r"numpy\.arctan .* use \.numpy\(\)"):
        np.arctan(z)
    with pytest.raises(TypeError, match=r"numpy\.linalg|numpy\.svd"):
        np.linalg.svd(z)


def test_embed_gives_rows_spread_and_cells() -> None:
    t = np.arange(256)
    with st.zspace.session(WIDE):
        slow = st.z.embed(np.cos(2 * np.pi * t / 16 + 0.1), window=64)
        vectors = st.z.embed(signal(12, 9, 16))
    assert slow.mu.shape == slow.sigma.shape == (7, 64)
    assert vectors.mu.shape == (9, 16)
    assert slow.mu.frame == WIDE
    assert {c.band for c in slow.indices} == {0}  # 1/16 lies below the lowest edge, 1/8
    by_hand = signal(12, 9, 16)[0:4].var(axis=0)
    np.testing.assert_allclose(vectors.sigma.numpy()[0], by_hand, rtol=1e-12)
    with pytest.raises(ValueError, match="10 samples are fewer than one window of 32"):
        st.z.embed(np.ones(10))
    with pytest.raises(ValueError, match="not finite"):
        st.z.embed(np.full((3, 4), np.nan))
