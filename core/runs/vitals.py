"""A run's z metrics from what it measures, and what the latent's posterior makes of them.

Observed at a look, each between 0 and 1:

- speed: characters a second, over the most that recent steps reached,
- memory: l / (1 + l), l = ln(1 + r), r the root mean square of the activations at the tap, which grows to some tens,
- stability: m / (m + s), s and m the deviation and the mean of the recent losses,
- drs: 1 - exp(-d), d the mean divergence KL(p || p') in nats of what the model expects after a held-out prompt, when
  the prompt's middle character is changed: how far it drifts in response,
- gradient: shares of the gradient's power by spectral band, under the basis `BAND_BASIS`.

The latent is the mean state over a window as a series in time; observations override what is decoded from it
(`core.inference.projection`). Telemetry, which can only lower the confidence, is the health of training (`psi`) and how
strongly the canvas steers (`canvas`).
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray
from core.inference.projection import infer_from_partial
from core.nn.model import Model, Parameters
from core.runs.events import Row
from core.steer import LARGEST_LOG2_GAIN

RECENT = 50  # steps
PROMPT = 64  # characters at most; half of them come after the change
BAND_BASIS = "zspace.gradient.band_shares.v1"


class Vitals:
    """What a run remembers from look to look.

    Parameters
    ----------
    prompt : array of int [n]
        Held-out characters, at least 2.
    vocabulary : int
        How many symbols there are.
    """

    def __init__(self, prompt: NDArray[np.integer], vocabulary: int) -> None:
        whole = np.asarray(prompt[:PROMPT], np.int32)
        changed = whole.copy()
        self.middle = len(whole) // 2
        changed[self.middle] = (changed[self.middle] + 1) % vocabulary
        self._prompts, self._vocabulary = np.stack([whole, changed]), vocabulary
        self._losses: deque[float] = deque(maxlen=RECENT)
        self._pace: deque[float] = deque(maxlen=RECENT)
        self._power: float | None = None

    def step(self, loss: float, pace: float) -> None:
        """Remember a step's loss in nats and its characters a second."""
        self._losses.append(loss)
        self._pace.append(pace)

    def response(self, model: Model, parameters: Parameters) -> float:
        """Mean KL in nats between what is expected after the prompt and after the changed one, where they differ."""
        x, _, _ = model.states(parameters, asarray(self._prompts), model.initial_state(2))
        logits = model.logits(parameters, x).numpy()[:, self.middle :].astype(np.float64)
        before, after = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
        return float((np.exp(before) * (before - after)).sum(-1).mean())

    def look(self, latent: Sequence[float], response: float, row: Row, update: float, fold: NDArray[np.float64]) -> Row:
        """What goes into a row of a look, among what was measured.

        Parameters
        ----------
        latent : sequence of float [n]
            The series.
        response : float
            What `response` found.
        row : dict
            The look's, with `state_power`, `bands` and `gradient_norm`.
        update : float
            What `relative_change` found of the step's update.
        fold : array [B, S]
            Log2 gains that were in force.
        """
        power, norm = row["state_power"], row["gradient_norm"]
        before, self._power = self._power, power
        moved = 0.0 if before is None or power == before else abs(power - before) / (power + before)
        mean, spread = statistics.fmean(self._losses), statistics.pstdev(self._losses)
        size = math.log1p(math.sqrt(power))
        seen = {
            "speed": self._pace[-1] / max(self._pace), "memory": size / (1 + size),
            "stability": mean / (mean + spread) if spread else 1.0,
            "drs": -math.expm1(-response), "gradient": row["bands"]["gradient"], "gradient_basis": BAND_BASIS,
        }
        troubles = {"loss": min(mean / math.log(self._vocabulary), 1.0), "grad_norm": norm / (1 + norm),
                    "update_ratio": min(update, 1.0), "act_drift": moved}
        painted = np.clip(fold / LARGEST_LOG2_GAIN, -1, 1)
        telemetry = {"psi": {**troubles, "health": 1 - statistics.fmean(troubles.values())},
                     "canvas": {"energy": float(np.mean(painted**2))}}
        found = infer_from_partial(latent, seen, telemetry=telemetry)
        return {"observed": seen, "posterior": dict(found.metrics), "barycentric": list(found.barycentric),
                "residual": found.residual, "confidence": found.confidence, "telemetry": telemetry}


def relative_change(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    """Norm of after - before over that of before, all arrays taken as one vector."""
    moved = sum(float((d * d).sum()) for d in (after[k].detach() - x.detach() for k, x in before.items()))
    return math.sqrt(moved / max(sum(float((x.detach() * x.detach()).sum()) for x in before.values()), 1e-30))
