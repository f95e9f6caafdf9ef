"""Z-space core: frames and atlas, tensors and autodiff, models, runs, steering. Import it as `st`.

>>> import core as st
>>> with st.zspace.session() as s:
...     field = s.observe(signal)
...     field[st.ZIndex(band=2, sheet=0, echo=0)]
"""

from core import zspace
from core.atlas import Chart, ZAtlas
from core.errors import FrameMismatchError, NothingObservedError, ZSpaceError
from core.field import Field
from core.frame import ZFrame, ZIndex
from core.session import Session
from core.z import z
from core.ztensor import ZGaussian, ZTensor, lift

__version__ = "0.1.0"
__all__ = [
    "Chart", "Field", "FrameMismatchError", "NothingObservedError", "Session", "ZAtlas", "ZFrame", "ZGaussian",
    "ZIndex", "ZSpaceError", "ZTensor", "lift", "z", "zspace",
]
