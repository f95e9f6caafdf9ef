"""What is special about wgpu: the pool, views, submits, limits, fused chains."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

from core import reference
from core.array import Array, apply, asarray
from core.backends import open_backend
from core.backends.wgpu_pool import Pool
from core.errors import BackendError
from tests.core.here import wgpu_here


@pytest.fixture(scope="module")
def backend() -> Any:
    return wgpu_here()


@pytest.fixture
def dispatched(backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels run."""
    names: list[str] = []
    dispatch = backend.dispatch

    def spy(name: str, *args: Any, **kwargs: Any) -> None:
        names.append(name)
        dispatch(name, *args, **kwargs)

    monkeypatch.setattr(backend, "dispatch", spy)
    return names


def ones(backend: Any, *shape: int) -> Array:
    return asarray(np.ones(shape, np.float32), backend=backend)


def test_float64_is_refused(backend: Any) -> None:
    sentence = "backend 'wgpu' has no float64: use float32, or --backend cpu"
    with pytest.raises(BackendError, match=sentence):
        asarray(np.ones(3), np.float64, backend)
    with pytest.raises(BackendError, match=sentence):
        apply("cast", ones(backend, 3), dtype="float64")


def test_int32_arithmetic_is_refused_and_int32_layout_is_not(backend: Any) -> None:
    x = asarray(np.arange(6).reshape(2, 3), backend=backend)
    np.testing.assert_array_equal(apply("concat", x.transpose(), x.transpose(), axis=0).numpy(),
                                  np.concatenate([np.arange(6).reshape(2, 3).T] * 2))
    for name, inputs, params in (("add", (x, x), {}), ("sum", (x,), {"axis": (0,), "keepdims": False})):
        held = apply(name, *inputs, **params)
        with pytest.raises(BackendError, match=f"no {name} of int32: use float32, or --backend cpu"):
            held.numpy()


def test_a_flush_is_one_submit(backend: Any) -> None:
    x = ones(backend, 5, 7)
    y = (x + 1.0) @ (x.transpose() * 2.0)
    z = y.sum(0).reshape(5, 1) * y
    before = backend.submits
    backend.flush()
    assert backend.submits == before + 1
    backend.flush()
    assert backend.submits == before + 1
    np.testing.assert_array_equal(z.numpy(), np.full((5, 5), 140.0 * 28.0))


def test_very_many_launches_are_several_submits(backend: Any) -> None:
    from core.backends.wgpu import SHORT  # there is no importing it where there is no adapter

    x, count = ones(backend, 3), 2500
    sums = [x]
    for _ in range(count):
        sums.append(apply("concat", sums[-1][:1], sums[-1][1:], axis=0) + 1.0)
    before = backend.submits
    assert sums[-1].numpy()[2] == count + 1
    assert backend.submits == before + -(-3 * count // SHORT)  # three launches each


def test_a_chain_with_many_operands_becomes_few_kernels(backend: Any, dispatched: list[str]) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((3, 5)).astype(np.float32) for _ in range(23)]
    inputs = [asarray(v, backend=backend) for v in values]
    total = inputs[0]
    partial = []
    for x in inputs[1:]:
        total = total + x * 0.5
        partial.append(total)
    backend.flush()
    assert set(dispatched) == {"chain"}
    assert len(dispatched) <= 8
    want = values[0].astype(np.float64)
    for v, got in zip(values[1:], partial, strict=True):
        want = want + 0.5 * v
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-5)


def test_a_chain_with_very_many_parameters_becomes_few_kernels(backend: Any, dispatched: list[str]) -> None:
    x, want = ones(backend, 9), np.ones(9)
    for i in range(100):
        x, want = x * 0.99 + 0.01 * i, want * 0.99 + 0.01 * i
    np.testing.assert_allclose(x.numpy(), want, rtol=1e-5)
    assert len(dispatched) < 10


def test_a_chain_is_built_once_for_all_shapes(backend: Any) -> None:
    def pipelines(*shape: int) -> int:
        (apply("tanh", ones(backend, *shape) + ones(backend, shape[-1])) * 3.0).numpy()
        return sum(isinstance(key[0], str) for key in backend.kernels)

    assert pipelines(4, 8) == pipelines(6, 12) == pipelines(31, 40)


def test_layout_is_views_without_a_launch(backend: Any, dispatched: list[str]) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = asarray(values, backend=backend)
    view = apply("broadcast", x.transpose(2, 0, 1)[1:3].reshape(2, 2, 3, 1)[:, :1], shape=(5, 2, 2, 3, 4))
    held = [x.reshape(6, 4), x.transpose(), x[1:, 2, 1:3], apply("broadcast", x, shape=(7, 2, 3, 4))]
    backend.flush()
    assert len(dispatched) == 1  # reshaping what is not row-major is a copy
    want = np.broadcast_to(values.transpose(2, 0, 1)[1:3].reshape(2, 2, 3, 1)[:, :1], (5, 2, 2, 3, 4))
    np.testing.assert_array_equal(view.numpy(), want)
    np.testing.assert_array_equal((held[2] * held[3][0, 1, 2, 1:3]).numpy(), values[1:, 2, 1:3] * values[1, 2, 1:3])


