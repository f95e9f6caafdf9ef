"""`conv`: gated causal convolutions, each block looking further back.

One block, for activations x [N,T,D]; block i has dilation 1, 4, 16, 1, 4, ...::

    n = rms_norm(x)
    v = causal_conv(n Wv, dilation)         a kernel of its own for each of the H channels
    g = causal_conv(n Wg, dilation)
    x = x + (v * silu(g)) Wo
    n = rms_norm(x)
    x = x + (silu(n Wa) * (n Wb)) Wc        mixes along channels

Dilated causal convolutions with a gate follow WaveNet (van den Oord et al. 2016, arXiv 1609.03499); kernels by channel
with mixing beside them follow Xception (Chollet 2017, arXiv 1610.02357), the gated units Dauphin et al. 2017 (arXiv
1612.08083) and Shazeer 2020 (arXiv 2002.05202).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.array import Array
from core.functions import rms_norm, silu
from core.nn.model import Model, Parameters, Presets, Weights, convolve
from core.primitives import Shape

TAPS = 4
DILATIONS = (1, 4, 16)  # of the blocks in turn: gapless, so three blocks see 64 characters


class Conv(Model):
    """Dilated causal convolutions, then a gated unit; H channels in each."""

    presets: ClassVar[Presets] = {
        "tiny": {"width": 64, "hidden": 64, "layers": 3},
        "small": {"width": 128, "hidden": 128, "layers": 3},
        "base": {"width": 160, "hidden": 256, "layers": 4},
        "large": {"width": 512, "hidden": 512, "layers": 9},
    }

    def draw_block(self, weights: Weights, i: int) -> None:
        """Kernels of unit power, so that each lag counts from the start."""
        c = self.config
        for name in ("norm", "channel_norm"):
            weights.put(name, np.ones(c.width))
        for name in ("value_conv", "gate_conv"):
            weights.normal(name, TAPS, c.hidden, scale=TAPS**-0.5)
        for name in ("value", "gate", "channel_gate", "channel_value"):
            weights.normal(name, c.width, c.hidden, scale=c.width**-0.5)
        for name in ("out", "channel_out"):
            weights.normal(name, c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)

    def block_state(self, i: int) -> dict[str, Shape]:
        """What the convolutions still look back at."""
        reach = (TAPS - 1) * DILATIONS[i % len(DILATIONS)]
        return {"value_tail": (reach, self.config.hidden), "gate_tail": (reach, self.config.hidden)}

    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """The formulas above."""
        dilation = DILATIONS[i % len(DILATIONS)]
        n = rms_norm(x, p["norm"])
        value, value_tail = convolve(n @ p["value"], p["value_conv"], state[0], dilation)
        gate, gate_tail = convolve(n @ p["gate"], p["gate_conv"], state[1], dilation)
        x = x + (value * silu(gate)) @ p["out"]
        n = rms_norm(x, p["channel_norm"])
        return x + (silu(n @ p["channel_gate"]) * (n @ p["channel_value"])) @ p["channel_out"], value_tail, gate_tail
