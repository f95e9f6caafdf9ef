"""Evaluation counts every character once, its figures are those of known probabilities; generation is seeded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import core.evaluate
from core.array import asarray
from core.evaluate import BINS, Bin, Octave, Scores, evaluate, losses, report, score, summary
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


class Table:
    """A model that knows nothing but the last character: row i of a table holds the probabilities of the next."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        self.scores = np.log(np.array(probabilities))

    def initial_state(self, batch: int) -> dict[str, Any]:
        return {}

    def states(self, p: Any, tokens: Any, state: Any) -> Any:
        return tokens, state, tokens

    def logits(self, p: Any, x: Any) -> Any:
        return asarray(5.0 + self.scores[x.numpy()])  # a constant that every softmax must forget


def test_every_figure_of_known_probabilities() -> None:
    """After a: b 0.5, c 0.3. After b: a 0.6, c 0.4. After c: c 0.8, a 0.2."""
    model: Any = Table([[0.2, 0.5, 0.3], [0.6, 1e-9, 0.4], [0.2, 1e-9, 0.8]])
    text = np.array([0, 1, 0, 2, 2, 0, 1, 2], np.uint8)  # a b a c c a b c
    came = [0.5, 0.6, 0.3, 0.8, 0.2, 0.5, 0.4]
    found = report(score(model, {}, text, window=3))
    assert found.characters == 7
    assert found.bits == pytest.approx(-np.log2(came).mean(), rel=1e-6)
    assert found.perplexity == pytest.approx(np.prod(came) ** (-1 / 7), rel=1e-6)
    assert found.accuracy == 4 / 7  # 0.5, 0.6, 0.8, 0.5
    for got, want in zip(found.calibration, [Bin(0.5, 2 / 3, 3), Bin(0.6, 0.5, 2), Bin(0.8, 0.5, 2)], strict=True):
        assert vars(got) == pytest.approx(vars(want), rel=1e-6)
    assert found.calibration_error == pytest.approx((3 * (2 / 3 - 0.5) + 2 * 0.1 + 2 * 0.3) / 7, rel=1e-6)
    places = [0.5, 0.8, 0.4], [0.6, 0.2], [0.3, 0.5]  # in windows of 3, 3 and 1
    octaves = [Octave(i, i, -np.log(at).mean(), len(at)) for i, at in enumerate(places, 1)]
    for got, want in zip(found.context, octaves, strict=True):
        assert vars(got) == pytest.approx(vars(want), rel=1e-6)


def scores(confidence: Any, correct: Any, window: int = 10) -> Scores:
    return Scores(np.ones(len(confidence)), np.asarray(confidence, float), np.asarray(correct, bool), window)


def test_an_overconfident_model_is_told_from_a_calibrated_one() -> None:
    rng = np.random.default_rng(3)
    sure = report(scores(np.full(1000, 0.9), np.arange(1000) % 5 < 3))  # 90 % sure, 60 % right
    assert sure.calibration_error == pytest.approx(0.3)
    assert len(sure.calibration) == 1
    confidence = rng.uniform(0.2, 1, 30_000)
    right = report(scores(confidence, rng.random(30_000) < confidence))
    wrong = report(scores(confidence, rng.random(30_000) < confidence**2))
    assert right.calibration_error < 0.02
    assert wrong.calibration_error == pytest.approx((0.6 - (1 - 0.008) / 3 / 0.8), abs=0.01)  # integral of c - c^2
    assert [b.characters for b in right.calibration] == [30_000 // BINS] * BINS


def test_loss_by_context_takes_each_position_to_its_octave() -> None:
    nats = np.concatenate([np.arange(1.0, 11), np.arange(1.0, 11), [1.0, 2, 3]])  # as many nats as context
    found = report(Scores(nats, np.full(23, 0.5), np.ones(23, bool), 10))
    assert found.context == (Octave(1, 1, 1.0, 3), Octave(2, 2, 2.0, 3), Octave(3, 4, 17 / 5, 5), Octave(5, 8, 6.5, 8),
                             Octave(9, 10, 9.5, 4))


def test_the_confidence_of_a_model_is_that_of_its_softmax() -> None:
    got = score(MODEL, PARAMETERS, TEXT, 16)
    for start in (0, 96, 192):
        piece = TEXT[start : start + 17].astype(np.int32)
        x, _, _ = MODEL.states(PARAMETERS, asarray(piece[None, :-1]), MODEL.initial_state(1))
        exp = np.exp(MODEL.logits(PARAMETERS, x).numpy()[0].astype(np.float64))
        part = slice(start, start + len(piece) - 1)
        np.testing.assert_allclose(got.confidence[part], (exp / exp.sum(-1, keepdims=True)).max(-1), rtol=1e-5)
        np.testing.assert_array_equal(got.correct[part], exp.argmax(-1) == piece[1:])
    whole, quick = report(got), evaluate(MODEL, PARAMETERS, TEXT, 16)
    assert (whole.bits, whole.interval, whole.characters) == (quick.bits, quick.interval, quick.characters)


def test_long_windows_go_through_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses(MODEL, PARAMETERS, TEXT, 16)
    monkeypatch.setattr(core.evaluate, "BATCH_CHARACTERS", 40)
    parts = losses(MODEL, PARAMETERS, TEXT, 16)
    assert [p.shape for p in parts] == [(2, 16)] * 6 + [(1, 10)]
    np.testing.assert_allclose(np.concatenate(parts[:-1]), whole[0], rtol=1e-5)


def test_the_bootstrap_draws_windows_with_replacement() -> None:
    sums, counts = np.random.default_rng(1).gamma(4, 5, 40), np.full(40, 10)
    low, high = summary(sums, counts).interval
    error = sums.std() / 10 / math.sqrt(40) / math.log(2)  # the mean's, about normal
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)


@pytest.mark.parametrize(("n", "window"), [(1, 16), (0, 16), (5, 0)])
def test_too_little_text_or_window_is_refused(n: int, window: int) -> None:
    for ask in (evaluate, score):
        with pytest.raises(ValueError, match=f"at least 2 characters and a window of at least 1, not {n} and {window}"):
            ask(MODEL, PARAMETERS, TEXT[:n], window)


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
