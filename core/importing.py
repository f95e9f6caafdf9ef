"""Weights of a PyTorch model of the same architecture, as parameters of ours.

A family's module docstring states its block's formulas. A PyTorch model that computes the same matches if its modules
are named as our parameters are: on top ``embedding`` (Embedding [V,D]), ``norm`` (RMSNorm, eps=1e-6) and ``head``
(Linear to V, with bias); in block i, ``blocks.<i>.``, then

    norm                                    RMSNorm [D], eps=1e-6
    conv, long_conv                         Conv1d, groups = channels, bias=False: weight [C,1,K]
    value, gate, enter, read, out           Linear, bias=False: weight [out,in]; value of `wave` gives real and
                                            imaginary parts by turns
    forget                                  Linear, with bias
    decay, damping, angle                   Parameter [H]

as far as the family has them; `torch_layout` lists names and shapes for a model. The families and their blocks are all
that matches: `rnn` is a minGRU whose gate reads the input alone. A GRU or an LSTM, whose gates read the last state
through a hidden-to-hidden matrix, is none of ours and cannot be had exactly; nor can attention, or a convolution that
mixes channels. That the norms' eps and the order of the vocabulary agree, a file of weights cannot show.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import StateError
from core.foreign import to_host
from core.nn.hyperbolic import host_exp_map
from core.nn.model import Model
from core.primitives import Shape

WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name
RECURRENT = ("weight_hh", "hidden_to_hidden", "recurrent_kernel")
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # safetensors' floats


def read_state(path: Path | str) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name; bfloat16 comes as float32.

    Raises
    ------
    StateError
        It cannot be read, is no safetensors file, or holds no floats.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(Path(path).read_bytes())
    except OSError as error:
        raise StateError(f"{path} cannot be read ({error.strerror}): name a .safetensors file") from error
    except SafetensorError as error:
        raise StateError(f"{path} is no safetensors file ({error}): write one with safetensors.torch.save_file("
                         "model.state_dict(), path); pickled checkpoints are not read, they can run code") from error
    state = {}
    for name, tensor in found:
        kind = tensor["dtype"]
        if kind not in TYPES:
            raise StateError(f"{path}: {name} holds {kind}: save floats, one of {', '.join(TYPES)}")
        values = np.frombuffer(tensor["data"], TYPES[kind]).reshape(tensor["shape"])
        state[name] = (values.astype("<u4") << 16).view("<f4") if kind == "BF16" else values
    return state


def torch_layout(model: Model) -> dict[str, tuple[str, Shape]]:
    """By our parameter's name, the name and shape of the PyTorch tensor that holds the same."""
    return {name: _theirs(name, value.shape) for name, value in model.initial_parameters(0).items()}


def _theirs(name: str, shape: Shape) -> tuple[str, Shape]:
    block, dot, inner = name.rpartition(".")
    path = f"blocks.{block}.{inner}" if dot else inner
    if inner.endswith("_bias"):
        return path.removesuffix("_bias") + ".bias", shape
    if inner.endswith("conv"):
        return path + ".weight", (shape[1], 1, shape[0])
    if len(shape) == 1 and inner != "norm":
        return path, shape
    return path + ".weight", shape if inner in ("norm", "embedding") else shape[::-1]


def parameters_from_torch(model: Model, state: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """A PyTorch model's weights as parameters of ours, so that both compute the same.

    Linear weights are transposed. A Conv1d's taps are turned round: its last one meets the newest character, as our
    first does. In a model of curvature below 0 the embedding's vectors become the points that its log map takes back.

    Parameters
    ----------
    model : Model
        What they shall fit, such as ``core.nn.families.build("rnn", "small", vocabulary)``. Row i of the embedding is
        symbol i of the run's vocabulary: U+FFFD for the unknown, then the text's characters by code point.
    state : mapping
        Names to tensors, see the module: a ``state_dict()``, or `read_state` of a file. Tensors of any library; never a
        pickle.

    Raises
    ------
    StateError
        A tensor is missing, too much, of another shape, of another type than floats, or not finite in float32.
    """
    given = {_bare(name): value for name, value in state.items()}
    layout = torch_layout(model)
    what = f"{type(model).__name__} of width {model.config.width}, hidden {model.config.hidden} and " \
           f"{model.config.layers} layers"
    _check_names(set(given), layout, what)
    out = {}
    for name, (theirs, shape) in layout.items():
        try:
            values = to_host(given[theirs], theirs)
        except (ValueError, TypeError) as error:
            raise StateError(str(error)) from error
        if values.shape != shape:
            raise StateError(f"{theirs} has shape {list(values.shape)}, the {what} needs {list(shape)}: "
                             + _remedy(name, values.shape, shape))
        if values.dtype.kind in "iub":
            raise StateError(f"{theirs} holds {values.dtype}: give floats")
        with np.errstate(over="ignore"):  # told below
            out[name] = _ours(name, values.astype(np.float32))
        if not np.isfinite(out[name]).all():
            raise StateError(f"{theirs} holds values that are not finite in float32: go back to a state from before "
                             "the model diverged")
    if model.config.curvature:
        rows = out["embedding"].astype(np.float64)
        points = np.zeros_like(rows)
        some = rows.any(axis=-1)
        points[some] = host_exp_map(rows[some], model.config.curvature)
        out["embedding"] = points.astype(np.float32)
    return out


def _bare(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _ours(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    inner = name.rpartition(".")[2]
    if inner.endswith("conv"):
        return np.ascontiguousarray(values[:, 0, ::-1].T)
    return np.ascontiguousarray(values if inner == "embedding" else values.T)


def _check_names(given: set[str], layout: Mapping[str, tuple[str, Shape]], what: str) -> None:
    """Refuse what is too much, then what is missing."""
    wanted = dict(layout.values())
    if extra := sorted(given - set(wanted)):
        if recurrent := [name for name in extra if any(mark in name for mark in RECURRENT)]:
            raise StateError(f"{recurrent[0]} is a hidden-to-hidden matrix, as a GRU or an LSTM has: no family here "
                             "has one, so it cannot be imported; a minGRU, whose gate reads the input alone, can, as "
                             "rnn")
        hint = ("make that layer without bias" if extra[0].endswith(".bias")
                else "choose the family and preset that has it, or rename it as core.importing says")
        raise StateError(f"{extra[0]} is nothing of the {what}: {hint}")
    if missing := [name for name in wanted if name not in given]:
        raise StateError(f"{missing[0]} {list(wanted[missing[0]])} is missing, which the {what} needs: save it under "
                         "that name, or choose the family and preset of your model")


def _remedy(name: str, have: Shape, want: Shape) -> str:
    """What to do about a wrong shape."""
    if name in ("embedding", "head", "head_bias") and (name == "head_bias" or have[-1:] == want[-1:]):
        return ("one row for each symbol of the run's text, U+FFFD first, then the characters by code point: train on "
                "the text that your model was made for")
    if name.endswith("conv"):
        return "a Conv1d with groups=channels and as many taps"
    return "choose the preset of your model's sizes"
