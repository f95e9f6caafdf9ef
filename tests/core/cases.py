"""Inputs for every primitive: odd shapes, empty axes, broadcasting. New primitives must enter here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.frame import ZFrame


@dataclass
class Case:
    """Shapes of the float inputs (or an index array), and the parameters of the launch."""

    inputs: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    domain: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda x: x

    def draw(self, seed: int) -> list[NDArray[Any]]:
        """Random float64 inputs; index arrays pass through."""
        rng = np.random.default_rng(seed)
        return [x if isinstance(x, np.ndarray) else self.domain(rng.standard_normal(x)) for x in self.inputs]


def positive(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(x) + 0.3


INDEX = np.array([[3, 0, 3], [1, 3, 3]], np.int32)
FRAME = ZFrame.octaves(bands=3, sheets=4, echo_count=2)
GAINS = 2.0 ** np.random.default_rng(5).uniform(-2, 2, (3, 4))
UNARY = [Case(((3, 5),)), Case(((1,),)), Case(((0, 4),)), Case(((2, 3, 7),)), Case(((),)), Case(((129, 1031),))]
BINARY = [Case(((3, 5), (3, 5))), Case(((2, 3, 7), (7,))), Case(((7,), (2, 3, 7))), Case(((2, 3, 1), (2, 3, 7))),
          Case(((2, 1, 7), (2, 3, 7))), Case(((), (4,))), Case(((0, 3), (3,))), Case(((257, 1029), (1, 1029)))]


def _on(domain: Callable[[NDArray[np.float64]], NDArray[np.float64]], cases: list[Case]) -> list[Case]:
    return [Case(c.inputs, c.params, domain) for c in cases]


CASES: dict[str, list[Case]] = {
    "add": BINARY, "sub": BINARY, "mul": BINARY, "div": _on(positive, BINARY), "maximum": BINARY, "greater": BINARY,
    "affine": [Case(c.inputs, {"scale": -1.7, "shift": s}) for c in UNARY for s in (0.0, 0.3)],
    "exp": UNARY, "tanh": UNARY, "sigmoid": UNARY, "silu": UNARY,
    "log": _on(positive, UNARY), "sqrt": _on(positive, UNARY),
    "silu_grad": [Case(((3, 5), (3, 5)))],
    "sum": [Case(((3, 5, 7),), {"axis": a, "keepdims": k}) for a in ((0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2))
            for k in (False, True)] + [Case(((0, 4),), {"axis": (0,), "keepdims": False}),
                                       Case(((8191, 3),), {"axis": (0,), "keepdims": False})],
    "max": [Case(((3, 5, 7),), {"axis": a, "keepdims": k}) for a in ((0,), (2,), (0, 1, 2)) for k in (False, True)],
    "matmul": [Case(((5, 3) if ta else (3, 5), (7, 5) if tb else (5, 7)), {"ta": ta, "tb": tb})
               for ta in (False, True) for tb in (False, True)]
    + [Case(((2, 3, 5), (5, 7)), {"ta": False, "tb": False}), Case(((2, 3, 5), (7, 5)), {"ta": False, "tb": True}),
       Case(((2, 3, 5), (2, 5, 7)), {"ta": False, "tb": False}), Case(((2, 5, 3), (2, 7, 5)), {"ta": True, "tb": True}),
       Case(((4, 1, 3, 5), (2, 5, 7)), {"ta": False, "tb": False}), Case(((0, 5), (5, 3)), {"ta": False, "tb": False}),
       Case(((3, 0), (0, 4)), {"ta": False, "tb": False}), Case(((301, 129), (129, 65)), {"ta": False, "tb": False})],
    "reshape": [Case(((3, 4, 5),), {"shape": (5, 12)}), Case(((0, 4),), {"shape": (2, 0)})],
    "transpose": [Case(((3, 4, 5),), {"axes": (2, 0, 1)})],
    "broadcast": [Case(((3, 1, 5),), {"shape": (2, 3, 4, 5)}), Case(((),), {"shape": (3,)})],
    "slice": [Case(((4, 5, 6),), {"start": (1, 0, 2), "stop": (3, 5, 2)}),
              Case(((4, 5, 6),), {"start": (1, 2, 0), "stop": (4, 3, 6)})],
    "pad": [Case(((2, 3),), {"before": (1, 0), "after": (0, 2)})],
    "concat": [Case(((2, 3, 4), (2, 1, 4), (2, 0, 4)), {"axis": 1})],
    "take": [Case(((5, 4), INDEX)), Case(((5,), INDEX))],
    "scatter_add": [Case(((2, 3, 4), INDEX), {"rows": 5}), Case(((2, 3), INDEX), {"rows": 4})],
    "rms_norm": [Case(((2, 3, 7), (7,))), Case(((0, 7), (7,))), Case(((600, 33), (33,)))],
    "rms_norm_dx": [Case(((2, 3, 7), (2, 3, 7), (7,)))],
    "rms_norm_dw": [Case(((600, 33), (600, 33)))],
    "causal_conv": [Case(((2, t, 3), (k, 3), (2, k - 1, 3))) for t, k in ((7, 4), (2, 4), (5, 1), (0, 3))],
    "causal_conv_dx": [Case(((2, t, 3), (k, 3))) for t, k in ((7, 4), (2, 4), (5, 1))],
    "causal_conv_dw": [Case(((2, t, 3), (2, t, 3), (2, k - 1, 3))) for t, k in ((7, 4), (2, 4), (5, 1))],
    "causal_conv_dtail": [Case(((2, t, 3), (k, 3))) for t, k in ((7, 4), (2, 4), (5, 1))],
    "linear_recurrence": [Case(((n, t, 3), (n, t, 3), (n, 3)), {"reverse": r}, np.tanh)
                          for n, t in ((2, 7), (1, 1), (3, 257), (2, 0)) for r in (False, True)],
    "cross_entropy": [Case(((2, 3, 5), INDEX)), Case(((0, 5), np.zeros(0, np.int32)))],
    "cross_entropy_grad": [Case(((2, 3), (2, 3, 5), INDEX))],
    "tap": [Case(((2, 9, 3),), {"frame": FRAME, "gains": GAINS})],
    "tap_gradient": [Case(((2, t, 3), (2, t, 3)), {"frame": FRAME, "gains": GAINS}) for t in (9, 16, 33)],
}
