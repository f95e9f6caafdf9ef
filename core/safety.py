"""`st.safety`: the drift response in the predecessor's notation (see `core.drift`)."""

from core.drift import (
    drl_aggregate_penalty,
    drl_analyse_word,
    drl_analyze_word,
    drl_default_thresholds,
    drl_existence_load,
    drl_frame_hazard,
    drl_frame_summary,
    drl_safe_radii,
    drl_trainer_penalty,
)

__all__ = [
    "drl_aggregate_penalty", "drl_analyse_word", "drl_analyze_word", "drl_default_thresholds", "drl_existence_load",
    "drl_frame_hazard", "drl_frame_summary", "drl_safe_radii", "drl_trainer_penalty",
]
