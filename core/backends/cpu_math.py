"""exp and what is made of it in float32, as polynomials that LLVM vectorises: several times as fast as NumPy's.

Each function is a NumPy ufunc by Numba (it takes any layout and releases the lock), compiled at its first call and
cached on disk. Errors stay below 1e-6 of the value; NaN and infinities propagate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types, vectorize
from numba.extending import overload

f32 = np.float32
HALF, ONE, TWO = f32(0.5), f32(1), f32(2)
LOG2_E, LN2_HIGH, LN2_LOW = f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4)  # n * 0.693... is exact
ROUND = f32(3 << 22)  # adding it leaves an integer in the low bits
ROUND_BITS = 0x4B400000
LOWEST, HIGHEST = f32(-104), f32(89)  # exp underflows to 0, overflows to infinity
E2, E3, E4, E5, E6 = (f32(1 / k) for k in (2, 6, 24, 120, 720))
T3, T5, T7, T9, T11 = (f32(c) for c in (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2,
                                       2.06390887954e-2, -5.70498872745e-3))  # Moshier's Cephes, tanhf
T_NEAR = f32(0.625)  # below, 1 - exp would cancel
L3, L5, L7, L9, L11, L13 = (f32(1 / k) for k in (3, 5, 7, 9, 11, 13))


@njit(cache=True)
def _power_of_two(n: Any) -> Any:
    return np.int32((n + 127) << 23).view(f32)


@njit(cache=True, fastmath={"contract"})
def exp(x: Any) -> Any:
    """2^n exp(r), |r| <= ln(2) / 2; the power in two halves, since n may lie beyond float32's exponents."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    shifted = f32(x * LOG2_E + ROUND)
    whole = shifted - ROUND
    r = x - whole * LN2_HIGH - whole * LN2_LOW
    p = ((((((E6 * r + E5) * r + E4) * r + E3) * r + E2) * r + ONE) * r) + ONE
    n = np.int32(shifted.view(np.int32) - ROUND_BITS)
    half = np.int32(n >> 1)
    return p * _power_of_two(half) * _power_of_two(n - half)


def exp_of(x: Any) -> Any:
    """In loops: `exp` of a float32, the C library's of a float64."""
    raise NotImplementedError


@overload(exp_of, strict=False)  # else annotations, too, must match
def _exp_of(x: Any) -> Any:
    return (lambda x: exp(x)) if x == types.float32 else (lambda x: math.exp(x))


@njit(cache=True)
def sigmoid(x: Any) -> Any:
    e = exp(-abs(x))
    return (ONE if x >= 0 else e) / (ONE + e)


@njit(cache=True)
def tanh(x: Any) -> Any:
    e = exp(-TWO * abs(x))
    far, z = (ONE - e) / (ONE + e), x * x
    near = ((((T11 * z + T9) * z + T7) * z + T5) * z + T3) * z * x + x
    return near if abs(x) < T_NEAR else (far if x >= 0 else -far)


@njit(cache=True)
def silu(x: Any) -> Any:
    return x * sigmoid(x)


@njit(cache=True)
def silu_grad(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s + x * s * (ONE - s))


@njit(cache=True)
def softplus(x: Any) -> Any:
    """max(x, 0) + log(1 + e), e = exp(-|x|); log(1 + e) = 2 artanh(e / (2 + e)), a short series up to 1/3."""
    e = exp(-abs(x))
    s = e / (TWO + e)
    z = s * s
    series = (((((L13 * z + L11) * z + L9) * z + L7) * z + L5) * z + L3) * z + ONE
    return (x if not x < 0 else f32(0)) + TWO * s * series


@functools.cache
def ufunc(function: Callable[..., Any], inputs: int) -> Any:
    """A function of float32 scalars as a ufunc."""
    signature = types.float32(*[types.float32] * inputs)
    return vectorize([signature], cache=True)(function.py_func)  # type: ignore[attr-defined, no-untyped-call]


def in_float32(function: Callable[..., Any], otherwise: Callable[..., None]) -> Callable[..., None]:
    """An elementwise kernel: `function` in float32, `otherwise` in float64."""
    def kernel(out: Any, *inputs: Any) -> None:
        if out.dtype == np.float32:
            with np.errstate(all="ignore"):  # a comparison with NaN would warn
                ufunc(function, len(inputs))(*inputs, out=out)
        else:
            otherwise(out, *inputs)

    return kernel
