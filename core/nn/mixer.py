"""`mixer`: learned weights along time, then along channels.

One block, for activations x [N,T,D], with a decay 0 < d < 1 for each of the H channels::

    u = causal_conv(rms_norm(x))            a short window of the past
    m[t] = sum over s <= t of d^(t-s) (1 - d^2)^1/2 (u Wv)[s]
    x = x + (m * silu(u Wg)) Wo             mixes along time
    n = rms_norm(x)
    x = x + (silu(n Wa) * (n Wb)) Wc        mixes along channels

The weights along time depend on the distance alone, not on what is read: a causal filter a channel, as in MLP-Mixer
(Tolstikhin et al. 2021, arXiv 2105.01601) and Hyena (Poli et al. 2023, arXiv 2302.10866). That the filters are decays
makes the sum a recurrence m[t] = d m[t-1] + (1 - d^2)^1/2 (u Wv)[t] of constant memory, as in RetNet (Sun et al. 2023,
arXiv 2307.08621); the factor keeps the power of white noise (LRU, Orvieto et al. 2023, arXiv 2303.06349). The channel
mixing is the gated unit of Shazeer 2020 (arXiv 2002.05202).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from core.array import Array, apply
from core.functions import linear_recurrence, rms_norm, sigmoid, silu, sqrt
from core.nn.model import Model, Parameters, Presets, Weights, convolve
from core.primitives import Shape

TAPS = 4  # of the short convolution
SLOWEST = 64.0  # longest initial time constant of a decay, in characters; they are spread from 1 to this


class Mixer(Model):
    """Learned causal filters, then a gated unit; H decays and H hidden channels a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 64, "layers": 2},
        "small": {"width": 128, "hidden": 128, "layers": 3},
        "base": {"width": 160, "hidden": 256, "layers": 4},
        "large": {"width": 512, "hidden": 512, "layers": 8},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Time constants from 1 to `SLOWEST`."""
        c = self.config
        decay = np.exp(-1 / np.exp(np.linspace(0, math.log(SLOWEST), c.hidden)))
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        weights.put("decay", np.log(decay / (1 - decay)))
        weights.put("channel_norm", np.ones(c.width))
        for name in ("value", "gate", "channel_gate", "channel_value"):
            weights.normal(name, c.width, c.hidden, scale=c.width**-0.5)
        for name in ("out", "channel_out"):
            weights.normal(name, c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and m."""
        return {"tail": (TAPS - 1, self.config.width), "m": (self.config.hidden,)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        tail, m0 = state
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        decay = sigmoid(p["decay"])
        value = u @ p["value"] * sqrt(1.0 - decay * decay)
        m = linear_recurrence(apply("broadcast", decay, shape=value.shape), value, m0)
        x = x + (m * silu(u @ p["gate"])) @ p["out"]
        n = rms_norm(x, p["channel_norm"])
        x = x + (silu(n @ p["channel_gate"]) * (n @ p["channel_value"])) @ p["channel_out"]
        return x, tail, m[:, -1]
