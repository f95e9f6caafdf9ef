"""`scan`: a selective state machine; what is read decides what is kept, where it is written and what is looked up.

One block, for activations x [N,T,D]. The H channels are dealt to M heads, and each head keeps S slots, each of which
holds a value for all the head's channels::

    u = causal_conv(rms_norm(x))            a short window of the past
    f = sigmoid(u Wf + bf)                  [M,S] how much of the new value each slot takes
    h[t,m,s] = (1 - f[t,m,s]) h[t-1,m,s] + f[t,m,s] (u Wv)[t,m]
    y[t,m] = sum over s of (u Wq)[t,m,s] h[t,m,s]
    x = x + (y * silu(u Wg)) Wo

A slot with f near 0 keeps what it has, one with f near 1 is overwritten. The state widened by an outer product, with
forgetting and writing tied, is HGRN2's (Qin et al. 2024, arXiv 2404.07904), a relative of gated linear attention (Yang
et al. 2023, arXiv 2312.06635) and of Mamba-2 (Dao & Gu 2024, arXiv 2405.21060); short convolution and output gate
follow Mamba (Gu & Dao 2023, arXiv 2312.00752).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.array import Array, apply
from core.functions import linear_recurrence, rms_norm, sigmoid, silu
from core.nn.model import Model, Parameters, Presets, Weights, convolve, time_constants
from core.primitives import Shape

TAPS = 4  # of the short convolution
HEADS = 8  # M
SLOTS = 4  # S
SLOWEST = 64.0  # longest initial time constant of a slot, in characters; they are spread from 1 to this


class Scan(Model):
    """Selective recurrence; H channels, a multiple of M, times S of state a block."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 96, "layers": 2},
        "small": {"width": 128, "hidden": 192, "layers": 3},
        "base": {"width": 160, "hidden": 320, "layers": 6},
        "large": {"width": 256, "hidden": 448, "layers": 6},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Time constants from 1 to `SLOWEST`, spread over the slots of each head."""
        c = self.config
        enter = 1 - np.exp(-1 / time_constants(SLOWEST, HEADS * SLOTS)).reshape(SLOTS, HEADS).T.ravel()
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        for name, size in (("value", c.hidden), ("gate", c.hidden), ("forget", HEADS * SLOTS), ("read", HEADS * SLOTS)):
            weights.normal(name, c.width, size, scale=c.width**-0.5)
        weights.put("forget_bias", np.log(enter / (1 - enter)))
        weights.normal("out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """The convolution's tail and h."""
        return {"tail": (TAPS - 1, self.config.width), "h": (self.config.hidden * SLOTS,)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        (tail, h0), (N, T, _), H = state, x.shape, self.config.hidden
        heads = N, T, HEADS, SLOTS, H // HEADS
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        f = sigmoid(u @ p["forget"] + p["forget_bias"]).reshape(N, T, HEADS, SLOTS, 1)
        new = f * (u @ p["value"]).reshape(N, T, HEADS, 1, H // HEADS)
        keep = apply("broadcast", 1.0 - f, shape=heads)
        h = linear_recurrence(keep.reshape(N, T, H * SLOTS), new.reshape(N, T, H * SLOTS), h0)
        y = ((u @ p["read"]).reshape(N, T, HEADS, SLOTS, 1) * h.reshape(*heads)).sum(3).reshape(N, T, H)
        return y * silu(u @ p["gate"]), tail, h[:, -1]
