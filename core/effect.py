"""What steering did: measured beside the same thing without it.

Painting: on a probe that the steering does not touch, a fixed text run through the trained model with the tap off.
Looked at are the states of the tapped layer about their mean over the probe: the mean is the same at every character,
carries nothing about the text, and drifts freely from seed to seed. The low share is the part of their power that lies
in the lower half of the bands. Any strong gain may raise it, so the effect is a contrast, low-painted minus
high-painted, beside unpainted twins of equal seed.

Desire: on the generated texts themselves, shares of the wanted symbols with and without it, seed by seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import asarray
from core.field import field_density
from core.frame import ZFrame
from core.nn.model import Model, Parameters

PROBE_WINDOWS = 32


def probe_tokens(symbols: NDArray[Any], window: int) -> NDArray[np.int32]:
    """The first `PROBE_WINDOWS` contiguous windows [N, T] of a split (fewer where it is shorter)."""
    count = min(PROBE_WINDOWS, len(symbols) // window)
    if count < 1:
        raise ValueError(f"the probe needs at least one window of {window} characters, the text has {len(symbols)}")
    return symbols[: count * window].reshape(count, window).astype(np.int32)


def low_share(model: Model, p: Parameters, tokens: NDArray[np.int32], frame: ZFrame) -> float:
    """Share of the power of the tapped layer's states, about their mean, in bands 0 to B // 2 - 1; tap off."""
    _, _, tapped = model.states(p, asarray(tokens), model.initial_state(len(tokens)), stop=model.tapped_layer)
    states = tapped.numpy().astype(np.float64)
    power = field_density(states - states.mean(axis=(0, 1)), frame)[:, :, 0].sum(axis=1)
    return float(power[: frame.bands // 2].sum() / power.sum())


def painted_layer(frame: ZFrame, where: str, gain: float) -> NDArray[np.float32]:
    """A layer that gives the lower ("low") or upper ("high") half of the bands one gain, and nothing to the rest."""
    layer = np.zeros((frame.bands, frame.sheets), np.float32)
    rows = {"low": slice(0, frame.bands // 2), "high": slice(frame.bands // 2, None)}[where]
    layer[rows] = np.log2(gain)
    return layer


@dataclass(frozen=True)
class Contrast:
    """A paired contrast over seeds.

    Attributes
    ----------
    mean : float
    interval : tuple of float
        95 % Student interval of the mean of the paired differences.
    """

    mean: float
    interval: tuple[float, float]


def paired_contrast(low: list[float], high: list[float]) -> Contrast:
    """Mean of low minus high, seed by seed, with its interval; at least two seeds."""
    from scipy import stats  # its import takes longer than most commands

    difference = np.subtract(low, high)
    if len(difference) < 2:
        raise ValueError(f"a paired interval needs at least 2 seeds, got {len(difference)}")
    mean, error = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    reach = float(stats.t.ppf(0.975, len(difference) - 1)) * error
    return Contrast(mean, (mean - reach, mean + reach))


FEWEST_SEEDS = 6  # with fewer no p value of the test below can lie under 0.05


@dataclass(frozen=True)
class Shift:
    """How far a share moved, over paired texts.

    Attributes
    ----------
    without, tilted : float
        Mean share without and with desire.
    difference : float
        Mean of the paired differences.
    interval : tuple of float
        95 % percentile bootstrap of that mean, over seeds.
    p : float
        Two-sided, of a permutation of signs (exact up to 13 seeds): how often chance alone moves it as far.
    """

    without: float
    tilted: float
    difference: float
    interval: tuple[float, float]
    p: float


def paired_shift(without: list[float], tilted: list[float]) -> Shift:
    """Shares of `FEWEST_SEEDS` or more texts, the same seeds in both lists."""
    from scipy import stats

    difference = np.subtract(tilted, without)
    check_seeds(len(difference))
    if (difference == difference[0]).all():
        low = high = float(difference[0])  # SciPy would call the interval degenerate
    else:
        low, high = stats.bootstrap((difference,), np.mean, method="percentile", rng=0).confidence_interval
    test = stats.permutation_test((difference,), np.mean, permutation_type="samples", rng=0)
    return Shift(float(np.mean(without)), float(np.mean(tilted)), float(difference.mean()), (float(low), float(high)),
                 float(test.pvalue))


def check_seeds(count: int) -> None:
    """Refuse too few seeds, before anything is written for them."""
    if count < FEWEST_SEEDS:
        raise ValueError(f"an effect over {count} seeds cannot have a p value below 0.05: give at least {FEWEST_SEEDS}")
