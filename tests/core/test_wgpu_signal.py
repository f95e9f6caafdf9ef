"""What is special about wgpu's rows and signals: views, one submit, the shape alone, the ends of a distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core import reference
from core.array import apply, asarray
from core.backends import use_backend, wgpu_signal
from core.errors import BackendError
from core.functions import random_normal
from core.random import Philox
from tests.core.here import wgpu_here


@pytest.fixture(scope="module")
def backend() -> Any:
    return wgpu_here()


N, T, C = 2, 70, 6
VIEWS: dict[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    "rms_norm": (((N, T, C), (C,)), {}), "rms_norm_dx": (((N, T, C), (N, T, C), (C,)), {}),
    "rms_norm_dw": (((N, T, C), (N, T, C)), {}), "layer_norm": (((N, T, C), (C,), (C,)), {}),
    "layer_norm_dx": (((N, T, C), (N, T, C), (C,)), {}), "layer_norm_dw": (((N, T, C), (N, T, C)), {}),
    "argsort": (((N, T, C),), {"descending": False}),
    "causal_conv": (((N, T, C), (3, C), (N, 4, C)), {"dilation": 2}),
    "causal_conv_dx": (((N, T, C), (3, C)), {"dilation": 2}),
    "causal_conv_dw": (((N, T, C), (N, T, C), (N, 4, C)), {"dilation": 2}),
    "causal_conv_dtail": (((N, T, C), (3, C)), {"dilation": 2}),
    "linear_recurrence": (((N, T, C), (N, T, C), (N, C)), {"reverse": False}),
    "complex_recurrence": (((N, T, C, 2), (N, T, C, 2), (N, C, 2)), {"reverse": True}),
    "complex_mul": (((N, T, C, 2), (N, T, C, 2)), {"conjugate": True}),
    "rfft": (((N, T, C),), {"n": 72, "axis": 1}), "irfft": (((N, 36, C, 2),), {"n": 70, "axis": 1}),
    "unfold2d": (((N, 5, 6, C),), {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    "fold2d": (((N, 5, 3, 6 * C),), {"size": (5, 6), "kernel": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    "sheet_weight": (((N, T, C), (N, T, C), (4,)), {}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_kernel_reads_views(backend: Any, name: str) -> None:
    """Axes in another order, offsets that no binding can start at."""
    rng, (shapes, params) = np.random.default_rng(1), VIEWS[name]
    inputs, values = [], []
    for shape in shapes:
        wide = np.tanh(rng.standard_normal([n + 3 for n in reversed(shape)])).astype(np.float32)
        cut = tuple(slice(1, n + 1) for n in shape)
        inputs.append(asarray(wide, backend=backend).transpose()[cut])
        values.append(wide.transpose()[cut].astype(np.float64))
    want = reference.REFERENCE[name](*values, **params)
    got = apply(name, *inputs, **params).numpy()
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_complex_products_broadcast_without_a_copy(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    dispatch = backend.dispatch
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((3, 5, 2)).astype(np.float32), rng.standard_normal((4, 1, 2)).astype(np.float32)
    x, y = asarray(a, backend=backend), asarray(b, backend=backend)
    monkeypatch.setattr(backend, "dispatch", lambda name, *args, **rest: (names.append(name),
                                                                           dispatch(name, *args, **rest)))
    got = apply("complex_mul", x[:, :4].transpose(1, 0, 2), y, conjugate=False).numpy()
    want = reference.complex_mul(a[:, :4].transpose(1, 0, 2), b, conjugate=False)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert names == ["complex_mul"]


def test_a_transform_of_many_passes_is_one_submit(backend: Any) -> None:
    x = asarray(np.ones((2, 1031 * 6), np.float32), backend=backend)
    apply("rfft", x[:, :3], n=x.shape[1], axis=1).numpy()  # makes the table of roots
    y = apply("rfft", x, n=x.shape[1], axis=1)
    before = backend.submits
    backend.flush()
    assert backend.submits == before + 1
    got = y.numpy()
    assert got[0, 0, 0] == pytest.approx(x.shape[1])
    assert np.abs(got[:, 1:]).max() < 0.5


def test_many_passes_and_several_large_primes(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a workgroup held 16 values: what very long arrays need, at sizes that a CPU does too."""
    monkeypatch.setattr(wgpu_signal, "CELLS", 16)
    wgpu_signal.passes.cache_clear()
    rng = np.random.default_rng(4)
    try:
        for n, count in ((4096, 3), (17 * 19 * 4, 3), (17 * 17, 2), (3 * 5 * 7 * 11, 3)):
            assert len(wgpu_signal.passes(n)) == count
            x = rng.standard_normal((2, n, 3)).astype(np.float32)
            spectrum = apply("rfft", asarray(x, backend=backend), n=n, axis=1)
            want = np.fft.rfft(x.astype(np.float64), axis=1)
            assert np.abs(reference.joined(spectrum.numpy()) - want).max() <= 1e-5 * np.abs(want).max()
            assert np.abs(apply("irfft", spectrum, n=n, axis=1).numpy() - x).max() <= 1e-5 * np.abs(x).max()
    finally:
        wgpu_signal.passes.cache_clear()


