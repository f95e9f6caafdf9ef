"""Desire's dynamics, each step derived anew from raw logits: phases, avoidance, hints, temperature, and the price."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from core.array import asarray
from core.desire import candidate_distribution, tilt
from core.dynamics import COOLEST, ETA, HOTTEST, Dynamics, Phases, distribution_hint
from core.generate import Drawn, Sampling, generate
from core.nn.model import Config
from core.nn.rnn import Rnn
from core.runs.journal import encode_record

V = 11
MODEL = Rnn(Config(vocabulary=V, width=8, hidden=8, layers=2))
# a head that is sure of something, so that temperature, top-k and top-p bite
PARAMETERS = {k: asarray(v * (25 if k == "head" else 1)) for k, v in MODEL.initial_parameters(1).items()}
PROMPT = np.array([1, 2, 3], np.int32)
WANTED = np.where(np.arange(V) % 3 == 0, 1.0, -0.5)
HINT = distribution_hint(np.bincount([4, 7, 7, 4], minlength=V))


def draw(how: Sampling, length: int = 120, seed: int = 5) -> list[Drawn]:
    return list(generate(MODEL, PARAMETERS, PROMPT, length, seed, how))


def raw_logits(symbols: list[int]) -> list[list[float]]:
    """What the model said before each symbol, character by character."""
    found, tokens, state = [], PROMPT[None], MODEL.initial_state(1)
    for symbol in symbols:
        x, state, _ = MODEL.states(PARAMETERS, asarray(tokens), state)
        found.append([float(v) for v in MODEL.logits(PARAMETERS, x).numpy()[0, -1]])
        tokens = np.array([[symbol]], np.int32)
    return found


def candidates(logits: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """The distribution that would be sampled, symbol by symbol."""
    weights = [math.exp((v - max(logits)) / temperature) for v in logits]
    ranked = sorted(range(V), key=lambda j: (-logits[j], j))[:top_k]
    kept, share = [], 0.0
    for j in ranked:
        if top_p is not None and share >= top_p * (1 - 1e-12) * math.fsum(weights[j] for j in ranked):
            break
        kept.append(j)
        share += weights[j]
    total = math.fsum(weights[j] for j in kept)
    return [weights[j] / total if j in kept else 0.0 for j in range(V)]


def price(p: list[float], d: NDArray[np.float64], beta: float) -> tuple[list[float], float]:
    """p' and KL(p' || p) = beta E'[d] - log E[exp(beta d)]."""
    top = max(d[j] for j in range(V) if p[j])
    scaled = [p[j] * math.exp(beta * (d[j] - top)) if p[j] else 0.0 for j in range(V)]
    partition = math.fsum(scaled)
    after = [s / partition for s in scaled]
    return after, beta * math.fsum(after[j] * (d[j] - top) for j in range(V)) - math.log(partition)


@pytest.mark.parametrize("how", [
    Sampling(desire=WANTED, strength=50.0),
    Sampling(0.7, top_k=6, top_p=0.9, desire=WANTED, hint=HINT, strength=50.0, budget=0.3),
    Sampling(0.8, desire=WANTED, strength=3.0, phases=Phases(30, 60, 2.0, 1.0), target_entropy=1.1),
    Sampling(1.2, top_k=8, hint=HINT, strength=9.0, budget=0.02, phases=Phases(0, 5), target_entropy=0.4),
], ids=["plain", "hint", "phases", "all"])
def test_every_step_follows_from_raw_logits(how: Sampling) -> None:
    rows = draw(how)
    temperature, avoided, spent = how.temperature, np.zeros(V), []
    for i, (row, logits) in enumerate(zip(rows, raw_logits([r.symbol for r in rows]), strict=True)):
        assert row.temperature == pytest.approx(temperature, rel=1e-12)
        p = candidates(logits, temperature, how.top_k, how.top_p)
        start, settled = (how.phases.observation, how.phases.integration) if how.phases else (0, 10**9)
        phase = "observation" if i < start else "injection" if i < settled else "integration"
        assert row.phase == phase
        d = sum((x for x in (how.desire, how.hint) if x is not None), np.zeros(V))
        if how.phases and phase != "observation":
            d = d + (how.phases.alpha + (how.phases.gamma if phase == "integration" else 0)) * avoided
        if phase == "observation":
            assert row.d is None
            after, kl = p, 0.0
        else:
            np.testing.assert_allclose(row.d, d, rtol=1e-12, atol=1e-15)
            after, kl = price(p, d, row.beta)
            assert kl <= how.budget
            if 0 < row.beta < how.strength:  # all of the budget is taken where strength does not end it
                assert kl == pytest.approx(how.budget, rel=1e-6)
        assert row.kl == pytest.approx(kl, abs=1e-12)
        assert (row.probability, row.tilted) == pytest.approx((p[row.symbol], after[row.symbol]), rel=1e-9)
        entropy = -math.fsum(q * math.log(q) for q in after if q)
        assert row.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-12)
        if how.phases:
            rate = 1 / (i + 1) if phase == "observation" else {"injection": 0.05, "integration": 0.02}[phase]
            avoided = (1 - rate) * avoided + rate * (1 - np.array(p))
        if how.target_entropy is not None:
            temperature = min(max(temperature + ETA * (how.target_entropy - entropy), COOLEST), HOTTEST)
        spent.append(kl)
    assert max(spent) > 0.5 * how.budget


