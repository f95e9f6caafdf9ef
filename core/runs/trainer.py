"""The trainer: given run.json, a checkpoint and the input log, a pure function to rows.

Step n runs between boundaries n and n + 1. At a boundary the trainer takes what was acknowledged since the last one
and first writes a `boundary` record into the input log itself: {"kind": "boundary", "step": n, "through": seq}. The log
is thereby the whole replay script: it says what was asked for and at which step it took effect.

A loss or gradient that is not finite sends parameters and optimiser back to the newest good checkpoint, with half the
learning rate from then on; a row of applied.jsonl says so. Good is one of the run's own rhythm (what else was saved, a
replay may lack) at which the model did no worse than guess. The clock goes on: a step has one row, and the batch that
led astray is not met again. All this follows from what went before, so a replay does the same.

``python -m core.runs.trainer RUN_FOLDER`` runs or resumes one run in this process.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas
from core.backends import open_backend, use_backend
from core.errors import PatchError, RunError
from core.frame import ZFrame
from core.optim import OPTIMISERS, Hypergrad, Schedule, clip_by_norm
from core.packing import Packing
from core.runs import readings
from core.runs.checkpoint import (
    checkpoint_path,
    digest,
    good_step,
    latest_checkpoint,
    load_checkpoint,
    load_initial,
    parameters_of,
    save_best,
    save_checkpoint,
)
from core.runs.config import RunConfig
from core.runs.events import Inputs, Row, Rows, any_of, last_of
from core.runs.files import write_atomic
from core.runs.heartbeat import Heartbeat
from core.runs.live import LiveWriter, Look
from core.runs.opening import open_corpus, record_tuned
from core.runs.steering import first_painted, new_scheduler, push
from core.runs.step import find_origin, loss_and_gradients, windows
from core.runs.store import RunFolder
from core.runs.vitals import Vitals, relative_change
from core.steer import gains
from core.trace import Ceilings, Trace, measure_ceilings

log = logging.getLogger(__name__)
PAUSE_SECONDS = 0.05
ROLLBACKS = 3
GUESSING = 1.01  # times the loss of guessing: an untrained model is that close to it
WARM_STEPS = 3  # of this process, before launches are traced: kernels are compiled and pools filled by then


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
        self.optimiser = OPTIMISERS[self.config.optimiser]
        if isinstance(self.optimiser, Hypergrad) and self.config.curvature:
            self.optimiser = replace(self.optimiser, ball={"embedding": self.config.curvature})
        self.schedule = Schedule(self.config.rate, self.config.steps, self.config.warmup, self.config.schedule)
        self.vitals = Vitals(self.corpus.validation, len(self.corpus.vocabulary))
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
        """Start from the newest whole checkpoint, or from the run's first parameters."""
        path, self.warnings = latest_checkpoint(self.folder)
        self.fresh = path is None
        self.scheduler = new_scheduler(self.frame, self.config.capacity)
        self.step, self.rate_scale, self.fold = 0, 1.0, np.zeros((self.frame.bands, self.frame.sheets))
        self.rollbacks, self.ended = 0, ""  # how often so far; why the run ended before its last step
        # the last loss; steps of the newest good checkpoint, and of that when paint first steered
        self.loss, self.good, self.twin_good = math.inf, 0, 0
        self.best: tuple[int, float] | None = None  # step and bits of the best validation loss
        self.atlas = ZAtlas(512)
        arrays, meta = self._load(path)
        if meta is not None:
            self.step, self.rate_scale, self.fold = meta["step"], meta["rate_scale"], arrays["fold"]
            self.rollbacks, self.ended = meta.get("rollbacks", 0), meta.get("ended", "")
            self.good, self.twin_good = good_step(meta, self.config.checkpoint_every), meta.get("twin_good", 0)
            self.best = tuple(meta["best"]) if meta.get("best") else None
            self.scheduler.restore(meta["scheduler"])
            if self.folder.atlas.exists():
                for chart in ZAtlas.load_npz(self.folder.atlas):
                    if chart.step <= self.step:
                        self.atlas.append(chart)
        self.saved = -1 if self.fresh else self.step  # step of the newest checkpoint
        after = self.saved  # a fresh start computes the row of step 0 too
        self.metrics, self.applied = Rows(self.folder.metrics, after), Rows(self.folder.applied, after)

    def _load(self, path: Path | None) -> tuple[dict[str, NDArray[Any]], Row | None]:
        """Parameters and the optimiser's state from a checkpoint, or from the start; what else it holds."""
        arrays, meta = load_checkpoint(path) if path else ({}, None)
        values = (parameters_of(arrays) if path else
                  load_initial(self.folder) or self.model.initial_parameters(self.config.seed))
        # points of the ball stay apart: their updates and their constraint are their own
        self.packing = Packing({k: v.shape for k, v in values.items()}, {"embedding"} if self.config.curvature else ())
        self.packed = self.packing.put(values)
        self.parameters = self.packing.unpack(self.packed)
        self.state = (self.packing.put_state({k: v for k, v in arrays.items() if k != "fold" and k[:2] != "p."})
                      if path else self.optimiser.start(self.packed))
        return arrays, meta

    def _checkpoint(self) -> None:
        """Once a step: everything the rows before it rest on is on disk before the checkpoint is."""
        if self.painted == self.step + 1:
            self.twin_good = self.good
        if self.saved == self.step:
            return
        for journal in (self.metrics.journal, self.applied.journal, self.inputs.journal):
            journal.sync()
        arrays = {f"p.{k}": v for k, v in self.packing.read(self.packed).items()}
        arrays |= self.packing.read_state(self.state) | {"fold": self.fold}
        meta = {"step": self.step, "rate_scale": self.rate_scale, "scheduler": self.scheduler.state(),
                "rollbacks": self.rollbacks, "best": self.best, "ended": self.ended, "good": self.good,
                "twin_good": self.twin_good}
        # a twin goes on from the last unpainted state, however late it is asked for
        spare = {self.good} if self.painted is None else {self.good, self.painted - 1, self.twin_good}
        save_checkpoint(self.folder, self.step, arrays, meta, spare=spare)
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
            The loss is not finite again after `ROLLBACKS` ways back, a recomputed row
            departs from the recorded one, or the disk refuses.
        """
        log.info("run %s on %s (%s), from step %d", self.folder.id, self.config.backend, self.backend_reason, self.step)
        heart = Heartbeat(self.folder.heartbeat)
        heart.beat(self.step)
        gc.collect()
        gc.freeze()  # what is there by now outlives the loop: to look through it again took 14 % of the host's time
        try:
            with use_backend(self.backend), closing(LiveWriter(self.folder.live, self.frame.shape)) as self.live:
                for chart in self.atlas:
                    self._show(chart)
                if self.fresh:
                    self._validate()
                    self._write_sample()
                first = self.step + WARM_STEPS
                while self.step < self.until and not self.interrupted and not self.ended:
                    if not self._boundary(self.step + 1, heart):
                        break
                    if self.trace_steps and self.step == first:
                        Trace(self.backend).start()
                    self._train_step()
                    self._look_back()
                    if self.fresh and self.step == 1:
                        record_tuned(self.folder)
                    if self.step == first + self.trace_steps:
                        self._write_trace()
                    heart.beat(self.step)
                self._write_trace()  # of a run that was shorter
                state = "finished" if self.step >= self.config.steps or self.ended else "stopped"
                self._checkpoint()
        except BaseException:
            heart.beat(self.step, "failed")
            raise
        finally:
            gc.unfreeze()
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
            push(self.scheduler, self.frame, record)
        elif record.get("kind") == "rate":
            scale = record.get("scale")
            if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
                raise PatchError(f"scale is {scale!r}: the learning rate takes a factor above 0")
            self.rate_scale = float(scale)

    def _train_step(self) -> None:
        """One update and its row."""
        began, n = time.perf_counter(), self.step + 1
        look = n % self.config.field_every == 0
        tokens = windows(self.corpus.train, self.config, n)
        self.backend.memory.restart()
        loss, grads, seen = loss_and_gradients(self.model, self.parameters, tokens, self.config, self.frame,
                                               gains(self.fold), n, look)
        self.backend.flush()  # the device is at work while the host queues the rest
        clipped, norm = clip_by_norm(self.packing.pack(grads), self.config.clip)
        del grads  # what is held here lives until the queue has run
        rate = self.schedule.rate(self.step) * self.rate_scale * 0.5**self.rollbacks
        before = self.packing.decayed(self.packed, rate * self.config.decay) if self.config.decay else self.packed
        packed, state = self.optimiser.step(before, clipped, self.state, rate, n)
        packed = self.model.constrain(packed)
        parameters = self.packing.unpack(packed)
        del before, clipped
        self.backend.flush()
        value = float(loss)
        computed = time.perf_counter() - began
        for name, number in (("loss", value), ("gradient's norm", float(norm))):
            if not math.isfinite(number):
                self._roll_back(n, f"the {name} became {number}")
                return
        self.vitals.step(value, tokens[:, 1:].size / computed)
        update = relative_change(self.packed, packed) if look else 0.0
        self.packed, self.parameters, self.state = packed, parameters, state
        self.step, self.loss = n, value
        row: Row = {"step": n, "split": "train", "loss": value, "bits": value / math.log(2),
                    "gradient_norm": float(norm), "rate": rate}
        if "factor" in state:
            row["rate_factor"] = float(state["factor"])
        if look:
            charts, found, latent = readings.look(self.frame, n, *seen)
            row |= found
            response = self.vitals.response(self.model, self.parameters)
            z = {"z": self.vitals.look(latent, response, row, update, self.fold)}
            for chart in charts:
                self.atlas.append(chart)
                self._show(chart)
        if n % self.config.digest_every == 0 or n == self.config.steps:
            row["digest"] = {"parameters": digest(self.packing.read(self.packed)),
                             "optimiser": digest(self.packing.read_state(self.state))}
        seconds = time.perf_counter() - began
        row["measured"] = {"time": time.time(), "seconds": seconds,
                           "characters_per_second": tokens[:, 1:].size / seconds, **readings.memory(self.backend),
                           **({"residency": self.backend.residency(), **z} if look else {})}
        self._emit(row)

    def _look_back(self) -> None:
        """What is due after a step: validation, a sample, a checkpoint."""
        n, c = self.step, self.config
        keep = n % c.checkpoint_every == 0
        if keep and not all(np.isfinite(p.numpy()).all() for p in self.packed.values()):
            self._roll_back(n, "a parameter stopped being finite")
        if keep and self.loss <= GUESSING * math.log(len(self.corpus.vocabulary)):
            self.good = n
        if n % c.evaluate_every == 0 or n == c.steps:
            self._validate()
        if n % c.sample_every == 0 or n == c.steps or self.ended:
            self._write_sample()
        if keep:
            self._checkpoint()

    def _roll_back(self, step: int, what: str) -> None:
        """Go back to the last safe state with half the learning rate, and say where things went wrong."""
        origin = find_origin(self.backend, self.model, self.parameters, windows(self.corpus.train, self.config, step),
                             self.config, self.frame, gains(self.fold), step, self.optimiser)
        why = f"{what} at step {step}, " + (f"first not finite: {origin}" if origin else "but not when it was repeated")
        if self.rollbacks == ROLLBACKS:
            raise RunError(f"{why}; the run went back {ROLLBACKS} times with half the learning rate each, so it ends "
                           f"here: start again with a rate below {self.config.rate * 0.5**ROLLBACKS:g}")
        to = self.good
        path = checkpoint_path(self.folder, to) if to else None
        if path and not path.exists():
            raise RunError(f"{why}; the checkpoint of step {to} to go back to is not there: start a new run")
        self._load(path)
        self.step, self.rollbacks, self.loss = step, self.rollbacks + 1, math.inf
        log.warning("%s; back to the state of step %d with half the learning rate", why, to)
        found = asdict(origin) if origin else {}
        self.applied.emit({"step": step, "seq": [], "fold": {"atlas": self.scheduler.fold("atlas").to_record()},
                           "rollback": {"to": to, "rate_factor": 0.5**self.rollbacks, "reason": what, **found}})

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

    def _validate(self) -> None:
        """Held-out loss: keep the best parameters, end the run where patience does, and score the whole at the end."""
        row = readings.validation(self.model, self.parameters, self.corpus, self.config, self.step)
        if self.step < self.config.steps:
            self._emit(row)
        if math.isfinite(row["bits"]) and (self.best is None or row["bits"] < self.best[1]):
            self.best = self.step, row["bits"]
            if self.step:
                save_best(self.folder, self.step, {f"p.{k}": v for k, v in self.packing.read(self.packed).items()},
                          {"step": self.step, "bits": row["bits"]})
        since = self.best[0] if self.best else 0
        worse = (self.step - since) // self.config.evaluate_every
        if 0 < self.config.patience <= worse and self.step < self.config.steps:
            self.ended = f"no better validation loss in {worse} evaluations since step {since}"
            log.info("run %s ends at step %d: %s", self.folder.id, self.step, self.ended)
        if self.ended or self.step == self.config.steps:
            final = readings.final(self.model, self.parameters, self.corpus, self.config, self.step)
            self._emit(final | ({"reason": self.ended} if self.ended else {}))

    def _write_sample(self) -> None:
        readings.write_sample(self.folder, self.model, self.parameters, self.corpus, self.config, self.step)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    Trainer(RunFolder(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else None).run()
