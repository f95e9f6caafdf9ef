"""The trainer: given run.json, a checkpoint and the input log, a pure function to rows.

Step n runs between boundaries n and n + 1. At a boundary the trainer takes what was acknowledged since the last one
and first writes a `boundary` record into the input log itself: {"kind": "boundary", "step": n, "through": seq}. The log
is thereby the whole replay script: it says what was asked for and at which step it took effect.

``python -m core.runs.trainer RUN_FOLDER`` runs or resumes one run in this process.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.array import Array, asarray, grad
from core.atlas import Chart, ZAtlas
from core.backends import choose, open_backend, use_backend
from core.baselines import baselines
from core.data import Corpus, read_corpus
from core.errors import PatchError, RunError
from core.frame import ZFrame
from core.functions import cross_entropy
from core.nn.model import Dropout
from core.optim import Adam, Schedule, clip_by_norm, decayed
from core.random import Philox
from core.runs import readings
from core.runs.checkpoint import checkpoint_path, digest, latest_checkpoint, load_checkpoint, save_checkpoint
from core.runs.config import RunConfig, environment
from core.runs.events import Inputs, Row, Rows, any_of, last_of
from core.runs.live import LiveWriter, Look
from core.runs.store import Heartbeat, RunFolder, RunStore, write_atomic
from core.scheduler import Patch, Scheduler
from core.steer import gains
from core.trace import Ceilings, Trace, measure_ceilings
from core.tuning import chosen

log = logging.getLogger(__name__)
BATCH_STREAM = 2  # of the random numbers, see core.generate
PAUSE_SECONDS = 0.05
WARM_STEPS = 3  # of this process, before launches are traced: kernels are compiled and pools filled by then


def create_run(root: Path | str, config: RunConfig) -> RunFolder:
    """Read the text, measure the baselines, and lay out a new run's folder."""
    name, reason = choose(config.backend)
    corpus = read_corpus(list(config.paths), window=config.window, split=config.split)
    backend = open_backend(name, threads=config.threads)
    return RunStore(root).create({
        **config.to_json(), "backend": name, "backend_reason": reason,
        "frame": ZFrame.octaves(curvature=config.curvature or -1.0).to_json(),
        "corpus": {"digest": corpus.digest, "files": [vars(f) for f in corpus.files], "notes": list(corpus.notes),
                   "held_out": list(corpus.held_out),
                   "train": len(corpus.train), "validation": len(corpus.validation),
                   "vocabulary": "".join(corpus.vocabulary)},
        "baselines": baselines(corpus),
        "environment": environment(backend.describe()),
    })


