"""Z-space core: frames and atlas, tensors and autodiff, models, runs, steering. Import it as `st`.

>>> import core as st
>>> with st.zspace.session() as s:
...     field = s.observe(signal)
...     field[st.ZIndex(band=2, sheet=0, echo=0)]
"""

from core import frac, safety, zspace
from core.atlas import Chart, ZAtlas
from core.barycenter import (
    BarycenterIntermediate,
    ZSpaceBarycenter,
    z_space_barycenter,
    z_space_barycenter_guarded,
)
from core.errors import FrameMismatchError, NothingObservedError, ZSpaceError
from core.field import Field
from core.frame import ZFrame, ZIndex
from core.inference.batch import blend_many, decode_many, infer_many
from core.inference.blend import blend_zspace_partials, infer_with_partials, zspace_partial_fusion
from core.inference.coherence import coherence_partial_from_diagnostics, zspace_coherence_project
from core.inference.derived import (
    canvas_coherence_partial,
    canvas_partial_from_snapshot,
    elliptic_partial_from_telemetry,
)
from core.inference.dlpack import (
    infer_weights_from_compat,
    infer_weights_from_dlpack,
    weights_partial_from_compat,
    weights_partial_from_dlpack,
)
from core.inference.partials import ZMetrics, ZSpacePartialBundle, z_metrics
from core.inference.posterior import ZSpaceDecoded, ZSpacePosterior, decode_zspace_embedding
from core.inference.projection import ZSpaceControlGradient, ZSpaceInference, infer_from_partial
from core.inference.runtime import ZSpaceInferencePipeline, ZSpaceInferenceRuntime, compile_inference
from core.inference.telemetry import ZSpaceTelemetryFrame, fuse_zspace_telemetry
from core.inference.trainer import ZSpaceTrainer, step_many, stream_zspace_training
from core.language import LanguageWaveEncoder, encode_zspace
from core.series import (
    zspace_eval,
    zspace_eval_stable,
    zspace_eval_with_derivative,
    zspace_eval_with_derivative_stable,
)
from core.session import Session
from core.z import z
from core.ztensor import ZGaussian, ZTensor, lift

__version__ = "0.1.0"
__all__ = [
    "BarycenterIntermediate", "Chart", "Field", "FrameMismatchError", "LanguageWaveEncoder", "NothingObservedError",
    "Session", "ZAtlas", "ZFrame", "ZGaussian", "ZIndex", "ZMetrics", "ZSpaceBarycenter", "ZSpaceControlGradient",
    "ZSpaceDecoded", "ZSpaceError", "ZSpaceInference", "ZSpaceInferencePipeline", "ZSpaceInferenceRuntime",
    "ZSpacePartialBundle", "ZSpacePosterior", "ZSpaceTelemetryFrame", "ZSpaceTrainer", "ZTensor", "blend_many",
    "blend_zspace_partials", "canvas_coherence_partial", "canvas_partial_from_snapshot",
    "coherence_partial_from_diagnostics", "compile_inference", "decode_many", "decode_zspace_embedding",
    "elliptic_partial_from_telemetry", "encode_zspace", "frac", "fuse_zspace_telemetry", "infer_from_partial",
    "infer_many", "infer_weights_from_compat", "infer_weights_from_dlpack", "infer_with_partials", "lift", "safety",
    "step_many", "stream_zspace_training", "weights_partial_from_compat", "weights_partial_from_dlpack", "z",
    "z_metrics", "z_space_barycenter", "z_space_barycenter_guarded", "zspace", "zspace_coherence_project",
    "zspace_eval", "zspace_eval_stable", "zspace_eval_with_derivative", "zspace_eval_with_derivative_stable",
    "zspace_partial_fusion",
]
