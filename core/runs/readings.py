"""What a run writes down besides its training loss: looks at the field, held-out loss, samples, memory.

None of it steers training: each is a function of the parameters, or of what a step has computed anyway.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time

import numpy as np

from core.array import Array
from core.atlas import Chart
from core.backends import Backend
from core.data import Corpus
from core.evaluate import BATCH, evaluate, losses
from core.field import measure_field
from core.frame import ZFrame
from core.generate import generate
from core.inference.posterior import LONGEST, decode_zspace_embedding
from core.nn.model import Model, Parameters
from core.roundtable import classify_roundtable
from core.runs.config import RunConfig
from core.runs.events import Row
from core.runs.files import write_atomic
from core.runs.store import RunFolder

PROBE_SEQUENCES = 4  # of a batch that the field looks at: enough for a mean, a hundredth of a step's time
SAMPLE_LENGTH = 240


def look(frame: ZFrame, step: int, tapped: Array, gradient: Array) -> tuple[list[Chart], Row, list[float]]:
    """The fields of states and gradients at the tap as charts, what a step's row says of them, and the latent."""
    charts: list[Chart] = []
    found: Row = {"bands": {}}
    signals = {kind: array.numpy()[:PROBE_SEQUENCES].astype(np.float64)
               for kind, array in (("state", tapped), ("gradient", gradient))}
    for kind, signal in signals.items():
        field = measure_field(signal, frame)
        charts.append(Chart(frame, field, step, time.time(), {"signal": kind}))
        power = field.rho[:, :, 0].sum(1)
        found["bands"][kind] = (power / max(power.sum(), np.finfo(float).tiny)).tolist()
        found[f"{kind}_power"] = float(power.sum())
    # a series in time, so that its differences and its spectrum mean something
    latent = signals["state"].mean((0, 2))[:LONGEST].tolist()
    found["z"] = dict(decode_zspace_embedding(latent).metrics)
    lanes = gradient.numpy()[:PROBE_SEQUENCES].mean(0).ravel()
    above, here, beneath = classify_roundtable(lanes).energy(lanes)
    found["roundtable"] = {"above": float(above), "here": float(here), "beneath": float(beneath)}
    return charts, found, latent


def validation(model: Model, parameters: Parameters, corpus: Corpus, config: RunConfig, step: int) -> Row:
    """Loss on the first windows of the validation part."""
    window, began = config.window, time.perf_counter()
    rows = losses(model, parameters, corpus.validation[: BATCH * window + 1], window)
    values = np.concatenate([r.ravel() for r in rows]).astype(np.float64)
    return {"step": step, "split": "validation", "bits": float(values.mean() / math.log(2)),
            "characters": values.size, **_timed(began)}


def final(model: Model, parameters: Parameters, corpus: Corpus, config: RunConfig, step: int) -> Row:
    """Loss on the whole validation part, with an interval."""
    began = time.perf_counter()
    result = evaluate(model, parameters, corpus.validation, config.window)
    return {"step": step, "split": "final", "bits": result.bits, "interval": list(result.interval),
            "characters": result.characters, **_timed(began)}


def _timed(began: float) -> Row:
    return {"measured": {"time": time.time(), "seconds": time.perf_counter() - began}}


def write_sample(folder: RunFolder, model: Model, parameters: Parameters, corpus: Corpus, config: RunConfig,
                 step: int) -> None:
    """A sample of fixed seed, to be read by a person, and the surprise of each character in bits."""
    drawn = list(generate(model, parameters, corpus.encode("\n"), SAMPLE_LENGTH, config.seed))
    bits, text = [-math.log2(d.probability) for d in drawn], corpus.decode([d.symbol for d in drawn])
    # whoever sees the text finds the bits
    write_atomic(folder.samples / f"step-{step:08d}.bits.json", json.dumps(bits).encode())
    write_atomic(folder.samples / f"step-{step:08d}.txt", text.encode())


def memory(backend: Backend) -> Row:
    """Most bytes of live buffers in this step; on the CPU also the process's largest resident set so far."""
    found = {"peak_bytes": backend.memory.peak}
    if backend.name == "cpu":
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) counts kilobytes, macOS bytes
        found["peak_resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return found
