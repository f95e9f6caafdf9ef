"""Pictures: what is drawn is what was measured."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas
from core.field import Field, measure_field
from core.frame import Temporal, ZFrame
from core.render import THEMES, band_names, render_atlas

FRAME = ZFrame.octaves(4, 6, 3)


def chart(rho: NDArray[np.float64], frame: ZFrame = FRAME, step: int = 0, signal: str | None = None) -> Chart:
    return Chart(frame, Field(frame, rho, None), step, 0.0, {"signal": signal} if signal else {})


def atlas_of(*charts: Chart) -> ZAtlas:
    atlas = ZAtlas(len(charts))
    for c in charts:
        atlas.append(c)
    return atlas


def random_rho(seed: int, frame: ZFrame = FRAME) -> NDArray[np.float64]:
    return np.abs(np.random.default_rng(seed).standard_normal(frame.shape))


def panels(figure: Figure) -> list[Axes]:
    return [a for a in figure.axes if a.images]


def history(figure: Figure) -> Axes:
    return next(a for a in figure.axes if a.get_ylabel() == "share of power, %")


def bands_at(axes: Axes, step: float) -> list[float]:
    """Height of each stacked band at one step, read off the drawn polygons."""
    heights = []
    for area in axes.collections:
        assert isinstance(area, PolyCollection)
        points = np.asarray(area.get_paths()[0].vertices, np.float64)
        at = points[np.isclose(points[:, 0], step)][:, 1]
        heights.append(float(at.max() - at.min()))
    return heights


def pixels(figure: Figure) -> NDArray[np.float64]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor())
    buffer.seek(0)
    return np.asarray(imread(buffer), np.float64)


def test_panels_show_the_density_on_fit_scales() -> None:
    rho = np.random.default_rng(1).standard_normal(FRAME.shape)
    rho[:, :, 0] **= 2
    figure = render_atlas(atlas_of(chart(rho)))
    found = panels(figure)
    assert [a.get_title(loc="left") for a in found] == ["power", "correlation at lag 1", "correlation at lag 2"]
    for e, axes in enumerate(found):
        image = axes.images[0]
        np.testing.assert_array_equal(np.asarray(image.get_array()), rho[:, :, e])
        assert image.origin == "lower"  # low bands at the bottom
        assert tuple(image.get_extent()) == (-30.0, 330.0, -0.5, 3.5)  # sheet s at 60 s degrees
    assert found[0].images[0].get_clim() == (0, rho[:, :, 0].max())
    limit = np.abs(rho[:, :, 1:]).max()
    assert {a.images[0].get_clim() for a in found[1:]} == {(-limit, limit)}
    assert [t.get_text() for t in found[0].get_yticklabels()] == band_names(FRAME)
    assert band_names(FRAME) == ["0 – 0.0625", "0.0625 – 0.125", "0.125 – 0.25", "0.25 – 0.5"]


def test_outlines_run_between_cells_in_and_out() -> None:
    rho = np.zeros(FRAME.shape)
    rho[1, 5, 0] = rho[1, 0, 0] = 1  # a component across the wrap: left of 0 degrees and right of it
    axes = panels(render_atlas(atlas_of(chart(rho))))[0]
    (drawn,) = {frozenset(tuple(map(tuple, s)) for s in c.get_segments())
                for c in axes.collections if isinstance(c, LineCollection)}
    sides = {((x, 0.5), (x, 1.5)) for x in (30.0, 270.0)}
    below_and_above = {((x - 30, y), (x + 30, y)) for x in (0.0, 300.0) for y in (0.5, 1.5)}
    assert drawn == sides | below_and_above  # and none at the seam, where both sides are in
    assert axes.get_title(loc="right") == "outline 0.083, b0 1, b1 0"


def test_an_outline_at_the_wrap_shows_at_both_ends() -> None:
    rho = np.zeros(FRAME.shape)
    rho[0, 0, 0] = 1
    axes = panels(render_atlas(atlas_of(chart(rho))))[0]
    lines = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert sorted(s[0][0] for s in lines.get_segments() if s[0][0] == s[1][0]) == [-30, 30, 330]


def test_history_shows_each_bands_share() -> None:
    charts = [chart(random_rho(s), step=10 * s) for s in range(4)]
    axes = history(render_atlas(atlas_of(*charts)))
    assert axes.get_xlim() == (0, 30)
    for c in charts:
        power = c.field.rho[:, :, 0].sum(axis=1)
        np.testing.assert_allclose(bands_at(axes, c.step), 100 * power / power.sum(), rtol=1e-12)


def test_history_follows_one_signal_in_one_frame() -> None:
    other = ZFrame.octaves(3, 6, 3)
    charts = [chart(random_rho(0, other), other, 0, "state"), chart(random_rho(1), FRAME, 10, "state"),
              chart(random_rho(2), FRAME, 15, "gradient"), chart(random_rho(3), FRAME, 20, "state"),
              chart(random_rho(4), FRAME, 25, "gradient")]
    newest, state = render_atlas(atlas_of(*charts)), render_atlas(atlas_of(*charts), signal="state")
    assert history(newest).get_xlim() == (15, 25)
    assert history(state).get_xlim() == (10, 20)
    np.testing.assert_array_equal(np.asarray(panels(state)[0].images[0].get_array()), charts[3].field.rho[:, :, 0])


def test_one_chart_has_one_moment() -> None:
    axes = history(render_atlas(atlas_of(chart(random_rho(5), step=3))))
    assert list(axes.get_xticks()) == [3]
    assert sum(bands_at(axes, 2.5)) == pytest.approx(100)


@pytest.mark.parametrize("theme", list(THEMES))
def test_axes_say_what_they_measure(theme: Literal["dark", "light"]) -> None:
    figure = render_atlas(atlas_of(chart(random_rho(10), step=1234, signal="state")), theme=theme)
    assert figure.get_suptitle() == "Atlas: state, step 1,234"
    assert [a.get_xlabel() for a in panels(figure)] == ["phase"] * 3
    assert [a.get_ylabel() for a in panels(figure)] == ["band, cycles/sample", "", ""]  # one scale, named once
    for axes in panels(figure):
        marks = [(x, t.get_text()) for x, t in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)]
        assert marks == [(0, "0°"), (90, "90°"), (180, "180°"), (270, "270°")]
    below = history(figure)
    assert below.get_xlabel() == "step"
    named = below.get_legend()
    assert named is not None
    assert [t.get_text() for t in named.get_texts()] == band_names(FRAME)
    assert {t.get_color() for t in named.get_texts()} == {THEMES[theme]["ink"]}
    assert {a.get_facecolor() for a in (*panels(figure), below)} == {to_rgba(THEMES[theme]["paper"])}


@pytest.mark.parametrize("theme", list(THEMES))
def test_the_picture_has_its_size_and_paper(theme: str) -> None:
    x = np.random.default_rng(6).standard_normal(256)
    image = pixels(render_atlas(atlas_of(Chart(FRAME, measure_field(x, FRAME), 0, 0.0)), theme=theme))  # type: ignore[arg-type]
    assert image.shape == (720, 1280, 4)
    paper = [int(THEMES[theme]["paper"][i:i + 2], 16) / 255 for i in (1, 3, 5)]
    np.testing.assert_allclose(image[-1, -1, :3], paper, atol=1 / 255)
    assert len(np.unique(image.reshape(-1, 4), axis=0)) > 100


def test_missing_echoes_say_so() -> None:
    moved = atlas_of(chart(random_rho(7))).warp(ZFrame((0.1,), 4, Temporal((0, 2, 5), 0.9)))
    figure = render_atlas(moved)
    assert len(panels(figure)) == 1
    said = [t.get_text() for a in figure.axes for t in a.texts]
    assert said == ["missing after warp"] * 2
    assert pixels(figure).shape == (720, 1280, 4)


def test_silence_and_the_smallest_frame_can_be_drawn() -> None:
    tiny = ZFrame.octaves(1, 2, 1)
    for frame in (FRAME, tiny):
        figure = render_atlas(atlas_of(Chart(frame, measure_field(np.zeros(32), frame), 0, 0.0)))
        assert bands_at(history(figure), 0.5) == [0] * frame.bands
        assert pixels(figure).shape == (720, 1280, 4)


def test_nothing_to_draw_says_so() -> None:
    with pytest.raises(ValueError, match="there is nothing to draw: observe a signal first"):
        render_atlas(ZAtlas(1))
    with pytest.raises(ValueError, match="there is nothing to draw of 'gradient'"):
        render_atlas(atlas_of(chart(random_rho(8), signal="state")), signal="gradient")
    with pytest.raises(ValueError, match="theme is 'sepia': choose one of dark, light"):
        render_atlas(atlas_of(chart(random_rho(9))), theme="sepia")  # type: ignore[arg-type]
