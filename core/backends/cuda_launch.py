"""How a CUDA kernel of `core/kernels/*.cu` is compiled and run: a file a type and a set of constants."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import cupy as cp
import numpy as np

from core.primitives import EPSILON

if TYPE_CHECKING:
    from core.backends.queue import Launch

A = Any  # a CuPy array; CuPy has no stubs
BLOCK = 256
WARPS = BLOCK // 32
PER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # values of a row a lane of its warp may hold


@cache
def _function(file: str, name: str, dtype: np.dtype[Any], constants: tuple[tuple[str, int], ...]) -> Any:
    """One kernel of a file."""
    return _module(file, dtype.name, **dict(constants)).get_function(name)


@cache
def source(file: str) -> str:
    """Text of a file of kernels."""
    return files("core.kernels").joinpath(f"{file}.cu").read_text(encoding="utf-8")


@cache
def _module(file: str, dtype: str, **constants: int) -> Any:
    """A file of kernels compiled for a type."""
    known = {"T": {"float32": "float", "float64": "double"}[dtype], "EPSILON": EPSILON, **constants}
    return cp.RawModule(code="".join(f"#define {k} {v}\n" for k, v in known.items()) + source(file),
                        options=("-std=c++17",))


def run_kernel(file: str, name: str, dtype: Any, grid: tuple[int, ...], block: tuple[int, ...], out: A,
               *arguments: Any, after: tuple[Any, ...] = (), **constants: int) -> A:
    """Run a kernel: arrays (made contiguous), the result, the numbers after it; `constants` are compiled in."""
    if math.prod(grid):
        given = [a if a.flags.c_contiguous else cp.ascontiguousarray(a) for a in arguments]
        _function(file, name, np.dtype(dtype), tuple(constants.items()))(grid, block, (*given, out, *after))
    return out


def ints(*values: int) -> tuple[np.int32, ...]:
    """Arguments of type int."""
    return tuple(np.int32(v) for v in values)


def each(name: str, launch: Launch, count: int, *arguments: A, after: tuple[Any, ...]) -> A:
    """A kernel of signal.cu with a thread a result."""
    out = cp.empty(launch.shape, launch.dtype)
    dtype = launch.dtype if launch.dtype.kind == "f" else np.float32
    return run_kernel("signal", name, dtype, (-(-count // BLOCK),), (BLOCK,), out, *arguments, after=after)


def over_rows(name: str, shape: tuple[int, ...], dtype: Any, rows: int, C: int, *arguments: A, after: Any = ()) -> A:
    """A kernel of rows.cu with a warp a row of C values."""
    out, lanes = cp.empty(shape, dtype), -(-C // 32)
    return run_kernel("rows", name, dtype, (-(-rows // WARPS),), (BLOCK,), out, *arguments,
                      after=(np.int64(rows), np.int32(C), *after), PER=next((p for p in PER if p >= lanes), 0))
