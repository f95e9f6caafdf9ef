"""Puts Python for the page's script pane into static/pyodide/: `make browser` in a checkout.

The runtime is npm's package `pyodide`, held to the digest that it was published with; the pure-Python half of `canvas`
(canvas/pyproject.toml) joins its lock file as a wheel, and NumPy where the package index has a wheel for the runtime.
Nothing of it is loaded from elsewhere afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD, TARGET = ROOT / "build", ROOT / "static/pyodide"
VERSION = "314.0.7"
SHA512 = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "package.json")
REGISTRY = "https://registry.npmjs.org"
REPORT = "runtime.json"  # written last: what is staged


def staged() -> dict[str, Any] | None:
    """What is staged: versions of pyodide, python and numpy (None: pure Python); None where nothing is."""
    path = TARGET / REPORT
    return json.loads(path.read_text()) if path.exists() else None


def stage() -> dict[str, Any]:
    """Fetch what is not here yet, build, and put it in place; what was staged before stays until all is there.

    Raises
    ------
    SystemExit
        A command that failed, with its words, or a runtime that is not the published one.
    """
    from pyodide_lock import PyodideLockSpec
    from pyodide_lock.utils import add_wheels_to_spec

    BUILD.mkdir(exist_ok=True)
    archive = _runtime()
    fresh = TARGET.with_suffix(".part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    with tarfile.open(archive) as package:
        for name in FILES:
            (fresh / name).write_bytes(_member(package, name))
        lock = json.loads(_member(package, "pyodide-lock.json"))
    _run(sys.executable, "-m", "pip", "wheel", ROOT / "canvas", "--no-deps", "--wheel-dir", fresh)
    numpy = _fetch_wheel(lock["packages"]["numpy"]["file_name"], fresh)
    # only what is here can be loaded; the runtime's own file leaves out its version
    bare = PyodideLockSpec(info={**lock["info"], "version": VERSION}, packages={})
    add_wheels_to_spec(bare, sorted(fresh.glob("*.whl")), base_path=fresh).to_json(fresh / "pyodide-lock.json")
    report = {"pyodide": VERSION, "python": lock["info"]["python"], "numpy": numpy}
    (fresh / REPORT).write_text(json.dumps(report))
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)
    return report


def _runtime() -> Path:
    """The published archive: by npm, which knows its registry, or else by HTTP."""
    path = BUILD / f"pyodide-{VERSION}.tgz"
    if not path.exists() and shutil.which("npm"):
        _run("npm", "pack", "--silent", f"pyodide@{VERSION}", cwd=BUILD)
    elif not path.exists():
        registry = os.environ.get("npm_config_registry", REGISTRY)  # noqa: SIM112 - as npm spells it
        with urllib.request.urlopen(f"{registry.rstrip('/')}/pyodide/-/{path.name}", timeout=60) as answer:
            path.write_bytes(answer.read())
    found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != SHA512:
        path.unlink()
        raise SystemExit(f"{path.name} is not what was published: its SHA-512 is {found}, not {SHA512}; it was "
                         "removed, try again")
    return path


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(f"package/{name}")
    assert file is not None, name
    return file.read()


def _fetch_wheel(file_name: str, into: Path) -> str | None:
    """The version of the wheel that a runtime's lock file names, fetched from the package index; None: it has none."""
    name, version, python, abi, platform = file_name.removesuffix(".whl").split("-")
    words = [sys.executable, "-m", "pip", "download", f"{name}=={version}", "--no-deps", "--dest", into,
             "--only-binary", ":all:", "--implementation", python[:2], "--python-version", python[2:],
             "--abi", abi, "--platform", platform]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution found" not in done.stderr:
        raise SystemExit(f"pip could not look for {file_name}: {done.stderr.strip()}")
    return None if done.returncode else version


def _run(*words: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {(done.stderr or done.stdout).strip()}")


if __name__ == "__main__":
    found = stage()
    print(f"Python {found['python']} for the script pane is in {TARGET.relative_to(ROOT)}/, "
          + (f"with NumPy {found['numpy']}" if found["numpy"] else
             "pure: the package index has no NumPy wheel for this runtime"))
