"""Recomputing in the backward pass: the same gradients bit for bit, in less memory; and the memory, counted."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.array import Array, asarray, checkpoint, grad
from core.backends import open_backend, use_backend
from core.frame import ZFrame
from core.functions import concat, cross_entropy, linear_recurrence, rms_norm, sigmoid, tanh
from core.nn.model import Config
from core.nn.rnn import Rnn
from core.ztensor import ZTensor, lift

Function = Callable[..., Any]


def leaf(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return asarray(values, requires_grad=True)


def assert_same_gradients(build: Callable[[Function], tuple[Array, list[Array]]]) -> None:
    """Gradients with `checkpoint` and without it are equal bit for bit."""
    want, got = (grad(*build(how)) for how in (lambda f, *xs: f(*xs), checkpoint))
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert np.abs(a.numpy()).max() > 0


def test_arguments_closures_and_what_is_used_inside_and_outside() -> None:
    x, w, v = leaf(5, 7), leaf(7, 7, seed=1), leaf(7, 7, seed=2)

    def build(how: Function) -> tuple[Array, list[Array]]:
        scaled = w * 0.3  # on the tape, made before the segment, closed over
        y = how(lambda a: a + tanh(a @ scaled) @ v + a * a, x)
        return (y * y + x * y + scaled.sum()).sum(), [x, w, v, scaled, y]

    assert_same_gradients(build)


def test_several_outputs_one_of_them_an_argument_one_unused() -> None:
    x, y = leaf(4, 6), leaf(4, 6, seed=1)

    def build(how: Function) -> tuple[Array, list[Array]]:
        a, b, same, _ = how(lambda x, y: (tanh(x * y), sigmoid(x), x, y * 2.0), x, y)
        return (a * b + same * b + a * a).sum(), [x, y, a, b]

    assert_same_gradients(build)


def test_segments_in_a_row_and_inside_each_other() -> None:
    x, w = leaf(3, 8), leaf(8, 8, seed=1)

    def build(how: Function) -> tuple[Array, list[Array]]:
        def inner(a: Array) -> Array:
            return rms_norm(a @ w, w[0])

        y = how(lambda a: how(inner, a) * a + a, x)
        return (how(inner, y) * y).sum(), [x, w]

    assert_same_gradients(build)


def test_a_constant_result_and_a_frame_pass_through() -> None:
    frame, x = ZFrame.octaves(3, 4), leaf(2, 5, 3)
    y, constant = checkpoint(lambda a: (tanh(a), asarray(np.ones(3, np.float32))), lift(x, frame))
    assert isinstance(y, ZTensor)
    assert y.frame == frame
    assert not constant.requires_grad
    np.testing.assert_allclose(grad(y.sum(), [x])[0].numpy(), 1 - np.tanh(x.numpy()) ** 2, rtol=1e-5, atol=1e-6)


def test_the_rnn_keeps_less_and_gives_the_same_bits() -> None:
    """Windows of 512 characters: what enters each block against everything inside it."""
    backend = open_backend("cpu", threads=1)
    model = Rnn(Config(vocabulary=11, width=16, hidden=24, layers=4))
    tokens = np.random.default_rng(0).integers(0, 11, (2, 513)).astype(np.int32)

    def results(recompute: bool) -> list[Array]:
        x, _, tapped = model.states(p, asarray(tokens[:, :-1]), model.initial_state(2), recompute=recompute)
        loss = cross_entropy(model.logits(p, x), asarray(tokens[:, 1:])).mean()
        return [loss.detach(), *grad(loss, [*p.values(), tapped])]  # the tape ends here, before the queue runs

    found, peaks = [], []
    with use_backend(backend):
        p = {k: asarray(v, requires_grad=True) for k, v in model.initial_parameters(0).items()}
        loss = results(recompute=False)[0].numpy()  # after it the backend keeps the zeros of an empty past
        assert np.isfinite(loss)
        gc.collect()
        resident = backend.memory.live
        for recompute in (False, True):
            backend.memory.restart()
            found.append([a.numpy().copy() for a in results(recompute)])
            peaks.append(backend.memory.peak - resident)
            gc.collect()
            assert backend.memory.live == resident
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    row, width, hidden = 4 * 2 * 512, 16, 24  # bytes of one channel
    inside, gradients = row * (3 * width + 7 * hidden), 2 * resident
    assert peaks[0] > 4 * inside  # each block's x, norm, u; gates, values, states and products
    # what enters each block and the tap's gradient, one block's inside with gradients beside it, and the parameters'
    assert peaks[1] < row * (5 * width) + 2 * inside + gradients < 0.65 * peaks[0]


def test_memory_counts_storages_once_and_forgets_dead_ones() -> None:
    backend = open_backend("cpu", threads=1)
    x = asarray(np.ones((8, 16), np.float32), backend=backend)
    assert backend.memory.live == 512
    views = [x.transpose(), x.reshape(4, 32), x[2:4]]
    made = x * 2.0
    unused = x + 1.0
    del unused
    backend.flush()
    assert backend.memory.live == backend.memory.peak == 1024
    del x
    assert backend.memory.live == 1024  # the views hold it
    del views
    assert backend.memory.live == 512
    backend.memory.restart()
    assert backend.memory.peak == 512
    big = concat([made, made], axis=0)
    big.numpy()
    del big, made
    assert (backend.memory.live, backend.memory.peak) == (0, 1536)


def test_activations_die_with_their_last_reader() -> None:
    """A chain of twenty products holds two at a time, not twenty."""
    backend = open_backend("cpu", threads=1)
    a = asarray(np.eye(32, dtype=np.float32), backend=backend)
    x = a
    for _ in range(20):
        x = x @ a
    x.numpy()
    assert backend.memory.peak == 3 * a.size * 4


def test_recurrences_over_long_windows_through_a_segment_match_float64() -> None:
    a, b = leaf(1, 300, 4), leaf(1, 300, 4, seed=1)
    h0 = asarray(np.zeros((1, 4), np.float32))
    y = checkpoint(lambda a, b: linear_recurrence(sigmoid(a), b, h0), a, b)
    gate, want, h = 1 / (1 + np.exp(-a.numpy().astype(np.float64))), np.zeros(4), np.zeros((301, 4))
    for t in range(300):
        h[t + 1] = gate[0, t] * h[t] + b.numpy()[0, t]
    adjoint = np.zeros((300, 4))
    for t in reversed(range(300)):
        want = 1 + (gate[0, t + 1] * want if t < 299 else 0)
        adjoint[t] = want
    (da, db) = grad(y.sum(), [a, b])
    np.testing.assert_allclose(db.numpy()[0], adjoint, rtol=1e-4)
    np.testing.assert_allclose(da.numpy()[0], adjoint * h[:-1] * gate[0] * (1 - gate[0]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_random_graphs(seed: int) -> None:
    """Segments around random pieces of a random graph of shared values."""
    leaves = [leaf(3, 4, seed=10 * seed + i) for i in range(3)]

    def build(how: Function) -> tuple[Array, list[Array]]:
        rng, values = np.random.default_rng(seed), list(leaves)
        for _ in range(8):
            i, j, kind = rng.integers(len(values)), rng.integers(len(values)), int(rng.integers(3))
            extra = values[int(rng.integers(3))]

            def piece(a: Array, b: Array, kind: int = kind, extra: Array = extra) -> Any:
                c = tanh(a * b + extra)
                return (c, c * a) if kind == 0 else c + b if kind == 1 else (sigmoid(c) * extra, a)

            made = how(piece, values[i], values[j])
            values += made if isinstance(made, tuple) else (made,)
        return (values[-1] * values[-2] + values[4]).sum(), leaves

    want, got = (grad(*build(how)) for how in (lambda f, *xs: f(*xs), checkpoint))
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
