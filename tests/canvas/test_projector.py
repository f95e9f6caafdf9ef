"""The projector folds as defined, keeps amplitude, and shows the same however often it is read."""

from __future__ import annotations

import threading
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from canvas.palettes import NAMES, palette_name, palette_table
from canvas.projector import CanvasProjector
from core.array import asarray
from core.errors import PatchError

HEIGHT, WIDTH = 5, 7
RELATION = np.random.default_rng(0).normal(0, 0.3, (HEIGHT, WIDTH)).astype(np.float32)


def projector(**options: Any) -> CanvasProjector:
    return CanvasProjector(WIDTH, HEIGHT, **options)


def pixels(p: CanvasProjector) -> NDArray[np.uint8]:
    return np.frombuffer(p.rgba(), np.uint8).reshape(HEIGHT, WIDTH, 4)


def test_the_fold_is_the_weighted_mean_of_what_was_pushed() -> None:
    rng, p, pushed = np.random.default_rng(1), projector(capacity=3), []
    for _ in range(5):
        relation, (coherence, tension) = rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), rng.uniform(0.1, 2, 2)
        p.push_patch(relation, coherence=coherence, tension=tension)
        pushed.append((coherence / (1 + tension), relation.astype(np.float64)))
        kept = pushed[-3:]
        total = sum(w for w, _ in kept)
        want = sum(w * r for w, r in kept) / total
        np.testing.assert_allclose(p.tensor(), want, rtol=1e-6, atol=1e-7)
        assert p.queue_len == len(kept)
        assert p.total_weight == pytest.approx(total)
        patch = p.emit_zspace_patch()
        assert patch["amplitude"] == pytest.approx(np.sqrt((want**2).sum()))


def test_an_emitted_patch_keeps_amplitude_and_is_its_own_fixed_point() -> None:
    p = projector(capacity=1)
    p.push_patch(RELATION)
    for _ in range(50):
        patch = p.emit_zspace_patch(coherence=2.0, tension=3.0, depth=4)
        p.push_patch(patch["relation"], coherence=patch["coherence"], tension=patch["tension"], depth=patch["depth"])
    np.testing.assert_array_equal(p.tensor(), RELATION)
    assert (patch["weight"], patch["depth"]) == (0.5, 4)
    assert p.queue_len == 1


def test_pixels_are_the_values_over_their_range_through_the_palette() -> None:
    p = projector(palette="grayscale")
    p.push_patch(RELATION)
    low, high = float(RELATION.min()), float(RELATION.max())
    want = np.round(255 * (RELATION.astype(np.float64) - low) / (high - low))
    for channel in range(3):
        assert np.abs(pixels(p)[..., channel] - want).max() <= 1
    assert (pixels(p)[..., 3] == 255).all()
    np.testing.assert_allclose(p.emit_zspace_patch()["energy"], (RELATION - low) / (high - low), atol=1e-6)
    before = pixels(p)
    p.set_palette(" Turbo ")
    assert p.palette == "turbo"
    assert (pixels(p) != before).any()
    np.testing.assert_array_equal(pixels(p)[np.unravel_index(RELATION.argmax(), RELATION.shape)],
                                  palette_table("turbo")[255])


def test_the_range_follows_pushes_and_not_reads() -> None:
    once, often = projector(capacity=1), projector(capacity=1)
    for scale in (1, 10, 3, 0.5):
        for p in (once, often):
            p.push_patch(RELATION * np.float32(scale))
        for _ in range(7):
            often.rgba()
            often.emit_zspace_patch()
    assert once.rgba() == often.rgba()
    low = 0.0
    for n, scale in enumerate((1, 10, 3, 0.5)):
        local = float((RELATION * np.float32(scale)).min())
        low = low + 0.2 * (local - low) if n else local
    high = low / RELATION.min() * RELATION.max()
    want = np.clip((RELATION * 0.5 - low) / (high - low), 0, 1)
    np.testing.assert_allclose(once.emit_zspace_patch()["energy"], want, atol=1e-5)
    once.reset_normalizer()
    assert once.emit_zspace_patch()["energy"].max() == 1


