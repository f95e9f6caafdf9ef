"""Which backend is taken, and what is said where it is not here."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from core import backends
from core.array import Array, asarray
from core.backends import Buffer
from core.backends.queue import LaunchQueue
from core.errors import BackendError
from core.functions import exp


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


def test_a_primitive_that_a_backend_lacks_is_an_error_naming_both() -> None:
    class Half(LaunchQueue):
        name = "half"

    x = Array(Half({}, ["add"]), Buffer(np.ones(3)), (3,), np.dtype(np.float64))  # type: ignore[arg-type]
    assert (x + x).shape == (3,)
    with pytest.raises(BackendError, match="backend 'half' has no kernel for 'exp'"):
        exp(x)


def test_only_a_device_beside_the_host_begins_before_it_is_asked() -> None:
    begun = {}
    for name in backends.available():
        with backends.use_backend(backends.open_backend(name)) as backend:
            y = exp(asarray(np.ones(3, np.float32)))
            backend.start()
            begun[name] = y.buffer.data is not None
            np.testing.assert_allclose(y.numpy(), np.e, rtol=1e-6)
    assert begun == {name: name != "cpu" for name in begun}