@given(arrays(np.float64, (20, V), elements=st.floats(-20, 20)), arrays(np.float64, V, elements=st.floats(-9, 9)),
       st.floats(0, 2), st.integers(1, V), st.floats(0.05, 1), st.floats(0.1, 3))
@settings(max_examples=100)
def test_no_logits_break_the_budget(logits: NDArray, wanted: NDArray, budget: float, top_k: int, top_p: float,
                                    target: float) -> None:
    dynamics = Dynamics(V, wanted, Phases(3, 8, 5.0, 5.0), 1.0, target)
    for row in logits:
        d, temperature = dynamics.scores(), dynamics.temperature
        p = candidate_distribution(row, temperature, top_k, top_p)
        after, beta, _ = (p, 0.0, 0.0) if d is None else tilt(p, d, 100.0, budget)
        dynamics.step(p, after)
        assert COOLEST <= dynamics.temperature <= HOTTEST
        if d is not None and beta > 0:
            assert price(candidates(row.tolist(), temperature, top_k, top_p), d, beta)[1] <= budget


def test_a_budget_of_zero_is_no_desire_bit_for_bit() -> None:
    how = Sampling(0.9, top_k=4, desire=WANTED, hint=HINT, budget=0.0, target_entropy=1.0)
    assert draw(how) == draw(how.without_desire())
    assert draw(replace(how, budget=0.1)) != draw(how)


def test_temperature_leads_the_entropy_to_its_target() -> None:
    rows = draw(Sampling(target_entropy=1.5), 400)
    heat = [r.temperature for r in rows]
    assert COOLEST < min(heat) < max(heat) < HOTTEST
    missed = sum(r.entropy for r in rows[:-1]) / (len(rows) - 1) - 1.5
    assert missed == pytest.approx((heat[0] - heat[-1]) / (ETA * (len(rows) - 1)), abs=1e-12)
    assert abs(missed) < 0.05
    plain = draw(Sampling(), 400)
    assert abs(np.mean([r.entropy for r in plain]) - 1.5) > 0.2  # it would not be there by itself


def test_hints_are_shares_beside_an_even_one() -> None:
    np.testing.assert_allclose(distribution_hint(np.full(V, 3.0)), 0, atol=1e-15)
    np.testing.assert_allclose(HINT[[4, 7]], math.log(V / 2))
    np.testing.assert_allclose(HINT[0], math.log(V * 1e-6))
    for bad in ([0.0, 0.0], [1.0, -1.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="a hint needs finite weights"):
            distribution_hint(bad)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="begin at 5 and 3 symbols"):
        Phases(5, 3)
    with pytest.raises(ValueError, match="must both be above 0"):
        draw(Sampling(temperature=0, target_entropy=1.0))


def test_settings_survive_json() -> None:
    how = Sampling(0.7, 5, None, WANTED, 2.0, 0.3, HINT, Phases(1, 2), 1.5)
    again = Sampling.from_json(json.loads(encode_record(asdict(how))))
    np.testing.assert_array_equal(again.desire, how.desire)
    np.testing.assert_array_equal(again.hint, how.hint)
    assert replace(again, desire=None, hint=None) == replace(how, desire=None, hint=None)