def test_every_kernel_reads_views(backend: Any) -> None:
    """Offsets that no binding can start at, steps that are not one, axes that repeat."""
    rng = np.random.default_rng(1)
    base = rng.standard_normal((9, 11, 7)).astype(np.float32)
    x, index = asarray(base, backend=backend), np.array([3, 0, 3, 1], np.int32)

    def part(a: Any) -> Any:
        return a[1:6, 3:10, 2:7].transpose(*(2, 0, 1))

    places = asarray(np.tile(index, 2), backend=backend)[1:5]
    want = part(base)
    for got, expected in (
        (part(x).sum(1), want.sum(1)), (part(x).sum((0, 2)), want.sum((0, 2))), (part(x).max(0), want.max(0)),
        (part(x) @ part(x).transpose(0, 2, 1), want @ want.transpose(0, 2, 1)),
        (apply("take", part(x), places), want[np.tile(index, 2)[1:5]]),
        (apply("scatter_add", part(x)[:4], places, rows=5),
         reference.scatter_add(want[:4], np.tile(index, 2)[1:5], rows=5)),
        (apply("pad", part(x), before=(0, 2, 1), after=(1, 0, 0)), np.pad(want, ((0, 1), (2, 0), (1, 0)))),
        (part(x) * x[0, 0, :1] + part(x)[:, :, :1], want * base[0, 0, :1] + want[:, :, :1]),
    ):
        np.testing.assert_allclose(got.numpy(), expected, rtol=2e-5, atol=2e-5)


def test_shapes_beyond_a_tile_and_a_chunk(backend: Any) -> None:
    rng = np.random.default_rng(2)
    for shape, axis in (((20000,), 0), ((3, 9000), 1), ((700, 130), 0), ((2, 300, 65), (0, 1))):
        v = rng.standard_normal(shape).astype(np.float32)
        want = v.astype(np.float64).sum(axis)
        np.testing.assert_allclose(asarray(v, backend=backend).sum(axis).numpy(), want,
                                   atol=1e-5 * np.abs(want).max(), rtol=0)
    for m, k, n in ((70, 3000, 66), (1, 700, 1), (130, 17, 64)):
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((n, k)).astype(np.float32)
        want = a.astype(np.float64) @ b.T
        got = apply("matmul", asarray(a, backend=backend), asarray(b, backend=backend), ta=False, tb=True).numpy()
        np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max(), rtol=0)
    rows, index = rng.standard_normal((2500, 300)).astype(np.float32), rng.integers(0, 7, 2500).astype(np.int32)
    got = apply("scatter_add", asarray(rows, backend=backend), asarray(index, backend=backend), rows=8).numpy()
    np.testing.assert_allclose(got, reference.scatter_add(rows, index, rows=8), atol=1e-3, rtol=0)


def test_freed_storage_is_used_again(backend: Any) -> None:
    x = ones(backend, 1000)
    (x + 1.0).numpy()
    before = backend.residency()
    for _ in range(5):
        (x + 1.0).numpy()
    assert backend.residency() == before
    gc.collect()
    big = ones(backend, 100_000)
    assert backend.residency()["in_use"] >= before["in_use"] + big.size * 4
    del big
    after = backend.residency()
    assert after["kept"] >= 400_000
    assert after["peak"] >= after["in_use"] + 400_000


def test_a_step_that_needs_more_than_is_kept_meets_its_buffers_again() -> None:
    made: list[int] = []
    pool = Pool(lambda nbytes: made.append(nbytes) or len(made), 1 << 30)  # type: ignore[func-returns-value]

    def flush(sizes: list[int]) -> bool:
        held = [pool.take(n) for n in sizes]
        del held
        return pool.trim(1000)

    for _ in range(5):
        assert not flush([4096] * 8 + [512])
    assert len(made) == 9
    assert any(flush([512]) for _ in range(60))  # the need fades where it does not come again
    assert pool.residency()["kept"] <= 1000


def test_timing_within_a_timed_run_leaves_it_its_own(backend: Any) -> None:
    if "timestamp-query" not in backend.device.features:
        pytest.skip("the device has no timestamps")
    inner: list[float] = []

    def run() -> None:
        kept = ones(backend, 256) * 2.0
        backend.flush()
        inner.append(backend.seconds(lambda: (ones(backend, 1 << 22) * 3.0).numpy()))
        kept = kept * 2.0
        backend.flush()

    outer = backend.seconds(run)
    assert outer > 0
    assert inner[0] > 0


def test_an_upload_never_touches_what_is_not_run_yet(backend: Any) -> None:
    x = ones(backend, 64)
    y = x + 1.0
    del x
    other = asarray(np.full(64, 5.0, np.float32), backend=backend)
    np.testing.assert_array_equal(y.numpy(), np.full(64, 2.0))
    np.testing.assert_array_equal(other.numpy(), np.full(64, 5.0))


