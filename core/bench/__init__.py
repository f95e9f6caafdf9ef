"""Kernels beside what the device reaches and beside peers: ``zspace bench kernels``."""

from core.bench.cases import CASES
from core.bench.runner import Report, Timing, run

__all__ = ["CASES", "Report", "Timing", "run"]
