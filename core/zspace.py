"""`st.zspace`: sessions, fields, pictures of them and power series, in the predecessor's notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from core.field import Field
from core.frame import ZFrame
from core.series import (
    zspace_eval,
    zspace_eval_stable,
    zspace_eval_with_derivative,
    zspace_eval_with_derivative_stable,
)
from core.session import Session, current_session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "render_atlas", "sample_field", "session", "zspace_eval", "zspace_eval_stable", "zspace_eval_with_derivative",
    "zspace_eval_with_derivative_stable",
]


def session(frame: ZFrame | None = None, backend: str | None = None, capacity: int = 256) -> Session:
    """A new `Session`: ``with st.zspace.session() as s: ...``."""
    return Session(frame, backend, capacity)


def sample_field(x: ArrayLike | None = None, frame: ZFrame | None = None) -> Field:
    """The field of `x`, or of what the current session last observed (see `Session.sample_field`)."""
    return current_session().sample_field(x, frame)


def render_atlas(**options: Any) -> Figure:
    """Draw the current session's atlas (see `core.render.render_atlas`)."""
    from core import render

    return render.render_atlas(current_session().atlas, **options)
