"""Random numbers as a pure function: Philox4x32-10, equal bit for bit on every backend.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Key = seed, counter =
(stream, step, offset): no state, so a draw repeats whatever was drawn before it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(key: tuple[int, int], counter: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Ten rounds of Philox4x32.

    Parameters
    ----------
    key : two 32-bit integers
    counter : array of uint32 [..., 4]

    Returns
    -------
    array of uint32 [..., 4]
    """
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def philox_key(seed: int) -> tuple[int, int]:
    """The two halves of a seed's low 64 bits."""
    return seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF


class Philox:
    """Draws for one seed.

    Parameters
    ----------
    seed : int
        64 bits count.
    """

    def __init__(self, seed: int) -> None:
        self.key = philox_key(seed)

    def integers32(self, stream: int, step: int, n: int) -> NDArray[np.uint32]:
        """n independent 32-bit integers; integer i depends on (seed, stream, step, i) alone."""
        counter = np.zeros((-(-n // 4), 4), np.uint32)
        counter[:, 0] = np.arange(len(counter))
        counter[:, 1], counter[:, 2], counter[:, 3] = step & 0xFFFFFFFF, step >> 32, stream
        return philox(self.key, counter).ravel()[:n]

    def bits(self, stream: int, step: int, shape: tuple[int, ...]) -> NDArray[np.uint32]:
        """`integers32` in a shape."""
        return self.integers32(stream, step, int(np.prod(shape))).reshape(shape)

    def uniform(self, stream: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Multiples of 2^-24 in [0, 1): exact in float32 too."""
        drawn = self.integers32(stream, step, int(np.prod(shape))) >> np.uint32(8)
        return drawn.reshape(shape).astype(np.float64) * 2.0**-24

    def normal(self, stream: int, step: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Standard normals by Box & Muller (1958)."""
        n = int(np.prod(shape))
        pairs = -(-n // 2)
        u = (self.integers32(stream, step, 2 * pairs).astype(np.float64) + 0.5) * 2.0**-32
        radius, angle = np.sqrt(-2 * np.log(u[:pairs])), 2 * np.pi * u[pairs:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n].reshape(shape)

    def choice_offsets(self, stream: int, step: int, n: int, upper: int) -> NDArray[np.int64]:
        """n integers in [0, upper), by the high half of a 64-bit product: bias below upper / 2^32.

        Raises
        ------
        ValueError
            `upper` lies outside [1, 2^32].
        """
        if not 1 <= upper <= 1 << 32:
            raise ValueError(f"upper is {upper}: it must lie between 1 and 2^32")
        drawn = self.integers32(stream, step, n).astype(np.uint64)
        return ((drawn * np.uint64(upper)) >> _SHIFT).astype(np.int64)
