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
    "Session", "ZAtlas", "ZFrame", "ZGaussian", "ZIndex", "ZSpaceBarycenter", "ZSpaceError", "ZSpaceTrainer",
    "ZTensor", "canvas_coherence_partial", "canvas_partial_from_snapshot", "coherence_partial_from_diagnostics",
    "elliptic_partial_from_telemetry", "encode_zspace", "frac", "infer_weights_from_compat",
    "infer_weights_from_dlpack", "lift", "safety", "step_many", "stream_zspace_training",
    "weights_partial_from_compat", "weights_partial_from_dlpack", "z", "z_space_barycenter",
    "z_space_barycenter_guarded", "zspace", "zspace_coherence_project", "zspace_eval", "zspace_eval_stable",
    "zspace_eval_with_derivative", "zspace_eval_with_derivative_stable",
]
