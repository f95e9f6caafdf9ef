"""`st.z`: short notation for putting things into Z-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core import ztensor
from core.atlas import Chart
from core.frame import ZFrame
from core.inference.blend import blend_zspace_partials
from core.inference.names import BASIS, GRADIENT
from core.inference.partials import Partial, ZMetrics, ZSpacePartialBundle, z_metrics
from core.inference.projection import ZSpaceInference
from core.language import encode_zspace, text_rows
from core.session import Session, current_frame, innermost
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

    metrics = staticmethod(z_metrics)

    @staticmethod
    def partial(*args: Mapping[str, Any] | ZMetrics | ZSpacePartialBundle, weight: float | None = None,
                origin: str | None = None, telemetry: Mapping[str, Any] | None = None,
                gradient_basis: str | None = None, **metrics: Any) -> ZSpacePartialBundle:
        """A bundle of a source, if one is given, and of metrics by name, which override the source's.

        Raises
        ------
        TypeError
            More than one source, or one that is no mapping, ZMetrics or ZSpacePartialBundle.
        ValueError
            As `ZSpacePartialBundle.resolved`.
        """
        if len(args) > 1:
            raise TypeError(f"z.partial got {len(args)} sources: it takes one at most, and metrics by name")
        source = _bundle(args[0]) if args else ZSpacePartialBundle({})
        before, given = source.resolved(), ZSpacePartialBundle(metrics).resolved()
        if GRADIENT in given or gradient_basis is not None:  # another gradient is not of the old one's basis
            before.pop(BASIS, None)
        values = ZSpacePartialBundle({**before, **given}, gradient_basis=gradient_basis).resolved()
        basis = values.pop(BASIS, None)
        return ZSpacePartialBundle(values, source.weight if weight is None else weight, origin or source.origin,
                                   source.telemetry if telemetry is None else telemetry, basis)

    @staticmethod
    def blend(*partials: Partial | None, strategy: str = "mean", gradient_alignment: str = "strict",
              weights: Sequence[float] | None = None) -> dict[str, Any]:
        """`core.inference.blend.blend_zspace_partials` of the arguments."""
        return blend_zspace_partials(partials, weights=weights, strategy=strategy,
                                     gradient_alignment=gradient_alignment)

    bundle = blend

    # --- of the current session; None where there is none, or nothing yet ---------------------------------------------
    @staticmethod
    def signal() -> NDArray[np.float64] | None:
        """What the session last observed."""
        session = innermost()
        return session.signal if session else None

    @staticmethod
    def snapshot() -> Chart | None:
        """The session's last chart."""
        session = innermost()
        return session.atlas.latest if session and len(session.atlas) else None

    @staticmethod
    def feedback() -> ZSpaceInference | None:
        """The last inference of a runtime or pipeline in the session."""
        session = innermost()
        return session.feedback if session else None

    @staticmethod
    def describe(*, latest: bool = True, feedback: bool = False) -> Any:
        """The last chart in numbers, or with ``latest=False`` a list of all.

        Parameters
        ----------
        feedback : bool
            Add the metrics and the confidence of `feedback`, None without.
        """
        session = innermost()
        if not session or not len(session.atlas):
            return None
        told = [_told(chart, session, feedback) for chart in ([session.atlas.latest] if latest else session.atlas)]
        return told[0] if latest else told

    @staticmethod
    def clear() -> bool:
        """Forget the feedback; whether there was any."""
        session = innermost()
        if session is None or session.feedback is None:
            return False
        session.feedback = None
        return True


def _bundle(source: Any) -> ZSpacePartialBundle:
    if isinstance(source, ZSpacePartialBundle):
        return source
    if isinstance(source, ZMetrics):
        metrics = {name: getattr(source, name) for name in ("speed", "memory", "stability", "drs")}
        gradient = {} if source.gradient is None else {"gradient": source.gradient}
        return ZSpacePartialBundle({**metrics, **gradient}, telemetry=source.telemetry,
                                   gradient_basis=source.gradient_basis)
    if isinstance(source, Mapping):
        return ZSpacePartialBundle(source)
    raise TypeError(f"z.partial got a {type(source).__name__}: give a mapping, a ZMetrics or a ZSpacePartialBundle")


def _told(chart: Chart, session: Session, feedback: bool) -> dict[str, Any]:
    """A chart in numbers."""
    features, found = chart.field.features, session.feedback
    told = {"step": chart.step, "time": chart.time, "power": float(chart.field.rho[:, :, 0].sum()),
            "features": features and features._asdict(), **chart.provenance}
    inferred = found and {"metrics": dict(found.metrics), "confidence": found.confidence}
    return {**told, "feedback": inferred} if feedback else told


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
