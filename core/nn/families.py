"""The families of models by name."""

from __future__ import annotations

from core.nn.conv import Conv
from core.nn.mixer import Mixer
from core.nn.model import Config, Model
from core.nn.rnn import Rnn
from core.nn.scan import Scan
from core.nn.wave import Wave

FAMILIES: dict[str, type[Model]] = {"rnn": Rnn, "mixer": Mixer, "conv": Conv, "wave": Wave, "scan": Scan}
PRESETS = tuple(Rnn.presets)  # every family has these


def build(family: str, preset: str, vocabulary: int, curvature: float = 0.0) -> Model:
    """A model of a family, in a preset's size, for so many symbols; for its curvature see `Config`."""
    chosen = FAMILIES[family]
    return chosen(Config(vocabulary=vocabulary, curvature=curvature, **chosen.presets[preset]))
