"""Options of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# how fast a machine is, is no property
settings.register_profile("zspace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zspace")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", help="the one backend on which primitives are held to their reference (cpu and wgpu) "
                                       "and broken kernels must show (cpu)")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the processes they start, leave the user's cache of tuned kernels alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSPACE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
