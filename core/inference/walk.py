"""What latents do from value to value, on the host: one pass over each, compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def walk(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Sums of z, z^2, |z[t] - z[t-1]| and |z[t] - 2 z[t-1] + z[t-2]|, [N] each, and the gradient, of latents [N, D]."""
    sums, gradient = np.empty((4, len(x))), np.empty(x.shape)
    _walk(x, sums, gradient)
    return (*sums, gradient)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)  # all values are finite
def _walk(x: Any, sums: Any, gradient: Any) -> None:
    for i in range(x.shape[0]):
        z, rise, n = x[i], gradient[i], x.shape[1]
        total = energy = motion = bend = before = last = 0.0
        largest = 2.0  # of the rises, which are twice the gradient
        for t in range(n):
            now, after = z[t], z[t + 1] if t + 1 < n else 0.0
            total += now
            energy += now * now
            if t > 0:
                step = now - before
                motion += abs(step)
                if t > 1:
                    bend += abs(step - last)
                last = step
            rise[t] = after - before
            largest = max(largest, abs(rise[t]))
            before = now
        for t in range(n):
            rise[t] /= largest
        sums[0, i], sums[1, i], sums[2, i], sums[3, i] = total, energy, motion, bend
