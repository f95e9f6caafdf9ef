"""The vector field of a picture: four numbers a cell that say different things about the relation there."""

from __future__ import annotations

from core.array import Array, apply
from core.functions import absolute, concat

CHANNELS = ("energy", "gradient", "spin", "curvature")
EPSILON = 1e-6  # of ratios, against values that reach 1: what is smaller counts as unpainted
LEVEL = 1e-30  # no slope at all, squared


def vector_field(relation: Array, energy: Array) -> Array:
    """Energy and the three channels of its colour, none of which is a function of another.

    With u the relation and n its up to four neighbours:

    gradient
        g / (g + mean g) of the squared slope g = u_x^2 + u_y^2, in [0, 1): 1/2 where it is as steep as on average.
        Slopes are central differences, one-sided at the edges.
    spin
        sum_n u u_n / (sum_n |u| |u_n| + 1e-6), in [-1, 1]: 1 where all signs around are its own, -1 where none is.
    curvature
        sum over both axes of d2 - d1 over that of |d1| + |d2|, + 1e-6, in [-1, 1], d1 and d2 being the differences
        to the cell from the one before and from it to the one after: 1 in a pit, -1 on a peak, 0 on a slope. An axis
        on whose edge the cell lies has no part in it.

    Spin and curvature are those of `core.field.FeatureSample`, taken around one cell, and curvature with its sign.

    Parameters
    ----------
    relation : Array [H, W]
        Divided by its largest magnitude.
    energy : Array [H, W]
        Values in 0..1.

    Returns
    -------
    Array [H, W, 4]
        In the order of `CHANNELS`.
    """
    slopes = [_slope(relation, axis) for axis in (0, 1)]
    steep = slopes[0] * slopes[0] + slopes[1] * slopes[1]
    gradient = steep / (steep + (steep.mean() + LEVEL))
    size = absolute(relation)
    spin = relation * _around(relation) / (size * _around(size) + EPSILON)
    bent, moved = (a + b for a, b in zip(_bends(relation, 0), _bends(relation, 1), strict=True))
    return concat([c.reshape(*c.shape, 1) for c in (energy, gradient, spin, bent / (moved + EPSILON))], axis=2)


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    """Part of one of two axes."""
    return x[start:stop] if axis == 0 else x[:, start:stop]


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
    """Zeros around one of two axes."""
    return apply("pad", x, before=(before, 0) if axis == 0 else (0, before),
                 after=(after, 0) if axis == 0 else (0, after))


def _slope(x: Array, axis: int) -> Array:
    """Central differences, one-sided at the edges."""
    n = x.shape[axis]
    if n == 1:
        return x * 0.0
    first = _cut(x, axis, 1, 2) - _cut(x, axis, 0, 1)
    last = _cut(x, axis, n - 1, n) - _cut(x, axis, n - 2, n - 1)
    return concat([first, (_cut(x, axis, 2, n) - _cut(x, axis, 0, n - 2)) * 0.5, last], axis)


def _around(x: Array) -> Array:
    """Sum of the neighbours that a cell has."""
    total = x * 0.0
    for axis, n in enumerate(x.shape):
        total = total + _pad(_cut(x, axis, 0, n - 1), axis, 1, 0) + _pad(_cut(x, axis, 1, n), axis, 0, 1)
    return total


def _bends(x: Array, axis: int) -> tuple[Array, Array]:
    """d2 - d1 and |d1| + |d2| along an axis, 0 on its edges."""
    n = x.shape[axis]
    if n < 3:
        return x * 0.0, x * 0.0
    step = _cut(x, axis, 1, n) - _cut(x, axis, 0, n - 1)
    d1, d2 = _cut(step, axis, 0, n - 2), _cut(step, axis, 1, n - 1)
    return _pad(d2 - d1, axis, 1, 1), _pad(absolute(d1) + absolute(d2), axis, 1, 1)

