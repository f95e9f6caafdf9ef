"""Backends that the canvas computes on."""

from __future__ import annotations

import pytest

from core.backends import Backend, open_backend
from tests.core.here import wgpu_here


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The CPU and wgpu, or what `--backend` names: `pytest tests/canvas --backend cuda`."""
    if "backend" in metafunc.fixturenames:
        named = metafunc.config.getoption("backend")
        metafunc.parametrize("backend", [named] if named else ["cpu", "wgpu"], indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    return wgpu_here() if request.param == "wgpu" else open_backend(request.param)
