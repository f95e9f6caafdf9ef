"""Every kernel equals its float64 reference in wgpu and in Chromium, and a broken kernel does not."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import kernels
from core.backends.wgpu_chain import plan
from core.backends.wgpu_kernels import SIDES
from core.primitives import PRIMITIVES
from tests.core.cases import CASES
from tests.kernels import reference
from tests.kernels.cases import MAKERS, MUTATIONS, WAVE, Case
from tests.kernels.launch import COMPILE_SCRIPT, run_page, run_wgpu

STATIC = Path(__file__).resolve().parents[2] / "static"
broken = pytest.mark.parametrize(("name", "what", "old", "new"), MUTATIONS, ids=[f"{m[0]}: {m[1]}" for m in MUTATIONS])


@cache
def cases(name: str) -> tuple[Case, ...]:
    return tuple(MAKERS[name]())


def mutated(name: str, old: str, new: str) -> str:
    source = kernels.source(name)
    assert source.count(old) == 1, f"the mutation of {old!r} must name one place in {name}"
    return source.replace(old, new)


@pytest.mark.parametrize("name", kernels.CANVAS)
def test_wgpu_equals_the_reference(device: Any, name: str) -> None:
    for case in cases(name):
        error = case.error(run_wgpu(device, kernels.source(name), case.launch))
        assert error <= case.allowed, f"{case.name}: {error}"


@pytest.mark.parametrize("name", kernels.CANVAS)
def test_chromium_equals_the_reference_and_its_compiler_is_silent(page: Any, name: str) -> None:
    for case in cases(name):
        results, messages = run_page(page, kernels.source(name), case.launch)
        assert messages == []
        error = case.error(results)
        assert error <= case.allowed, f"{case.name}: {error}"


@pytest.mark.parametrize("name", [name for name in kernels.NAMES if name not in kernels.CANVAS])
def test_chromium_accepts_the_kernels_of_the_wgpu_backend(page: Any, name: str) -> None:
    """Here only what Tint says: their values are held to the reference in tests/core."""
    assert page.evaluate(COMPILE_SCRIPT, kernels.source(name)) == []


@pytest.mark.parametrize("name", [k for k, p in PRIMITIVES.items() if p.elementwise])
def test_chromium_accepts_generated_chains(page: Any, name: str) -> None:
    """One operand whole, one a value a row, one a value a column, in rows that four values fit and do not fit."""
    case = CASES[name][0]
    inputs = tuple(~i for i in range(len(case.inputs)))
    steps = ((name, inputs, len(case.params)),)
    for shape in ((3, 8), (3, 7)):
        layouts = ((shape, (shape[1], 1), True), ((3, 1), (1, 1), True), ((shape[1],), (1,), True))
        for part in plan(shape, steps, (True,), layouts[: len(inputs)]):
            assert page.evaluate(COMPILE_SCRIPT, part.text) == []


@broken
def test_wgpu_shows_a_broken_kernel(device: Any, name: str, what: str, old: str, new: str) -> None:
    source = mutated(name, old, new)
    assert not all(case.passes(run_wgpu(device, source, case.launch)) for case in reversed(cases(name))), what


@pytest.mark.long
@broken
def test_chromium_shows_a_broken_kernel(page: Any, name: str, what: str, old: str, new: str) -> None:
    def passes(case: Case) -> bool:
        results, messages = run_page(page, source, case.launch)
        assert messages == [], "a mutation must compile: it is the values that have to show it"
        return case.passes(results)

    source = mutated(name, old, new)
    assert not all(passes(case) for case in reversed(cases(name))), what


def test_the_mutations_touch_every_kernel() -> None:
    for name in kernels.CANVAS:
        kinds = {m[1].split(",")[0] for m in MUTATIONS if m[0] == name}
        assert {"flipped sign", "off by one"} <= kinds, name
        assert ("dropped barrier" in kinds) == ("workgroupBarrier" in kernels.source(name)), name


@pytest.mark.parametrize("name", kernels.NAMES)
def test_kernels_keep_to_the_portable_limits(name: str) -> None:
    text = re.sub(r"//.*", "", kernels.source(name))
    assert not re.search(r"\bf16\b|\bsubgroup|\benable\b|\brequires\b", text)
    bindings = re.findall(r"var<storage[^>]*>\s*\w+:\s*([^;]+);", text)
    assert len(bindings) <= 8
    assert all(re.fullmatch(r"array<(vec[24]<)?(f32|u32|i32)>?>", kind) for kind in bindings), bindings
    sizes = re.findall(r"@workgroup_size\(([^)]*)\)", text)
    assert sizes
    chosen = {"side": max(SIDES)}  # by the caller, where a size is an override
    assert all(np.prod([chosen.get(n.strip()) or int(n) for n in size.split(",")]) <= 256 for size in sizes)


def test_the_browser_loads_the_same_text() -> None:
    assert kernels.stale_copies(STATIC / "kernels") == [], "run python -m core.kernels"


def test_copies_are_refreshed(tmp_path: Path) -> None:
    assert kernels.refresh_copies(tmp_path) == list(kernels.CANVAS)
    (tmp_path / "wave.wgsl").write_text("changed")
    (tmp_path / "gone.wgsl").write_text("of no kernel")
    assert kernels.stale_copies(tmp_path) == ["gone", "wave"]
    assert kernels.refresh_copies(tmp_path) == ["gone", "wave"]
    assert kernels.refresh_copies(tmp_path) == []
    with pytest.raises(KeyError, match="'fog' is unknown"):
        kernels.source("fog")


def test_the_wave_is_stable_up_to_the_stated_bound_and_not_beyond() -> None:
    rng = np.random.default_rng(5)
    layer, start = np.zeros((8, 8)), rng.normal(size=(8, 8))
    bound = 2 / np.sqrt(8 * WAVE["speed"] ** 2 + WAVE["stiffness"])
    assert WAVE["dt"] <= bound
    for dt, settles in ((WAVE["dt"], True), (0.99 * bound, True), (1.01 * bound, False)):
        u, velocity = start, np.zeros_like(start)
        for _ in range(3000):
            velocity, u = reference.wave(layer, u, velocity, dt, WAVE["speed"], WAVE["stiffness"], 0.01)
        assert (np.abs(u).max() < 10) == settles
