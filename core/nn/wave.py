"""`wave`: damped oscillators.

One block, for activations x [N,T,D], with H complex numbers z inside the unit circle::

    u = causal_conv(rms_norm(x))            a short window of the past
    k = sigmoid(u Wk)                       how hard each oscillator is struck
    z = exp(-exp(damping) + i angle)
    h[t] = z h[t-1] + (1 - |z|) k[t] (u Wv)[t]      Wv gives real and imaginary parts
    x = x + ([Re h, Im h] * silu(u Wg)) Wo

Each oscillator turns by its angle a character and keeps exp(-exp(damping)) of its amplitude; neither depends on what is
read. The diagonal and its stable form are the LRU's (Orvieto et al. 2023, arXiv 2303.06349; S4D, Gu et al. 2022, arXiv
2206.11893); norm, short convolution and gates follow Griffin (De et al. 2024, arXiv 2402.19427).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from core.array import Array, apply
from core.functions import complex_recurrence, concat, cos, exp, rms_norm, sigmoid, silu, sin
from core.nn.model import Model, Parameters, Presets, Weights, convolve, time_constants
from core.primitives import Shape

TAPS = 4  # of the short convolution
SLOWEST = 16.0  # longest initial time constant of a damping, in characters; they are spread from 1 to this
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, modulo 1, spread evenly at every length


class Wave(Model):
    """Complex diagonal recurrence; H oscillators, so 2 H channels, a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 48, "layers": 2},
        "small": {"width": 128, "hidden": 96, "layers": 3},
        "base": {"width": 192, "hidden": 152, "layers": 5},
        "large": {"width": 288, "hidden": 228, "layers": 5},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Time constants from 1 to `SLOWEST`, and angles from 0 to half a turn for each stretch of them."""
        c = self.config
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        weights.put("damping", -np.log(time_constants(SLOWEST, c.hidden)))
        weights.put("angle", math.pi * (np.arange(c.hidden) * GOLDEN % 1))
        weights.normal("enter", c.width, c.hidden, scale=c.width**-0.5)
        for name in ("value", "gate"):
            weights.normal(name, c.width, 2 * c.hidden, scale=c.width**-0.5)
        weights.normal("out", 2 * c.hidden, c.width, scale=(4 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and h."""
        return {"tail": (TAPS - 1, self.config.width), "h": (self.config.hidden, 2)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        (tail, h0), (N, T, _), H = state, x.shape, self.config.hidden
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        size = exp(-exp(p["damping"]))
        z = concat([(size * part(p["angle"])).reshape(H, 1) for part in (cos, sin)], axis=1)
        struck = (1.0 - size) * sigmoid(u @ p["enter"])
        new = struck.reshape(N, T, H, 1) * (u @ p["value"]).reshape(N, T, H, 2)
        h = complex_recurrence(apply("broadcast", z, shape=new.shape), new, h0)
        return h.reshape(N, T, 2 * H) * silu(u @ p["gate"]), tail, h[:, -1]
