"""`conv`: gated causal convolutions, each block looking further back.

One block, for activations x [N,T,D]; the blocks' dilations are 1, 2, 4, 8, 16, 1, 2, ... ::

    u = causal_conv(rms_norm(x))            a short window of the past
    k = sigmoid(u Wk)                       what enters
    c = causal_conv(k * (u Wv), dilation)   a long kernel of its own for each of the H channels
    x = x + (c * silu(u Wg)) Wo             what leaves, mixed along channels

Dilated causal convolutions with gates follow WaveNet (van den Oord et al. 2016, arXiv 1609.03499) and gated
convolutional language models (Dauphin et al. 2017, arXiv 1612.08083); kernels by channel with mixing beside them follow
Xception (Chollet 2017, arXiv 1610.02357). What lies further back than the kernels reach is forgotten for good.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.array import Array
from core.functions import rms_norm, sigmoid, silu
from core.nn.model import Model, Parameters, Presets, Weights, convolve, time_constants
from core.primitives import Shape

TAPS = 4  # of the short convolution
KERNEL = 8  # taps of the long one
DILATIONS = (1, 2, 4, 8, 16)  # of the long ones, block after block: five of them see 8 + 16 + 32 + 64 + 128 characters


class Conv(Model):
    """Dilated causal convolutions between two gates; H channels in each."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 96, "layers": 3},
        "small": {"width": 128, "hidden": 192, "layers": 4},
        "base": {"width": 160, "hidden": 320, "layers": 5},
        "large": {"width": 256, "hidden": 448, "layers": 5},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Long kernels are decays with time constants from 1 tap to all of them, each of sum one."""
        c = self.config
        kernels = np.exp(-np.arange(KERNEL)[:, None] / time_constants(KERNEL, c.hidden))
        weights.put("norm", np.ones(c.width))
        weights.short_conv("conv", TAPS, c.width)
        for name in ("value", "enter", "gate"):
            weights.normal(name, c.width, c.hidden, scale=c.width**-0.5)
        weights.put("long_conv", kernels / kernels.sum(0))
        weights.normal("out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """What the two convolutions still look back at."""
        return {"tail": (TAPS - 1, self.config.width), "long_tail": ((KERNEL - 1) * _dilation(i), self.config.hidden)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        tail, long_tail = state
        u, tail = convolve(rms_norm(x, p["norm"]), p["conv"], tail)
        entered = sigmoid(u @ p["enter"]) * (u @ p["value"])
        c, long_tail = convolve(entered, p["long_conv"], long_tail, _dilation(i))
        return c * silu(u @ p["gate"]), tail, long_tail


def _dilation(i: int) -> int:
    return DILATIONS[i % len(DILATIONS)]
