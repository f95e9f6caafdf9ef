"""The canvas: what travels between the painting browser and the scheduler, and the projector that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canvas.projector import CanvasProjector

__all__ = ["CanvasProjector"]


def __getattr__(name: str) -> Any:
    """The projector on first use: what runs in the browser has only the standard library."""
    if name == "CanvasProjector":
        from canvas.projector import CanvasProjector

        return CanvasProjector
    raise AttributeError(f"module 'canvas' has no attribute {name!r}")
