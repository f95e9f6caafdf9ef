"""`rnn`: blocks of gated linear recurrence, parallel over time in training, constant memory in generation.

One block, for activations x [N,T,D]::

    u = causal_conv(rms_norm(x))            a short window of the past
    f = sigmoid(u Wf + bf)                  how much of the new value enters
    h[t] = (1 - f[t]) h[t-1] + f[t] (u Wv)[t]
    x = x + (h * silu(u Wg)) Wo

The recurrence is linear in h, so training runs it over a whole window; with a window of one character the same
code is the step form. The gate follows minGRU (Feng et al. 2024, arXiv 2410.01201); norm, short convolution and
output gate follow Griffin (De et al. 2024, arXiv 2402.19427).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array, apply, asarray, checkpoint
from core.frame import ZFrame
from core.functions import causal_conv, concat, linear_recurrence, rms_norm, sigmoid, silu, take
from core.random import Philox

Parameters = Mapping[str, Array]
State = dict[str, Array]


@dataclass(frozen=True)
class RnnConfig:
    """Sizes of an `rnn`.

    Parameters
    ----------
    vocabulary : int
        Number of symbols, the unknown symbol included.
    width : int
        Channels D of the residual stream.
    hidden : int
        Channels H of each recurrence.
    layers : int
        Blocks.
    taps : int
        Length K of the short convolution.
    slowest : float
        Longest initial time constant of the gates, in characters; they are spread from 1 to this.
    """

    vocabulary: int
    width: int
    hidden: int
    layers: int
    taps: int = 4
    slowest: float = 16.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= 1:
                raise ValueError(f"rnn: {name} is {value}, it must be at least 1")


PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "hidden": 96, "layers": 2},
    "small": {"width": 128, "hidden": 192, "layers": 3},
    "base": {"width": 192, "hidden": 256, "layers": 4},
    "large": {"width": 512, "hidden": 768, "layers": 6},
}


BLOCK = ("norm", "conv", "value", "forget", "forget_bias", "gate", "out")  # a block's parameters


def _block(p: Parameters, x: Array, tail: Array, h0: Array) -> tuple[Array, Array, Array]:
    """One block: activations, and the state after the last character."""
    normed = rms_norm(x, p["norm"])
    u = causal_conv(normed, p["conv"], tail)
    enter = sigmoid(u @ p["forget"] + p["forget_bias"])
    h = linear_recurrence(1.0 - enter, enter * (u @ p["value"]), h0)
    after = concat([tail, normed], axis=1)[:, x.shape[1]:]
    return x + (h * silu(u @ p["gate"])) @ p["out"], after, h[:, -1]


class Rnn:
    """The model: no parameters of its own, only their shapes and what to compute with them."""

    def __init__(self, config: RnnConfig) -> None:
        self.config = config
        self.tapped_layer = max(config.layers // 2, 1)  # the tap sits on the residual stream after this many blocks

    def initial_parameters(self, seed: int) -> dict[str, NDArray[np.float32]]:
        """Draw the weights on the host in float64 and round once to float32."""
        c, draw = self.config, Philox(seed)
        p: dict[str, NDArray[np.float64]] = {}

        def normal(name: str, *shape: int, scale: float) -> None:
            p[name] = draw.normal(1, len(p), shape) * scale

        # a gate f holds a value for about 1/f characters: constants from 1 to `slowest`, spread in log
        enter = 1 - np.exp(-1 / np.exp(np.linspace(0, math.log(c.slowest), c.hidden)))
        normal("embedding", c.vocabulary, c.width, scale=0.1)
        for i in range(c.layers):
            p[f"{i}.norm"] = np.ones(c.width)
            normal(f"{i}.conv", c.taps, c.width, scale=0.1)
            p[f"{i}.conv"][0] += 1
            for name in ("value", "forget", "gate"):
                normal(f"{i}.{name}", c.width, c.hidden, scale=c.width**-0.5)
            p[f"{i}.forget_bias"] = np.log(enter / (1 - enter))
            normal(f"{i}.out", c.hidden, c.width, scale=(2 * c.layers * c.hidden) ** -0.5)
        p["norm"] = np.ones(c.width)
        normal("head", c.width, c.vocabulary, scale=0.5 * c.width**-0.5)
        p["head_bias"] = np.zeros(c.vocabulary)
        return {name: value.astype(np.float32) for name, value in p.items()}

    def initial_state(self, batch: int, dtype: Any = np.float32) -> State:
        """An empty past for `batch` sequences."""
        c, state = self.config, {}
        for i in range(c.layers):
            state[f"{i}.tail"] = asarray(np.zeros((batch, c.taps - 1, c.width), dtype), dtype)
            state[f"{i}.h"] = asarray(np.zeros((batch, c.hidden), dtype), dtype)
        return state

    def states(self, p: Parameters, tokens: Array, state: State, stop: int | None = None,
               frame: ZFrame | None = None, gains: NDArray[np.float64] | None = None,
               recompute: bool = False) -> tuple[Array, State, Array]:
        """Run the blocks.

        Parameters
        ----------
        tokens : Array
            int32 [N, T].
        state : dict
            What `initial_state` or an earlier call returned.
        stop : int, optional
            Run only the first `stop` blocks.
        frame, gains : optional
            Put the spectral tap with these gains [B, S] after block `tapped_layer`.
        recompute : bool
            Keep only what enters each block, and compute its inside again in the backward pass.

        Returns
        -------
        (x, state, tapped)
            Activations [N,T,D], the state after the last character, and the activations at the tap.
        """
        x = take(p["embedding"], tokens)
        after: State = {}
        tapped = x
        for i in range(self.config.layers if stop is None else stop):
            block = partial(_block, {k: p[f"{i}.{k}"] for k in BLOCK})
            inputs = x, state[f"{i}.tail"], state[f"{i}.h"]
            x, after[f"{i}.tail"], after[f"{i}.h"] = checkpoint(block, *inputs) if recompute else block(*inputs)
            if i + 1 == self.tapped_layer:
                if gains is not None:
                    x = apply("tap", x, frame=frame, gains=gains)
                tapped = x
        return x, after, tapped

    def logits(self, p: Parameters, x: Array) -> Array:
        """Scores [N,T,V] of the next character from activations [N,T,D]."""
        return rms_norm(x, p["norm"]) @ p["head"] + p["head_bias"]
