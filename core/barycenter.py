"""The barycenter of densities under weighted Kullback-Leibler divergence and an entropy reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FLOOR = 1e-12  # least density of a cell before a density is normalised: no divergence is infinite
STAGES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class BarycenterIntermediate:
    """One stage of the straight path from the weighted mean of the densities to their barycenter.

    Attributes
    ----------
    interpolation : float
        0 is the mean, 1 the barycenter.
    density : array
        In the shape of the densities.
    kl_energy, entropy, objective : float
        As in `ZSpaceBarycenter`.
    """

    interpolation: float
    density: Floats
    kl_energy: float
    entropy: float
    objective: float


@dataclass(frozen=True, eq=False)
class ZSpaceBarycenter:
    """What `z_space_barycenter` found; energies in nats.

    Attributes
    ----------
    density : array
        q, in the shape of the densities; sums to 1.
    kl_energy : float
        sum_u w_u KL(q || rho_u).
    entropy : float
        H(q).
    coupling_energy : float
        C; does not depend on q.
    objective : float
        kl_energy + C - entropy_weight H.
    effective_weight : float
        tau = sum of the weights + entropy_weight.
    """

    density: Floats
    kl_energy: float
    entropy: float
    coupling_energy: float
    objective: float
    effective_weight: float
    stages: tuple[BarycenterIntermediate, ...]

    def intermediates(self) -> list[BarycenterIntermediate]:
        """Stages at `STAGES` of the way; the objective never rises along them, being tau KL(. || q) and a constant."""
        return list(self.stages)


def z_space_barycenter(weights: Sequence[float], densities: Sequence[ArrayLike], entropy_weight: float, beta_j: float,
                       coupling: ArrayLike | None = None) -> ZSpaceBarycenter:
    """The density q that minimises sum_u w_u KL(q || rho_u) - gamma H(q), in closed form.

    q is proportional to exp(sum_u w_u ln rho_u / tau), tau = sum w + gamma. The densities' own disagreement,
    C = beta / 2 sum_uv J_uv (KL(rho_u || rho_v) + KL(rho_v || rho_u)), is added to the objective and does not move q.

    Parameters
    ----------
    weights : sequence of float [U]
        w, each finite and at least 0; all 0 leaves the uniform density.
    densities : sequence of array_like
        U arrays of one shape. Each is one density: floored at 1e-12 (what is negative, too), then normalised.
    entropy_weight : float
        gamma; below 0 it sharpens q, as long as tau > 0.
    beta_j : float
        beta, at least 0.
    coupling : array_like [U, U], optional
        J, each at least 0; none is 0.

    Raises
    ------
    ValueError
        Nothing to weigh, unequal counts, a negative weight, beta or coupling, or what is not finite.
    RuntimeError
        Unequal shapes, a coupling that is not U x U, or tau <= 0, where there is no minimum.
    """
    w = np.asarray(weights, np.float64)
    rows = [np.asarray(d, np.float64) for d in densities]
    _check(w, rows, entropy_weight, beta_j)
    log_rho = np.log([_normalised(r.ravel()) for r in rows])
    coupled = _coupling_energy(log_rho, beta_j, coupling)
    tau = sum(w.tolist()) + entropy_weight
    if not 0 < tau < math.inf:
        raise RuntimeError(f"the weights' sum and entropy_weight make {tau}: it must be finite and above 0, so give "
                           "larger weights or a larger entropy_weight")
    q = barycenter_density(w, log_rho, entropy_weight)
    mean = w @ np.exp(log_rho) / w.sum() if w.any() else np.full_like(q, 1 / q.size)

    def stage(at: float) -> BarycenterIntermediate:
        p = (1 - at) * mean + at * q
        entropy = _entropy(p)
        kl = float(w @ (-entropy - log_rho @ p))
        objective = kl + coupled - entropy_weight * entropy
        return BarycenterIntermediate(at, p.reshape(rows[0].shape), kl, entropy, objective)

    stages = tuple(map(stage, STAGES))
    end = stages[-1]
    return ZSpaceBarycenter(end.density, end.kl_energy, end.entropy, coupled, end.objective, tau, stages)


def z_space_barycenter_guarded(weights: Sequence[float], densities: Sequence[ArrayLike], entropy_weight: float,
                               beta_j: float, coupling: ArrayLike | None = None) -> ZSpaceBarycenter:
    """`z_space_barycenter` of densities whose negative, infinite and NaN cells count as 0.

    Raises
    ------
    ValueError
        A density that has no other cells; else as `z_space_barycenter`.
    """
    repaired = []
    for i, density in enumerate(densities):
        d = np.asarray(density, np.float64)
        d = np.where(np.isfinite(d) & (d > 0), d, 0.0)
        if not d.any():
            raise ValueError(f"density {i} has no finite cell above 0: nothing is left of it to repair")
        repaired.append(d)
    return z_space_barycenter(weights, repaired, entropy_weight, beta_j, coupling)


def barycenter_density(weights: ArrayLike, log_densities: ArrayLike, entropy_weight: ArrayLike) -> Floats:
    """q [..., D] of many barycenters at once, from weights [..., U], log densities [..., U, D] and gammas [...].

    Nothing is checked: for dashboards and sweeps, whose densities are positive and normalised by construction.
    """
    w, log_rho = np.asarray(weights, np.float64), np.asarray(log_densities, np.float64)
    tau = w.sum(-1) + np.asarray(entropy_weight, np.float64)
    pull = np.einsum("...u,...ud->...d", w / tau[..., None], log_rho)
    q = np.exp(pull - pull.max(-1, keepdims=True))
    return q / q.sum(-1, keepdims=True)


def _check(w: Floats, rows: list[Floats], entropy_weight: float, beta_j: float) -> None:
    if not rows or not rows[0].size:
        raise ValueError("there is no density to average: give at least one, of at least one cell")
    if w.shape != (len(rows),):
        raise ValueError(f"{w.size} weights for {len(rows)} densities: give one weight a density")
    for name, value in (("entropy_weight", entropy_weight), ("beta_j", beta_j)):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: it must be finite")
    if beta_j < 0:
        raise ValueError(f"beta_j is {beta_j}: it must be at least 0")
    for i, (weight, row) in enumerate(zip(w, rows, strict=True)):
        if not 0 <= weight < math.inf:
            raise ValueError(f"weight {i} is {weight}: it must be finite and at least 0")
        if row.shape != rows[0].shape:
            raise RuntimeError(f"density {i} has shape {row.shape}, density 0 {rows[0].shape}: they must be equal")
        if not np.isfinite(row).all():
            raise ValueError(f"density {i} holds values that are not finite: remove them, or call "
                             "z_space_barycenter_guarded, to which they are 0")


def _normalised(density: Floats) -> Floats:
    floored = np.maximum(density, FLOOR)
    floored /= floored.max()  # so that the sum is finite
    return np.maximum(floored / floored.sum(), np.finfo(np.float64).tiny)


def _coupling_energy(log_rho: Floats, beta_j: float, coupling: ArrayLike | None) -> float:
    if coupling is None:
        return 0.0
    j, count = np.asarray(coupling, np.float64), len(log_rho)
    if j.shape != (count, count):
        raise RuntimeError(f"coupling has shape {j.shape} for {count} densities: it must be {count} x {count}")
    if not (np.isfinite(j) & (j >= 0)).all():
        raise ValueError("coupling holds values that are negative or not finite: each must be at least 0")
    cross = np.exp(log_rho) @ log_rho.T
    kl = np.diagonal(cross)[:, None] - cross
    return beta_j / 2 * float((j * (kl + kl.T)).sum())


def _entropy(p: Floats) -> float:
    return -float(p @ np.log(np.maximum(p, np.finfo(np.float64).tiny)))  # 0 ln 0 = 0
