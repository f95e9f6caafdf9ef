"""WGSL kernels, one a file: wgpu and the browser's WebGPU run the very same text.

They keep to what naga and Tint both accept: no f16, no subgroups, storage in arrays of f32, u32, i32, vec2s or vec4s,
at most 8 storage buffers, at most 256 invocations a workgroup and 65,535 workgroups a dimension. The browser loads
build copies of the canvas's own from a static folder; ``python -m core.kernels`` refreshes them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

CANVAS = ("colour", "deposit", "disk", "fft", "power", "reduce", "wave")  # what the page runs too
NAMES = tuple(sorted(path.name.removesuffix(".wgsl") for path in files(__package__).iterdir()
                     if path.name.endswith(".wgsl")))


@cache
def source(name: str) -> str:
    """Text of a kernel.

    Raises
    ------
    KeyError
        No kernel of that name.
    """
    if name not in NAMES:
        raise KeyError(f"kernel {name!r} is unknown: choose one of {', '.join(NAMES)}")
    return files(__package__).joinpath(f"{name}.wgsl").read_text(encoding="utf-8")


@cache
def digest(text: str) -> str:
    """SHA-256 of a kernel's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def stale_copies(folder: Path) -> list[str]:
    """Names in a folder of build copies that are missing, differ from their kernel, or belong to none."""
    copies = {path.stem: digest(path.read_bytes().decode()) for path in folder.glob("*.wgsl")}
    wanted = {name: digest(source(name)) for name in CANVAS}
    return sorted(name for name in copies.keys() | wanted.keys() if copies.get(name) != wanted.get(name))


def refresh_copies(folder: Path) -> list[str]:
    """Make the copies equal to the kernels and return the names that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale_copies(folder)
    for name in changed:
        path = folder / f"{name}.wgsl"
        if name in CANVAS:
            path.write_bytes(source(name).encode())
        else:
            path.unlink()
    return changed
