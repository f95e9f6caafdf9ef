"""What a page may ask for: each command is checked here, then becomes a record in a log or an answer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.atlas import Chart, ZAtlas
from core.backends import available
from core.data import SPLITS
from core.errors import ZSpaceError
from core.nn.families import FAMILIES, PRESETS
from core.optim import OPTIMISERS, SHAPES
from core.runs import compare as comparison
from core.runs.config import TRAINING
from core.runs.control import Painter, send
from core.runs.curves import read_run
from core.runs.index import UNREADABLE, RunIndex
from core.runs.store import RunFolder, RunStore
from core.runs.twin import make_twin
from core.runs.work import WorkQueue
from core.texts import SUFFIXES
from workbench import settings
from workbench.doctor import examine
from workbench.plots import COLOURS
from workbench.watch import RunWatch, open_watch
from workbench.writing import Writing, check

Answer = dict[str, Any]
WRITINGS = 2  # generations at a time; each is a process with a model
LARGEST_COMPARISON = 32  # runs
POINTS = 512  # of a training curve in a comparison
FOLDER_DEPTH, FOLDERS_SHOWN, ENTRIES_READ = 4, 100, 20_000
FIRST_RUN = {"paths": ["corpus"], "preset": "tiny", "steps": 3000}  # a few minutes on a laptop
LIVE = ("running", "paused")


class CommandError(ZSpaceError, ValueError):
    """A command that is unknown, incomplete or out of place."""


class Controller:
    """The runs under one folder, steered by commands.

    Parameters
    ----------
    runs, texts : Path
        Where runs are kept, and the folder that texts must lie in.
    """

    def __init__(self, runs: Path, texts: Path) -> None:
        self.store, self.queue, self.texts = RunStore(runs), WorkQueue(runs), texts
        self.index = RunIndex(runs)
        self._kept = 0.0
        self._painters: dict[Path, Painter] = {}
        self._writings: list[Writing] = []
        self.painting = ThreadPoolExecutor(1, "paint")  # one thread: layers are journalled in the order they came in

    # --- runs ---------------------------------------------------------------------------------------------------------

    def watch(self, run: str | None = None) -> RunWatch | None:
        """The watcher of a run; by default of the one at work or the newest, twins left aside, None for none."""
        if run is not None:
            return open_watch(self.store.open(run))
        whole = [s for s in self.index.summaries() if s["status"] != UNREADABLE and not s["twin"]]
        busy = [s for s in whole if s["status"] in LIVE]
        return open_watch(self.store.open((busy or whole)[0]["run"])) if whole else None

    def keep_working(self) -> None:
        """See, once a second at most, that somebody works while something waits: a worker may have been killed."""
        now = time.monotonic()
        if now - self._kept >= 1:
            self._kept = now
            self.queue.ensure_worker()

    def start_first(self) -> None:
        """A first run over the project's own texts, where there is none and none is asked for."""
        if not self.store.list() and not self.queue.items() and (settings.CHECKOUT / "corpus").is_dir():
            self.queue.add(_with_defaults({**FIRST_RUN, "paths": [str(settings.CHECKOUT / "corpus")]}))
        self.queue.ensure_worker()

    def start(self, ask: Answer) -> Answer:
        """Queue a new run."""
        _only(ask, "paths", "preset", "model", "backend", "seed", "steps", "optimiser", "schedule", "accumulate",
              "patience", "split", "dropout")
        paths = _list_of_text(ask, "paths")
        chosen: Answer = {"paths": [str(self.inside(p)) for p in paths], "preset": _text(ask, "preset", "tiny"),
                          "model": _text(ask, "model", "rnn"), "backend": _text(ask, "backend", "auto"),
                          "seed": _whole(ask, "seed", 0), "steps": _whole(ask, "steps", None),
                          "optimiser": _text(ask, "optimiser", "adam"), "schedule": _text(ask, "schedule", "linear"),
                          "accumulate": _whole(ask, "accumulate", 1), "patience": _whole(ask, "patience", 0),
                          "split": _text(ask, "split", "contiguous"),
                          **({"dropout": _number(ask["dropout"], "dropout")} if "dropout" in ask else {})}
        number = self.queue.add(_with_defaults(chosen))
        self.queue.ensure_worker()
        return {"queued": number}

    def inside(self, path: str) -> Path:
        """A path under the folder of texts, links followed.

        Raises
        ------
        CommandError
            It leads out, or is not there.
        """
        try:
            found = (self.texts / Path(path).expanduser()).resolve()
            exists = found.exists()
        except (OSError, RuntimeError, ValueError) as error:
            raise CommandError(f"{path!r:.80} cannot name a folder or file: {error}") from error
        if not (found.is_relative_to(self.texts) or found.is_relative_to(settings.CHECKOUT / "corpus")):
            raise CommandError(f"{path!r:.80} lies outside {self.texts}: start the server with "
                               "ZSPACE_TEXTS=FOLDER to learn from texts elsewhere")
        if not exists:
            raise CommandError(f"{path!r:.80} is not in {self.texts}: check the spelling")
        return found

    def steer(self, do: str, run: str) -> Answer:
        """Pause, resume, stop or save a run at work."""
        folder = self.store.open(run)
        status = folder.status()
        if status not in LIVE:
            raise CommandError(f"run {run} is {status}, so it cannot {do}: only a run at work takes this")
        return {"seq": send(folder, do)["seq"]}  # type: ignore[arg-type]

    def paint(self, watch: RunWatch, layer: NDArray[np.float32], coherence: float) -> Answer:
        """Journal a painted layer; it folds into the run's next step. To be called in the thread of `painting`."""
        painter = self._painters.get(watch.folder.path)
        if painter is None:
            painter = self._painters[watch.folder.path] = Painter(watch.folder)
        return {"seq": painter.paint(layer, coherence=coherence)["seq"]}

    def twin(self, watch: RunWatch) -> Answer:
        """Start the run's unpainted twin, or go on with it: a process of its own beside the painted run."""
        known = self.twin_of(watch.folder)
        twin = known or make_twin(watch.folder)
        if twin.status() in (*LIVE, "finished"):
            return {"twin": twin.id}
        send(twin, "start")
        with open(self.store.root / "worker.log", "ab") as log:
            trainer = subprocess.Popen([sys.executable, "-m", "core.runs.trainer", str(twin.path)], stdout=log,
                                       stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        threading.Thread(target=trainer.wait, daemon=True).start()  # else it stays a zombie when it ends
        return {"twin": twin.id}

    def twin_of(self, folder: RunFolder) -> RunFolder | None:
        """The run's unpainted twin, where there is one."""
        found = (s["run"] for s in self.index.summaries() if s.get("twin") == folder.id)
        return next(map(self.store.open, found), None)

    def go_on(self, run: str) -> Answer:
        """Queue the rest of a stopped, interrupted or failed run."""
        number = self.queue.go_on(self.store.open(run).id)
        self.queue.ensure_worker()
        return {"queued": number}

    def generate(self, watch: RunWatch, ask: Answer, painted: dict[str, float]) -> Writing:
        """Let a run write, wanting what was asked for and painted; several pages at once, but not any number."""
        self._writings = [w for w in self._writings if w.at_work]
        if len(self._writings) >= WRITINGS:
            raise CommandError(f"{WRITINGS} generations are at work: wait for one to end, or stop one")
        self._writings.append(Writing(watch.folder, {**check(ask), "painted": painted}))
        return self._writings[-1]

    # --- looking ------------------------------------------------------------------------------------------------------

    def runs(self) -> Answer:
        """All runs, newest first, each with its true status."""
        return {"runs": self.index.summaries(), "root": str(self.store.root)}

    def compare(self, runs: list[str]) -> Answer:
        """Settings that differ, groups of seeds with their held-out curves, and each run's training curve."""
        if not 2 <= len(set(runs)) <= LARGEST_COMPARISON or len(set(runs)) != len(runs):
            raise CommandError(f"{len(runs)} runs chosen: mark 2 to {LARGEST_COMPARISON} different ones to compare")
        folders = [self.store.open(r) for r in runs]
        compared = [read_run(f) for f in folders]
        result = comparison.compare(folders, compared)
        if len(result["groups"]) > len(COLOURS):
            raise CommandError(f"these runs are {len(result['groups'])} groups that differ in more than their seed: "
                               f"mark runs of at most {len(COLOURS)}")
        trains = {run.id: vars(run.train.thinned(POINTS)) for run in compared}
        return {"settings": result["settings"], "summaries": result["runs"], "groups": result["groups"],
                "differences": result["differences"], "colours": COLOURS,
                "curves": {run: {k: v.tolist() for k, v in train.items()} for run, train in trains.items()}}

    def doctor(self) -> Answer:
        """What is here and what is missing."""
        return {"findings": [vars(f) for f in examine()], "runs": str(self.store.root), "texts": str(self.texts)}

    def folders(self) -> Answer:
        """Folders with texts, to choose from."""
        found, read = [], 0
        for place, inner, files in os.walk(self.texts):
            here = Path(place)
            deep = len(here.relative_to(self.texts).parts) >= FOLDER_DEPTH
            inner[:] = [] if deep else sorted(d for d in inner if d[0] not in "._" and d != "node_modules"
                                              and (here / d).resolve() != self.store.root.resolve())
            read += len(inner) + len(files)
            texts = [f for f in files if f.endswith(SUFFIXES) and not f.startswith(".")]
            if texts:
                found.append({"path": str(here.relative_to(self.texts)), "files": len(texts),
                              "bytes": sum((here / f).stat().st_size for f in texts if (here / f).is_file())})
            if len(found) >= FOLDERS_SHOWN or read > ENTRIES_READ:
                break
        return {"folders": found, "root": str(self.texts)}

    def choices(self) -> Answer:
        """What the form for a new run offers."""
        return {"presets": [{"name": name, **TRAINING[name]._asdict()} for name in PRESETS],
                "models": {name: family.presets for name, family in FAMILIES.items()},
                "optimisers": list(OPTIMISERS), "schedules": list(SHAPES), "splits": list(SPLITS),
                "backends": ["auto", *available()], "texts": str(self.texts), "first": FIRST_RUN}


def snapshot(watch: RunWatch, theme: str, kind: str) -> bytes:
    """The atlas of a run as a PNG, drawn by Matplotlib.

    Raises
    ------
    CommandError
        Nothing was looked at yet.
    """
    from core.render import render_atlas

    atlas = ZAtlas(max(len(watch.fields), 1))
    for look in tuple(watch.fields):
        atlas.append(Chart(watch.frame, watch.field(look), look.step, look.time, {"signal": look.kind}))
    if not len(atlas):
        raise CommandError(f"run {watch.folder.id} has no look at its field yet: wait for the first ones")
    buffer = io.BytesIO()
    render_atlas(atlas, theme, kind).savefig(buffer, format="png")  # type: ignore[arg-type]
    return buffer.getvalue()


def homology(watch: RunWatch, kind: str, step: int | None) -> Answer:
    """Threshold, components and loops of a look's power."""
    look = watch.look(kind, step)
    if look is None:
        raise CommandError(f"run {watch.folder.id} keeps no look of its {kind} at step {step}")
    h = watch.field(look).homology
    return {"kind": kind, "step": look.step, "threshold": h.threshold, "b0": h.b0, "b1": h.b1,
            "labels": h.labels.tolist()}


# --- arguments --------------------------------------------------------------------------------------------------------


def _with_defaults(ask: Answer) -> Answer:
    """Settings as the queue takes them."""
    return {"model": "rnn", "seed": 0, "steps": None, "backend": "auto", **ask,
            "threads": len(os.sched_getaffinity(0))}


def _only(ask: Answer, *names: str) -> None:
    """Refuse what nobody reads."""
    if unknown := sorted(set(ask) - set(names)):
        raise CommandError(f"{unknown[0]!r:.40} is no part of this command: it takes {', '.join(names)}")


def _text(ask: Answer, name: str, default: str | None = None) -> str:
    value = ask.get(name, default)
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise CommandError(f"{name} is {value!r:.40}: give a text")
    return value


def _whole(ask: Answer, name: str, default: int | None) -> int | None:
    value = ask.get(name, default)
    if value is not default and (type(value) is not int or not 0 <= value < 1 << 31):
        raise CommandError(f"{name} is {value!r:.40}: give a whole number from 0 to 2147483647")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CommandError(f"{name} is {value!r:.40}: give a number")
    return float(value)


def _list_of_text(ask: Answer, name: str) -> list[str]:
    value = ask.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= 64 or not all(
            isinstance(v, str) and 0 < len(v) <= 4096 for v in value):
        raise CommandError(f"{name} is {value!r:.40}: give 1 to 64 texts")
    return value
