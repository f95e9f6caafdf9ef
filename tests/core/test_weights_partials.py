"""Partials of weights: golden numbers, every library and layout, and no copy where the device allows."""

from __future__ import annotations

import math
import sys
import tracemalloc
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.array import asarray
from core.errors import BackendError
from core.foreign import locate, tensors, to_host
from core.inference import dlpack
from core.inference.dlpack import (
    infer_weights_from_compat,
    infer_weights_from_dlpack,
    summarise_weights,
    weights_partial_from_compat,
    weights_partial_from_dlpack,
)
from tests.core.here import ask_peer, needs_peer

GOLDEN = {"memory": 0.143067, "speed": 0.503637, "stability": 0.884391, "frac": 0.700215, "drs": 0.435502}
Z = [0.12, -0.03, 0.48, -0.2]


class Other:
    """A tensor that speaks DLPack alone."""

    def __init__(self, array: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def by_hand(values: Any) -> dict[str, float]:
    """The statistics in plain NumPy."""
    x = np.asarray(values, np.float64).ravel()
    p, m = x[x > 0].sum(), -x[x < 0].sum()
    return {"count": x.size, "l1": np.abs(x).sum(), "l2": math.sqrt(np.sum(x**2)), "linf": np.abs(x).max(),
            "mean": x.mean(), "variance": x.var(), "energy": np.sum(x**2), "amplitude": x.max() - x.min(),
            "positive": p, "negative": m, "balance": (p - m) / (p + m + 1e-9),
            "focus": math.tanh(1.5 * (p - m) / (p + m + 1e-9))}


# --- the partial ------------------------------------------------------------------------------------------------------


def test_the_golden_weights() -> None:
    partial = weights_partial_from_dlpack([0.4, -0.2, 0.1, 0.05])
    assert {k: partial.metrics[k] for k in GOLDEN} == pytest.approx(GOLDEN, abs=5e-7)
    found = by_hand([0.4, -0.2, 0.1, 0.05])
    imported = {k: found[k] for k in found if k not in ("positive", "negative")}
    assert {k: v for k, v in partial.metrics.items() if k not in GOLDEN} == pytest.approx(
        {f"import_{k}": v for k, v in imported.items()}, rel=1e-12)
    assert partial.telemetry == pytest.approx(
        {f"psi.{k}": found[k] for k in ("mean", "variance", "energy", "amplitude", "balance", "focus", "count")})
    assert (partial.origin, partial.weight, partial.gradient_basis) == ("dlpack", 1.0, None)
    assert partial.resolved() == partial.metrics


def test_no_weights_at_all() -> None:
    for nothing in ([], {}, np.zeros((0, 3)), [[], {}], [math.nan]):
        partial = weights_partial_from_dlpack(nothing)
        assert partial.metrics["stability"] == pytest.approx(math.tanh(1.5))
        assert all(v == 0 for k, v in partial.metrics.items() if k != "stability")


def test_names_of_origin_and_telemetry() -> None:
    compat = weights_partial_from_compat([0.4], adapter="torch", telemetry={"a": {"b": 2}})
    assert compat.origin == "compat:torch"
    assert compat.telemetry is not None
    assert compat.telemetry["a.b"] == 2.0
    assert compat.telemetry["psi.torch.mean"] == pytest.approx(0.4)
    plain = weights_partial_from_compat([0.4])
    assert (plain.origin, "psi.mean" in (plain.telemetry or {})) == ("compat", True)
    named = weights_partial_from_dlpack([0.4], label="mine", telemetry_prefix="w", bundle_weight=0.3)
    assert (named.origin, named.weight, "w.mean" in (named.telemetry or {})) == ("mine", 0.3, True)
    assert weights_partial_from_compat([0.4], adapter="jax", label="mine").origin == "mine"


def test_gains() -> None:
    x = by_hand([0.4, -0.2, 0.1, 0.05])
    m = weights_partial_from_dlpack([0.4, -0.2, 0.1, 0.05], weight_gain=3, stability_gain=0.5, focus_gain=2).metrics
    assert m["memory"] == pytest.approx(math.tanh(3 * x["l2"] / 4))
    assert m["speed"] == pytest.approx(math.tanh(x["mean"] + 2 * x["balance"]))
    assert m["stability"] == pytest.approx(math.tanh(0.5 * (1 - x["variance"] / (x["amplitude"] + x["energy"] / 4))))
    assert weights_partial_from_dlpack([0.4], weight_gain=-1).metrics["memory"] == 0
    for name in ("weight_gain", "stability_gain", "focus_gain"):
        with pytest.raises(ValueError, match=f"{name} is nan: it must be finite"):
            weights_partial_from_dlpack([0.4], **{name: math.nan})


def test_inference_with_weights() -> None:
    for infer in (infer_weights_from_dlpack, infer_weights_from_compat):
        found = infer(Z, [0.4, -0.2, 0.1, 0.05], telemetry={"more": 1.0})
        assert {k: found.metrics[k] for k in GOLDEN} == pytest.approx(GOLDEN, abs=5e-7)
        assert found.telemetry is not None
        assert found.telemetry.payload["psi.mean"] == pytest.approx(0.0875)
        assert found.telemetry.payload["more"] == 1.0
        assert found.confidence < math.exp(-found.residual)
    alone = infer_weights_from_dlpack(Z, [0.4], bundle_weight=0.0)
    assert (alone.residual_metric_count, alone.metrics["speed"]) == (0, pytest.approx(0.4463024613684294))
    assert infer_weights_from_compat(Z, [0.4], adapter="torch").telemetry.payload["psi.torch.count"] == 1.0  # type: ignore[union-attr]


# --- statistics -------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=20), max_size=8))
@settings(max_examples=80)
def test_nesting_and_order_do_not_matter(rows: list[list[float]]) -> None:
    flat = [v for row in rows for v in row]
    forms: list[Any] = [rows, flat, flat[::-1], {str(i): np.array(row) for i, row in enumerate(rows)},
                        (iter(row) for row in rows)]
    want = by_hand(flat) if flat else dict.fromkeys(by_hand([1.0]), 0.0)
    for form in forms:
        got = summarise_weights(form)._asdict()
        assert got == pytest.approx(want, rel=1e-9, abs=1e-9 * max(1.0, want["linf"] ** 2))


def test_blocks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers in one block and in hundreds."""
    x = np.random.default_rng(0).normal(3.0, 0.01, (37, 29, 11))
    monkeypatch.setattr(dlpack, "BLOCK", 50)
    assert summarise_weights(x.T[:, ::2])._asdict() == pytest.approx(by_hand(x.T[:, ::2]), rel=1e-12)


def test_a_large_offset_loses_no_variance() -> None:
    x = 1e8 + np.arange(1000) % 2
    assert summarise_weights([x, x]).variance == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint8", "bool", ">f4"])
def test_every_type_and_layout(dtype: str) -> None:
    base = (np.random.default_rng(0).standard_normal((12, 18)) * 3).astype(dtype)
    locked = base.copy()
    locked.flags.writeable = False
    for values in (base, base.T, base[::2, 1:], base[::-1], np.asfortranarray(base), locked, base[3, 4],
                   np.broadcast_to(base[0], (5, 18))):
        before = np.array(values)
        assert summarise_weights(values)._asdict() == pytest.approx(by_hand(values), rel=1e-12)
        np.testing.assert_array_equal(values, before)


def test_our_own_arrays_and_those_that_speak_dlpack_alone() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for tensor in (asarray(values), asarray(values).transpose(), Other(values), Other(values, (3, 0))):
        assert summarise_weights(tensor)._asdict() == pytest.approx(by_hand(values))
    np.testing.assert_array_equal(to_host(Other(values)), values)


def test_nothing_is_copied() -> None:
    values = np.zeros((100, 100), np.float16)[::2].T
    for tensor in (values, Other(values)):
        assert np.shares_memory(locate(tensor)[1], values)
    wide = np.broadcast_to(np.float32(0.5), (1 << 12, 1 << 13))  # 128 MiB, were it written out
    tracemalloc.start()
    got = summarise_weights(wide)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (got.count, got.mean, got.variance) == (1 << 25, 0.5, 0.0)
    assert peak < 64 << 20


def test_a_generator_may_be_longer_than_memory() -> None:
    tracemalloc.start()
    got = summarise_weights(np.ones(1 << 17, np.float32) for _ in range(200))  # 100 MiB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.count == 200 << 17
    assert peak < 16 << 20


def test_tensors_are_named_by_where_they_are() -> None:
    found = [(name, np.asarray(x).tolist()) for name, x in tensors({"a": [1, 2, np.ones(1), 3], "b": {"c": 4}})]
    assert found == [("weights['a']", [1, 2]), ("weights['a'][2]", [1.0]), ("weights['a']", [3]),
                     ("weights['b']['c']", [4])]


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "error", "message"), [
    ("abc", TypeError, "weights is 'abc', a str: give numbers, tensors, or lists or mappings"),
    ([1.0, None], TypeError, r"weights\[1\] is None, a NoneType"), (object(), TypeError, "a object"),
    ({"a": ["x"]}, TypeError, r"weights\['a'\]\[0\] is 'x'"),
    (np.ones(2, np.complex64), ValueError, "holds complex64: give real and imaginary parts"),
    ([1j], ValueError, "holds complex128"), (np.array(["a"]), ValueError, "holds <U1: give numbers"),
    ({"w": np.array([1.0, math.inf])}, ValueError, r"weights\['w'\] holds infinite values: the training that made it"),
    ([-math.inf, 1.0], ValueError, "holds infinite values"),
    ([1e200, 1.0], ValueError, r"reach from 1 to 1e\+200: they and the sum of their squares must be finite"),
    (Other(np.ones(2), (8, 1)), BackendError, "lies on Metal device 1: move it to the CPU or to a CUDA device"),
    (Other(np.ones(2), (99, 0)), BackendError, "lies on DLPack device type 99, 0"),
])
def test_what_cannot_be_read_says_why(weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        weights_partial_from_dlpack(weights)


def test_an_owner_that_refuses_is_quoted() -> None:
    class Closed(Other):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("this one is locked")

    with pytest.raises(ValueError, match=r"a Closed, cannot be read as it is \(this one is locked\): make it a dense"):
        summarise_weights(Closed(np.ones(2)))


def test_a_cuda_tensor_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match="lies on CUDA device 3, where CuPy would read it: pip install cupy-cuda13x"):
        summarise_weights(Other(np.ones(2), (2, 3)))


def test_a_cuda_tensor_is_summed_by_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CuPy made of NumPy: on the tensor's own device, and one reading of seven numbers a block."""
    entered, read = [], []

    class Device(nullcontext[None]):
        def __init__(self, index: int) -> None:
            super().__init__()
            entered.append(index)

    class OnDevice(np.ndarray):
        @property
        def device(self) -> Any:
            return Device(3)

        def tolist(self) -> Any:
            read.append(self.size)
            return super().tolist()

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("an implicit copy to the host")

    fake = SimpleNamespace(
        Device=Device, cuda=SimpleNamespace(Device=Device), float64=np.float64, isnan=np.isnan, maximum=np.maximum,
        minimum=np.minimum,
        stack=lambda parts: np.stack([np.float64(p) for p in parts]).view(OnDevice),
        from_dlpack=lambda x: np.from_dlpack(x.array).view(OnDevice))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(dlpack, "BLOCK", 100)
    x = np.random.default_rng(0).standard_normal((20, 15))
    assert summarise_weights(Other(x, (2, 3)))._asdict() == pytest.approx(by_hand(x), rel=1e-12)
    assert set(entered) == {3}
    assert read == [7] * 4


# --- other libraries --------------------------------------------------------------------------------------------------


@needs_peer
@pytest.mark.parametrize("library", ["torch", "jax", "tensorflow"])
def test_another_library_in_a_python_that_has_it(library: str) -> None:
    ask_peer("weights_peer.py", library, library)


def test_cuda(request: pytest.FixtureRequest) -> None:
    """`pytest tests/core/test_weights_partials.py --backend cuda` where CuPy finds a GPU."""
    if request.config.getoption("backend") != "cuda":
        pytest.skip("--backend is not cuda")
    cp = pytest.importorskip("cupy")
    x = cp.random.default_rng(0).standard_normal((3000, 1001), dtype=cp.float32)
    for tensor in (x, x.T, x[::2], x.astype(cp.float16), x[:0], x.astype(cp.int32)):
        assert locate(tensor)[1].data.ptr == tensor.data.ptr
        if tensor.size:
            assert summarise_weights([tensor, tensor])._asdict() == pytest.approx(
                by_hand([tensor.get(), tensor.get()]), rel=1e-9)
