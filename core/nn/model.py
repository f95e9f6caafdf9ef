"""What every family of models shares: embedding, blocks in order, the spectral tap, final norm and head.

A family (`core/nn/rnn.py` and its siblings) adds its presets and one block: the parameters, among them the matrix `out`
that leads back into the residual stream, the state and the mathematics. A block is linear in its state or looks back a
fixed stretch, so training runs it over a whole window, and with a window of one character the same code is the step
form.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.array import Array, apply, checkpoint, leaf
from core.frame import ZFrame
from core.functions import causal_conv, concat, dropout, rms_norm, take, zeros
from core.nn.hyperbolic import check_curvature, host_exp_map, log_map, project
from core.primitives import Shape
from core.random import Philox

STREAM = 1000  # of the random numbers that dropout draws, and on from it a stream a block
Parameters = Mapping[str, Array]
State = dict[str, Array]
Presets = dict[str, dict[str, int]]  # name -> sizes


@dataclass(frozen=True)
class Config:
    """Sizes of a model.

    Parameters
    ----------
    vocabulary : int
        Number of symbols, the unknown symbol included.
    width : int
        Channels D of the residual stream.
    hidden : int
        Channels H inside a block.
    layers : int
        Blocks.
    curvature : float
        0: the embeddings are vectors. Below: they are points of the Poincare ball of this curvature, and its log map
        at the origin takes them into the residual stream.
    """

    vocabulary: int
    width: int
    hidden: int
    layers: int
    curvature: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "hidden", "layers"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"model: {name} is {getattr(self, name)}, it must be at least 1")
        check_curvature(self.curvature)


@dataclass(frozen=True)
class Dropout:
    """What training loses at random: a share of the embedding's values and of what each block reads out.

    Parameters
    ----------
    rate : float
        The share, above 0 and below 1.
    seed, step : int
        Of the random numbers; a step of training draws its own.
    """

    rate: float
    seed: int
    step: int

    def __call__(self, x: Array, i: int) -> Array:
        """Of the embedding (i = 0) or of what block i - 1 reads out."""
        return dropout(x, self.rate, self.seed, STREAM + i, self.step)


class Weights:
    """Initial weights, drawn on the host in float64; a draw depends on the seed and on how many names came before."""

    def __init__(self, seed: int) -> None:
        self.values: dict[str, NDArray[np.float64]] = {}
        self.block = ""  # before each name
        self._draw = Philox(seed)

    def normal(self, name: str, *shape: int, scale: float) -> None:
        """Normal numbers of this deviation."""
        self.values[self.block + name] = self._draw.normal(1, len(self.values), shape) * scale

    def put(self, name: str, values: ArrayLike) -> None:
        """Numbers that are not random."""
        self.values[self.block + name] = np.asarray(values, np.float64)

    def short_conv(self, name: str, taps: int, channels: int) -> None:
        """A convolution that hands its input on, beside a random mixture of the last ones."""
        self.normal(name, taps, channels, scale=0.5)
        self.values[self.block + name][0] += 1


class Model(ABC):
    """A model has no parameters of its own, only their shapes and what to compute with them."""

    presets: ClassVar[Presets]

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tapped_layer = max(config.layers // 2, 1)  # the tap sits on the residual stream after this many blocks

    # --- what a family adds -------------------------------------------------------------------------------------------

    @abstractmethod
    def draw_block(self, weights: Weights, i: int) -> None:
        """Draw the parameters of block i."""

    @abstractmethod
    def block_state(self, i: int) -> dict[str, Shape]:
        """What block i keeps between characters: names and shapes for one sequence."""

    @abstractmethod
    def block(self, i: int, p: Parameters, x: Array, *state: Array) -> tuple[Array, ...]:
        """Block i, up to its matrix `out`.

        Parameters
        ----------
        x : Array
            Activations [N,T,D].
        state : Array
            In the order of `block_state`.

        Returns
        -------
        tuple of Array
            What it reads out, [N,T,K] with `out` [K,D], and the state after these T characters.
        """

    # --- what all share -----------------------------------------------------------------------------------------------

    def initial_parameters(self, seed: int) -> dict[str, NDArray[np.float32]]:
        """Draw the weights on the host in float64 and round once to float32."""
        c, weights = self.config, Weights(seed)
        weights.normal("embedding", c.vocabulary, c.width, scale=0.1)
        if c.curvature:  # the same model as without curvature, until it learns
            weights.put("embedding", host_exp_map(weights.values["embedding"], c.curvature))
        for i in range(c.layers):
            weights.block = f"{i}."
            self.draw_block(weights, i)
        weights.block = ""
        weights.put("norm", np.ones(c.width))
        weights.normal("head", c.width, c.vocabulary, scale=0.1 * c.width**-0.5)  # an untrained model guesses
        weights.put("head_bias", np.zeros(c.vocabulary))
        return {name: value.astype(np.float32) for name, value in weights.values.items()}

    def constrain(self, p: dict[str, Array]) -> dict[str, Array]:
        """Parameters after an update, with the points that left the ball pulled back into it."""
        if not self.config.curvature:
            return p
        return {**p, "embedding": leaf(project(p["embedding"].detach(), self.config.curvature))}

    def initial_state(self, batch: int, dtype: Any = np.float32) -> State:
        """An empty past for `batch` sequences."""
        return {f"{i}.{name}": zeros((batch, *shape), dtype)
                for i in range(self.config.layers) for name, shape in self.block_state(i).items()}

    def states(self, p: Parameters, tokens: Array, state: State, stop: int | None = None,
               frame: ZFrame | None = None, gains: NDArray[np.float64] | None = None,
               recompute: bool = False, lose: Dropout | None = None) -> tuple[Array, State, Array]:
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
        lose : Dropout, optional
            In training.

        Returns
        -------
        (x, state, tapped)
            Activations [N,T,D], the state after the last character, and the activations at the tap.
        """
        c = self.config.curvature
        x = take(log_map(p["embedding"], c) if c else p["embedding"], tokens)
        inside = _by_block(p, self.config.layers)
        if lose:
            x = lose(x, 0)
        after: State = {}
        tapped = x
        for i in range(self.config.layers if stop is None else stop):
            prefix = f"{i}."
            block = partial(self._residual, i, inside[i], lose)
            names = [prefix + name for name in self.block_state(i)]
            inputs = x, *(state[name] for name in names)
            x, *kept = checkpoint(block, *inputs) if recompute else block(*inputs)
            after |= zip(names, kept, strict=True)
            if i + 1 == self.tapped_layer:
                if gains is not None:
                    x = apply("tap", x, frame=frame, gains=gains)
                tapped = x
        return x, after, tapped

    def _residual(self, i: int, p: Parameters, lose: Dropout | None, x: Array, *state: Array) -> tuple[Array, ...]:
        """Block i and the residual stream around it."""
        y, *kept = self.block(i, p, x, *state)
        return x + (lose(y, i + 1) if lose else y) @ p["out"], *kept

    def logits(self, p: Parameters, x: Array) -> Array:
        """Scores [N,T,V] of the next character from activations [N,T,D]."""
        return rms_norm(x, p["norm"]) @ p["head"] + p["head_bias"]


def _by_block(p: Parameters, layers: int) -> list[dict[str, Array]]:
    """The parameters inside each block, by the names that the block gives them."""
    found: list[dict[str, Array]] = [{} for _ in range(layers)]
    for name, value in p.items():
        block, dot, inner = name.partition(".")
        if dot:
            found[int(block)][inner] = value
    return found


def time_constants(slowest: float, n: int) -> NDArray[np.float64]:
    """From 1 to `slowest` characters, evenly in the logarithm."""
    return np.exp(np.linspace(0, math.log(slowest), n))


def convolve(x: Array, weight: Array, tail: Array, dilation: int = 1) -> tuple[Array, Array]:
    """`causal_conv`, and the tail for what follows these characters."""
    return causal_conv(x, weight, tail, dilation), concat([tail, x], axis=1)[:, x.shape[1]:]
