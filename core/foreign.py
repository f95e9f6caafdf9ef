"""Tensors of other libraries: found in what holds them, and read where they lie, without a copy where that can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array
from core.errors import BackendError

ROW = 1 << 16  # Python numbers that are gathered into one array
HOST = (1, 3)  # DLPack's CPU, and CUDA's memory that is pinned on it
CUDA = (2, 13)  # a CUDA device's memory, and that which it manages with the CPU


def tensors(values: Any, name: str = "weights") -> Iterator[tuple[str, Any]]:
    """The tensors in nested mappings, lists and other iterables, in order, each with where it was found.

    Numbers in a row come as NumPy arrays. An iterator is read as it goes, so it may be longer than memory.

    Raises
    ------
    TypeError
        Text, None, or what holds no numbers.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from tensors(value, f"{name}[{key!r}]")
    elif _is_number(values):
        yield name, np.array([values])
    elif _is_tensor(values):
        yield name, values
    elif isinstance(values, Iterable) and not isinstance(values, (str, bytes)):
        row: list[Any] = []
        for i, value in enumerate(values):
            if not _is_number(value):
                yield from _rows(name, row)
                row = []
                yield from tensors(value, f"{name}[{i}]")
                continue
            row.append(value)
            if len(row) == ROW:
                yield from _rows(name, row)
                row = []
        yield from _rows(name, row)
    else:
        raise TypeError(f"{name} is {values!r:.40}, a {type(values).__name__}: give numbers, tensors, or lists or "
                        "mappings of them")


def _rows(name: str, row: list[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """A row of numbers, where there is one."""
    if row:
        yield name, np.array(row)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex, np.generic))


def _is_tensor(value: Any) -> bool:
    return any(hasattr(value, mark) for mark in ("__dlpack_device__", "__array__", "__array_interface__"))


def locate(tensor: Any, name: str = "weights") -> tuple[Any, Any]:
    """The library to compute with where a tensor lies, NumPy or CuPy, and the tensor as an array of that library.

    The array shares the tensor's memory, in any layout; only what its device shares with nobody is copied: bfloat16 of
    PyTorch comes as float32, and what lies on our WebGPU backend comes to the host.

    Parameters
    ----------
    tensor
        An array of NumPy, PyTorch, JAX, CuPy, TensorFlow, this package, or of whoever speaks DLPack or `__array__`.
    name : str
        Of the tensor, for messages.

    Raises
    ------
    BackendError
        It lies where nothing here can read, or on a CUDA device and CuPy is not installed.
    ValueError
        Its type is no real number's, or its owner refuses to share it.
    TypeError
        It is no tensor.
    """
    if not _is_tensor(tensor):
        raise TypeError(f"{name} is {tensor!r:.40}, a {type(tensor).__name__}: give a tensor")
    try:
        if hasattr(tensor, "detach"):  # PyTorch shares no tensor that wants a gradient, and no bfloat16 with NumPy
            tensor = tensor.detach()
            tensor = tensor.float() if "bfloat16" in str(tensor.dtype) else tensor
        kind, index = _place(tensor)
        if kind in CUDA:
            xp, array = _on_cuda(tensor, index, name)
        elif kind in HOST:
            xp, array = np, _on_host(tensor)
        else:
            from core.backends.queue import device_in_words  # the launch queue loads more than `import core` should

            raise BackendError(f"{name} lies on {device_in_words(kind, index)}: move it to the CPU or to a CUDA device")
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, BackendError):
            raise
        raise ValueError(f"{name}, a {type(tensor).__name__}, cannot be read as it is ({error}): make it a dense "
                         "tensor of float32 first") from error
    if array.dtype.kind not in "fiub" and not array.dtype.name.startswith(("bfloat", "float")):
        remedy = "give real and imaginary parts" if array.dtype.kind == "c" else "give numbers"
        raise ValueError(f"{name} holds {array.dtype}: {remedy}")
    return xp, array


def to_host(tensor: Any, name: str = "weights") -> NDArray[Any]:
    """A tensor's values in main memory; raises as `locate`."""
    xp, array = locate(tensor, name)
    values: NDArray[Any] = array if xp is np else array.get()
    return values


def _place(tensor: Any) -> tuple[int, int]:
    """DLPack's device, the CPU for what does not speak of any."""
    if not hasattr(tensor, "__dlpack_device__"):
        return 1, 0
    try:
        kind, index = tensor.__dlpack_device__()
    except BackendError:  # a backend of ours that shares no memory: its arrays come by a copy
        return 1, 0
    return int(kind), int(index)


def _on_host(tensor: Any) -> NDArray[Any]:
    if isinstance(tensor, Array):
        return tensor.numpy()
    for mark in ("__array_interface__", "__array__"):  # JAX shares bfloat16 so, but not through DLPack
        if hasattr(tensor, mark):
            return np.asarray(tensor)
    return np.from_dlpack(tensor)


def _on_cuda(tensor: Any, index: int, name: str) -> tuple[Any, Any]:
    try:
        import cupy as cp
    except ImportError as error:
        raise BackendError(f"{name} lies on CUDA device {index}, where CuPy would read it: pip install cupy-cuda13x, "
                           "or move it to the CPU first") from error
    with cp.cuda.Device(index):
        return cp, cp.from_dlpack(tensor)
