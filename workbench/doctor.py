"""What this machine offers the workbench, and what to install for the rest."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from core import backends
from core.errors import BackendError

LIBRARIES = ("numpy", "scipy", "numba", "gudhi", "safetensors", "matplotlib", "panel", "bokeh", "wgpu", "distributed",
             "cupy-cuda13x", "pyodide-lock", "pytest")
OPTIONAL = {name: f"pip install 'zspace-workbench[{extra}]'"
            for name, extra in (("cupy-cuda13x", "cuda"), ("pyodide-lock", "browser"), ("pytest", "test"))}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    Attributes
    ----------
    kind : {"backend", "browser", "library", "system"}
    found : bool
    detail : str
        What is there.
    remedy : str
        What to do where it is not there and somebody wants it; empty otherwise.
    """

    kind: str
    name: str
    found: bool
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything."""
    findings = [Finding("system", "python", True, f"{platform.python_version()} on {platform.platform()}")]
    findings += [_cpu(), _wgpu(), _cuda()]
    path = next((p for p in map(shutil.which, BROWSERS) if p), None)
    findings.append(Finding("browser", "browser", path is not None, path or "none on the PATH",
                            "" if path else "apt-get install chromium, or open the page on another machine"))
    return findings + [_library(name) for name in LIBRARIES]


def _cpu() -> Finding:
    """The CPU backend, by making it."""
    about = backends.open_backend("cpu").describe()
    try:
        auto = "`auto` takes {}: {}".format(*backends.choose())
    except BackendError as error:  # ZSPACE_BACKEND asks for what is not here
        auto = f"`auto` takes nothing: {error}"
    return Finding("backend", "cpu", True,
                   f"{about['device']}, {about['threads']} threads, {', '.join(about['blas'])}; {auto}")


def _wgpu() -> Finding:
    """The wgpu backend, by making it."""
    try:
        about = backends.open_backend("wgpu").describe()
    except BackendError as error:
        return Finding("backend", "wgpu", False, str(error.__cause__), "apt-get install libvulkan1 mesa-vulkan-drivers")
    return Finding("backend", "wgpu", True,
                   f"{about['device']}, {about['driver']}, {about['api']}, wgpu {about['wgpu']}")


def _cuda() -> Finding:
    """The CUDA backend, by making it."""
    try:
        about = backends.open_backend("cuda").describe()
    except BackendError as error:
        return Finding("backend", "cuda", False, str(error.__cause__), OPTIONAL["cupy-cuda13x"])
    return Finding("backend", "cuda", True, f"{about['device']}, driver {about['driver']}, CuPy {about['cupy']}")


def _library(name: str) -> Finding:
    try:
        return Finding("library", name, True, version(name))
    except PackageNotFoundError:
        remedy = OPTIONAL.get(name, f"{sys.executable} -m pip install {name}")
        return Finding("library", name, False, "not installed", remedy)
