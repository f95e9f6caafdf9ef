"""The names of Z-space metrics: one canonical name each, and the aliases that mean the same."""

from __future__ import annotations

PRIMARY = ("speed", "memory", "stability", "frac", "drs")
GRADIENT = "gradient"
BASIS = "gradient_basis"
FAMILIES: dict[str, tuple[str, ...]] = {
    "elliptic": ("curvature", "geodesic", "normalized", "alignment", "bias", "sheet_position", "sheet_index",
                 "sheet_count", "sector", "homology", "resonance", "noise"),
    "canvas": ("energy", "mean", "peak", "balance", "l1", "l2", "linf", "pixels"),
    "canvas_patch": ("energy", "mean", "peak", "balance", "pixels"),
    "hypergrad": ("norm", "balance", "mean", "l1", "l2", "linf"),
    "realgrad": ("norm", "balance", "mean", "l1", "l2", "linf"),
    "import": ("l1", "l2", "linf", "mean", "variance", "energy", "count", "amplitude", "balance", "focus"),
    "coherence": ("mean", "entropy", "energy_ratio", "z_bias", "fractional_order", "channels", "preserved",
                  "discarded", "dominant", "peak", "concentration", "effective_channels", "normalized_entropy",
                  "entropy_residual", "weight_entropy", "weight_mass", "response_mean", "response_peak", "strength",
                  "prosody", "articulation", "timbre_spread"),
}
ELLIPTIC_SOURCES = {  # what an elliptic sample calls them, alone or after "elliptic_"
    "curvature_radius": "curvature", "geodesic_radius": "geodesic", "normalized_radius": "normalized",
    "spin_alignment": "alignment", "normal_bias": "bias", "sheet_position": "sheet_position",
    "sheet_index": "sheet_index", "sheet_count": "sheet_count", "topological_sector": "sector",
    "homology_index": "homology", "resonance_heat": "resonance", "noise_density": "noise",
}
SCALARS: tuple[str, ...] = (*PRIMARY, *(f"{family}_{name}" for family, names in FAMILIES.items() for name in names))
ALIASES: dict[str, str] = {
    **{name: name for name in (*SCALARS, GRADIENT)},
    "velocity": "speed", "mem": "memory", "stab": "stability", "frac_reg": "frac", "fractality": "frac",
    "drift": "drs", "grad": GRADIENT,
    **{prefix + source: f"elliptic_{name}" for prefix in ("", "elliptic_")
       for source, name in ELLIPTIC_SOURCES.items()},
}


def canonical(name: str) -> str:
    """The canonical name of a metric; case does not matter.

    Raises
    ------
    KeyError
        No metric is called so.
    """
    found = ALIASES.get(name) or ALIASES.get(str(name).lower())
    if found is None:
        raise KeyError(f"unknown Z-space metric {name!r}: use {', '.join(PRIMARY)}, {GRADIENT}, or a name of the "
                       f"families {', '.join(FAMILIES)}")
    return found


def is_metric(name: str) -> bool:
    """Whether a metric is called so."""
    return str(name).lower() in ALIASES
