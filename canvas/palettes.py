"""Colour tables of 256 RGBA entries for the projector: lightness rises with what they show, turbo's excepted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("blue-magenta", "turbo", "grayscale", "viridis")  # a palette's id is its place
ALIASES = {"blue": "blue-magenta", "blue_magenta": "blue-magenta", "grey": "grayscale", "gray": "grayscale",
           "greyscale": "grayscale"}
# evenly spaced; CIE lightness rises by the same at every step, from 6.4 to 70
BLUE_MAGENTA = ((10, 14, 60), (43, 29, 149), (108, 48, 213), (183, 78, 243), (255, 120, 235))
TURBO = (  # Mikhailov's turbo (2019) as the polynomials of d3-scale-chromatic in 0..1, lowest power first
    (34.61, 1172.33, -10793.56, 33300.12, -38394.49, 14825.05),
    (23.31, 557.33, 1225.33, -3574.96, 1073.77, 707.56),
    (27.2, 3211.1, -15327.97, 27814.0, -22569.18, 6838.66))
VIRIDIS = (  # the table of Smith and van der Walt (2015), RGB in hexadecimal
    "44015444025645045745055946075a46085c460a5d460b5e470d60470e6147106347116447136548146748166848176948186a481a6c481b6d"
    "481c6e481d6f481f70482071482173482374482475482576482677482878482979472a7a472c7a472d7b472e7c472f7d46307e46327e46337f"
    "463480453581453781453882443983443a83443b84433d84433e85423f854240864241864142874144874045884046883f47883f48893e4989"
    "3e4a893e4c8a3d4d8a3d4e8a3c4f8a3c508b3b518b3b528b3a538b3a548c39558c39568c38588c38598c375a8c375b8d365c8d365d8d355e8d"
    "355f8d34608d34618d33628d33638d32648e32658e31668e31678e31688e30698e306a8e2f6b8e2f6c8e2e6d8e2e6e8e2e6f8e2d708e2d718e"
    "2c718e2c728e2c738e2b748e2b758e2a768e2a778e2a788e29798e297a8e297b8e287c8e287d8e277e8e277f8e27808e26818e26828e26828e"
    "25838e25848e25858e24868e24878e23888e23898e238a8d228b8d228c8d228d8d218e8d218f8d21908d21918c20928c20928c20938c1f948c"
    "1f958b1f968b1f978b1f988b1f998a1f9a8a1e9b8a1e9c891e9d891f9e891f9f881fa0881fa1881fa1871fa28720a38620a48621a58521a685"
    "22a78522a88423a98324aa8325ab8225ac8226ad8127ad8128ae8029af7f2ab07f2cb17e2db27d2eb37c2fb47c31b57b32b67a34b67935b779"
    "37b87838b9773aba763bbb753dbc743fbc7340bd7242be7144bf7046c06f48c16e4ac16d4cc26c4ec36b50c46a52c56954c56856c66758c765"
    "5ac8645cc8635ec96260ca6063cb5f65cb5e67cc5c69cd5b6ccd5a6ece5870cf5773d05675d05477d1537ad1517cd2507fd34e81d34d84d44b"
    "86d54989d5488bd6468ed64590d74393d74195d84098d83e9bd93c9dd93ba0da39a2da37a5db36a8db34aadc32addc30b0dd2fb2dd2db5de2b"
    "b8de29bade28bddf26c0df25c2df23c5e021c8e020cae11fcde11dd0e11cd2e21bd5e21ad8e219dae319dde318dfe318e2e418e5e419e7e419"
    "eae51aece51befe51cf1e51df4e61ef6e620f8e621fbe723fde725")


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
    import numpy as np  # the browser's half does without

    return np.frombuffer(palette_bytes(name), np.uint8).reshape(256, 4)


@cache
def palette_bytes(name: str) -> bytes:
    """The same 256 colours as 1,024 bytes, RGBA, without NumPy."""
    kind = palette_name(name)
    if kind == "viridis":
        rgb = [bytes.fromhex(VIRIDIS[i : i + 6]) for i in range(0, len(VIRIDIS), 6)]
    else:
        channels = _CHANNELS[kind]
        rgb = [bytes(min(max(round(c(i / 255)), 0), 255) for c in channels) for i in range(256)]
    return b"".join(colour + b"\xff" for colour in rgb)


def _polynomial(powers: tuple[float, ...]) -> Callable[[float], float]:
    return lambda t: sum(c * t**n for n, c in enumerate(powers))


def _stops(values: tuple[int, ...]) -> Callable[[float], float]:
    """Straight lines between evenly spaced values."""
    def between(t: float) -> float:
        i = min(int(t * (len(values) - 1)), len(values) - 2)
        return values[i] + (t * (len(values) - 1) - i) * (values[i + 1] - values[i])

    return between


_CHANNELS = {"turbo": [_polynomial(p) for p in TURBO], "grayscale": [lambda t: 255 * t] * 3,
             "blue-magenta": [_stops(c) for c in zip(*BLUE_MAGENTA, strict=True)]}
