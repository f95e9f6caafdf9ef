"""Many latents at once against one at a time, on the host and on every backend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from core.array import Array, asarray
from core.backends import open_backend, use_backend
from core.inference.batch import blend_many, decode_many, infer_many
from core.inference.blend import STRATEGIES, blend_zspace_partials
from core.inference.partials import ZSpacePartialBundle
from core.inference.posterior import LONGEST, decode_zspace_embedding
from core.inference.projection import infer_from_partial
from tests.core.here import wgpu_here

FIELDS = ("gradient", "barycentric", "energy", "spectral_energy", "frac_energy", "fractional_energy_ratio",
          "spectral_centroid")
PLACES = ("host", "cpu", "device")
WEIGHTS = [1.0, 2.0, 0.5, 0.0, 1.5]


@contextmanager
def place(name: str, config: pytest.Config) -> Iterator[tuple[Any, dict[str, float]]]:
    """How values get there, and the tolerance there."""
    if name == "host":
        yield np.asarray, {"rtol": 1e-12, "atol": 1e-13}
        return
    asked = config.getoption("backend") or "wgpu"
    backend = open_backend("cpu") if name == "cpu" else wgpu_here() if asked == "wgpu" else open_backend(asked)
    with use_backend(backend):
        if name == "cpu":
            yield asarray, {"rtol": 1e-11, "atol": 1e-12}
        else:
            yield lambda x: asarray(np.asarray(x, np.float32)), {"rtol": 2e-4, "atol": 2e-5}


def host(x: Any) -> np.ndarray:
    return x.numpy() if isinstance(x, Array) else np.asarray(x)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 33, 64, 130])
def test_decoding_many_is_decoding_each(name: str, n: int, pytestconfig: pytest.Config) -> None:
    z = np.random.default_rng(n).standard_normal((5, n)) * np.array([[0], [0.01], [1], [1], [20]])
    with place(name, pytestconfig) as (put, close):
        many = decode_many(put(z))
        metrics, fields = {k: host(v) for k, v in many.metrics.items()}, {k: host(getattr(many, k)) for k in FIELDS}
        np.testing.assert_allclose(host(many.parseval_relative_error), 0, atol=1e-5)
    assert many.spectral_bins == n // 2 + 1
    for i, row in enumerate(z):
        one = decode_zspace_embedding(row)
        for k, v in one.metrics.items():
            np.testing.assert_allclose(metrics[k][i], v, **close, err_msg=k)
        for k, values in fields.items():
            np.testing.assert_allclose(values[i], getattr(one, k), **close, err_msg=k)


@pytest.mark.parametrize("name", PLACES)
def test_inferring_many_is_inferring_each(name: str, pytestconfig: pytest.Config) -> None:
    g = np.random.default_rng(0)
    z, reading = g.standard_normal((6, 9)), g.standard_normal(6)
    stability, gradient = np.array([0.5, -30, -500, 40, 0, 1]), g.standard_normal((6, 3))
    low = np.array([0.5, -30, -500, 40, 0, 1.0])
    with place(name, pytestconfig) as (put, close):
        seen = {"velocity": put(low), "mem": low, "stab": put(stability), "canvas_mean": 2, "gradient": put(gradient),
                "gradient_basis": "b"}
        many = infer_many(put(z), seen, smoothing=0.2, telemetry={"a": put(reading), "b": 0.5, "c": -1})
        found = {k: host(getattr(many, k)) for k in ("barycentric", "residual", "confidence", "telemetry_reliability")}
        metrics = {k: host(v) for k, v in many.metrics.items()}
        np.testing.assert_allclose(host(many.control_gradient), gradient, **close)
    assert (many.control_gradient_basis, many.residual_metric_count) == ("b", 3)
    assert set(many.applied) == {"speed", "memory", "stability", "canvas_mean"}
    for i in range(6):
        one = infer_from_partial(z[i], {"speed": low[i], "memory": low[i], "stability": stability[i], "canvas_mean": 2},
                                 smoothing=0.2, telemetry={"a": reading[i], "b": 0.5, "c": -1})
        for k, values in found.items():
            np.testing.assert_allclose(values[i], getattr(one, k), **close, err_msg=f"{k} {i}")
        for k, v in one.metrics.items():
            np.testing.assert_allclose(metrics[k][i], v, **close)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_blending_many_is_blending_each(name: str, strategy: str, pytestconfig: pytest.Config) -> None:
    g = np.random.default_rng(1)
    parts = [{"speed": g.standard_normal(7), "gradient": g.standard_normal((7, 3))} for _ in range(5)]
    parts[1]["memory"] = g.standard_normal(7)
    with place(name, pytestconfig) as (put, close):
        bundles: list[Any] = [ZSpacePartialBundle({k: put(v) for k, v in p.items()}, w, gradient_basis="b")
                              for p, w in zip(parts, WEIGHTS, strict=True)]
        many = blend_many([*bundles, None, {"stab": 2}], strategy=strategy)
        found = {k: v if k == "gradient_basis" else host(v) for k, v in many.items()}
    assert found.pop("gradient_basis") == "b"
    for i in range(7):
        one = blend_zspace_partials([*({k: v[i] for k, v in p.items()} for p in parts), {"stab": 2}],
                                    weights=[*WEIGHTS, 1], strategy=strategy)
        assert set(one) == set(found)
        for k, values in found.items():
            np.testing.assert_allclose(values[i], one[k], **close, err_msg=k)


def test_halves_and_ties_go_as_one_at_a_time() -> None:
    parts = [{"speed": np.array(v, float)} for v in ([1, 3, 2], [5, 3, 2], [2, 3, 1], [9, 9, 9])]
    for weights in ([1, 1, 1, 1], [1, 2, 1, 0], [0.1, 0.2, 0.3, 0], [3, 1, 1, 1]):
        many = blend_many(parts, weights=weights, strategy="median")["speed"]
        each = [blend_zspace_partials([{"speed": p["speed"][i]} for p in parts], weights=weights,
                                      strategy="median")["speed"] for i in range(3)]
        np.testing.assert_allclose(many, each, rtol=1e-15)
    sums = blend_many([{"speed": np.array([v, 0.1])} for v in (1e16, 1.0, -1e16)], strategy="sum")["speed"]
    np.testing.assert_allclose(sums, [1.0, math.fsum([0.1] * 3)], rtol=1e-15)


def test_the_largest_metrics_are_blended() -> None:
    np.testing.assert_array_equal(blend_many([{"speed": np.full(2, 1.7e308)}] * 3)["speed"], [1.7e308] * 2)


def test_what_is_not_finite_on_a_backend_stays_in_its_row() -> None:
    with use_backend(open_backend("cpu")):
        many = decode_many(asarray(np.array([[1.0, 2.0], [math.nan, 1.0]], np.float32)))
        assert np.isfinite(many.metrics["speed"].numpy()).tolist() == [True, False]


def test_whole_numbers_on_a_backend_are_refused() -> None:
    with use_backend(open_backend("cpu")), pytest.raises(ValueError, match="the latents: the type is int32, cast it"):
        decode_many(asarray(np.ones((1, 2), np.int32)))


@pytest.mark.parametrize(("z", "message"), [
    (np.zeros(3), r"the latents: the shape is \(3,\), give \[any, any\]"),
    (np.zeros((2, 0)), r"have shape \(2, 0\): give at least one, of 1 to 4096"),
    (np.zeros((0, 2)), "give at least one"), (np.zeros((1, LONGEST + 1)), "of 1 to 4096 values"),
    (np.array([[1.0, math.nan]]), r"the latents: nan at \[0, 1\], remove"),
    (np.array([[1e200]]), r"the sum of squares overflows at 1e\+200, scale it down"),
    (np.array([["a"]]), "the type is <U1, give real numbers"),
])
def test_what_are_no_latents_is_refused(z: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_many(z)


@pytest.mark.parametrize(("partials", "options", "message"), [
    ([{"speed": 1.0}], {}, "the number of latents is unknown"),
    ([{"zz": np.ones(2)}], {}, "partial 0: unknown Z-space metric 'zz'"),
    ([{"speed": np.ones(2), "velocity": np.ones(2)}], {}, "both mean 'speed'"),
    ([{"speed": np.ones(2)}, {"speed": np.ones(3)}], {}, r"speed: the shape is \(3,\), give \[2\]"),
    ([{"gradient": np.ones(2)}], {}, r"gradient: the shape is \(2,\), give \[2, any\]"),
    ([{"speed": np.ones(2)}, {"gradient_basis": "b"}], {}, "the gradient basis 'b' has no gradient"),
    ([{"gradient": np.ones((2, 1))}, {"gradient": np.ones((2, 2))}], {}, "bring them to one of each"),
    ([{"gradient": np.ones((2, 1))}, {"gradient": np.ones((2, 1)), "gradient_basis": "b"}], {}, "None"),
    ([{"speed": np.ones(2)}], {"weights": [1, 2]}, "2 weights for 1 partials"),
    ([{"speed": np.ones(2)}], {"strategy": "q"}, "strategy is 'q'"),
    ([{"speed": np.array([math.inf])}], {}, r"speed: inf at \[0\], remove"),
    ([{"speed": np.full(2, 1e150)}], {"strategy": "sum", "weights": [1e200]}, "'speed' fused by sum is beyond"),
])
def test_what_cannot_be_blended(partials: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blend_many(partials, **options)


@pytest.mark.parametrize(("partial", "options", "message"), [
    ({"gradient": np.ones((2, 1))}, {}, "name no basis"), ({}, {"smoothing": 2}, "smoothing is 2"),
    ({}, {"telemetry": {"a": {"b": 1}}}, "telemetry 'a' is nested"), ({}, {"alpha": 0}, "alpha is 0"),
    ({}, {"telemetry": {"a": np.ones(3)}}, r"telemetry 'a': the shape is \(3,\), give \[2\]"),
])
def test_what_cannot_be_inferred(partial: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer_many(np.ones((2, 3)), partial, **options)