class Trainer:
    """One run in this process.

    Parameters
    ----------
    folder : RunFolder
        Made by `create_run`; resumed from its newest whole checkpoint where there is one.
    until : int, optional
        Stop after this step (the configured number of steps by default).
    on_row : callable, optional
        Called with every computed row.
    trace_steps : int
        Trace the launches of so many steps, after a few to warm up, into trace.json; no number changes.

    Attributes
    ----------
    traced : (Trace, Ceilings), optional
        What was traced, once it has been written.
    """

    def __init__(self, folder: RunFolder, until: int | None = None,
                 on_row: Callable[[Row], None] | None = None, trace_steps: int = 0) -> None:
        record = folder.read_config()
        self.folder, self.config, self.on_row = folder, RunConfig.from_json(record), on_row
        self.backend_reason = record.get("backend_reason", "not recorded")
        self.until = min(self.config.steps if until is None else until, self.config.steps)
        self.corpus = open_corpus(record)
        self.model, self.frame = self.config.build(self.corpus), ZFrame.from_json(record["frame"])
        self.backend = open_backend(self.config.backend, threads=self.config.threads)
        self.optimiser = Adam()
        self.schedule = Schedule(self.config.rate, self.config.steps, self.config.warmup)
        self.random = Philox(self.config.seed)
        self.inputs = Inputs(folder.inputs)
        self.inputs.poll()
        self.painted = first_painted(self.inputs.script, self.frame)  # None until a layer steers
        self.interrupted = False
        self.trace_steps = trace_steps
        self.traced: tuple[Trace, Ceilings] | None = None
        self.warnings: list[str] = []
        with use_backend(self.backend):
            self._restore()

    # --- state --------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Start from the newest whole checkpoint, or from the seed."""
        path, self.warnings = latest_checkpoint(self.folder)
        self.fresh = path is None
        self.scheduler = _scheduler(self.frame, self.config.capacity)
        self.step, self.rate_scale, self.fold = 0, 1.0, np.zeros((self.frame.bands, self.frame.sheets))
        self.atlas = ZAtlas(512)
        if path is None:
            self._load(self.model.initial_parameters(self.config.seed))
            self.moments = self.optimiser.start(self.parameters)
        else:
            arrays, meta = load_checkpoint(path)
            self._load({k[2:]: v for k, v in arrays.items() if k.startswith("p.")})
            self.moments = {k: asarray(v) for k, v in arrays.items() if k[:2] in ("m.", "v.")}
            self.step, self.rate_scale, self.fold = meta["step"], meta["rate_scale"], arrays["fold"]
            self.scheduler.restore(meta["scheduler"])
            if self.folder.atlas.exists():
                for chart in ZAtlas.load_npz(self.folder.atlas):
                    if chart.step <= self.step:
                        self.atlas.append(chart)
        self.saved = -1 if self.fresh else self.step  # step of the newest checkpoint
        after = self.saved  # a fresh start computes the row of step 0 too
        self.metrics, self.applied = Rows(self.folder.metrics, after), Rows(self.folder.applied, after)

    def _load(self, values: dict[str, NDArray[Any]]) -> None:
        """Parameters in one order wherever they come from: the gradient's norm is summed in it."""
        self.parameters = {k: asarray(values[k], requires_grad=True) for k in sorted(values)}

    def _checkpoint(self) -> None:
        """Once a step: everything the rows before it rest on is on disk before the checkpoint is."""
        if self.saved == self.step:
            return
        for journal in (self.metrics.journal, self.applied.journal, self.inputs.journal):
            journal.sync()
        arrays = {f"p.{k}": v.numpy() for k, v in self.parameters.items()}
        arrays |= {k: v.numpy() for k, v in self.moments.items()} | {"fold": self.fold}
        meta = {"step": self.step, "rate_scale": self.rate_scale, "scheduler": self.scheduler.state()}
        # a twin goes on from the last unpainted state, however late it is asked for
        save_checkpoint(self.folder, self.step, arrays, meta, spare=None if self.painted is None else self.painted - 1)
        self.saved = self.step
        if len(self.atlas):
            self.atlas.save_npz(self.folder.atlas)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> str:
        """Train until the end, a stop, or an interruption.

        Returns
        -------
        str
            "finished" or "stopped".

        Raises
        ------
        RunError
            The loss is no longer finite, a recomputed row departs from the recorded one, or the disk refuses.
        """
        log.info("run %s on %s (%s), from step %d", self.folder.id, self.config.backend, self.backend_reason, self.step)
        heart = Heartbeat(self.folder)
        heart.beat(self.step)
        try:
            with use_backend(self.backend), closing(LiveWriter(self.folder.live, self.frame.shape)) as self.live:
                for chart in self.atlas:
                    self._show(chart)
                if self.fresh:
                    self._emit_validation()
                    self._write_sample()
                first = self.step + WARM_STEPS
                while self.step < self.until and not self.interrupted:
                    if not self._boundary(self.step + 1, heart):
                        break
                    if self.trace_steps and self.step == first:
                        Trace(self.backend).start()
                    self._train_step()
                    if self.fresh and self.step == 1:
                        self._record_tuned()
                    if self.step == first + self.trace_steps:
                        self._write_trace()
                    heart.beat(self.step)
                self._write_trace()  # of a run that was shorter
                state = "finished" if self.step >= self.config.steps else "stopped"
                self._checkpoint()
        except BaseException:
            heart.beat(self.step, "failed")
            raise
        finally:
            for journal in (self.metrics.journal, self.applied.journal, self.inputs.journal):
                journal.close()
        heart.beat(self.step, state)
        return state

    def _boundary(self, step: int, heart: Heartbeat) -> bool:
        """Take inputs; wait while paused. False: asked to stop."""
        computed = max(self.metrics.last_step, self.applied.last_step)  # those steps ran without what is pending now
        self.inputs.poll()
        live = step > computed and step not in self.inputs.script  # else it has happened and is only repeated
        if live:
            while last_of(self.inputs.pending, "pause", ("resume", "start", "stop")) and not self.interrupted:
                heart.beat(self.step, "paused")
                if any_of(self.inputs.pending, "save"):  # the boundary that takes it will find it done
                    self._checkpoint()
                time.sleep(PAUSE_SECONDS)
                self.inputs.poll()
            if self.interrupted:
                return False
        records = self.inputs.take(step) if live else self.inputs.script.get(step, [])
        if self.painted is None:
            self.painted = first_painted({step: records}, self.frame)
        stopping = live and last_of(records, "stop", ("start",))
        if stopping or any_of(records, "save") or step == self.painted:
            self._checkpoint()  # before they take effect: a resume from it comes to this boundary and takes them again
        rejected = []
        for record in records:
            try:
                self._take(record)
            except PatchError as error:
                rejected.append({"seq": record["seq"], "reason": str(error)})
        self.scheduler.boundary()
        fold = self.scheduler.fold("atlas")
        if records or not np.array_equal(fold.relation, self.fold):
            row = {"step": step, "seq": [r["seq"] for r in records], "fold": {"atlas": fold.to_record()}}
            self.applied.emit(row | ({"rejected": rejected} if rejected else {}))
        self.fold = fold.relation
        return not stopping

    def _take(self, record: Row) -> None:
        """One input. The log is open to every writer, so nothing in it is trusted: what is malformed is refused."""
        if record.get("kind") == "patch":
            _push(self.scheduler, self.frame, record)
        elif record.get("kind") == "rate":
            scale = record.get("scale")
            if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
                raise PatchError(f"scale is {scale!r}: the learning rate takes a factor above 0")
            self.rate_scale = float(scale)

    def _train_step(self) -> None:
        """One update and its row."""
        began, n = time.perf_counter(), self.step + 1
        look = n % self.config.field_every == 0
        tokens = self._batch(n)
        self.backend.memory.restart()
        loss, grads, seen = self._gradients(tokens, look, n)
        clipped, norm = clip_by_norm(grads, self.config.clip)
        del grads  # what is held here lives until the queue has run
        rate = self.schedule.rate(self.step) * self.rate_scale
        before = decayed(self.parameters, rate * self.config.decay) if self.config.decay else self.parameters
        updated, self.moments = self.optimiser.step(before, clipped, self.moments, rate, n)
        del before
        self.parameters = self.model.constrain(updated)
        del clipped, updated
        self.backend.flush()
        value = float(loss)
        if not math.isfinite(value):
            raise RunError(f"the loss became {value} at step {n}: start again with a learning rate below "
                           f"{self.config.rate}")
        self.step = n
        row: Row = {"step": n, "split": "train", "loss": value, "bits": value / math.log(2),
                    "gradient_norm": float(norm), "rate": rate}
        if look:
            charts, found = readings.look(self.frame, n, *seen)
            row |= found
            for chart in charts:
                self.atlas.append(chart)
                self._show(chart)
        if n % self.config.digest_every == 0 or n == self.config.steps:
            row["digest"] = {"parameters": digest({k: v.numpy() for k, v in self.parameters.items()}),
                             "optimiser": digest({k: v.numpy() for k, v in self.moments.items()})}
        seconds = time.perf_counter() - began
        row["measured"] = {"time": time.time(), "seconds": seconds,
                           "characters_per_second": tokens[:, 1:].size / seconds, **readings.memory(self.backend),
                           **({"residency": self.backend.residency()} if look else {})}
        self._emit(row)
        if n % self.config.evaluate_every == 0 or n == self.config.steps:
            self._emit_validation()
        if n % self.config.sample_every == 0 or n == self.config.steps:
            self._write_sample()
        if n % self.config.checkpoint_every == 0:
            self._checkpoint()

    def _gradients(self, tokens: NDArray[np.int32], look: bool, n: int) -> tuple[Array, dict[str, Array], list[Array]]:
        """Loss, its gradients, and for a look activation and gradient at the tap.

        The tape ends here: with it every activation would live until the end of the step, not until its last reader.
        """
        c = self.config
        lose = Dropout(c.dropout, c.seed, n) if c.dropout else None
        x, _, tapped = self.model.states(self.parameters, asarray(tokens[:, :-1]), self.model.initial_state(c.batch),
                                         frame=self.frame, gains=gains(self.fold), recompute=c.recompute,
                                         lose=lose)
        loss = cross_entropy(self.model.logits(self.parameters, x), asarray(tokens[:, 1:])).mean()
        grads = grad(loss, [*self.parameters.values(), *([tapped] if look else [])])
        named = dict(zip(self.parameters, grads, strict=False))
        return loss.detach(), named, [tapped.detach(), grads[-1]] if look else []

    def _batch(self, step: int) -> NDArray[np.int32]:
        """Windows [N, T + 1] at random places of the training part."""
        c = self.config
        starts = self.random.choice_offsets(BATCH_STREAM, step, c.batch, len(self.corpus.train) - c.window)
        return np.stack([self.corpus.train[s : s + c.window + 1] for s in starts.astype(np.int64)]).astype(np.int32)

    def _record_tuned(self) -> None:
        """Which variants of kernels the first step chose: for information, they all compute the same bits."""
        if found := chosen():
            record = self.folder.read_config()
            self.folder.write_config({**record, "environment": {**record["environment"], "tuned": found}})

    def _write_trace(self) -> None:
        """End the trace that is on, and measure what the device reaches, to set the launches beside it."""
        trace = self.backend.trace
        if trace is None:
            return
        trace.stop()
        self.traced = trace, measure_ceilings(self.backend)
        write_atomic(self.folder.trace, trace.to_chrome(self.traced[1]))

    def _show(self, chart: Chart) -> None:
        """To whoever looks from another process."""
        self.live.append(Look(chart.step, chart.provenance["signal"], chart.time, chart.field.rho))

    def _emit(self, row: Row) -> None:
        self.metrics.emit(row)
        if self.on_row is not None:
            self.on_row(row)

    def _emit_validation(self) -> None:
        self._emit(readings.validation(self.model, self.parameters, self.corpus, self.config, self.step))

    def _write_sample(self) -> None:
        readings.write_sample(self.folder, self.model, self.parameters, self.corpus, self.config, self.step)


