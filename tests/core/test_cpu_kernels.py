"""What the CPU backend does in its own way: polynomials in float32, draws in blocks, sorts of value and place."""

from __future__ import annotations

import numpy as np
import pytest

from core import reference
from core.array import apply, asarray
from core.backends import cpu_math, open_backend, use_backend
from core.random import Philox

TINY = np.finfo(np.float32).tiny


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "silu", "softplus"])
def test_errors_are_below_a_millionth_of_the_value(name: str) -> None:
    x = np.concatenate([np.linspace(-a, a, 100_001) for a in (88, 1, 1e-3)]).astype(np.float32)
    want = reference.REFERENCE[name](x.astype(np.float64))
    got = cpu_math.ufunc(getattr(cpu_math, name), 1)(x)
    assert (np.abs(got - want) <= 1e-6 * np.maximum(np.abs(want), TINY)).all()


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "silu", "softplus"])
def test_the_ends_of_the_range(name: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 200, -200, 88.73, -103.9, 3e38, -3e38], np.float32)
    with np.errstate(all="ignore"):
        want = reference.REFERENCE[name](x.astype(np.float64)).astype(np.float32)
        got = cpu_math.ufunc(getattr(cpu_math, name), 1)(x)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=TINY)


def test_strides_and_broadcasting() -> None:
    g, x = np.ones((1, 5), np.float32), np.linspace(-4, 4, 40, dtype=np.float32).reshape(4, 10)[:, ::2]
    out = np.zeros((4, 10), np.float32)[:, 1::2]
    cpu_math.ufunc(cpu_math.silu_grad, 2)(g, x, out=out)
    np.testing.assert_allclose(out, reference.silu_grad(g.astype(np.float64), x.astype(np.float64)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_draws_of_many_blocks_equal_the_host_s(draw: str) -> None:
    shape = (3, 100_001)
    with use_backend(open_backend("cpu", threads=2)):
        got = apply(f"random_{draw}", key=(5, 7), stream=3, step=2**33 + 1, offset=0, shape=shape,
                    dtype="float32").numpy()
    np.testing.assert_array_equal(got, getattr(Philox(5 | 7 << 32), draw)(3, 2**33 + 1, shape).astype(np.float32))


@pytest.mark.parametrize("descending", [False, True])
def test_argsort_keeps_ties_and_puts_nan_last(descending: bool) -> None:
    x = np.round(np.random.default_rng(0).standard_normal((300, 500))).astype(np.float32)
    x[3, :6] = np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0
    backend = open_backend("cpu", threads=2)
    got = apply("argsort", asarray(x, backend=backend), descending=descending).numpy()
    np.testing.assert_array_equal(got, np.argsort(-x if descending else x, -1, stable=True))
