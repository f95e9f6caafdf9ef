"""`mixer`: learned weights along time, then along channels.

One block, for activations x [N,T,D], with a decay 0 < d < 1 for each of the H channels::

    u = causal_conv(rms_norm(x))            a short window of the past
    k = sigmoid(u Wk)                       what enters
    m[t] = sum over s <= t of (1 - d) d^(t-s) k[s] (u Wv)[s]
    x = x + (m * silu(u Wg)) Wo             what leaves, mixed along channels

The weights along time depend on the distance alone, not on what is read: a causal filter a channel, as in MLP-Mixer
(Tolstikhin et al. 2021, arXiv 2105.01601) and Hyena (Poli et al. 2023, arXiv 2302.10866), between two gates that do
depend on it, as in RWKV (Peng et al. 2023, arXiv 2305.13048). That the filters are decays makes the sum a recurrence
m[t] = d m[t-1] + (1 - d) k[t] (u Wv)[t] of constant memory, as in RetNet (Sun et al. 2023, arXiv 2307.08621).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.array import Array, apply
from core.functions import linear_recurrence, rms_norm, sigmoid, silu
from core.nn.model import Model, Parameters, Presets, Weights, convolve, time_constants
from core.primitives import Shape

TAPS = 4  # of the short convolution
SLOWEST = 16.0  # longest initial time constant of a decay, in characters; they are spread from 1 to this


class Mixer(Model):
    """Learned causal filters between two gates; H of each a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 96, "layers": 2},
        "small": {"width": 128, "hidden": 192, "layers": 3},
        "base": {"width": 160, "hidden": 320, "layers": 5},
        "large": {"width": 256, "hidden": 448, "layers": 5},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Time constants from 1 to `SLOWEST`."""
        c = self.config
        decay = np.exp(-1 / time_constants(SLOWEST, c.hidden))
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        for name in ("value", "enter", "gate"):
            weights.normal(name, c.width, c.hidden, scale=c.width**-0.5)
        weights.put("decay", np.log(decay / (1 - decay)))
        weights.normal("out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and m."""
        return {"tail": (TAPS - 1, self.config.width), "m": (self.config.hidden,)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        tail, m0 = state
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        decay = sigmoid(p["decay"])
        new = (1.0 - decay) * sigmoid(u @ p["enter"]) * (u @ p["value"])
        m = linear_recurrence(apply("broadcast", decay, shape=new.shape), new, m0)
        return m * silu(u @ p["gate"]), tail, m[:, -1]
