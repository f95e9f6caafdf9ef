"""A run as the page sees it: its files followed, its curves bounded, one watcher a run for all pages."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import statistics
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from canvas.projector import CanvasProjector
from core.atlas import ZAtlas
from core.errors import PatchError, RunError
from core.field import Field
from core.frame import ZFrame
from core.roundtable import classify_roundtable
from core.runs.journal import Follower
from core.runs.live import LiveReader, Look
from core.runs.store import RunFolder
from core.scheduler import Fold, Patch
from workbench.series import Series

POLL_SECONDS = 0.04  # pages that ask more often share the last answer
STATUS_SECONDS = 0.25
RECENT = 256  # rows that speeds and streams are measured over
HISTORY = 512  # looks kept
ARRIVALS = 8  # painted layers of which is told what became of them
Z_NAMES = ("speed", "memory", "stability", "frac", "drs")  # decoded from the latent
SEEN = ("speed", "memory", "stability", "drs")  # of them what a look also observes (`core.runs.vitals`)
JUDGED = ("confidence", "health", "painted")  # of the posterior, of training, of the canvas
LANES = ("above", "here", "beneath")
STREAMS = {"loss": "bits", "gradient norm": "gradient_norm"}
TRAIN = {"step": "last", "bits": "mean", "low": "min", "high": "max", "gradient_norm": "mean", "seconds": "mean",
         "rate": "last", "time": "last"}
VALIDATION = {"step": "last", "bits": "last", "final": "last"}
_watches: weakref.WeakValueDictionary[Path, RunWatch] = weakref.WeakValueDictionary()
_opening = threading.Lock()


@dataclass(frozen=True)
class Sample:
    """What the model wrote at a step, and how surprised it was by each character, in bits."""

    step: int
    text: str
    bits: tuple[float, ...]


def open_watch(folder: RunFolder) -> RunWatch:
    """The watcher of a run; slow for a long run that nobody watches yet, so call it off the event loop."""
    with _opening:
        watch = _watches.get(folder.path)
        if watch is None:
            watch = _watches[folder.path] = RunWatch(folder)
        return watch


@dataclass(frozen=True)
class Painted:
    """A painted layer that took effect: at which step, which input it was, and the patch."""

    step: int
    seq: int
    patch: Patch

    @property
    def relation(self) -> NDArray[np.float32]:
        """The layer itself, log2 gains [B, S]."""
        return self.patch.relation


@dataclass
class Arrived:
    """A painted layer as it was journalled, whoever painted it, and what became of it.

    Attributes
    ----------
    step : int or None
        From which step it was in force; None while it waits.
    refused : str or None
        Why the trainer did not take it.
    """

    seq: int
    patch: Patch
    step: int | None = None
    refused: str | None = None


class RunWatch:
    """Follows one run's files.

    Attributes
    ----------
    train, validation, looks : Series
        Curves over steps; `looks` has the bands' shares, the roundtable and the z metrics at each look.
    fields : deque of Look
        The last `HISTORY` looks of states and gradients, oldest first.
    field_count : int
        Looks seen so far; together with `field_epoch` it tells a page what is new.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.record = folder, folder.read_config()
        self.frame = ZFrame.from_json(self.record["frame"])
        bands = range(self.frame.bands)
        self.train, self.validation = Series(TRAIN), Series(VALIDATION)
        self.looks = Series({"step": "last", **{f"state {b}": "mean" for b in bands},
                             **{f"gradient {b}": "mean" for b in bands}, **dict.fromkeys(LANES, "mean"),
                             **dict.fromkeys(Z_NAMES, "mean"), **{f"seen {k}": "mean" for k in SEEN},
                             **dict.fromkeys(JUDGED, "mean")})
        self.fields: deque[Look] = deque(maxlen=HISTORY)
        self.field_count = self.field_epoch = 0
        cells = self.frame.bands * self.frame.sheets  # of a large chart fewer layers are kept, for one message
        self.strokes: deque[Painted] = deque(maxlen=max(8, min(HISTORY, HISTORY * 48 // cells)))
        self.stroke_count = 0
        self.arrived: deque[Arrived] = deque(maxlen=ARRIVALS)
        self.newest: tuple[int, NDArray[np.float32]] | None = None  # the layer journalled last, and its number
        self.applied: dict[str, Any] | None = None  # the newest row of applied.jsonl
        self.rollback: dict[str, Any] | None = None  # the newest way back to a checkpoint, and at which step
        self.projector = CanvasProjector(self.frame.sheets, self.frame.bands, capacity=self.record["capacity"])
        self._layers: dict[int, Patch] = {}  # journalled, not yet applied
        self._inputs, self._outcomes = Follower(folder.inputs), Follower(folder.applied)
        self.sample: Sample | None = None
        self.saved: int | None = None
        self.step, self.updated = 0, 0.0
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._follower, self._live = Follower(folder.metrics), LiveReader(folder.live)
        weakref.finalize(self, self._live.close)  # when the last page turned away
        self._polled = self._looked = 0.0
        self._state: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.poll()

    # --- following ----------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Take in what is new on disk, at most every `POLL_SECONDS`."""
        with self._lock:
            now = time.monotonic()
            if now - self._polled < POLL_SECONDS:
                return
            self._polled = now
            for row in self._follower.poll():
                self._take(row)
            self._take_fields()
            self._take_painting()
            if now - self._looked >= STATUS_SECONDS:
                self._looked = now
                self._take_sample()
                self.saved = _newest(self.folder.checkpoints, ".safetensors")
                self._state = self._measure_state()

    def _take(self, row: dict[str, Any]) -> None:
        """One row of metrics.jsonl."""
        split, measured = row.get("split"), row.get("measured", {})
        if "nonfinite" in row:  # the run says so itself, and a curve has no place for it
            return
        bits: float = row["bits"]
        if split == "train":
            self._recent.append(row)
            self.step, self.updated = row["step"], measured["time"]
            self.train.append(row["step"], bits, bits, bits, row["gradient_norm"], measured["seconds"], row["rate"],
                              measured["time"])
            if "bands" in row:
                total = sum(row["roundtable"].values()) or 1.0
                self.looks.append(row["step"], *row["bands"]["state"], *row["bands"]["gradient"],
                                  *(row["roundtable"][lane] / total for lane in LANES),
                                  *(row["z"][name] for name in Z_NAMES), *_judged(measured.get("z")))
        elif split in ("validation", "final"):
            self.validation.append(row["step"], bits, split == "final")

    def _take_fields(self) -> None:
        """Live looks; for a run whose ring is gone, the atlas that it saved."""
        restarted, looks = self._live.poll()
        if restarted:
            self.fields.clear()
            self.field_epoch, self.field_count = self.field_epoch + 1, 0
        if not self.field_count and not looks and not self.folder.live.exists() and self.folder.atlas.exists():
            looks = [Look(c.step, c.provenance["signal"], c.time, c.field.rho)
                     for c in ZAtlas.load_npz(self.folder.atlas)]
        self.fields.extend(looks)
        self.field_count += len(looks)

    def _take_painting(self) -> None:
        """Layers as they take effect, and the gains in force."""
        for record in self._inputs.poll():
            if record.get("kind") == "patch":
                with contextlib.suppress(PatchError):  # the trainer refuses it too, and says so in its row
                    painted = self._layers[record["seq"]] = Patch.from_record(record)
                    self.newest = record["seq"], painted.relation
                    self.arrived.append(Arrived(record["seq"], painted))
        for row in self._outcomes.poll():
            self.applied = row
            if "rollback" in row:
                self.rollback = {"step": row["step"], **row["rollback"]}
            refused = {r["seq"]: r["reason"] for r in row.get("rejected", ())}
            for arrived in self.arrived:
                if arrived.seq in row["seq"]:
                    arrived.step, arrived.refused = row["step"], refused.get(arrived.seq)
            for seq in row["seq"]:
                patch = self._layers.pop(seq, None)
                if patch is None or seq in refused:
                    continue
                self.strokes.append(Painted(row["step"], seq, patch))
                self.stroke_count += 1
                self.projector.push_patch(patch.relation, coherence=patch.coherence, tension=patch.tension,
                                          depth=patch.depth)
        self.projector.refresh()  # once a tick: every page reads this picture

    def _take_sample(self) -> None:
        """The newest sample, once its surprise is there too."""
        step = _newest(self.folder.samples, ".txt")
        if step is None or (self.sample is not None and self.sample.step == step):
            return
        text = self.folder.samples / f"step-{step:08d}.txt"
        bits = text.with_suffix(".bits.json")
        self.sample = Sample(step, text.read_text(encoding="utf-8"),
                             tuple(json.loads(bits.read_text())) if bits.exists() else ())

    # --- what a page asks for -----------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """What does not change while the run goes on."""
        r, c = self.record, self.record["corpus"]
        return {"run": self.folder.id, "model": r["model"], "preset": r["preset"], "backend": r["backend"],
                "backend_reason": r.get("backend_reason", ""),
                "seed": r["seed"], "steps": r["steps"], "created": r["created"], "baselines": r["baselines"],
                "characters": c["train"] + c["validation"], "files": len(c["files"]),
                "symbols": len(c["vocabulary"]), "notes": c["notes"], "paths": r["paths"],
                "frame": r["frame"], "signature": self.frame.signature(),
                "columns": {name: list(getattr(self, name).columns) for name in ("train", "validation", "looks")}}

    @property
    def state(self) -> dict[str, Any]:
        """Status, progress, speed, streams: what the bar shows."""
        return self._state

    def _measure_state(self) -> dict[str, Any]:
        try:
            status, beat = self.folder.status(), self.folder.read_heartbeat()
        except RunError as error:
            return {"status": "failed", "reason": str(error), "step": self.step}
        seconds = [r["measured"]["seconds"] for r in self._recent][-50:]
        times = [r["measured"]["time"] for r in self._recent][-51:]
        pace = [b - a for a, b in itertools.pairwise(times)]  # with looks, samples and checkpoints in it
        per_step = min(statistics.fmean(pace), 10 * statistics.median(pace)) if pace else None  # but without pauses
        left = self.record["steps"] - self.step
        return {
            "status": status, "step": self.step, "updated": self.updated or None, "saved": self.saved,
            "beat": None if beat is None else beat["time"],
            "step_seconds": statistics.median(seconds) if seconds else None,
            "characters_per_second": (self.record["batch"] * self.record.get("accumulate", 1) * self.record["window"]
                                      / statistics.median(seconds) if seconds else None),
            "seconds_left": per_step * left if per_step is not None and status in ("running", "paused") else None,
            "streams": self._streams(), "rollback": self.rollback,
        }

    def _streams(self) -> dict[str, list[float]]:
        """Roundtable of each stream's step-to-step changes over the recent rows: shares Above, Here, Beneath."""
        found = {}
        for name, key in STREAMS.items():
            changes = np.diff([r[key] for r in self._recent])
            total = float(np.abs(changes).sum())
            if len(changes) >= 3 and total > 0:
                found[name] = [e / total for e in classify_roundtable(changes).energy(changes)]
        return found

    @property
    def gains(self) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
        """What the trainer applied last, as it recorded it: the facts and the relation [B, S], log2 gains."""
        if self.applied is None:
            return None
        fold = Fold.from_record(self.applied["fold"]["atlas"])
        picture = self.projector.picture
        projection = None if picture.blank else picture.amplitude
        return {"step": self.applied["step"], "seq": self.applied["seq"], "amplitude": fold.amplitude,
                "rejected": self.applied.get("rejected", []), "projection": projection}, fold.relation

    def look(self, kind: str, step: int | None = None) -> Look | None:
        """The newest look of a kind, or that of a step."""
        return next((x for x in reversed(self.fields) if x.kind == kind and step in (None, x.step)), None)

    def field(self, look: Look) -> Field:
        """What was seen then."""
        return Field(self.frame, look.rho, None)


def _judged(z: dict[str, Any] | None) -> list[float]:
    """What was observed and how far it is trusted; nothing in runs of before there was any."""
    if z is None:
        return [math.nan] * (len(SEEN) + len(JUDGED))
    told = z["telemetry"]
    return [*(z["observed"][k] for k in SEEN), z["confidence"], told["psi"]["health"], told["canvas"]["energy"]]


def _newest(folder: Path, suffix: str) -> int | None:
    """Highest step among files named step-N<suffix>."""
    steps = [int(p.name[5 : -len(suffix)]) for p in folder.glob(f"step-*{suffix}")]
    return max(steps, default=None)
