"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", help="the one backend on which primitives are held to their reference (cpu and wgpu)")
