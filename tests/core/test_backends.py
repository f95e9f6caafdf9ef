"""Which backend is taken, and what is said where it is not here."""

from __future__ import annotations

import sys

import pytest

from core import backends
from core.errors import BackendError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has neither CuPy nor wgpu, whatever this one has."""
    for library, column in (("cupy", "cuda"), ("wgpu", "wgpu")):
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(sys.modules, f"core.backends.{column}", raising=False)
    monkeypatch.delenv("ZSPACE_BACKEND", raising=False)


@pytest.mark.usefixtures("bare")
def test_a_backend_that_is_not_here_says_what_to_install() -> None:
    with pytest.raises(BackendError, match=r"needs CuPy and an NVIDIA GPU .*pip install cupy-cuda13x"):
        backends.choose("cuda")
    with pytest.raises(BackendError, match=r"needs wgpu-py and a Vulkan.*pip install wgpu; apt-get install libvulkan1"):
        backends.open_backend("wgpu")
    assert backends.available() == ["cpu"]


@pytest.mark.usefixtures("bare")
def test_argument_before_environment_before_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.choose() == ("cpu", "cuda is not here: import of cupy halted; None in sys.modules")
    monkeypatch.setenv("ZSPACE_BACKEND", "cuda")
    with pytest.raises(BackendError, match="needs CuPy"):
        backends.choose()
    assert backends.choose("cpu") == ("cpu", "argument")
    monkeypatch.setenv("ZSPACE_BACKEND", "cpu")
    assert backends.choose("auto") == ("cpu", "ZSPACE_BACKEND")
