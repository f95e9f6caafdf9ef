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
    "Session", "ZAtlas", "ZFrame", "ZGaussian", "ZIndex", "ZSpaceBarycenter", "ZSpaceError", "ZTensor", "encode_zspace",
    "frac", "lift", "safety", "z", "z_space_barycenter", "z_space_barycenter_guarded", "zspace", "zspace_eval",
    "zspace_eval_stable", "zspace_eval_with_derivative", "zspace_eval_with_derivative_stable",
]
