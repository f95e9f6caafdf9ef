"""The conformance cases notice a broken kernel: each mutation makes at least one of them red."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from core import kernels
from tests.core import mutations_cpu, mutations_cuda
from tests.core.cases import CASES
from tests.core.conformance import agrees, dirty, small_cases
from tests.core.here import wgpu_here
from tests.core.mutations_wgpu import MUTATIONS, USERS

ROOT = Path(__file__).parents[2]
SECONDS = 600  # most that the cases of one mutation may take
COLUMNS = {"cpu": mutations_cpu, "cuda": mutations_cuda}
ALL = [pytest.param(column, file, *mutation, id=f"{file}: {mutation[0]}")
       for column, table in COLUMNS.items() for file, mutations in table.MUTATIONS.items() for mutation in mutations]


def path_of(file: str) -> Path:
    """Where a file of a column lies."""
    return Path("core/kernels" if file.endswith(".cu") else "core/backends") / file


def wrong_case(column: str, primitives: str, file: str = "", old: str = "", new: str = "") -> str:
    """The first case that is wrong on a copy of `core` in which one text is replaced; none: an empty string."""
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "core", f"{folder}/core", ignore=shutil.ignore_patterns("__pycache__"))  # Numba's, too
        if file:
            path = folder / path_of(file)
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        command = [sys.executable, "-m", "tests.core.conformance", column, *primitives.split()]
        found = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}  # after the folder
        try:
            run = subprocess.run(command, cwd=folder, env={**os.environ, **found}, capture_output=True, text=True,
                                 timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            pytest.fail("a mutation must end: it is the values that have to show it")
    assert run.returncode == 0, f"a mutation must run: it is the values that have to show it\n{run.stderr}"
    return run.stdout.strip()


def only_on(column: str, config: pytest.Config) -> None:
    """The CPU, or what `--backend` names."""
    named = config.getoption("backend") or "cpu"
    if named != column:
        pytest.skip(f"mutations of one column are run at a time, by --backend {column}; cuda needs an NVIDIA GPU")


@pytest.mark.long
@pytest.mark.parametrize(("column", "file", "what", "old", "new", "primitives"), ALL)
def test_a_broken_column_shows(column: str, file: str, what: str, old: str, new: str, primitives: str,
                               pytestconfig: pytest.Config) -> None:
    only_on(column, pytestconfig)
    assert wrong_case(column, primitives, file, old, new), f"no case of {primitives} shows: {what}"


@pytest.mark.long
@pytest.mark.parametrize("column", COLUMNS)
def test_an_unbroken_copy_passes(column: str, pytestconfig: pytest.Config) -> None:
    only_on(column, pytestconfig)
    used = {name for mutations in COLUMNS[column].MUTATIONS.values() for m in mutations for name in m[3].split()}
    assert wrong_case(column, " ".join(sorted(used))) == ""


def pieces(file: str) -> list[tuple[int, str]]:
    """The functions of a file and the expressions of its tables: where each begins, and its name."""
    text = (ROOT / path_of(file)).read_text(encoding="utf-8")
    if file.endswith(".cu"):
        heads = re.finditer(r'^(?:extern "C" __global__ void|__device__ \w+|#define) (\w+)', text, re.MULTILINE)
        return [(text.count("\n", 0, head.start()) + 1, head[1]) for head in heads]
    found = []
    for node in ast.parse(text).body:
        found.append((node.lineno, getattr(node, "name", "")))
        table = getattr(node, "value", None)
        for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
            own = isinstance(value, ast.Constant) or any(isinstance(part, ast.Lambda) for part in ast.walk(value))
            found.append((value.lineno, key.value if own else ""))  # else it names functions
    return found


def piece_of(file: str, text: str, old: str, new: str) -> str:
    """The piece that a mutation changes."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    line = text.count("\n", 0, text.index(old) + same) + 1
    return [name for first, name in pieces(file) if first <= line][-1]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_mutations_touch_every_piece_of_a_column(column: str) -> None:
    table = COLUMNS[column]
    folder, patterns = ROOT / "core", {"cpu": ["backends/cpu_*.py", "backends/layout.py"],
                                       "cuda": ["backends/cuda_*.py", "kernels/*.cu"]}[column]
    files = {path.name: path.read_text(encoding="utf-8") for pattern in patterns for path in folder.glob(pattern)}
    assert set(table.MUTATIONS) == set(files)
    for file, text in files.items():
        for what, old, new, primitives in table.MUTATIONS[file]:
            assert text.count(old) == 1, f"{what}: {old!r} must name one place in {file}"
            assert old != new
            assert set(primitives.split()) <= set(CASES), what
        touched = {piece_of(file, text, old, new) for _, old, new, _ in table.MUTATIONS[file]}
        left_out = {piece for name, piece in table.LEFT_OUT if name == file}
        assert {name for _, name in pieces(file) if name} == touched | left_out, file
        assert not touched & left_out, file


def test_the_mutations_drop_every_barrier_of_a_cuda_kernel() -> None:
    for path in (ROOT / "core/kernels").glob("*.cu"):
        text, barrier = path.read_text(encoding="utf-8"), "__syncthreads();"
        dropped = [old for what, old, new, _ in mutations_cuda.MUTATIONS[path.name]
                   if what.startswith("dropped barrier") and old.replace(barrier, "") == new]
        dropped += [old for file, old in mutations_cuda.BARRIERS_LEFT_OUT if file == path.name]
        at = sorted(text.index(old) + old.index(barrier) for old in dropped)
        assert at == [found.start() for found in re.finditer(re.escape(barrier), text)], path.name


@pytest.mark.parametrize(("file", "what", "old", "new"), MUTATIONS, ids=[f"{m[0]}: {m[1]}" for m in MUTATIONS])
def test_a_broken_kernel_shows(file: str, what: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, changed = wgpu_here(), []
    dirty(backend)
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
    assert not all(agrees(backend, name, case, np.float32) for name, _, case in small_cases(USERS[file])), what
    assert file != "chain" or any(changed)


def test_the_mutations_touch_every_kernel() -> None:
    for file in {*kernels.NAMES, "chain"} - set(kernels.CANVAS):
        kinds = [m[1].split(",")[0] for m in MUTATIONS if m[0] == file]
        assert "off by one" in kinds, file
        barriers = 0 if file == "chain" else len(re.findall("workgroupBarrier", kernels.source(file)))
        assert kinds.count("dropped barrier") == barriers, file
