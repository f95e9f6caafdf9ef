"""What a page does not have yet of the run that it shows: facts, series, looks, layers, gains, the effect, a sample."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canvas import codec
from canvas.codec import Message
from workbench.effect import effect
from workbench.watch import RunWatch

EFFECT_SECONDS = 1.0
SERIES = ("train", "validation", "looks")


class News:
    """What one page was sent of one run.

    Parameters
    ----------
    watch : RunWatch
        Of the run.
    twin : RunWatch, optional
        Of its unpainted twin, if there is one.

    Attributes
    ----------
    own_layer : int
        The newest input that this page painted, which it need not be sent.
    """

    def __init__(self, watch: RunWatch, twin: RunWatch | None) -> None:
        self.watch, self.twin, self.own_layer = watch, twin, 0
        self._sent: dict[str, tuple[int, int]] = dict.fromkeys(SERIES, (-1, 0))
        self._fields, self._sample_step, self._facts_sent = (-1, 0), -1, False
        self._strokes_sent, self._layer_sent, self._effect_sent, self._effect_at = 0, 0, "", 0.0
        self._gains_sent: dict[str, Any] | None = None

    def collect(self) -> list[bytes]:
        """Messages that are new since the last call."""
        watch, parts = self.watch, []
        if not self._facts_sent:
            parts.append(codec.encode(codec.text("text", {"type": "facts", **watch.facts})))
            self._facts_sent = True
        for name in SERIES:
            parts += self._series(name)
        parts += self._field_frames()
        parts += self._painting()
        sample = watch.sample
        if sample is not None and sample.step != self._sample_step:
            self._sample_step = sample.step
            parts.append(codec.encode(codec.text("text", {
                "type": "sample", "step": sample.step, "text": sample.text, "bits": list(sample.bits)})))
        return parts

    def _series(self, name: str) -> list[bytes]:
        """Buckets that changed or are new; all of them where neighbours merged."""
        series = getattr(self.watch, name)
        epoch, rows = self._sent[name]
        if (epoch, rows) == (series.epoch, series.rows):
            return []
        start = max(0, -(-rows // series.width) - 1) if epoch == series.epoch else 0
        table = series.tail(start)
        self._sent[name] = series.epoch, series.rows
        return [codec.encode(Message("series", name, self.watch.step, table.shape, "f64",
                                     table.astype("<f8").tobytes()))] if len(table) else []

    def _field_frames(self) -> list[bytes]:
        """Looks since the last batch, as many as the history holds."""
        watch, (epoch, count) = self.watch, self._fields
        fresh = watch.field_count - (count if epoch == watch.field_epoch else 0)
        self._fields = watch.field_epoch, watch.field_count
        looks = list(watch.fields)[-fresh:] if fresh else []
        parts = [codec.encode(Message("field", x.kind, x.step, x.rho.shape, "f32", x.rho.astype("<f4").tobytes(),
                                      time=x.time, frame=watch.frame.signature())) for x in looks]
        if epoch != watch.field_epoch:
            parts.insert(0, codec.encode(codec.text("text", {"type": "history"})))  # begin the history anew
        return parts

    def _painting(self) -> list[bytes]:
        """Layers that took effect, the gains in force, and what they did."""
        watch = self.watch
        parts: list[bytes] = []

        def say(said: dict[str, Any], *layers: NDArray[np.floating]) -> None:
            parts.append(codec.encode(codec.text("text", said)))
            if layers:
                values = np.stack(layers).astype("<f4")
                parts.append(codec.encode(Message("layers", "atlas", 0, values.shape, "f32", values.tobytes())))

        if watch.newest is not None and watch.newest[0] != self._layer_sent:
            self._layer_sent = watch.newest[0]
            if self.own_layer != watch.newest[0]:
                say({"type": "layer", "seq": watch.newest[0]}, watch.newest[1])
        if watch.stroke_count != self._strokes_sent:
            fresh = list(watch.strokes)[self._strokes_sent - watch.stroke_count:]
            self._strokes_sent = watch.stroke_count
            say({"type": "strokes", "strokes": [{"step": p.step, "seq": p.seq} for p in fresh]},
                *(p.relation for p in fresh))
        if watch.applied is not self._gains_sent:
            self._gains_sent = watch.applied
            if (gains := watch.gains) is not None:
                say({"type": "gains", **gains[0]}, gains[1])
                parts.append(codec.encode(Message("image", "atlas", 0, (*gains[1].shape, 4), "u8",
                                                  watch.projector.rgba())))
        now = time.monotonic()
        if self.twin is not None and now - self._effect_at >= EFFECT_SECONDS:
            self._effect_at = now
            self.twin.poll()
            found = effect(watch, self.twin)
            if str(found) != self._effect_sent:
                self._effect_sent = str(found)
                say({"type": "effect", **found})
        return parts