def test_tiny_and_huge_values_show_as_well_as_any() -> None:
    shown = []
    for scale in (1e-38, 1.0, 1e38):
        p = projector(capacity=2)
        p.push_patch(RELATION.astype(np.float64) * scale)
        p.push_patch(RELATION.astype(np.float64) * scale)
        shown.append(pixels(p).astype(int))
    assert np.abs(shown[0] - shown[1]).max() <= 3
    assert np.abs(shown[2] - shown[1]).max() <= 3
    p.push_patch(np.full((HEIGHT, WIDTH), 2.5))
    level = projector()
    level.push_patch(np.full((HEIGHT, WIDTH), 2.5))
    np.testing.assert_array_equal(level.emit_zspace_patch()["energy"], 0.5)


def test_an_empty_queue_is_blank_and_says_how() -> None:
    p = projector()
    assert p.rgba() == bytes(4 * HEIGHT * WIDTH)
    assert not p.tensor().any()
    with pytest.raises(PatchError, match="push_patch a relation first"):
        p.emit_zspace_patch()
    p.push_patch(RELATION.tolist())
    p.push_patch(asarray(RELATION))
    np.testing.assert_array_equal(p.tensor(), RELATION)
    p.clear_queue()
    assert (p.queue_len, p.total_weight) == (0, 0)
    assert p.rgba() == bytes(4 * HEIGHT * WIDTH)


def test_what_was_pushed_does_not_change_with_the_callers_array() -> None:
    p, mine = projector(), RELATION.copy()
    p.push_patch(mine)
    mine[:] = 0
    np.testing.assert_array_equal(p.tensor(), RELATION)


@pytest.mark.parametrize(("relation", "options", "sentence"), [
    (RELATION.T, {}, r"takes numbers in shape \(5, 7\)"), (RELATION.astype(str), {}, "takes numbers"),
    (RELATION * np.nan, {}, "35 values that are not finite"), (RELATION.astype(float) * 1e40, {}, "not finite"),
    (RELATION, {"coherence": 0}, "coherence is 0"), (RELATION, {"tension": np.inf}, "tension is inf"),
    (RELATION, {"coherence": np.nan}, "coherence is nan"), (RELATION, {"depth": -1}, "depth is -1"),
    (RELATION, {"coherence": 1e-200}, "is no weight"),
])
def test_what_cannot_be_pushed_changes_nothing(relation: Any, options: dict[str, Any], sentence: str) -> None:
    p = projector()
    p.push_patch(RELATION)
    before = p.rgba()
    with pytest.raises(PatchError, match=sentence):
        p.push_patch(relation, **options)
    assert (p.queue_len, p.rgba()) == (1, before)


@pytest.mark.parametrize("options", [{"width": 0}, {"height": 70000}, {"capacity": 0}, {"palette": "mud"}])
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cells|capacity|unknown"):
        CanvasProjector(**options)


def test_it_is_used_from_many_threads() -> None:
    p, wrong = projector(capacity=4), []

    def work(sign: int) -> None:
        for _ in range(200):
            p.push_patch(sign * RELATION)
            got = p.tensor()
            share = got.ravel()[0] / RELATION.ravel()[0]
            if np.abs(got - share * RELATION).max() > 1e-6 or not -1 <= share <= 1:
                wrong.append(got)
            p.rgba()

    threads = [threading.Thread(target=work, args=(s,)) for s in (1, -1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert p.queue_len == 4


def lightness(table: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE L*."""
    srgb = table[:, :3] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_palettes_are_what_they_are_called() -> None:
    published = np.round(matplotlib.colormaps["turbo"](np.linspace(0, 1, 256))[:, :3] * 255)
    away = np.abs(palette_table("turbo")[:, :3] - published)
    assert away.mean() < 8  # the published polynomials fit the published table this well, the ends worst
    assert away.max() <= 32
    assert tuple(palette_table("turbo")[0]) == (35, 23, 27, 255)
    assert tuple(palette_table("turbo")[255]) == (144, 12, 0, 255)
    np.testing.assert_array_equal(palette_table("gray")[:, 0], np.arange(256))
    steps = np.diff(lightness(palette_table("blue-magenta")))
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.mean()
    first, last = palette_table("blue-magenta")[0].astype(int), palette_table("blue-magenta")[255].astype(int)
    assert first[2] > 2 * first[0]
    assert last[0] > 200 < last[2]
    assert last[1] < last[0] - 60
    assert {palette_name(n) for n in (*NAMES, "BLUE", "blue_magenta", "grey", "greyscale")} == set(NAMES)
