"""The field of a signal: density over bands, sheets and echoes, with its homology and five features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.frame import ZFrame, ZIndex

if TYPE_CHECKING:
    from core.homology import Homology


LARGEST = 1e100  # of a signal's values: squares and their sums stay finite


class FeatureSample(NamedTuple):
    """Five numbers about a series x of n values.

    Attributes
    ----------
    window_index : int
        Which of the equal windows holds most of sum |x| (the first of equals).
    confidence : float
        That window's share of sum |x|.
    curvature : float
        sum |d2 - d1| / (sum |d1| + |d2| + 1e-6) over neighbouring differences, in [0, 1).
    spin : float
        sum x_i x_{i+1} / (sum |x_i| |x_{i+1}| + 1e-6), in [-1, 1].
    energy : float
        mean |x|.
    """

    window_index: int
    confidence: float
    curvature: float
    spin: float
    energy: float


class Cell(NamedTuple):
    """One cell of a field: its density, and the component of echo 0 it lies in (0: below the threshold)."""

    density: float
    component: int


@dataclass(frozen=True, eq=False)
class Field:
    """What `measure_field` found.

    Attributes
    ----------
    frame : ZFrame
    rho : array [B, S, E]
        Density, read-only; NaN where an echo is missing (after a warp without the signal).
    features : FeatureSample or None
        Of the signal, averaged over batch and channels; None after a warp without the signal.
    """

    frame: ZFrame
    rho: NDArray[np.float64]
    features: FeatureSample | None

    def __post_init__(self) -> None:
        if self.rho.shape != self.frame.shape:
            raise ValueError(f"rho has shape {self.rho.shape}, its frame {self.frame.shape}: they must agree")
        fixed = self.rho.copy()  # the homology is computed once, so the density must not change under it
        fixed.flags.writeable = False
        object.__setattr__(self, "rho", fixed)

    def __getitem__(self, index: ZIndex) -> float:
        """Density of one cell; `IndexError` outside the frame."""
        return float(self.rho[self.frame.check(ZIndex(*index))])

    @cached_property
    def homology(self) -> Homology:
        """Components, loops and persistence of echo 0 at the mean density."""
        from core.homology import homology

        return homology(self.rho[:, :, 0])

    def cell(self, index: ZIndex) -> Cell:
        """Density and component of one cell; `IndexError` outside the frame."""
        return Cell(self[index], int(self.homology.labels[index[0], index[1]]))

    @property
    def missing_echoes(self) -> tuple[int, ...]:
        """Echoes that a warp could not carry over; their densities are NaN."""
        return tuple(int(e) for e in np.flatnonzero(np.isnan(self.rho).any(axis=(0, 1))))


def _checked(x: ArrayLike, frame: ZFrame) -> NDArray[np.float64]:
    """The signal as [N, T, C] float64."""
    if np.iscomplexobj(x):
        raise ValueError("the signal is complex and a field needs real values: pass its real or imaginary part")
    values = np.asarray(x, np.float64)
    if values.ndim not in (1, 2, 3) or 0 in values.shape:
        raise ValueError(f"a signal has shape [T], [T, C] or [N, T, C] and is not empty, got {values.shape}")
    values = values[None, :, None] if values.ndim == 1 else values[None] if values.ndim == 2 else values
    if not np.isfinite(values).all():
        raise ValueError(f"the signal holds {np.count_nonzero(~np.isfinite(values))} values that are not finite: "
                         "remove them first")
    if (largest := float(np.abs(values).max())) > LARGEST:
        raise ValueError(f"the signal reaches {largest:.3g}, its power would overflow: scale it below {LARGEST:g}")
    if frame.temporal.lags[-1] >= values.shape[1]:
        raise ValueError(f"the signal has {values.shape[1]} samples, the frame's longest lag is "
                         f"{frame.temporal.lags[-1]}: give more samples or fewer echoes")
    return values


def _spectrum(values: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Real FFT along time; SciPy loads on first use, which keeps `import core` short."""
    import scipy.fft

    return scipy.fft.rfft(values, axis=1, workers=-1)


