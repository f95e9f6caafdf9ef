"""`st.z`: short notation for putting things into Z-space."""

from __future__ import annotations

from numpy.typing import ArrayLike

from core import ztensor
from core.frame import ZFrame
from core.session import _stack
from core.ztensor import ZGaussian


class Notation:
    """What `st.z` is."""

    @staticmethod
    def embed(x: ArrayLike, frame: ZFrame | None = None, window: int = 32) -> ZGaussian:
        """Rows of `x` as Gaussians (see `core.ztensor.embed`), through the current session's frame by default."""
        stack = _stack.get()
        return ztensor.embed(x, frame or (stack[-1].frame if stack else ZFrame.octaves()), window)


z = Notation()
