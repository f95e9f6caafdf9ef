"""Whether a backend agrees with the reference; ``python -m tests.core.conformance cpu sum max`` says where it does not.

It runs the cases of those primitives, the smallest first, and prints the first that is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from core import reference
from core.array import apply, asarray
from core.backends import open_backend, use_backend
from tests.core.cases import CASES, Case


def small_cases(names: Iterable[str]) -> list[tuple[str, int, Case]]:
    """Name, number and case, the smallest first."""
    cases = [(name, i, case) for name in names for i, case in enumerate(CASES[name])]
    return sorted(cases, key=lambda c: sum(np.size(x) for x in c[2].draw(0)))


def agrees(backend: Any, name: str, case: Case, dtype: Any) -> bool:
    """Whether the values are those of the reference."""
    values = [v if v.dtype.kind == "i" else v.astype(dtype) for v in case.draw(1)]
    params = case.params | ({"dtype": np.dtype(dtype).name} if name in ("random_uniform", "random_normal") else {})
    want = np.asarray(reference.REFERENCE[name](
        *(v if v.dtype.kind == "i" else v.astype(np.float64) for v in values), **params))
    with use_backend(backend):
        got = apply(name, *(asarray(v, backend=backend) for v in values), **params).numpy()
    if got.shape != want.shape or not want.size:
        return got.shape == want.shape
    exact = got.dtype.kind == "i" or got.dtype == np.float16
    near = 0.0 if exact else 1e-5 if got.dtype == np.float32 else 1e-12
    return bool(np.abs(got.astype(np.float64) - want).max() <= near * np.abs(want).max())


def dirty(backend: Any) -> None:
    """What is not written shows: memory given again holds no zeros."""
    used = [asarray(np.full(64, 7.0, np.float32), backend=backend) for _ in range(16)]
    del used


def main(column: str, *names: str) -> None:
    backend = open_backend(column)
    dirty(backend)
    for name, i, case in small_cases(names):
        for dtype in (np.float32, np.float64):
            if not agrees(backend, name, case, dtype):
                print(f"{name}-{i} in {np.dtype(dtype).name}")
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
