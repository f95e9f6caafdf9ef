"""`st.z`: short notation for putting things into Z-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core import ztensor
from core.frame import ZFrame
from core.language import encode_zspace, text_rows
from core.session import current_frame
from core.ztensor import ZGaussian, ZTensor


class Notation:
    """What `st.z` is."""

    def __call__(self, text: str | Sequence[str], **options: Any) -> ZTensor:
        """`core.language.encode_zspace`: ``st.z("text", temperature=0.4)``."""
        return encode_zspace(text, **options)

    def __getitem__(self, key: Any) -> ZTensor:
        """The same in brackets: ``st.z["text"]``, with options after the text.

        ``st.z["text", 0.4]`` is the temperature, ``st.z["text", ("curvature", -2)]`` one option by name and
        ``st.z["text", {"curvature": -2, "temperature": 0.4}]`` several.

        Raises
        ------
        TypeError
            No text in front, what is no option, or an option given twice.
        """
        text, *rest = key if isinstance(key, tuple) and key else (key,)
        if not isinstance(text, str):
            raise TypeError(f'z[...] starts with a text, such as z["text", 0.5]; got {text!r:.40}')
        options: dict[str, Any] = {}
        for item in rest:
            for name, value in _pairs(item):
                if name in options:
                    raise TypeError(f"{name} is given twice in z[...]: give it once")
                options[name] = value
        return encode_zspace(text, **options)

    @staticmethod
    def embed(x: ArrayLike | str | Sequence[str], frame: ZFrame | None = None, window: int = 32) -> ZGaussian:
        """Rows of `x` as Gaussians, through the current session's frame by default.

        A signal [T] or a text gives its windows, vectors [N, D] or N texts give a row each (see `core.ztensor.embed`
        and `core.language.text_rows`).
        """
        text = isinstance(x, str) or (isinstance(x, Sequence) and len(x) > 0 and isinstance(x[0], str))
        return ztensor.embed(text_rows(x, window) if text else x, frame or current_frame(), window)  # type: ignore[arg-type]


def _pairs(item: Any) -> list[tuple[str, Any]]:
    """Options that one item of ``z["text", item, ...]`` names."""
    if isinstance(item, Mapping) and all(isinstance(name, str) for name in item):
        return list(item.items())
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return [item]
    if isinstance(item, int | float | np.number) and not isinstance(item, bool):
        return [("temperature", item)]
    raise TypeError(f'z["text", ...] takes a temperature, (name, value) pairs and mappings; got {item!r:.40}')


z = Notation()
