"""A checkpoint from a run under one frame goes on under another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from core.array import apply, asarray, grad
from core.atlas import ZAtlas, transition
from core.backends import Backend, open_backend
from core.frame import Temporal, ZFrame
from core.runs.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint, warp_checkpoint
from core.runs.control import paint
from core.runs.journal import read_records
from core.runs.store import RunFolder, RunStore
from core.runs.trainer import Trainer
from core.scheduler import Fold, Scheduler

A, B = ZFrame.octaves(), ZFrame((0.03, 0.09, 0.2), 5, Temporal((0, 1, 3), 0.8))


def test_a_run_goes_on_under_another_frame(make_run: Callable[..., RunFolder]) -> None:
    run = make_run(steps=24)
    layer = np.zeros((A.bands, A.sheets), np.float32)
    layer[:3] = 2.0
    paint(run, layer)
    Trainer(run, until=8).run()
    path, _ = latest_checkpoint(run)
    assert path is not None
    arrays, meta = load_checkpoint(path)
    moved, head = warp_checkpoint(arrays, meta, A, B)

    settings = {k: v for k, v in run.read_config().items() if k not in ("schema", "id", "created")}
    other = RunStore(run.path.parent).create({**settings, "frame": B.to_json()})
    save_checkpoint(other, head["step"], moved, head)
    ZAtlas.load_npz(run.atlas).warp(B).save_npz(other.atlas)
    trainer = Trainer(other)
    assert (trainer.step, trainer.frame) == (8, B)
    for name, values in trainer.parameters.items():
        np.testing.assert_array_equal(values.numpy(), arrays[f"p.{name}"])
    assert {c.frame for c in trainer.atlas} == {B}
    assert trainer.run() == "finished"
    rows, bad = read_records(other.metrics)
    assert not bad
    assert [r["step"] for r in rows if r["split"] == "train"] == list(range(9, 25))

    # the layer had settled after `capacity` boundaries: the fold is the layer, gain by gain the mean over its new cell
    bands, sheets = transition(B, A)
    want = np.einsum("nb,ms,bs->nm", bands, sheets, layer.astype(np.float64))
    np.testing.assert_allclose(moved["fold"], want, atol=1e-6)
    np.testing.assert_allclose(trainer.fold, want, atol=1e-6)
    painted = [r for r in read_records(other.applied)[0] if "fold" in r]
    assert not painted or np.allclose(Fold.from_record(painted[-1]["fold"]["atlas"]).relation, want, atol=1e-6)


@pytest.mark.parametrize("new", [B, ZFrame.octaves(3, 16), ZFrame.octaves(curvature=-2.0, echo_count=2), A])
def test_level_layers_stay_level_and_gains_in_range(new: ZFrame) -> None:
    rng, queue = np.random.default_rng(0), Scheduler({"atlas": (A.bands, A.sheets)}, 4)
    state = {"scheduler": queue.state()}
    _, neutral = warp_checkpoint({}, state, A, new)
    assert not warp_checkpoint({}, state, A, new)[0]["fold"].any()
    assert [w for w, _ in neutral["scheduler"]["atlas"]] == [w for w, _ in state["scheduler"]["atlas"]]
    layers = [np.full((A.bands, A.sheets), 1.5, np.float32), rng.uniform(-3, 3, (A.bands, A.sheets)).astype(np.float32)]
    for layer in layers:
        queue._queues["atlas"].extend([(1.0, layer)] * 4)
        fold = warp_checkpoint({}, {"scheduler": queue.state()}, A, new)[0]["fold"]
        assert fold.shape == (new.bands, new.sheets)
        assert layer.min() - 1e-6 <= fold.min() <= fold.max() <= layer.max() + 1e-6
        if new.edges == A.edges and new.sheets == A.sheets:
            np.testing.assert_array_equal(fold, layer)
        elif layer is layers[0]:
            np.testing.assert_allclose(fold, 1.5, rtol=1e-6)


def test_the_kernels_of_one_frame_never_serve_another() -> None:
    """A, B and A again on one backend: as on fresh ones."""
    def through(frame: ZFrame, backend: Backend) -> np.ndarray:
        rng = np.random.default_rng(1)
        x = asarray(rng.standard_normal((2, 40, 3)), np.float32, backend, requires_grad=True)
        y = apply("tap", x, frame=frame, gains=2.0 ** rng.uniform(-2, 2, (frame.bands, frame.sheets)))
        return grad((y * y * y).sum(), [x])[0].numpy()

    used = open_backend("cpu", threads=1)
    fresh = {frame: through(frame, open_backend("cpu", threads=1)) for frame in (A, B)}
    assert not np.array_equal(fresh[A], fresh[B])
    for frame in (A, B, A, B):
        np.testing.assert_array_equal(through(frame, used), fresh[frame])
