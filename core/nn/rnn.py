"""`rnn`: blocks of gated linear recurrence.

One block, for activations x [N,T,D]::

    u = causal_conv(rms_norm(x))            a short window of the past
    f = sigmoid(u Wf + bf)                  how much of the new value enters
    h[t] = (1 - f[t]) h[t-1] + f[t] (u Wv)[t]
    x = x + (h * silu(u Wg)) Wo

The gate follows minGRU (Feng et al. 2024, arXiv 2410.01201); norm, short convolution and output gate follow Griffin (De
et al. 2024, arXiv 2402.19427).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.array import Array
from core.functions import linear_recurrence, rms_norm, sigmoid, silu
from core.nn.model import Model, Parameters, Presets, Weights, convolve, time_constants
from core.primitives import Shape

TAPS = 4  # of the short convolution
SLOWEST = 16.0  # longest initial time constant of the gates, in characters; they are spread from 1 to this


class Rnn(Model):
    """Gated linear recurrence; H channels of state a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 96, "layers": 2},
        "small": {"width": 128, "hidden": 192, "layers": 3},
        "base": {"width": 160, "hidden": 320, "layers": 5},
        "large": {"width": 256, "hidden": 448, "layers": 5},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Time constants from 1 to `SLOWEST`: a gate f holds a value for about 1/f characters."""
        c = self.config
        enter = 1 - np.exp(-1 / time_constants(SLOWEST, c.hidden))
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        for name in ("value", "forget", "gate"):
            weights.normal(name, c.width, c.hidden, scale=c.width**-0.5)
        weights.put("forget_bias", np.log(enter / (1 - enter)))
        weights.normal("out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and h."""
        return {"tail": (TAPS - 1, self.config.width), "h": (self.config.hidden,)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        tail, h0 = state
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        enter = sigmoid(u @ p["forget"] + p["forget_bias"])
        h = linear_recurrence(1.0 - enter, enter * (u @ p["value"]), h0)
        return h * silu(u @ p["gate"]), tail, h[:, -1]
