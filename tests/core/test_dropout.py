"""What training loses at random, against numbers drawn on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.array import asarray, grad
from core.backends import open_backend, use_backend
from core.errors import RunError
from core.functions import dropout
from core.nn.families import FAMILIES, build
from core.nn.model import STREAM, Dropout
from core.random import Philox
from core.runs.config import RunConfig

RATE, SEED, STEP = 0.3, 7, 11


def kept(shape: tuple[int, ...], stream: int) -> np.ndarray:
    """1 / (1 - rate) where a value is kept, else 0."""
    return (Philox(SEED).uniform(stream, STEP, shape) > RATE) / (1 - RATE)


def test_values_and_gradients_are_kept_or_lost_together() -> None:
    x = asarray(np.random.default_rng(0).standard_normal((4, 9, 5)), requires_grad=True)
    y = dropout(x, RATE, SEED, 3, STEP)
    mask = kept(x.shape, 3)
    np.testing.assert_allclose(y.numpy(), x.numpy() * mask, rtol=1e-6)
    np.testing.assert_allclose(grad((y * y).sum(), [x])[0].numpy(), 2 * x.numpy() * mask**2, rtol=1e-6)


def test_as_much_is_lost_as_was_asked_for() -> None:
    n = 200_000
    lost = float(1 - np.count_nonzero(dropout(asarray(np.ones(n, np.float32)), RATE, SEED, 0, STEP).numpy()) / n)
    assert lost == pytest.approx(RATE, abs=4 * (RATE * (1 - RATE) / n) ** 0.5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_loses_of_its_embedding_and_of_what_each_block_reads_out(family: str, recompute: bool) -> None:
    model = build(family, "tiny", 9)
    tokens = asarray(np.arange(14, dtype=np.int32).reshape(2, 7) % 9)
    p = {k: asarray(v) for k, v in model.initial_parameters(0).items()}
    found, _, _ = model.states(p, tokens, model.initial_state(2), recompute=recompute,
                               lose=Dropout(RATE, SEED, STEP))
    x = asarray((p["embedding"].numpy()[tokens.numpy()] * kept((2, 7, 64), STREAM)).astype(np.float32))
    for i in range(model.config.layers):
        own = {k.removeprefix(f"{i}."): v for k, v in p.items() if k.startswith(f"{i}.")}
        state = [model.initial_state(2)[f"{i}.{name}"] for name in model.block_state(i)]
        y = model.block(i, own, x, *state)[0].numpy()
        x = asarray((x.numpy() + (y * kept(y.shape, STREAM + 1 + i)) @ own["out"].numpy()).astype(np.float32))
    np.testing.assert_allclose(found.numpy(), x.numpy(), rtol=1e-4, atol=1e-5)


def test_every_backend_loses_the_same(pytestconfig: pytest.Config) -> None:
    x = np.random.default_rng(0).standard_normal((5, 33)).astype(np.float32)
    found = []
    for name in ("cpu", pytestconfig.getoption("backend") or "wgpu"):
        with use_backend(open_backend(name)):
            found.append(dropout(asarray(x), RATE, SEED, 3, STEP).numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(rate: float, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"dropout is .* at least 0 and below 1"):
        RunConfig.from_preset((str(tmp_path),), "tiny", threads=1, dropout=rate)
