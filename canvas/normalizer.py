"""The range of values that a picture shows, following what is there by the clock."""

from __future__ import annotations

import math

Range = tuple[float, float]


class CanvasNormalizer:
    """A shown range that halves its distance to the range of the values every `half_life` seconds.

    It has a closed form between two changes of the values, so that looking, however often, changes nothing. The first
    values are shown over their own range at once.

    Parameters
    ----------
    half_life : float
        Seconds, above 0.

    Raises
    ------
    ValueError
        Another half-life.
    """

    def __init__(self, half_life: float) -> None:
        if not 0 < half_life < math.inf:
            raise ValueError(f"half_life is {half_life!r}: give a number of seconds above 0")
        self.half_life = half_life
        self._range: Range | None = None  # shown at `_since`
        self._target: Range | None = None
        self._since = 0.0

    def left(self, seconds: float) -> float:
        """What is left of 1 after a time."""
        return 2.0 ** -(max(seconds, 0.0) / self.half_life)

    def at(self, now: float) -> Range | None:
        """The lowest and highest value shown at a time; None before there were any."""
        if self._range is None or self._target is None:
            return self._target or self._range
        left = self.left(now - self._since)
        low, high = (t + left * (r - t) for t, r in zip(self._target, self._range, strict=True))
        return low, high

    def aim(self, target: Range | None, now: float) -> None:
        """From now on the values lie in another range; None: there are none, and the shown range stays."""
        self._range, self._since, self._target = self.at(now), now, target

    def reset(self) -> None:
        """Forget the shown range: the values' own, or that of the next ones, is shown at once."""
        self._range = None
