"""Topos control: how pressure on a bounded domain holds a trainer back, read from telemetry named ``topos.*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PREFIX = "topos."
HINTS = {  # name: (least, most, value where the telemetry has none)
    "learning_rate_scale": (0.1, 1.25, 1.0),
    "regularization_scale": (0.25, 4.0, 1.0),
    "clip_scale": (0.25, 1.0, 1.0),
    "gradient_bias_scale": (0.0, 0.35, 0.05),
}


@dataclass(frozen=True)
class ToposControl:
    """What topos telemetry asks of one step; without telemetry, or with gain 0, it asks for nothing.

    Attributes
    ----------
    pressure : float
        The largest of the pressures and the guard's strength, in [0, 1].
    learning_rate_scale, regularization_scale, clip_scale : float
        clamp(1 + gain (hint - 1)) into the ranges of `HINTS`.
    gradient_bias_scale : float
        gain x hint, in units of the gradient's RMS.
    basis : tuple of float
        Ten directions, repeated along the gradient: closure, volume, depth, guard, damping and focus, each less a half;
        1 - the rate's hint; the regularisation's hint - 1; a half less openness; a half less exploration.
    active : bool
    """

    pressure: float = 0.0
    learning_rate_scale: float = 1.0
    regularization_scale: float = 1.0
    clip_scale: float = 1.0
    gradient_bias_scale: float = 0.0
    basis: tuple[float, ...] = (0.0,) * 10
    active: bool = False

    def steer(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """A gradient pushed along the basis, then cut at its RMS / (1 - clip_scale)."""
        if not self.active:
            return gradient
        rms = float(np.sqrt(np.mean(gradient * gradient)))
        pushed = gradient + self.gradient_bias_scale * rms * np.resize(self.basis, len(gradient))
        if self.clip_scale == 1:
            return pushed
        limit = float(np.sqrt(np.mean(pushed * pushed))) / (1 - self.clip_scale)
        return np.clip(pushed, -limit, limit)


def read_topos(telemetry: Mapping[str, float], gain: float) -> ToposControl:
    """The control that flat telemetry asks for.

    Pressures and what is derived from them are clamped to [0, 1], hints to their ranges. What is missing follows from
    the rest: the guard from the largest pressure, damping from closure x guard, focus from the guard, openness from
    1 - closure.
    """
    given = {k.removeprefix(PREFIX): v for k, v in telemetry.items() if k.startswith(PREFIX)}
    if not given or not gain:
        return ToposControl()

    def share(name: str, default: float) -> float:
        return _clamp(given.get(name, default), 0.0, 1.0)

    closure, depth, volume = (share(f"{name}_pressure", 0.0) for name in ("closure", "depth", "volume"))
    guard = share("guard_strength", max(closure, depth, volume))
    damping = share("step_damping", given.get("training_hints.step_damping", closure * guard))
    focus, openness = share("sampling_focus", guard), share("openness", 1 - closure)
    hints = {name: _clamp(given.get(f"training_hints.{name}", default), least, most)
             for name, (least, most, default) in HINTS.items()}
    scales = {name: _clamp(1 + gain * (hints[name] - 1), *HINTS[name][:2]) for name in HINTS}
    scales["gradient_bias_scale"] = gain * hints["gradient_bias_scale"]
    basis = (closure - 0.5, volume - 0.5, depth - 0.5, guard - 0.5, damping - 0.5, focus - 0.5,
             1 - hints["learning_rate_scale"], hints["regularization_scale"] - 1, 0.5 - openness,
             0.5 - share("exploration_hint", 0.0))
    return ToposControl(max(closure, depth, volume, guard), **scales, basis=basis, active=True)


def _clamp(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
