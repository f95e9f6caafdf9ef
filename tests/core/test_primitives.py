"""Every primitive on every backend here: against the float64 reference, and its gradient against differences."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core import reference
from core.array import Array, apply, asarray, grad
from core.backends import Backend, open_backend, queue, use_backend
from core.functions import random_bits
from core.primitives import PRIMITIVES
from core.tuning import chosen
from tests.core.cases import CASES, Case
from tests.core.here import wgpu_here
from tests.core.test_random import KNOWN, words

ALL = [pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]
# the tap's gradient is deliberately not the derivative of its identity forward; silu_grad & co. are gradients already
DIFFERENTIABLE = [p for p in ALL if PRIMITIVES[p.values[0]].vjp is not None and p.values[0] != "tap"
                  and p.values[0] != "cast" and all(np.size(x) for x in p.values[1].draw(0))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The CPU and wgpu, or what `--backend` names: `pytest tests/core/test_primitives.py --backend cuda`."""
    if "backend" in metafunc.fixturenames:
        named = metafunc.config.getoption("backend")
        metafunc.parametrize("backend", [named] if named else ["cpu", "wgpu"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "wgpu":
        return wgpu_here()
    return open_backend(request.param)


def widest(backend: Backend) -> Any:
    """The widest float that a backend has."""
    return np.float32 if backend.name == "wgpu" else np.float64


def put(values: list[NDArray[Any]], dtype: Any, backend: Backend, requires_grad: bool = False) -> list[Array]:
    return [asarray(v, None if v.dtype.kind == "i" else dtype, backend, requires_grad and v.dtype.kind == "f")
            for v in values]


def test_every_primitive_has_cases_a_reference_and_a_kernel(backend: Backend) -> None:
    from core.backends.cpu_kernels import ELEMENTWISE, KERNELS

    assert set(CASES) == set(PRIMITIVES) == set(reference.REFERENCE) == set(KERNELS) | set(ELEMENTWISE)
    assert {k for k, p in PRIMITIVES.items() if p.elementwise} == set(ELEMENTWISE)
    assert backend.known == set(PRIMITIVES)  # type: ignore[attr-defined]
    assert all(p.order == "fixed" for p in PRIMITIVES.values())


VARIED = {
    "linear_recurrence": Case(((3, 301, 41), (3, 301, 41), (3, 41)), {"reverse": False}, np.tanh),
    "complex_recurrence": Case(((2, 301, 17, 2), (2, 301, 17, 2), (2, 17, 2)), {"reverse": False}, np.tanh),
    "matmul": Case(((3, 131, 150), (3, 150, 197)), {"ta": False, "tb": False}),
}
VARIANTS = {("cuda", "linear_recurrence"): "core.backends.cuda_kernels.TILES",
            ("cuda", "complex_recurrence"): "core.backends.cuda_kernels.TILES",
            ("wgpu", "linear_recurrence"): "core.backends.wgpu_signal.LANES",
            ("wgpu", "complex_recurrence"): "core.backends.wgpu_signal.LANES",
            ("wgpu", "matmul"): "core.backends.wgpu_kernels.SIDES"}


@pytest.mark.parametrize("name", VARIED)
def test_variants_of_a_kernel_differ_in_no_bit_and_one_is_chosen(backend: Backend, name: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    if (backend.name, name) not in VARIANTS:
        pytest.skip("it has one variant there")
    case = VARIED[name]
    drawn = case.draw(1)
    values = put(drawn, np.float32, backend)
    seen: dict[Any, NDArray[Any]] = {}

    def take_each(of: Any, variants: Any, measure: Any) -> Any:
        return next(v for v in variants if v not in seen)

    monkeypatch.setattr(queue, "TUNED_FROM", 1)
    module, held = VARIANTS[backend.name, name].rsplit(".", 1)
    for variant in getattr(importlib.import_module(module), held):
        with monkeypatch.context() as patch:
            patch.setattr(queue, "tuned", take_each)
            seen[variant] = apply(name, *values, **case.params).numpy()
    assert len({x.tobytes() for x in seen.values()}) == 1
    found = apply(name, *values, **case.params).numpy()
    assert found.tobytes() in {x.tobytes() for x in seen.values()}
    assert any(kernel.startswith(name) for kernel in chosen())
    want = np.asarray(reference.REFERENCE[name](*drawn, **case.params))
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers_of_random123(backend: Backend, counter: str, key: str, answer: str) -> None:
    (offset, low, high, stream), (k0, k1) = words(counter), words(key)
    with use_backend(backend):
        drawn = random_bits(k0 | k1 << 32, stream, low | high << 32, (4,), offset).numpy()
    np.testing.assert_array_equal(drawn.view(np.uint32), words(answer))


def test_reference_is_short_and_names_no_backend() -> None:
    source = inspect.getsource(reference)
    assert "backend" not in source.split('"""')[2]
    for function in reference.REFERENCE.values():
        if inspect.isfunction(function):
            assert len(inspect.getsource(function).splitlines()) <= 16


@pytest.mark.parametrize(("name", "case"), ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_reference(name: str, case: Case, dtype: Any, backend: Backend) -> None:
    if dtype == np.float64 and backend.name == "wgpu":
        pytest.skip("WGSL has no float64")
    values = [v if v.dtype.kind == "i" else v.astype(dtype).astype(np.float64) for v in case.draw(1)]
    params = case.params | ({"dtype": np.dtype(dtype).name} if name in ("random_uniform", "random_normal") else {})
    want = np.asarray(reference.REFERENCE[name](*values, **params))
    inputs = put(values, dtype, backend)
    before = [x.numpy().copy() for x in inputs]
    with use_backend(backend):
        out = apply(name, *inputs, **params)
    got = out.numpy()
    assert got.shape == want.shape == out.shape
    assert got.dtype == (PRIMITIVES[name].dtype or params.get("dtype") or dtype)
    if got.dtype.kind == "i" or got.dtype == np.float16:
        np.testing.assert_array_equal(got, want)
    elif want.size:
        bound = (1e-5 if got.dtype == np.float32 else 1e-12) * max(np.abs(want).max(), 1e-30)
        assert np.abs(got.astype(np.float64) - want).max() <= bound
    for x, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x.numpy(), was, err_msg="an input was changed")


@pytest.mark.parametrize(("name", "case"), DIFFERENTIABLE)
def test_gradient_against_differences(name: str, case: Case, backend: Backend) -> None:
    dtype = widest(backend)
    values = [v if v.dtype.kind == "i" else v.astype(dtype).astype(np.float64) for v in case.draw(2)]
    near = 2e-6 if dtype == np.float64 else 1e-3
    inputs = put(values, dtype, backend, requires_grad=True)
    out = apply(name, *inputs, **case.params)
    weight = np.random.default_rng(3).standard_normal(out.shape)
    floats = [x for x in inputs if x.requires_grad]
    grads = grad((out * asarray(weight, dtype, backend)).sum(), floats)
    rng = np.random.default_rng(4)
    for x, g in zip(floats, grads, strict=True):
        direction = rng.standard_normal(x.shape)
        at = next(i for i, y in enumerate(inputs) if y is x)

        def value(step: float, at: int = at, direction: NDArray[Any] = direction) -> float:
            moved = [v + step * direction if i == at else v for i, v in enumerate(values)]
            return float(np.sum(reference.REFERENCE[name](*moved, **case.params) * weight))

        slope = (value(1e-6) - value(-1e-6)) / 2e-6
        assert np.sum(g.numpy() * direction) == pytest.approx(slope, rel=near, abs=near * np.sqrt(max(out.size, 1)))


def test_the_gradient_of_a_cast_is_cast_back(backend: Backend) -> None:
    x = asarray(np.array([1.0, 2.5]), np.float32, backend, requires_grad=True)
    half = apply("cast", x, dtype="float16")
    with pytest.raises(ValueError, match=r"add: float16 is for storage alone: cast\(x, 'float32'\) first"):
        _ = half + half
    wide = apply("cast", half, dtype="float32")
    (g,) = grad((wide * wide).sum(), [x])
    assert g.dtype == np.float32
    np.testing.assert_array_equal(g.numpy(), [2.0, 5.0])


@pytest.mark.parametrize("name", ["add", "matmul", "rms_norm", "causal_conv", "linear_recurrence", "sum"])
def test_non_contiguous_input(name: str, backend: Backend) -> None:
    case = CASES[name][0]
    values, dtype = case.draw(5), widest(backend)
    near = 1e-12 if dtype == np.float64 else 1e-5
    flipped = [asarray(np.ascontiguousarray(v.T), dtype, backend).transpose() for v in values]
    want = reference.REFERENCE[name](*values, **case.params)
    np.testing.assert_allclose(apply(name, *flipped, **case.params).numpy(), want, rtol=near, atol=near)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["add", "mul", "exp", "tanh", "sigmoid", "silu", "sum", "max", "matmul", "rms_norm",
                                  "causal_conv", "linear_recurrence", "cross_entropy", "layer_norm",
                                  "complex_recurrence", "complex_mul", "rfft", "irfft", "unfold2d", "where",
                                  "softplus", "nonfinite", "log1p"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_non_finite_values_propagate(name: str, bad: float, dtype: Any, backend: Backend) -> None:
    if backend.name == "wgpu":
        pytest.skip("WGSL may assume that there are no NaN and no infinities; nonfinite tells by bits")
    case = CASES[name][0]
    values = case.draw(6)
    values[0].flat[0] = bad
    with np.errstate(all="ignore"):
        want = reference.REFERENCE[name](*values, **case.params)
        got = apply(name, *put(values, dtype, backend), **case.params).numpy()
    if name in ("rfft", "irfft"):  # libraries differ in what else they spoil
        assert not np.isfinite(got[~np.isfinite(want)]).any()
        assert not np.isfinite(want).all()
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))


def test_launches_are_lazy_and_dead_results_are_never_computed(backend: Backend) -> None:
    x = asarray(np.ones((4, 4)), widest(backend), backend)
    y = apply("exp", x)
    dead = apply("log", y)
    assert y.buffer.data is None
    held = dead.buffer
    del dead
    z = y + 1.0
    z.numpy()
    assert held.data is not None  # somebody held the buffer, so it ran
    unused = apply("matmul", y, z, ta=False, tb=False)
    seen: list[str] = []
    run = type(backend)._run

    def spy(self: Any, launch: Any) -> None:
        seen.append(launch.primitive.name)
        run(self, launch)

    type(backend)._run = spy  # type: ignore[attr-defined]
    try:
        del unused
        (z * 2.0).numpy()
    finally:
        type(backend)._run = run  # type: ignore[attr-defined]
    assert "matmul" not in seen


def test_mixing_types_is_refused(backend: Backend) -> None:
    other = np.float16 if backend.name == "wgpu" else np.float64
    a, b = asarray(np.ones(3, np.float32), backend=backend), asarray(np.ones(3), other, backend)
    with pytest.raises(ValueError, match="share one float type"):
        _ = a + b
    with pytest.raises(ValueError, match="inner sizes 3 and 4"):
        _ = asarray(np.ones((2, 3)), np.float32, backend) @ asarray(np.ones((4, 2)), np.float32, backend)


def test_threads_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(8)
    x, w = rng.standard_normal((2048, 192)).astype(np.float32), rng.standard_normal((192, 96)).astype(np.float32)
    results = []
    targets = rng.integers(0, 192, len(x)).astype(np.int32)
    for threads in (1, 2, 3):
        b = open_backend("cpu", threads=threads)
        a, g, t = asarray(x, backend=b), asarray(x[:, 0].copy(), backend=b), asarray(targets, backend=b)
        draw = {"key": (7, 9), "stream": 1, "step": 2, "offset": 0, "shape": (3, 100_001), "dtype": "float32"}
        with use_backend(b):
            results.append([y.numpy() for y in (
                a @ asarray(w), apply("rms_norm_dw", a, a), a.sum(0), a.sum(1), a.sum(), apply("silu", a),
                apply("cross_entropy", a, t), apply("cross_entropy_grad", g, a, t),
                apply("take", a, t), apply("scatter_add", a, t, rows=192), apply("argsort", a, descending=True),
                apply("random_uniform", **draw), apply("random_normal", **draw))])
    for other in results[1:]:
        for got, want in zip(other[1:], results[0][1:], strict=True):
            np.testing.assert_array_equal(got, want)
