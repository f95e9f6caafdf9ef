"""`import core` is light: what a GPU, a plot or a compiled loop needs is loaded by who needs it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("wgpu", "cupy", "matplotlib", "numba", "scipy", "gudhi", "safetensors", "threadpoolctl", "panel", "bokeh",
         "typer", "rich", "distributed", "dask", "core.backends.cpu", "core.backends.cuda", "core.render", "core.runs")


def test_import_core_loads_nothing_heavy() -> None:
    ask = f"import sys, core; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_session_on_the_cpu_loads_no_other_backend() -> None:
    ask = ("import sys, core\nwith core.zspace.session(backend='cpu'):\n"
           "    print([name for name in ('wgpu', 'cupy', 'matplotlib') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
