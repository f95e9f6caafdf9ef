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
MANY = (np.arange(1500, dtype=np.int32) ** 2 + 3) % 5
FRAME = ZFrame.octaves(bands=3, sheets=4, echo_count=2)
# steps, taps, dilation, channels
CONVOLUTIONS = [(7, 4, 1, 3), (2, 4, 1, 3), (5, 1, 1, 3), (0, 3, 1, 3), (9, 3, 2, 3), (3, 4, 5, 3), (130, 2, 64, 3),
                (1100, 4, 1, 3), (20, 3, 2, 70)]
PATCHES = [{"kernel": (3, 3), "stride": (1, 1), "padding": (0, 0)},
           {"kernel": (2, 3), "stride": (2, 3), "padding": (1, 2)}]
LENGTHS = [(2, 7, 3), (1, 1, 3), (3, 257, 3), (2, 0, 3), (2, 1100, 4), (1, 65, 130), (130, 20, 33),
           (500, 10, 33)]  # batch, steps, channels
# shape, n, axis
SPECTRA = [((3, 8), 8, 1), ((3, 7), 7, 1), ((1,), 1, 0), ((2, 12, 3), 12, 1), ((2, 9, 3), 18, 1), ((5, 4), 30, 0),
           ((3, 17), 17, 1), ((2, 1000), 1024, 1), ((2, 256, 5), 512, 1), ((0, 8), 8, 1), ((3, 4097), 4098, 1),
           ((2, 3000, 3), 3000, 1), ((2, 1031), 1031, 1), ((1, 2062, 2), 2062, 1)]
# key, step, shape
DRAWS = [{"key": k, "stream": 3, "step": s, "offset": o, "shape": shape} for k, s, o, shape in (
    ((0, 0), 0, 0, (5,)), ((7, 9), 2**33 + 5, 2**32 - 2, (3, 4)), ((0xFFFFFFFF, 0x12345678), 1, 3, (1001,)),
    ((1, 2), 3, 0, (0,)), ((5, 6), 7, 1, (1006,)))]
GAINS = 2.0 ** np.random.default_rng(5).uniform(-2, 2, (3, 4))
UNARY = [Case(((3, 5),)), Case(((1,),)), Case(((0, 4),)), Case(((2, 3, 7),)), Case(((),)), Case(((129, 1031),))]
BINARY = [Case(((3, 5), (3, 5))), Case(((2, 3, 7), (7,))), Case(((7,), (2, 3, 7))), Case(((2, 3, 1), (2, 3, 7))),
          Case(((2, 1, 7), (2, 3, 7))), Case(((), (4,))), Case(((3, 8), (8,))), Case(((3, 2, 8), (3, 1, 8))),
          Case(((0, 3), (3,))), Case(((257, 1029), (1, 1029)))]


def _on(domain: Callable[[NDArray[np.float64]], NDArray[np.float64]], cases: list[Case]) -> list[Case]:
    return [Case(c.inputs, c.params, domain) for c in cases]


