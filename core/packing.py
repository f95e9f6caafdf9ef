"""Many parameters in a few long arrays: an update is a few launches then, however many parameters there are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray, leaf
from core.functions import concat
from core.primitives import Shape

ALIGNED = 64  # values: each parameter begins at a multiple of 256 bytes, where GPUs like it and wgpu insists on it
MATRICES, OTHERS = "matrices", "others"


class Packing:
    """Where every parameter lies: matrices in one array, all else in another.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of the parameters, float32.
    apart : collection of str
        Parameters that stay arrays of their own, under their own names.
    """

    def __init__(self, shapes: Mapping[str, Shape], apart: Collection[str] = ()) -> None:
        self.shapes = dict(sorted(shapes.items()))
        self.apart = tuple(k for k in self.shapes if k in apart)
        self._groups: dict[str, list[str]] = {}
        for k, shape in self.shapes.items():
            if k not in apart:
                self._groups.setdefault(MATRICES if len(shape) == 2 else OTHERS, []).append(k)
        self._gaps: dict[int, Array] = {}

    def pack(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The long arrays, zeros in the gaps, from an array a parameter."""
        found = {k: arrays[k].detach() for k in self.apart}
        for group, names in self._groups.items():
            pieces = []
            for k in names:
                pieces.append(arrays[k].detach().reshape(arrays[k].size))
                if gap := -arrays[k].size % ALIGNED:
                    pieces.append(self._gap(gap))
            found[group] = concat(pieces, axis=0)
        return found

    def unpack(self, packed: Mapping[str, Array]) -> dict[str, Array]:
        """Every parameter as a leaf that shares the long array's memory."""
        found = {k: packed[k] for k in self.apart}
        for k, group, at, n in self._places():
            found[k] = packed[group][at : at + n].reshape(*self.shapes[k])
        return {k: leaf(found[k].detach()) for k in self.shapes}

    def put(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """`pack` of values on the host, on the current backend."""
        long = {group: np.zeros(self._length(names), np.float32) for group, names in self._groups.items()}
        for k, group, at, n in self._places():
            long[group][at : at + n] = values[k].ravel()
        return {k: asarray(v) for k, v in {**{k: values[k] for k in self.apart}, **long}.items()}

    def read(self, packed: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """`unpack` on the host: one read-back an array."""
        host = {k: packed[k].numpy() for k in (*self.apart, *self._groups)}
        found = {k: host[k] for k in self.apart}
        for k, group, at, n in self._places():
            found[k] = host[group][at : at + n].reshape(self.shapes[k])
        return {k: found[k] for k in self.shapes}

    def read_state(self, state: Mapping[str, Array]) -> dict[str, NDArray[Any]]:
        """An optimiser's state by parameter: `m.NAME` for what it keeps of each, and what it has one of."""
        kinds, rest = self._kinds(state)
        found = {k: state[k].numpy() for k in rest}
        for kind in kinds:
            read = self.read({group: state[f"{kind}.{group}"] for group in (*self.apart, *self._groups)})
            found |= {f"{kind}.{k}": v for k, v in read.items()}
        return found

    def put_state(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """The way back from `read_state`."""
        kinds, rest = self._kinds(values)
        found = {k: asarray(values[k]) for k in rest}
        for kind in kinds:
            put = self.put({k: values[f"{kind}.{k}"] for k in self.shapes})
            found |= {f"{kind}.{group}": v for group, v in put.items()}
        return found

    @staticmethod
    def decayed(packed: Mapping[str, Array], by: float) -> dict[str, Array]:
        """Every matrix a share smaller: decoupled weight decay, taken before a step (Loshchilov & Hutter 2019)."""
        return {k: p * (1 - by) if k == MATRICES or p.ndim == 2 else p for k, p in packed.items()}

    def _places(self) -> Iterator[tuple[str, str, int, int]]:
        """Parameter, its long array, where in it the parameter begins, and how many values it has."""
        for group, names in self._groups.items():
            at = 0
            for k in names:
                n = math.prod(self.shapes[k])
                yield k, group, at, n
                at += n + -n % ALIGNED

    def _length(self, names: Collection[str]) -> int:
        sizes = [math.prod(self.shapes[k]) for k in names]
        return sum(n + -n % ALIGNED for n in sizes)

    def _gap(self, n: int) -> Array:
        if n not in self._gaps:
            self._gaps[n] = asarray(np.zeros(n, np.float32))
        return self._gaps[n]

    @staticmethod
    def _kinds(names: Collection[str]) -> tuple[list[str], list[str]]:
        """What a state keeps of each parameter, and the names of what it has one of."""
        return sorted({k.partition(".")[0] for k in names if "." in k}), [k for k in names if "." not in k]