def first_painted(script: Mapping[int, list[Row]], frame: ZFrame) -> int | None:
    """The first step at which a painted layer steers, None where none does; one that is refused never does."""
    trial = _scheduler(frame, 1)
    for step in sorted(script):
        for record in script[step]:
            if record.get("kind") == "patch":
                with suppress(PatchError):
                    _push(trial, frame, record)
                    return step
    return None


def _scheduler(frame: ZFrame, capacity: int) -> Scheduler:
    """The charts that steer training."""
    return Scheduler({"atlas": (frame.bands, frame.sheets)}, capacity)


def _push(scheduler: Scheduler, frame: ZFrame, record: Row) -> None:
    """Offer a recorded layer."""
    patch = Patch.from_record(record)
    if patch.frame != frame.signature():
        raise PatchError(f"the patch was painted on frame {patch.frame[:12]}, the run has {frame.signature()[:12]}: "
                         "repaint it")
    scheduler.push(patch)


def open_corpus(record: Row) -> Corpus:
    """The text that run.json names.

    Raises
    ------
    RunError
        It is no longer the text that the run began with.
    """
    config = RunConfig.from_json(record)
    corpus = read_corpus(list(config.paths), window=config.window, split=config.split)
    if corpus.digest != record["corpus"]["digest"]:
        raise RunError(f"the text in {', '.join(record['paths'])} has changed since run {record['id']} began: "
                       "restore it, or start a new run on it")
    return corpus


def load_model(folder: RunFolder, step: int | None = None) -> tuple[Any, dict[str, Array], Corpus, int]:
    """Model, parameters, corpus and step of a run's newest checkpoint, or of that of a step, on the current backend."""
    record = folder.read_config()
    path = latest_checkpoint(folder)[0] if step is None else checkpoint_path(folder, step)
    if path is None:
        raise RunError(f"run {folder.id} has no checkpoint yet: it writes one every {record['checkpoint_every']} steps "
                       "and when it stops")
    arrays, meta = load_checkpoint(path)
    corpus = open_corpus(record)
    parameters = {k[2:]: asarray(v) for k, v in arrays.items() if k.startswith("p.")}
    return RunConfig.from_json(record).build(corpus), parameters, corpus, meta["step"]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    Trainer(RunFolder(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else None).run()
