"""`scan`: a selective state machine; what is read decides what is kept, written and looked up.

One block, for activations x [N,T,D], with H channels of S states each::

    v = silu(causal_conv(rms_norm(x) Wv))           a short window of the past
    r = softplus((v Wd) We + be)                    how far each channel's clock goes on
    h[t] = exp(-r[t] a) h[t-1] + r[t] v[t] (v Wi)[t]        a [H,S] > 0; channels times states
    y = sum over states of h * (v Wq)  +  s * v
    x = x + (y * silu(rms_norm(x) Wg)) Wo

This is Mamba's block (Gu & Dao 2023, arXiv 2312.00752, section 3.4 and algorithm 2), with pre-norm.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from core.array import Array
from core.functions import exp, linear_recurrence, rms_norm, silu, softplus
from core.nn.model import Model, Parameters, Presets, Weights, convolve
from core.primitives import Shape

TAPS = 4  # of the short convolution
STATES = 4  # S
RANK = 16  # of the clocks' matrix


class Scan(Model):
    """Selective state space; H channels times `STATES` a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 96, "layers": 2},
        "small": {"width": 128, "hidden": 192, "layers": 3},
        "base": {"width": 176, "hidden": 320, "layers": 5},
        "large": {"width": 512, "hidden": 1024, "layers": 6},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """State s decays s + 1 times as fast as the clock, whose rates are spread from 0.01 to 1 a character."""
        c = self.config
        rate = np.exp(np.linspace(math.log(0.01), 0, c.hidden))
        weights.put("norm", np.ones(c.width))
        weights.normal("value", c.width, c.hidden, scale=c.width**-0.5)
        weights.short_conv("conv", TAPS, c.hidden)
        weights.normal("gate", c.width, c.hidden, scale=c.width**-0.5)
        weights.normal("clock_in", c.hidden, RANK, scale=c.hidden**-0.5)
        weights.normal("clock_out", RANK, c.hidden, scale=RANK**-0.5)
        weights.put("clock_bias", np.log(np.expm1(rate)))
        weights.put("decay", np.log(np.tile(np.arange(1.0, STATES + 1), (c.hidden, 1))))
        for name in ("write", "read"):
            weights.normal(name, c.hidden, STATES, scale=c.hidden**-0.5)
        weights.put("skip", np.ones(c.hidden))
        weights.normal("out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and h."""
        return {"tail": (TAPS - 1, self.config.hidden), "h": (self.config.hidden * STATES,)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        (tail, h0), (N, T, _), H = state, x.shape, self.config.hidden
        n = rms_norm(x, p["norm"])
        v, tail = convolve(n @ p["value"], p["conv"], tail)
        v = silu(v)
        r = softplus(v @ p["clock_in"] @ p["clock_out"] + p["clock_bias"])
        keep = exp(r.reshape(N, T, H, 1) * -exp(p["decay"]))
        new = (r * v).reshape(N, T, H, 1) * (v @ p["write"]).reshape(N, T, 1, STATES)
        h = linear_recurrence(keep.reshape(N, T, H * STATES), new.reshape(N, T, H * STATES), h0)
        y = (h.reshape(N, T, H, STATES) * (v @ p["read"]).reshape(N, T, 1, STATES)).sum(3) + p["skip"] * v
        return x + (y * silu(n @ p["gate"])) @ p["out"], tail, h[:, -1]
