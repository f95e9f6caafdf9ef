"""What painting did: a painted run beside its unpainted twin, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.watch import RunWatch

Curve = list[list[float]]


def effect(painted: RunWatch, twin: RunWatch) -> dict[str, Any]:
    """Differences at the steps that both have.

    Returns
    -------
    dict
        loss: [step, painted minus twin] validation loss in bits per character; low: the same of the share of the
        tapped states' power in the lower half of the bands; painted: steps at which layers took effect; status and
        step of the twin. Twins share batches and the tap leaves the forward pass alone, so before the first stroke
        both differences are exactly zero.
    """
    low = [1 + b for b in range(painted.frame.bands // 2)]
    return {
        "twin": twin.folder.id, "status": twin.state.get("status"), "at": twin.step,
        "from": twin.record["twin"]["step"],
        "loss": _difference(*(w.validation.tail()[:, 1:3] for w in (painted, twin))),
        "low": _difference(*(_low_share(w.looks.tail()[:, 1:], low) for w in (painted, twin))),
        "painted": sorted({p.step for p in painted.strokes}),
    }


def _low_share(looks: NDArray[np.float64], columns: list[int]) -> NDArray[np.float64]:
    """[step, share] from rows that begin with the step and the states' shares by band."""
    return np.column_stack([looks[:, 0], looks[:, columns].sum(axis=1)])


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> Curve:
    """[step, a - b] where both have a value."""
    known = dict(b.tolist())
    return [[step, value - known[step]] for step, value in a.tolist() if step in known]