def test_limits_say_what_they_are(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    view = backend.empty((4,))
    with pytest.raises(BackendError, match="kernel 'fill' binds 9 storage buffers, the limit is 8: split it in two"):
        backend.dispatch("fill", [1], [view] * 8, [view], 1)
    with pytest.raises(BackendError, match="'fill' has 65 uniform fields, the limit is 64"):
        backend.dispatch("fill", [1] * 65, [], [view], 1)
    with pytest.raises(BackendError, match=r"'fill' asks for \(1, 70000, 1\) workgroups, the limit is 65,535"):
        backend.dispatch("fill", [1], [], [view], (1, 70000, 1))
    monkeypatch.setattr(backend.pool, "limit", 1 << 20)
    with pytest.raises(BackendError, match=r"4,000,000 bytes is above this device's limit of 1,048,576 bytes a "
                                           "binding: use a smaller batch, or --backend cpu"):
        backend.empty((1_000_000,))
    mixed = apply("transpose", ones(backend, *[2] * 10), axes=(0, 9, 1, 8, 2, 7, 3, 6, 4, 5)).reshape(1024)
    with pytest.raises(BackendError, match="copy over 9 axes that do not merge, the limit is 8"):
        mixed.numpy()


def test_a_grid_beyond_one_dimension_is_folded(backend: Any) -> None:
    n = 65535 * 256 + 5  # an invocation a value: one group more than a dimension holds
    rows = asarray(np.arange(n // 4 + 1, dtype=np.int32), backend=backend)
    pairs = apply("broadcast", rows.reshape(-1, 1), shape=(rows.size, 4)).reshape(-1)
    got = pairs.numpy()
    assert got.size > n
    np.testing.assert_array_equal(got[::4], np.arange(rows.size))
    np.testing.assert_array_equal(got[3::4], np.arange(rows.size))


def test_two_threads_launch_at_once(backend: Any) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            v = rng.standard_normal((17, 9)).astype(np.float32)
            x = asarray(v, backend=backend)
            got = ((x * 2.0) @ x.transpose()).sum(0).numpy()
            if np.abs(got - (2.0 * v @ v.T).sum(0)).max() > 1e-3:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_large_values_do_not_overflow(backend: Any) -> None:
    v = np.array([-1e4, -200.0, -89.0, -20.0, -14.0, -1e-4, 0.0, 1e-4, 20.0, 89.0, 200.0, 1e4], np.float32)
    x = asarray(v, backend=backend)
    for name in ("tanh", "sigmoid", "silu", "softplus", "sin", "cos"):
        want = np.asarray(reference.REFERENCE[name](v.astype(np.float64)))
        np.testing.assert_allclose(apply(name, x).numpy(), want, rtol=1e-5, atol=2e-6 if name[-1] in "ns" else 1e-30)
    small = asarray(v / np.float32(1e6), backend=backend)
    for name in ("tanh", "log1p"):
        want = reference.REFERENCE[name](v.astype(np.float64) / 1e6)
        np.testing.assert_allclose(apply(name, small).numpy(), want, rtol=1e-5)


def test_nonfinite_tells_by_bits(backend: Any) -> None:
    v = np.array([np.nan, np.inf, -np.inf, 3e38, 0.0], np.float32)
    got = apply("nonfinite", asarray(v, backend=backend)).numpy()
    np.testing.assert_array_equal(got, [1, 1, 1, 0, 0])


def test_half_precision_rounds_as_the_host_does(backend: Any) -> None:
    rng = np.random.default_rng(3)
    v = np.concatenate([rng.standard_normal(999) * 10.0 ** rng.integers(-9, 6, 999),
                        [65504.0, 65519.9, 65520.0, 2**-24, 2**-25, 2**-25 * 1.01, 2049.0, 2051.0]]).astype(np.float32)
    with np.errstate(over="ignore"):
        want = v.astype(np.float16)
    half = apply("cast", asarray(v, backend=backend), dtype="float16")
    np.testing.assert_array_equal(half.numpy(), want)
    np.testing.assert_array_equal(apply("cast", half, dtype="float32").numpy(), want.astype(np.float32))


def test_results_repeat_bit_for_bit_on_a_fresh_backend(backend: Any) -> None:
    v = np.random.default_rng(4).standard_normal((900, 70)).astype(np.float32)

    def results(on: Any) -> list[Any]:
        x = asarray(v, backend=on)
        return [x.sum(0).numpy(), x.sum().numpy(), (x.transpose() @ x).numpy()]

    for got, want in zip(results(open_backend("wgpu")), results(backend), strict=True):
        np.testing.assert_array_equal(got, want)


def test_it_says_what_it_runs_on(backend: Any) -> None:
    about = backend.describe()
    assert about["backend"] == "wgpu"
    assert all(about[key] for key in ("device", "api", "wgpu"))
