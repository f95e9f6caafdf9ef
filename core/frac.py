"""`st.frac`: the Mellin transform in the predecessor's notation (see `core.series`)."""

from core.series import MellinLogGrid

__all__ = ["MellinLogGrid"]
