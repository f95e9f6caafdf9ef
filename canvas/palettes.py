"""Colour tables of 256 RGBA entries for the projector: linear in what they show, no surprises in lightness or name."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

ALIASES = {"blue": "blue-magenta", "blue_magenta": "blue-magenta", "grey": "grayscale", "gray": "grayscale",
           "greyscale": "grayscale"}
BLUE_MAGENTA = ((10, 14, 60), (110, 50, 215), (255, 120, 235))  # lightness rises evenly from one end to the other
TURBO = (  # Mikhailov's turbo as polynomials of degree 5 in 0..1, lowest power first
    (34.61, 1172.33, -10793.56, 33300.12, -38394.49, 14825.05),
    (23.31, 557.33, 1225.33, -3574.96, 1073.77, 707.56),
    (27.2, 3211.1, -15327.97, 27814.0, -22569.18, 6838.66))
NAMES = ("blue-magenta", "turbo", "grayscale")


def palette_name(name: str) -> str:
    """The palette that a name or alias means, whatever its case and the blanks around it.

    Raises
    ------
    ValueError
        No such palette.
    """
    plain = name.strip().lower()
    known = ALIASES.get(plain, plain)
    if known not in NAMES:
        raise ValueError(f"palette {name!r} is unknown: choose one of {', '.join(NAMES)}")
    return known


@cache
def palette_table(name: str) -> NDArray[np.uint8]:
    """Colours of a palette, uint8 [256, 4], opaque, read-only."""
    t = np.linspace(0, 1, 256)
    kind = palette_name(name)
    if kind == "turbo":
        rgb = np.stack([np.polynomial.Polynomial(c)(t) for c in TURBO], axis=1)
    elif kind == "grayscale":
        rgb = np.repeat(255 * t[:, None], 3, axis=1)
    else:
        rgb = np.stack([np.interp(t, (0, 0.5, 1), channel) for channel in zip(*BLUE_MAGENTA, strict=True)], axis=1)
    table = np.full((256, 4), 255, np.uint8)
    table[:, :3] = np.round(np.clip(rgb, 0, 255))
    table.flags.writeable = False
    return table
