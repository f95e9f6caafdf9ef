"""One step's mathematics: the loss of its batches, the gradients, and where they stop being finite."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray, float16_storage, grad
from core.backends import Backend
from core.frame import ZFrame
from core.functions import cross_entropy
from core.nn.model import Dropout, Model, Parameters
from core.nonfinite import Origin, find_nonfinite, line
from core.optim import Optimiser, clip_by_norm
from core.random import Philox
from core.runs.config import RunConfig

BATCH_STREAM = 2  # of the random numbers, see core.generate


def windows(text: NDArray[np.integer], config: RunConfig, step: int) -> NDArray[np.int32]:
    """What a step learns from: windows [accumulate * N, T + 1] at random places of the training part."""
    starts = Philox(config.seed).choice_offsets(BATCH_STREAM, step, config.accumulate * config.batch,
                                                len(text) - config.window)
    return np.stack([text[s : s + config.window + 1] for s in starts.astype(np.int64)]).astype(np.int32)


def loss_and_gradients(model: Model, parameters: Parameters, tokens: NDArray[np.int32], config: RunConfig,
                       frame: ZFrame, gains: NDArray[np.float64], step: int, look: bool
                       ) -> tuple[Array, dict[str, Array], list[Array]]:
    """Mean loss over all windows, its gradients, and for a look activation and gradient at the tap, first batch.

    Parameters
    ----------
    tokens : array of int32 [accumulate * N, T + 1]
        Batches of N windows. Each is run to its end before the next begins, so that memory holds one at a time.
    step : int
        Decides, with the seed, what dropout loses.
    """
    first, *more = np.split(tokens, config.accumulate)
    share = 1.0 / tokens[:, 1:].size
    draw = (step - 1) * config.accumulate + 1
    loss, named, seen = _one_batch(model, parameters, first, config, frame, gains, draw, look, share)
    for i, batch in enumerate(more, 1):
        loss.backend.flush()
        value, found, _ = _one_batch(model, parameters, batch, config, frame, gains, draw + i, False, share)
        loss, named = loss + value, {k: g + found[k] for k, g in named.items()}
    return loss, named, seen


def _one_batch(model: Model, parameters: Parameters, tokens: NDArray[np.int32], config: RunConfig, frame: ZFrame,
               gains: NDArray[np.float64], draw: int, look: bool, share: float
               ) -> tuple[Array, dict[str, Array], list[Array]]:
    """Its part of the above, `share` being the weight of a character.

    The tape ends here: with it every activation would live until the end of the step, not until its last reader.
    """
    lose = Dropout(config.dropout, config.seed, draw) if config.dropout else None
    with float16_storage() if config.storage == "float16" else nullcontext():
        x, _, tapped = model.states(parameters, asarray(tokens[:, :-1]), model.initial_state(len(tokens)), frame=frame,
                                    gains=gains, recompute=config.recompute, lose=lose)
        loss = cross_entropy(model.logits(parameters, x), asarray(tokens[:, 1:])).sum() * share
        loss.backend.start()  # it is at work while the host walks the tape
    grads = grad(loss, [*parameters.values(), *([tapped] if look else [])])
    named = dict(zip(parameters, grads, strict=False))
    return loss.detach(), named, [tapped.detach(), grads[-1]] if look else []


def find_origin(backend: Backend, model: Model, parameters: Parameters, tokens: NDArray[np.int32], config: RunConfig,
                frame: ZFrame, gains: NDArray[np.float64], step: int, optimiser: Optimiser) -> Origin | None:
    """Where a step first meets NaN or infinity: a parameter, or a result that it computes from finite ones."""
    for name, p in parameters.items():
        if not np.isfinite(p.numpy()).all():
            code = type(optimiser).step.__code__
            return Origin(f"parameter {name}", "the optimiser's step", *line(code.co_filename, code.co_firstlineno))

    def compute(p: Parameters) -> None:
        _, grads, _ = loss_and_gradients(model, p, tokens, config, frame, gains, step, look=False)
        clip_by_norm(grads, config.clip)

    return find_nonfinite(backend, parameters, compute)