CASES: dict[str, list[Case]] = {
    "add": BINARY, "sub": BINARY, "mul": BINARY, "div": _on(positive, BINARY), "maximum": BINARY, "greater": BINARY,
    "affine": [Case(c.inputs, {"scale": -1.7, "shift": s}) for c in UNARY for s in (0.0, 0.3)],
    "exp": UNARY, "tanh": UNARY, "sigmoid": UNARY, "silu": UNARY,
    "abs": UNARY, "sin": UNARY, "cos": UNARY, "softplus": [*UNARY, *_on(lambda x: 40 * x, UNARY)], "nonfinite": UNARY,
    "where": [Case(((3, 5), (3, 5), (3, 5)), {}, np.round), Case(((3, 1), (3, 5), (5,))), Case(((0, 2), (2,), ()))],
    "log": _on(positive, UNARY), "sqrt": _on(positive, UNARY),
    "log1p": [*_on(positive, UNARY), *_on(lambda x: 1e-6 * x, UNARY), *_on(lambda x: 0.3 * np.sin(x), UNARY)],
    "silu_grad": [Case(((3, 5), (3, 5)))],
    "sum": [Case(((3, 5, 7),), {"axis": a, "keepdims": k}) for a in ((0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2))
            for k in (False, True)] + [Case(((0, 4),), {"axis": (0,), "keepdims": False}),
                                       Case(((8191, 3),), {"axis": (0,), "keepdims": False}),
                                       Case(((3, 1031),), {"axis": (1,), "keepdims": False}),
                                       Case(((1031, 300),), {"axis": (1,), "keepdims": True}),
                                       Case(((64, 4096),), {"axis": (1,), "keepdims": False}),  # many equal groups
                                       Case(((1031, 300),), {"axis": (0, 1), "keepdims": False}),
                                       Case(((2, 600, 300),), {"axis": (1, 2), "keepdims": False})],
    "max": [Case(((3, 5, 7),), {"axis": a, "keepdims": k}) for a in ((0,), (2,), (0, 1, 2)) for k in (False, True)]
    + [Case(((3, 1031),), {"axis": (1,), "keepdims": False})],
    "matmul": [Case(((5, 3) if ta else (3, 5), (7, 5) if tb else (5, 7)), {"ta": ta, "tb": tb})
               for ta in (False, True) for tb in (False, True)]
    + [Case(((2, 3, 5), (5, 7)), {"ta": False, "tb": False}), Case(((2, 3, 5), (7, 5)), {"ta": False, "tb": True}),
       Case(((2, 3, 5), (2, 5, 7)), {"ta": False, "tb": False}), Case(((2, 5, 3), (2, 7, 5)), {"ta": True, "tb": True}),
       Case(((1, 3, 5), (2, 5, 7)), {"ta": False, "tb": False}), Case(((3, 5), (2, 5, 7)), {"ta": False, "tb": False}),
       Case(((2, 5, 3), (7, 5)), {"ta": True, "tb": True}),
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
    "scatter_add": [Case(((2, 3, 4), INDEX), {"rows": 5}), Case(((2, 3), INDEX), {"rows": 4}),
                    Case(((6000, 40), np.tile(MANY, 4) * 170), {"rows": 700}),
                    Case(((1500, 19), MANY), {"rows": 6}), Case(((40, 300), MANY[:40]), {"rows": 6}),
                    Case(((256, 3), np.repeat(np.arange(8, dtype=np.int32), 32)), {"rows": 8})],  # runs of one row
    "rms_norm": [Case(((2, 3, 7), (7,))), Case(((0, 7), (7,))), Case(((600, 33), (33,))), Case(((2, 3001), (3001,))),
                 Case(((2, 9001), (9001,)))],
    "rms_norm_dx": [Case(((2, 3, 7), (2, 3, 7), (7,))), Case(((3, 2049), (3, 2049), (2049,)))],
    "rms_norm_dw": [Case(((2, 3, 7), (2, 3, 7))), Case(((600, 33), (600, 33))), Case(((20000, 2), (20000, 2)))],
    "layer_norm": [Case(((2, 3, 7), (7,), (7,))), Case(((0, 7), (7,), (7,))), Case(((3, 1), (1,), (1,))),
                   Case(((600, 33), (33,), (33,)))],
    "layer_norm_dx": [Case(((2, 3, 7), (2, 3, 7), (7,))), Case(((65, 1030), (65, 1030), (1030,)))],
    "layer_norm_dw": [Case(((2, 3, 7), (2, 3, 7))), Case(((600, 33), (600, 33))), Case(((0, 7), (0, 7))),
                      Case(((3, 1100), (3, 1100)))],
    "causal_conv": [Case(((2, t, c), (k, c), (2, (k - 1) * d, c)), {"dilation": d}) for t, k, d, c in CONVOLUTIONS],
    "causal_conv_dx": [Case(((2, t, c), (k, c)), {"dilation": d}) for t, k, d, c in CONVOLUTIONS],
    "causal_conv_dw": [Case(((2, t, c), (2, t, c), (2, (k - 1) * d, c)), {"dilation": d})
                       for t, k, d, c in CONVOLUTIONS],
    "causal_conv_dtail": [Case(((2, t, c), (k, c)), {"dilation": d}) for t, k, d, c in CONVOLUTIONS],
    "unfold2d": [Case(((2, 5, 6, 3),), p) for p in PATCHES] + [Case(((0, 5, 6, 3),), PATCHES[0])],
    "fold2d": [Case(((2, 3, 4, 27),), {"size": (5, 6), **PATCHES[0]}),
               Case(((2, 3, 3, 18),), {"size": (5, 6), **PATCHES[1]})],
    "linear_recurrence": [Case(((n, t, c), (n, t, c), (n, c)), {"reverse": r}, np.tanh)
                          for n, t, c in LENGTHS for r in (False, True)],
    "complex_recurrence": [Case(((n, t, c, 2), (n, t, c, 2), (n, c, 2)), {"reverse": r}, lambda x: np.tanh(x) * 0.7)
                           for n, t, c in LENGTHS for r in (False, True)],
    "complex_mul": [Case(shapes, {"conjugate": c}) for c in (False, True)
                    for shapes in (((3, 5, 2), (3, 5, 2)), ((2, 3, 7, 2), (7, 2)), ((3, 1, 2), (2, 3, 4, 2)),
                                   ((2,), (2,)), ((0, 2), (1, 2)), ((129, 515, 2), (129, 1, 2)))],
    "rfft": [Case((shape,), {"n": n, "axis": axis}) for shape, n, axis in SPECTRA]
    + [Case(((70000,),), {"n": 70000, "axis": 0})],
    "irfft": [Case(((*shape[:axis], n // 2 + 1, *shape[axis + 1:], 2),), {"n": n, "axis": axis})
              for shape, n, axis in SPECTRA],
    "argsort": [Case((x,), {"descending": d}) for d in (False, True)
                for x in ((3, 5), (1,), (2, 3, 130), (4, 0), (2, 3001), (1, 5, 1024))]
    + [Case(((4, 9),), {"descending": d}, np.round) for d in (False, True)],  # ties keep their order
    "take_along": [Case(((2, 5), INDEX)), Case(((1, 2, 5), INDEX[None])), Case(((2, 0), np.zeros((2, 0), np.int32)))],
    "scatter_along": [Case(((2, 3), INDEX), {"n": 5}), Case(((1, 2, 3), INDEX[None]), {"n": 5})],
    "cast": [Case(((3, 5),), {"dtype": t}) for t in ("float16", "float32")] + [Case(((0, 3),), {"dtype": "float16"}),
                                                                          Case(((129, 1031),), {"dtype": "float16"})],
    "random_bits": [Case((), draw) for draw in DRAWS],
    "random_uniform": [Case((), {**draw, "dtype": "float32"}) for draw in DRAWS],
    "random_normal": [Case((), {**draw, "dtype": "float32"}) for draw in DRAWS],
    "sheet_weight": [Case(((2, 3, 7), (2, 3, 7), (s,))) for s in (2, 5, 8)] + [Case(((0, 3), (0, 3), (4,)))],
    "cross_entropy": [Case(((2, 3, 5), INDEX)), Case(((0, 5), np.zeros(0, np.int32))),
                      Case(((1500, 300), MANY), {}, lambda x: 20 * x), Case(((2, 3, 2050), INDEX * 600)),
                      Case(((2, 9001), MANY[:2] * 2000)),
                      # these overflow unless the greatest is taken off
                      Case(((20, 5), MANY[:20]), {}, lambda x: 1000 * x),
                      Case(((20, 100), MANY[:20]), {}, lambda x: 1000 * x)],
    "cross_entropy_grad": [Case(((2, 3), (2, 3, 5), INDEX)), Case(((2, 3), (2, 3, 2050), INDEX * 600)),
                           Case(((20,), (20, 5), MANY[:20]), {}, lambda x: 1000 * x)],
    "tap": [Case(((2, 9, 3),), {"frame": FRAME, "gains": GAINS})],
}
