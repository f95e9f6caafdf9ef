"""Which backend is taken, and what is said where it is not here."""

from __future__ import annotations

import sys

import pytest

from core import backends
from core.errors import BackendError


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no CuPy, whatever this one has."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "core.backends.cuda", raising=False)
    monkeypatch.delenv("ZSPACE_BACKEND", raising=False)


@pytest.mark.usefixtures("without_cupy")
def test_a_backend_that_is_not_here_says_what_to_install() -> None:
    with pytest.raises(BackendError, match=r"needs CuPy and an NVIDIA GPU .*pip install cupy-cuda13x"):
        backends.choose("cuda")
    with pytest.raises(BackendError, match="'wgpu' has no kernels in this version: use --backend cpu"):
        backends.open_backend("wgpu")
    assert backends.available() == ["cpu"]


@pytest.mark.usefixtures("without_cupy")
def test_argument_before_environment_before_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.choose() == ("cpu", "cuda is not here: import of cupy halted; None in sys.modules")
    monkeypatch.setenv("ZSPACE_BACKEND", "cuda")
    with pytest.raises(BackendError, match="needs CuPy"):
        backends.choose()
    assert backends.choose("cpu") == ("cpu", "argument")
    monkeypatch.setenv("ZSPACE_BACKEND", "cpu")
    assert backends.choose("auto") == ("cpu", "ZSPACE_BACKEND")