def analytic_band(spectrum: NDArray[np.complex128], response: NDArray[np.float64], n: int) -> NDArray[np.complex128]:
    """Analytic signal [..., n, C] of one band from a real FFT along the axis before the last.

    Positive frequencies are doubled, DC and Nyquist take sqrt 2, so that half the mean square is the band's power.
    """
    import scipy.fft

    weight = 2 * response
    weight[0] *= 0.5**0.5
    if n % 2 == 0:
        weight[-1] *= 0.5**0.5
    full = np.zeros((*spectrum.shape[:-2], n, spectrum.shape[-1]), np.complex128)
    full[..., : spectrum.shape[-2], :] = spectrum * weight[:, None]
    return scipy.fft.ifft(full, axis=-2, workers=-1, overwrite_x=True)


def analytic_bands(x: ArrayLike, frame: ZFrame) -> NDArray[np.complex128]:
    """Analytic signals [B, N, T, C] of every band."""
    values = _checked(x, frame)
    n = values.shape[1]
    spectrum = _spectrum(values)
    return np.stack([analytic_band(spectrum, h, n) for h in frame.filters(n)])


def field_density(x: ArrayLike, frame: ZFrame) -> NDArray[np.float64]:
    """rho[b,s,e] = decay^e mean_{t,c} hat_s(arg z_b(t)) Re(z_b(t) conj z_b(t - lag_e)) / 2.

    Lags are circular in the window. The sum over bands and sheets at echo 0 is the mean power of x; echoes >= 1 are
    lagged correlations and may be negative.
    """
    values = _checked(x, frame)
    n, lags = values.shape[1], frame.temporal.lags
    spectrum = _spectrum(values)
    rho = np.empty(frame.shape)
    for b, response in enumerate(frame.filters(n)):
        z = analytic_band(spectrum, response, n)
        # each phase lies between two neighbouring hats: cos^2 of one is sin^2 of the other
        place = (np.angle(z).ravel() % (2 * np.pi)) * (frame.sheets / (2 * np.pi))
        low = np.floor(place)
        rising = np.sin((place - low) * (np.pi / 2)) ** 2
        sheet = low.astype(np.int64) % frame.sheets
        for e, lag in enumerate(lags):
            product = np.real(z * np.conj(np.roll(z, lag, axis=1))).ravel()
            falls = np.bincount(sheet, product * (1 - rising), frame.sheets)
            rises = np.bincount((sheet + 1) % frame.sheets, product * rising, frame.sheets)
            rho[b, :, e] = frame.temporal.decay**e * 0.5 * (falls + rises) / values.size
    return rho


def sample_features(x: NDArray[np.float64], windows: int) -> FeatureSample:
    """Features of a series [n], n >= 1, cut into at most `windows` equal windows."""
    n = len(x)
    if n == 0:
        raise ValueError("the series is empty: features need at least one value")
    width = -(-n // min(max(windows, 1), n))
    sums = np.add.reduceat(np.abs(x), np.arange(0, n, width))
    total, best = float(np.abs(x).sum()), int(np.argmax(sums))
    settled = total <= float(np.finfo(np.float32).eps)
    d = np.diff(x)
    change = float(np.abs(np.diff(d)).sum() / (np.abs(d[:-1]).sum() + np.abs(d[1:]).sum() + 1e-6)) if n > 2 else 0.0
    product = x[:-1] * x[1:]
    spin = float(np.clip(product.sum() / (np.abs(product).sum() + 1e-6), -1, 1)) if n > 1 else 0.0
    return FeatureSample(0 if settled else best, 0.0 if settled else float(sums[best] / total), change, spin, total / n)


def measure_field(x: ArrayLike, frame: ZFrame) -> Field:
    """The field of a signal [T], [T, C] or [N, T, C].

    Raises
    ------
    ValueError
        Empty, not finite, of another shape, or shorter than the longest lag.
    """
    values = _checked(x, frame)
    return Field(frame, field_density(values, frame), sample_features(values.mean(axis=(0, 2)), frame.sheets))
