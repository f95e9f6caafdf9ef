"""The house stands as designed: imports point one way, and the core carries no web code."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"core": {"core"}, "canvas": {"canvas", "core"}, "workbench": {"workbench", "canvas", "core"}}
WEB = {"panel", "bokeh", "tornado", "typer", "rich", "jupyterlab", "anywidget"}
MAX_LINES = 600


def modules(path: Path) -> set[str]:
    """What a file imports, in full."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; use absolute ones"
            found.add(node.module or "")
    return found


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in modules(path)}


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = imports(path) & set(ALLOWED)
        assert ours <= ALLOWED[package], f"{path} imports {ours - ALLOWED[package]}"


def test_core_has_no_web_code() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        assert not imports(path) & WEB, path


def test_the_pyodide_half_needs_the_standard_library_only_and_no_server_runs_scripts() -> None:
    project = tomllib.loads((ROOT / "canvas/pyproject.toml").read_text())
    half = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    for name in half:  # NumPy where a function hands over arrays, and where it is only a type
        path = ROOT / "canvas" / name
        assert imports(path) - {"numpy"} <= sys.stdlib_module_names | {"canvas"}, path
        ours = {f"{m.split('.')[1]}.py" for m in modules(path) if m.startswith("canvas.")}
        assert ours <= {*half, "projector.py"}, path
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            assert "canvas.script" not in modules(path), path


def test_reference_and_backends_do_not_know_each_other() -> None:
    assert "core" not in imports(ROOT / "core/reference.py")
    for path in (ROOT / "core/backends").glob("*.py"):
        assert "core.reference" not in path.read_text()


def test_files_stay_small() -> None:
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= MAX_LINES, path


def test_importing_core_leaves_the_heavy_libraries_alone() -> None:
    code = "import core, sys; print(*sorted({'matplotlib', 'gudhi', 'panel', 'bokeh', 'wgpu'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