def test_passes_are_what_a_workgroup_holds() -> None:
    for n in (*range(1, 400), 1024, 1031, 2062, 4098, 30030, 70000, 1031 * 1033, 1 << 20):
        made = wgpu_signal.passes(n)
        assert math.prod(math.prod(radices) for radices in made) == n
        for radices in made:
            assert math.prod(radices) <= 1024 or len(radices) == 1
            assert len(radices) <= 8
    assert [math.prod(radices) for radices in wgpu_signal.passes(1 << 16)] == [256, 256]


def test_sums_repeat_bit_for_bit(backend: Any) -> None:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> Any:
        return asarray(rng.standard_normal(shape).astype(np.float32), backend=backend)

    a, g, w, h = draw(2, 500, 3), draw(2, 500, 3), draw(2, 4, 3), draw(2, 3)
    for name, inputs, params in (("linear_recurrence", (a, g, h), {"reverse": False}), ("layer_norm_dw", (g, a), {}),
                                 ("causal_conv_dw", (g, a, w), {"dilation": 1})):
        first, again = (apply(name, *inputs, **params).numpy() for _ in range(2))
        np.testing.assert_array_equal(first, again)


def test_order_of_what_is_no_number(backend: Any) -> None:
    """NaN last either way, the two zeros equal, infinities at the ends: as the reference."""
    x = np.array([[3, np.nan, -np.inf, 0.0, np.inf, -0.0, 0.0, -1]], np.float32)
    for descending in (False, True):
        got = apply("argsort", asarray(x, backend=backend), descending=descending).numpy()
        np.testing.assert_array_equal(got, reference.REFERENCE["argsort"](x, descending=descending))


def test_a_target_outside_the_vocabulary_gives_nan(backend: Any) -> None:
    targets = asarray(np.array([-1, 4, 2], np.int32), backend=backend)
    got = apply("cross_entropy", asarray(np.zeros((3, 4), np.float32), backend=backend), targets).numpy()
    np.testing.assert_array_equal(np.isnan(got), [True, True, False])


def test_normals_hold_at_both_ends(backend: Any) -> None:
    """A million draws reach to within 1e-6 of 0 and of 1, where a float of u would keep next to nothing of -log u."""
    seed, count = 5 << 32 | 11, 1_000_000
    words = Philox(seed).bits(1, 9, (count,))[: count // 2]
    assert words.min() < 2**15
    assert words.max() > 2**32 - 2**15
    want: NDArray[np.float64] = Philox(seed).normal(1, 9, (count,))
    with use_backend(backend):
        got = random_normal(seed, 1, 9, (count,)).numpy()
    assert np.abs(got - want).max() < 1e-5
    near = words > 2**32 - 2**20  # where radii are small, they are right to their own size
    radii = np.hypot(want[: count // 2], want[count // 2 :])[near]
    assert (np.abs(got - want)[: count // 2][near] / radii).max() < 1e-6


def test_integers_are_refused(backend: Any) -> None:
    held = apply("argsort", asarray(np.arange(6).reshape(2, 3), backend=backend), descending=False)
    with pytest.raises(BackendError, match="no argsort of int32: use float32, or --backend cpu"):
        held.numpy()
