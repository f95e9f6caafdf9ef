"""Palettes against what was published, and the lightness they are called perceptual for."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from canvas.palettes import NAMES, palette_name, palette_table

# what d3-scale-chromatic's interpolateTurbo is published to give, from its formula in Horner's form
TURBO = [
    lambda t: 34.61 + t * (1172.33 - t * (10793.56 - t * (33300.12 - t * (38394.49 - t * 14825.05)))),
    lambda t: 23.31 + t * (557.33 + t * (1225.33 - t * (3574.96 - t * (1073.77 + t * 707.56)))),
    lambda t: 27.2 + t * (3211.1 - t * (15327.97 - t * (27814 - t * (22569.18 - t * 6838.66)))),
]


def lightness(table: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE L*."""
    srgb = table[:, :3] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_turbo_is_the_published_one() -> None:
    table = palette_table("turbo")[:, :3].astype(int)
    t = np.linspace(0, 1, 256)
    for channel, polynomial in enumerate(TURBO):
        assert np.abs(table[:, channel] - np.clip(polynomial(t), 0, 255)).max() <= 0.5 + 1e-9
    assert [tuple(table[i]) for i in (0, 255)] == [(35, 23, 27), (144, 12, 0)]
    published = np.round(matplotlib.colormaps["turbo"](t)[:, :3] * 255)
    away = np.abs(table - published)
    assert away.mean() < 8  # the published polynomials fit the published table this well, the ends worst
    assert away.max() <= 32


def test_viridis_is_the_published_table() -> None:
    published = np.round(matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3] * 255)
    np.testing.assert_array_equal(palette_table("viridis")[:, :3], published)


def test_grayscale_is_the_value_itself() -> None:
    for channel in range(3):
        np.testing.assert_array_equal(palette_table("gray")[:, channel], np.arange(256))


def test_blue_magenta_goes_from_blue_to_magenta() -> None:
    first, middle, last = palette_table("blue-magenta")[[0, 96, 255], :3].astype(int)
    assert first[2] > 2 * first[:2].max()
    assert middle[2] > middle[0] > middle[1]
    assert last[0] > 200 < last[2]
    assert last[1] < last[0] - 60


@pytest.mark.parametrize(("name", "away"), [("blue-magenta", 0.5), ("viridis", 2.0), ("grayscale", 3.5)])
def test_lightness_rises_evenly(name: str, away: float) -> None:
    """Within `away` of a straight line of L*, and never down; the published viridis is rounded to bytes, a dip less."""
    found = lightness(palette_table(name))
    assert np.diff(found).min() > (-0.04 if name == "viridis" else 0)
    assert np.ptp(found) > 60
    assert np.abs(found - np.linspace(found[0], found[-1], 256)).max() < away


def test_names_are_forgiving_and_tables_are_not() -> None:
    assert {palette_name(n) for n in (*NAMES, " BLUE", "blue_magenta", "grey", "greyscale")} == set(NAMES)
    assert NAMES[:3] == ("blue-magenta", "turbo", "grayscale")  # their ids are known elsewhere
    for name in NAMES:
        assert palette_table(name).shape == (256, 4)
        assert (palette_table(name)[:, 3] == 255).all()
        with pytest.raises(ValueError, match="read-only"):
            palette_table(name)[0] = 0
    with pytest.raises(ValueError, match="is unknown: choose one of"):
        palette_table("mud")
