"""What steering did: measured on a probe that the steering does not touch.

The probe is a fixed text run through the trained model with the tap off; looked at are the states of the tapped layer
about their mean over the probe: the mean is the same at every character, carries nothing about the text, and drifts
freely from seed to seed. The low share is the part of their power that lies in the lower half of the bands. Any strong
gain may raise it, so the effect is a contrast, low-painted minus high-painted, beside unpainted twins of equal seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    difference = np.subtract(low, high)
    if len(difference) < 2:
        raise ValueError(f"a paired interval needs at least 2 seeds, got {len(difference)}")
    mean, error = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    reach = float(stats.t.ppf(0.975, len(difference) - 1)) * error
    return Contrast(mean, (mean - reach, mean + reach))
