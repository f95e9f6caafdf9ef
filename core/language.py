"""Text into Z-space: the Fourier spectrum of a text's characters as a point of the unit disk's product.

Nothing is learned and nothing random: equal texts, equal points.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.session import current_frame
from core.ztensor import ZTensor, lift

INSIDE = 1 - 2.0**-21  # largest norm of a point, and so no boundary: tanh rounds to 1, float32 by up to 2^-24


class LanguageWaveEncoder:
    """A text as a wave, and the wave's spectrum as a point of the unit ball.

    Character i of a text of n is the angle s_i = temperature ((codepoint mod 1024) / 1024 + |sin((i + 1) / n)|). Its
    unnormalised discrete Fourier transform X is the wave. Each bin becomes a point of the unit disk at the angle of X_k
    and the radius tanh(|X_k| sqrt(-curvature)); the row v of all of them is then drawn into the unit ball as
    tanh(|v| / sqrt(-curvature)) v / |v|.

    At curvature -1 this is the exponential map of the ball. Elsewhere it is not (`core.nn.hyperbolic.exp_map` is): the
    points stay in the unit ball, and the curvature only says how fast they near its boundary.

    Parameters
    ----------
    curvature : float
        Finite and below 0.
    temperature : float
        Radians, finite and above 0.

    Raises
    ------
    ValueError
        A value outside its range.
    TypeError
        What is no real number.
    """

    def __init__(self, curvature: float, temperature: float) -> None:
        for name, value in dict[str, Any](curvature=curvature, temperature=temperature).items():
            if not isinstance(value, numbers.Real):
                raise TypeError(f"{name} must be a real number, got {value!r:.40}")
        if not -math.inf < curvature < 0:
            raise ValueError(f"curvature is {curvature}: it must be finite and below 0, such as -1")
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}: it must be finite and above 0, such as 0.5")
        self._curvature, self._temperature = float(curvature), float(temperature)

    def __repr__(self) -> str:
        return f"LanguageWaveEncoder(curvature={self._curvature}, temperature={self._temperature})"

    def curvature(self) -> float:
        """Curvature, below 0."""
        return self._curvature

    def temperature(self) -> float:
        """Radians that one character may turn by."""
        return self._temperature

    def encode_wave(self, text: str | Sequence[str]) -> NDArray[np.complex128]:
        """The spectrum [N, n] of N texts (one text is N = 1) of at most n characters.

        A shorter text is silent after its end: its row is the same spectrum, seen at the n frequencies of the longest.

        Raises
        ------
        ValueError
            No text, or an empty one.
        TypeError
            What is neither a string nor a sequence of strings.
        """
        texts = _texts(text)
        angles = np.zeros((len(texts), max(map(len, texts))))
        for row, t in zip(angles, texts, strict=True):
            codes = np.array([ord(c) for c in t])
            row[: len(t)] = (codes % 1024) / 1024 + np.abs(np.sin(np.arange(1, len(t) + 1) / len(t)))
        return np.fft.fft(self._temperature * angles)

    def encode_z_space(self, text: str | Sequence[str]) -> ZTensor:
        """The points [N, 2 n] of N texts, real and imaginary parts by turns; each row has norm below 1.

        In float32, which every backend has, and seen through the current session's frame. The spectrum of a real wave
        is its own mirror image, so half of the coordinates repeat the other half. Errors are those of `encode_wave`.
        """
        return lift(self.coordinates(text), current_frame(), np.float32)

    def coordinates(self, text: str | Sequence[str]) -> NDArray[np.float64]:
        """What `encode_z_space` holds, before it is rounded to float32."""
        wave, scale = self.encode_wave(text), math.sqrt(-self._curvature)
        size = np.abs(wave)
        shrunk = np.divide(np.tanh(size * scale), size, out=np.zeros_like(size), where=size > 0)
        rows = (wave * shrunk).view(np.float64)
        norm = np.linalg.norm(rows, axis=-1, keepdims=True)
        drawn = np.minimum(np.tanh(norm / scale), INSIDE)
        return rows * np.divide(drawn, norm, out=np.zeros_like(norm), where=norm > 0)


def encode_zspace(text: str | Sequence[str], *, curvature: float = -1.0, temperature: float = 0.5,
                  encoder: LanguageWaveEncoder | None = None) -> ZTensor:
    """Points [N, 2 n] of N texts of at most n characters (see `LanguageWaveEncoder.encode_z_space`).

    Parameters
    ----------
    text : str or sequence of str
        One text is N = 1.
    encoder : LanguageWaveEncoder, optional
        Takes the place of curvature and temperature.

    Raises
    ------
    TypeError
        Another kind of encoder, or what is no text.
    ValueError
        A value outside its range, no text, or an empty one.
    """
    if encoder is None:
        encoder = LanguageWaveEncoder(curvature, temperature)
    elif not isinstance(encoder, LanguageWaveEncoder):
        raise TypeError(f"encoder must be a LanguageWaveEncoder, got {encoder!r:.40}")
    return encoder.encode_z_space(text)


def text_rows(text: str | Sequence[str], window: int) -> NDArray[np.float64]:
    """What `st.z.embed` takes for text: coordinates [N, D] of a text's windows, or of several texts.

    One text is cut into windows of `window` characters, half overlapping (what is left over at the end is not looked
    at, a shorter text is one window); of several texts, each is one row.
    """
    if isinstance(text, str) and window < 1:
        raise ValueError(f"embed: window is {window}: it must be at least 1 character")
    if isinstance(text, str) and len(text) > window:
        text = [text[at: at + window] for at in range(0, len(text) - window + 1, max(window // 2, 1))]
    return LanguageWaveEncoder(-1.0, 0.5).coordinates(text)


def _texts(text: str | Sequence[str]) -> list[str]:
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, Sequence | np.ndarray) or not all(isinstance(t, str) for t in texts):
        raise TypeError(f"text must be a string or a sequence of strings, got {text!r:.40}")
    if not len(texts):
        raise ValueError("there is no text to encode: give at least one")
    for i, t in enumerate(texts):
        if not t:
            raise ValueError(f"text {i} of {len(texts)} is empty: give at least one character")
    return list(texts)
