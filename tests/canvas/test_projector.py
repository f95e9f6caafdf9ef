"""The projector folds as defined, keeps amplitude, and shows the same however often it is read."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

import core as st
from canvas.palettes import palette_table
from canvas.projector import CanvasProjector
from canvas.vectors import CHANNELS
from core.array import asarray
from core.backends import Backend
from core.errors import PatchError, PatchShapeError

HEIGHT, WIDTH = 5, 7
RELATION = np.random.default_rng(0).normal(0, 0.3, (HEIGHT, WIDTH)).astype(np.float32)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def projector(**options: Any) -> CanvasProjector:
    return CanvasProjector(WIDTH, HEIGHT, **options)


def pixels(p: CanvasProjector) -> NDArray[np.uint8]:
    return np.frombuffer(p.refresh_rgba(), np.uint8).reshape(HEIGHT, WIDTH, 4)


def test_the_fold_is_the_weighted_mean_of_what_was_pushed() -> None:
    rng, p, pushed = np.random.default_rng(1), projector(capacity=3), []
    for _ in range(5):
        relation, (coherence, tension) = rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), rng.uniform(0.1, 2, 2)
        p.push_patch(relation, coherence=coherence, tension=tension)
        pushed.append((coherence / (1 + tension), relation.astype(np.float64)))
        kept = pushed[-3:]
        total = sum(w for w, _ in kept)
        want = sum(w * r for w, r in kept) / total
        np.testing.assert_allclose(p.refresh_tensor(), want, rtol=1e-6, atol=1e-7)
        assert p.queue_len() == len(kept)
        assert p.total_weight == pytest.approx(total)
        patch = p.emit_zspace_patch()
        assert patch["amplitude"] == pytest.approx(np.sqrt((want**2).sum()))


def test_an_emitted_patch_keeps_amplitude_and_is_its_own_fixed_point() -> None:
    p = projector(capacity=1)
    p.push_patch(RELATION)
    for _ in range(50):
        patch = p.emit_zspace_patch(coherence=2.0, tension=3.0, depth=4)
        p.push_patch(patch["relation"], coherence=patch["coherence"], tension=patch["tension"], depth=patch["depth"])
    np.testing.assert_array_equal(p.refresh_tensor(), RELATION)
    assert (patch["weight"], patch["depth"]) == (0.5, 4)
    assert p.queue_len() == 1


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
    assert p.rgba() == before.tobytes()  # until somebody refreshes
    assert p.palette() == "turbo"
    assert (pixels(p) != before).any()
    np.testing.assert_array_equal(pixels(p)[np.unravel_index(RELATION.argmax(), RELATION.shape)],
                                  palette_table("turbo")[255])


def test_the_shown_range_comes_half_way_in_a_half_life_however_often_one_looks() -> None:
    clock = Clock()
    once, often = (projector(capacity=1, half_life=2.0, clock=clock) for _ in range(2))
    spans = np.array([RELATION.min(), RELATION.max()], np.float64)
    shown, target, before, start = spans, spans, 0.0, clock.now
    for at, scale in ((0.0, 1), (1.0, 10), (1.5, 3), (4.5, 0.5)):  # shown: the recursion by hand, from push to push
        clock.now = start + at
        shown = target + (shown - target) * 0.5 ** ((at - before) / 2.0)
        target, before = spans * scale, at
        for p in (once, often):
            p.push_patch(RELATION * np.float32(scale))
        for _ in range(7):
            clock.now += 0.01
            often.refresh_rgba()
            often.emit_zspace_patch()
    clock.now = start + 6.5
    shown = target + (shown - target) * 0.5
    assert once.refresh_rgba() == often.refresh_rgba()
    np.testing.assert_allclose(once.picture.shown, shown, rtol=1e-6)
    want = np.clip((RELATION * 0.5 - shown[0]) / (shown[1] - shown[0]), 0, 1)
    np.testing.assert_allclose(once.emit_zspace_patch()["energy"], want, atol=1e-6)
    clock.now += 1000
    np.testing.assert_allclose(once.refresh().shown, spans / 2, rtol=1e-6)
    once.push_patch(RELATION)
    once.reset_normalizer()
    assert once.emit_zspace_patch()["energy"].max() == 1
    assert once.emit_zspace_patch()["energy"].min() == 0


def test_a_range_outlives_its_values_and_never_moves_backwards_in_time() -> None:
    clock = Clock()
    p = projector(clock=clock)
    assert p.picture.shown is None
    p.push_patch(RELATION)
    shown = p.refresh().shown
    p.clear_queue()
    clock.now += 5
    assert p.refresh().shown == shown
    p.push_patch(9 * RELATION)
    assert p.refresh().shown == shown
    clock.now -= 1
    assert p.refresh().shown == shown


def test_a_trail_sums_steps_and_halves_in_a_half_life() -> None:
    clock = Clock()
    p = projector(capacity=1, half_life=2.0, clock=clock)
    rng = np.random.default_rng(5)
    want, before = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    for _ in range(6):
        wait, relation = rng.uniform(0, 3), rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32)
        clock.now += wait
        p.push_patch(relation)
        want, before = want * 0.5 ** (wait / 2) + np.abs(relation - before), relation.astype(np.float64)
        p.refresh()
        np.testing.assert_allclose(p.trail(), want, rtol=1e-6)
    for _ in range(3):
        last = p.trail()
        clock.now += 2.0
        p.refresh()
        np.testing.assert_allclose(p.trail(), last / 2, rtol=1e-6)
    p.push_patch(before)  # nothing moved
    p.refresh()
    np.testing.assert_allclose(p.trail(), last / 2, rtol=1e-6)


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
    assert p.rgba() == p.refresh_rgba() == bytes(4 * HEIGHT * WIDTH)
    assert not p.tensor().any()
    assert not p.trail().any()
    with pytest.raises(PatchError, match="push_patch a relation first"):
        p.emit_zspace_patch()
    p.push_patch(RELATION.tolist())
    p.push_patch(asarray(RELATION))
    np.testing.assert_array_equal(p.refresh_tensor(), RELATION)
    p.clear_queue()
    assert (p.queue_len(), p.total_weight) == (0, 0)
    assert p.refresh_rgba() == bytes(4 * HEIGHT * WIDTH)
    assert not p.trail().any()


def test_what_was_pushed_does_not_change_with_the_callers_array() -> None:
    p, mine = projector(), RELATION.copy()
    p.push_patch(mine)
    mine[:] = 0
    np.testing.assert_array_equal(p.refresh_tensor(), RELATION)


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
    before = p.refresh_rgba()
    with pytest.raises(PatchError, match=sentence):
        p.push_patch(relation, **options)
    assert (p.queue_len(), p.refresh_rgba()) == (1, before)


@pytest.mark.parametrize("options", [{"width": 0}, {"height": 70000}, {"capacity": 0}, {"palette": "mud"}])
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cells|capacity|unknown"):
        CanvasProjector(**options)


@pytest.mark.parametrize("half_life", [0, -1.0, np.inf, np.nan])
def test_a_half_life_is_a_time(half_life: float) -> None:
    with pytest.raises(ValueError, match="half_life is"):
        projector(half_life=half_life)


@pytest.mark.parametrize("relation", [RELATION.T, [[1.0, 2.0], [3.0]], RELATION.astype(complex), "paint"])
def test_shapes_fail_as_the_predecessors_did_too(relation: Any) -> None:
    with pytest.raises(PatchShapeError) as caught:
        projector().push_patch(relation)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)


def test_what_was_read_stays_as_it_was() -> None:
    p = projector()
    p.push_patch(RELATION)
    picture = p.refresh()
    p.tensor()[:] = 0
    p.emit_zspace_patch()["relation"][:] = 0
    np.testing.assert_array_equal(p.refresh_tensor(), RELATION)
    with pytest.raises(ValueError, match="read-only"):
        picture.relation[:] = 0
    p.push_patch(-RELATION)
    p.refresh()
    np.testing.assert_array_equal(picture.relation, RELATION)
    assert p.picture is not picture


def test_it_is_used_from_many_threads(backend: Backend) -> None:
    p, wrong, done = projector(capacity=4, backend=backend), [], []
    p.push_patch(RELATION)
    want = p.refresh_vector_field()

    def work(sign: int) -> None:
        for i in range(40):
            p.push_patch(sign * RELATION)
            picture = p.refresh()
            share = picture.relation.ravel()[0] / RELATION.ravel()[0]
            if np.abs(picture.relation - share * RELATION).max() > 1e-6 or not -1 <= share <= 1:
                wrong.append(picture.relation)
            if len(picture.rgba) != 4 * RELATION.size or len(p.refresh_rgba()) != 4 * RELATION.size:
                wrong.append(picture.rgba)
            if i % 4 == 0 and abs(share) > 0.1:  # steepness and spin are the same for k R as for R, whatever k
                vectors = picture.vectors.numpy()
                if np.abs(vectors - want)[..., 1:3].max() > 1e-4:
                    wrong.append(vectors)
            if i % 20 == 0:
                p.emit_atlas_frame()
                p.refresh_vector_fft_tensor(axis="2d")
        done.append(sign)

    threads = [threading.Thread(target=work, args=(s,)) for s in (1, -1, 1, -1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert len(done) == 4
    assert p.queue_len() == 4


def test_it_computes_where_its_session_does(backend: Backend) -> None:
    with st.zspace.session(backend=backend.name) as s:
        p = projector()
        p.push_patch(RELATION)
        made = []
        thread = threading.Thread(target=lambda: made.append(p.refresh().vectors))
        thread.start()
        thread.join()
        assert made[0].backend is s.backend
    assert p.refresh().vectors.backend is s.backend
    other = projector(backend=backend)
    other.push_patch(RELATION)
    assert other.refresh().vectors.backend is backend


def test_telemetry_tells_of_queue_range_relation_vectors_and_spectra(backend: Backend) -> None:
    clock = Clock()
    p = projector(palette="turbo", half_life=2.0, clock=clock, backend=backend)
    empty = p.emit_atlas_frame(timestamp=7.5)
    assert empty["timestamp"] == 7.5
    assert empty["metrics"]["canvas.queue_len"] == empty["metrics"]["canvas.normalizer.has_state"] == 0
    assert not any(name.startswith(("canvas.relation", "canvas.fft")) for name in empty["metrics"])
    p.push_patch(RELATION, coherence=3.0)
    assert p.emit_atlas_frame(refresh=False)["metrics"].keys() == empty["metrics"].keys()
    with st.zspace.session(backend="cpu") as s:
        told = p.emit_atlas_frame(prefix="disk")["metrics"]
        assert s.telemetry.recent[-1]["metrics"] == told
        assert s.telemetry.recent[-1]["kind"] == "canvas"
    relation = RELATION.astype(np.float64)
    want = {"queue_len": 1, "total_weight": 1.5, "shape.rows": HEIGHT, "shape.cols": WIDTH, "palette.id": 1,
            "palette.turbo": 1, "palette.blue_magenta": 0, "normalizer.half_life": 2, "normalizer.has_state": 1,
            "normalizer.min": relation.min(), "normalizer.max": relation.max(), "normalizer.span": np.ptp(relation),
            "normalizer.center": (relation.min() + relation.max()) / 2, "relation.mean": relation.mean(),
            "relation.l2": np.linalg.norm(relation), "relation.rms": np.sqrt((relation**2).mean()),
            "relation.abs_mean": np.abs(relation).mean(), "relation.min": relation.min(),
            "relation.finite_fraction": 1, "energy.min": 0, "energy.max": 1, "trail.max": np.abs(relation).max(),
            "trail.samples": HEIGHT * WIDTH, "trail.curvature_scale": np.tanh(1), "trail.z.max": np.tanh(1),
            "fft_db.shape.cols": 4 * WIDTH}
    assert {k: told[f"disk.{k}"] for k in want} == pytest.approx(want, abs=1e-6)
    vectors = p.vector_field().astype(np.float64)
    decibels = 20 * np.log10(np.abs(scipy.fft.fft(vectors, axis=1)))
    for i, name in enumerate(CHANNELS):
        assert told[f"disk.fft_db.{name}.max"] == pytest.approx(decibels[..., i].max(), abs=1e-3)
        if i:
            assert told[f"disk.vectors.{name}.abs_mean"] == pytest.approx(np.abs(vectors[..., i]).mean(), abs=1e-6)
    frame = st.fuse_zspace_telemetry(told)  # what inference takes
    assert frame is not None


def test_the_package_offers_it_without_loading_it() -> None:
    code = ("import sys, canvas, canvas.codec, canvas.strokes; assert 'numpy' not in sys.modules; "
            "canvas.CanvasProjector(2, 2); assert not hasattr(canvas, 'Projector')")
    subprocess.run([sys.executable, "-c", code], check=True)
