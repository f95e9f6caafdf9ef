"""Desires, hints and phases as people write them at the command line."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from core.desire import wish_scores
from core.dynamics import Phases, distribution_hint

WISH = r"(.+?)=([-+]?\d*\.?\d+(?:e-?\d+)?)"  # characters, which may be commas or equals signs, and a number


def read_wishes(option: str, text: str, vocabulary: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Scores [V] from 'vowels=1,xyz=-2'; None from nothing."""
    if not text:
        return None
    if not re.fullmatch(rf"(?:{WISH},)*{WISH}", text, re.DOTALL):
        raise ValueError(f"{option} {text!r} is not understood: write it like 'vowels=1,xyz=-2'")
    found = re.findall(rf"{WISH}(?:,|$)", text, re.DOTALL)
    return wish_scores([(name, float(score)) for name, score in found], vocabulary)


def read_hint(window: str, distribution: str, vocabulary: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Scores [V] of the one hint that was given, if any: characters, or shares written like a desire."""
    if window and distribution:
        raise ValueError("--window and --distribution are both hints: give one of them")
    if window:
        return distribution_hint(wish_scores([(c, 1.0) for c in window], vocabulary))
    weights = read_wishes("--distribution", distribution, vocabulary)
    return None if weights is None else distribution_hint(weights)


def read_phases(text: str) -> Phases | None:
    """Where injection and integration begin, from '128,256'."""
    if not text:
        return None
    if not re.fullmatch(r"\d+,\d+", text):
        raise ValueError(f"--phases {text!r} is not understood: write the characters until the desire sets in, and "
                         "those until it settles, such as 128,256")
    return Phases(*map(int, text.split(",")))
