"""Evaluation counts every character once; generation is seeded, tilted within its budget, and replayable."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.array import asarray
from core.evaluate import evaluate, losses
from core.generate import Sampling, generate
from core.nn.model import Config
from core.nn.rnn import Rnn

MODEL = Rnn(Config(vocabulary=7, width=8, hidden=8, layers=2))
PARAMETERS = {k: asarray(v) for k, v in MODEL.initial_parameters(1).items()}
TEXT = np.random.default_rng(0).integers(0, 7, 203).astype(np.uint8)


def test_every_character_but_the_first_is_scored_once_with_a_fresh_state() -> None:
    got = evaluate(MODEL, PARAMETERS, TEXT, window=16)
    total, count = 0.0, 0
    for start in range(0, len(TEXT) - 1, 16):
        piece = TEXT[start : start + 17].astype(np.int32)
        x, _, _ = MODEL.states(PARAMETERS, asarray(piece[None, :-1]), MODEL.initial_state(1))
        scores = MODEL.logits(PARAMETERS, x).numpy()[0].astype(np.float64)
        log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        total -= log_p[np.arange(len(piece) - 1), piece[1:]].sum()
        count += len(piece) - 1
    assert got.characters == count == 202
    assert got.bits == pytest.approx(total / count / math.log(2), rel=1e-6)
    assert got.interval[0] < got.bits < got.interval[1]


def test_batches_of_windows_do_not_change_the_losses() -> None:
    long = np.tile(TEXT, 4)
    parts = losses(MODEL, PARAMETERS, long, 16)
    assert [p.shape[1] for p in parts] == [16, 16, len(long) - 1 - 16 * ((len(long) - 1) // 16)]
    np.testing.assert_allclose(parts[0][:1], losses(MODEL, PARAMETERS, long[:17], 16)[0], rtol=1e-5)


def test_equal_seed_equal_text_and_prefixes_agree() -> None:
    prompt = np.array([1, 2], np.int32)
    first = [d.symbol for d in generate(MODEL, PARAMETERS, prompt, 40, seed=3)]
    assert first == [d.symbol for d in generate(MODEL, PARAMETERS, prompt, 40, seed=3)]
    assert first[:10] == [d.symbol for d in generate(MODEL, PARAMETERS, prompt, 10, seed=3)]
    assert first != [d.symbol for d in generate(MODEL, PARAMETERS, prompt, 40, seed=4)]


def test_greedy_takes_the_likeliest() -> None:
    prompt = np.array([1], np.int32)
    tokens, state = prompt[None], MODEL.initial_state(1)
    for drawn in generate(MODEL, PARAMETERS, prompt, 8, 0, Sampling(temperature=0)):
        x, state, _ = MODEL.states(PARAMETERS, asarray(tokens), state)
        assert drawn.symbol == int(MODEL.logits(PARAMETERS, x).numpy()[0, -1].argmax())
        tokens = np.array([[drawn.symbol]], np.int32)


def test_desire_costs_at_most_its_budget_and_wins_symbols() -> None:
    wanted = np.zeros(7)
    wanted[4] = 1.0
    prompt = np.array([1], np.int32)
    plain = list(generate(MODEL, PARAMETERS, prompt, 300, 5))
    tilted = list(generate(MODEL, PARAMETERS, prompt, 300, 5, Sampling(desire=wanted, strength=9.0, budget=0.2)))
    none = list(generate(MODEL, PARAMETERS, prompt, 300, 5, Sampling(desire=wanted, strength=0.0)))
    assert none == plain
    assert all(0 < d.kl <= 0.2 for d in tilted)
    assert sum(d.symbol == 4 for d in tilted) > 1.5 * sum(d.symbol == 4 for d in plain)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt is empty"):
        next(generate(MODEL, PARAMETERS, np.array([], np.int32), 1, 0))
