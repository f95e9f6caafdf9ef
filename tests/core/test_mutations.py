"""The conformance cases notice a broken kernel: each mutation makes at least one of them red."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from core import kernels, reference
from core.array import apply, asarray
from core.backends import use_backend
from tests.core.cases import CASES, Case
from tests.core.here import wgpu_here
from tests.core.mutations_wgpu import MUTATIONS, USERS


@cache
def small_cases(file: str) -> list[tuple[str, Case]]:
    """Cases that run a kernel, the smallest first."""
    cases = [(name, case) for name in USERS[file] for case in CASES[name]]
    return sorted(cases, key=lambda c: sum(np.size(x) for x in c[1].draw(0)))


def passes(backend: Any, name: str, case: Case) -> bool:
    values = [v if v.dtype.kind == "i" else v.astype(np.float32) for v in case.draw(1)]
    want = np.asarray(reference.REFERENCE[name](
        *(v if v.dtype.kind == "i" else v.astype(np.float64) for v in values), **case.params))
    with use_backend(backend):
        got = apply(name, *(asarray(v, backend=backend) for v in values), **case.params).numpy()
    if not want.size:
        return True
    exact = got.dtype.kind == "i" or got.dtype == np.float16
    return bool(np.abs(got.astype(np.float64) - want).max() <= (0 if exact else 1e-5) * np.abs(want).max())


@pytest.mark.parametrize(("file", "what", "old", "new"), MUTATIONS, ids=[f"{m[0]}: {m[1]}" for m in MUTATIONS])
def test_a_broken_kernel_shows(file: str, what: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, changed = wgpu_here(), []
    used = [asarray(np.full(64, 7.0, np.float32), backend=backend) for _ in range(16)]
    del used  # what is not written shows: a buffer given again holds no zeros
    if file == "chain":
        pipeline = backend._pipeline

        def broken(text: str, *args: Any) -> Any:
            changed.append(old in text)
            return pipeline(text.replace(old, new), *args)

        monkeypatch.setattr(backend, "_pipeline", broken)
    else:
        source = kernels.source
        assert source(file).count(old) == 1, f"the mutation of {old!r} must name one place in {file}"
        monkeypatch.setattr(kernels, "source", lambda name: source(name).replace(old, new) if name == file
                            else source(name))
    assert not all(passes(backend, name, case) for name, case in small_cases(file)), what
    assert file != "chain" or any(changed)


def test_the_mutations_touch_every_kernel() -> None:
    for file in {*kernels.NAMES, "chain"} - set(kernels.CANVAS):
        kinds = [m[1].split(",")[0] for m in MUTATIONS if m[0] == file]
        assert "off by one" in kinds, file
        barriers = 0 if file == "chain" else len(re.findall("workgroupBarrier", kernels.source(file)))
        assert kinds.count("dropped barrier") == barriers, file
