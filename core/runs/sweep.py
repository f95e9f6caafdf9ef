"""Sweeps: a grid of settings, each with several seeds, as ordinary runs that Dask's workers train.

A cell of the grid is known by what its run.json says, whoever made that run: a finished one is taken as it is, one that
a killed worker or an earlier call left unfinished goes on from its checkpoint. So nothing has to be kept about a sweep,
and Dask may run a task again as often as it likes. Runs, texts and this package must lie at the same place on all
machines.
"""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import RunError, ZSpaceError
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.curves import STEERING
from core.runs.events import Row
from core.runs.heartbeat import BEAT_SECONDS
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.store import RunFolder, RunStore
from core.runs.trainer import Trainer

if TYPE_CHECKING:
    from distributed import Client, Future

GRID_NAMES = tuple(f.name for f in fields(RunConfig) if f.name not in ("paths", "threads", "seed"))
NEWS_SECONDS = 0.5
CONNECT_SECONDS = 10
_ended: set[str] = set()  # in a worker: sweeps that were asked to end, by their token
_at_work: dict[str, Trainer] = {}  # in a worker: what it trains, by the sweep's token


@dataclass(frozen=True)
class Cell:
    """What became of one run of a sweep.

    Attributes
    ----------
    config : RunConfig
    run : str, optional
        Its id, once it is known.
    state : str
        "waiting", "running", "finished", "stopped" or "failed".
    step : int
    bits : float, optional
        Newest training loss in bits per character.
    reason : str, optional
        One sentence on a failure.
    """

    config: RunConfig
    run: str | None = None
    state: str = "waiting"
    step: int = 0
    bits: float | None = None
    reason: str | None = None


def parse_grid(words: Sequence[str]) -> dict[str, list[Any]]:
    """Settings and their values from ``name=value,value`` words; values as in JSON, or plain text.

    Raises
    ------
    RunError
        A word of another form, a name that is no setting or comes twice, or no value.
    """
    grid: dict[str, list[Any]] = {}
    for word in words:
        name, _, values = word.partition("=")
        if name not in GRID_NAMES:
            raise RunError(f"--grid {word}: {name!r} is no setting of a run: choose one of {', '.join(GRID_NAMES)}")
        if name in grid:
            raise RunError(f"--grid {word}: {name} is given twice: write all its values in one, {name}=A,B")
        if not all(values.split(",")):
            raise RunError(f"--grid {word}: a value is missing: write {name}=A,B")
        grid[name] = [_value(name, text) for text in values.split(",")]
    return grid


def expand(paths: Sequence[str], grid: Mapping[str, Sequence[Any]], seeds: int, threads: int) -> list[RunConfig]:
    """Every combination of a grid's values with seeds 0 to `seeds` - 1, in the grid's order, seeds fastest.

    Raises
    ------
    RunError
        `seeds` is below 1, or a combination that no run can have.
    """
    if seeds < 1:
        raise RunError(f"--seeds is {seeds}: give at least 1")
    configs = []
    for values in itertools.product(*grid.values()):
        chosen = {"preset": "tiny", **dict(zip(grid, values, strict=True))}
        configs += [RunConfig.from_preset(tuple(paths), threads=threads, seed=seed, **chosen) for seed in range(seeds)]
    return list(dict.fromkeys(configs))


def find_run(root: Path, config: RunConfig, digest: str) -> RunFolder | None:
    """The run that has these settings over the text of this digest: a finished one, else the newest, else None.

    Threads and the text's place do not count, nor does the backend where the settings leave it open ("auto"). Twins,
    runs that somebody painted on, and those that began with weights from elsewhere, are no cells.
    """
    return _pick(_made(root, digest), config)


@contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A Dask client: of a scheduler at an address, else of a cluster of processes on this machine.

    Raises
    ------
    RunError
        Nobody answers there, nobody works there, or a worker would train several runs in one process.
    """
    from distributed import Client, LocalCluster

    if scheduler is None:
        # Ctrl-C is for the sweep, which ends its runs in order: processes inherit the blocked signal from the cluster's
        # thread. The tracker that they need would unblock it there if it started then
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # a run's memory is its own affair, so Dask sets no limit
            local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0",
                                 memory_limit=0, silence_logs="CRITICAL")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with local, Client(local) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise RunError(f"no Dask scheduler answers at {scheduler} ({error}): start one with "
                       "`dask scheduler`") from error
    with client:
        threads = {name: worker["nthreads"] for name, worker in client.scheduler_info(n_workers=-1)["workers"].items()}
        if not threads:
            raise RunError(f"the scheduler at {scheduler} has no workers: start some with "
                           f"`dask worker {scheduler} --nthreads 1`")
        if crowded := [f"{name} has {n} threads" for name, n in threads.items() if n != 1]:
            raise RunError(f"worker {crowded[0]}, but a process can train one run at a time: start workers with "
                           "--nthreads 1, several with --nworkers")
        yield client


class Sweep:
    """One call of a sweep.

    Parameters
    ----------
    root : Path
        The folder of runs, absolute.
    configs : sequence of RunConfig
        As `expand` gives them.
    digest : str
        Of the text, see `core.data.Corpus`.

    Attributes
    ----------
    cells : list of Cell
        What is known of each, in the order of `configs`.
    ending : bool
        Set it to end the sweep: runs at work stop with a checkpoint, the others do not begin.
    """

    def __init__(self, root: Path, configs: Sequence[RunConfig], digest: str) -> None:
        self.root, self.digest, self.token, self.ending = root, digest, uuid.uuid4().hex, False
        self._lock = threading.Lock()  # news come in a thread of Dask's
        made = _made(root, digest)
        self.cells = [_look(config, _pick(made, config)) for config in configs]

    def run(self, client: Client, on_change: Callable[[list[Cell]], None] = lambda cells: None) -> None:
        """Bring every cell to its end, or to a stop.

        Parameters
        ----------
        client : Client
            See `connect`.
        on_change : callable
            Called with the cells about twice a second.
        """
        client.subscribe_topic(self.token, self._hear)
        waiting = {number: client.submit(train_cell, self.root, cell.config, self.digest, self.token, number,
                                         key=f"{self.token}-{number}")
                   for number, cell in enumerate(self.cells) if cell.state != "finished"}
        while waiting:
            on_change(self.cells)
            time.sleep(NEWS_SECONDS)
            if self.ending:  # again and again: a worker may have been born since
                client.run(end, self.token, on_error="ignore")
            for number in [n for n, future in waiting.items() if future.done()]:
                self._settle(number, waiting.pop(number))
        on_change(self.cells)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """News of a run at work; what comes after its end is old."""
        news = event[1]
        with self._lock:
            cell = self.cells[news["cell"]]
            if cell.state in ("waiting", "running"):
                self.cells[news["cell"]] = replace(cell, run=news["run"], state="running", step=news["step"],
                                                   bits=news["bits"])

    def _settle(self, number: int, future: Future[Any]) -> None:
        """What a task came to; Dask has tried a few times where workers died."""
        if future.status == "finished":
            run, state, step = future.result()
            changes = {"run": run, "state": state, "step": step}
        else:
            changes = {"state": "failed", "reason": _reason(future)}
        with self._lock:
            self.cells[number] = replace(self.cells[number], **changes)


def _look(config: RunConfig, folder: RunFolder | None) -> Cell:
    """A cell before the work begins."""
    if folder is None or folder.status() != "finished":
        return Cell(config)
    return Cell(config, folder.id, "finished", config.steps)


def _reason(future: Future[Any]) -> str:
    """Why a task has no result, in one sentence."""
    from distributed import KilledWorker

    if future.status != "error":
        return "the scheduler lost this run's task: the same call goes on with it"
    error = future.exception()
    if isinstance(error, KilledWorker):
        return (f"{error.allowed_failures + 1} workers died that this run was given to, of too little memory, perhaps: "
                "take fewer at a time, or a smaller model; the same call goes on with it")
    return " ".join((str(error) if isinstance(error, ZSpaceError) else f"{type(error).__name__}: {error}").split())


def train_cell(root: Path, config: RunConfig, digest: str, token: str, number: int) -> tuple[str | None, str, int]:
    """In a worker: bring one cell to its end, whatever was done for it before.

    Returns
    -------
    tuple
        The run's id, its state and its step.
    """
    from distributed import get_worker

    worker = get_worker()
    while True:
        folder = find_run(root, config, digest)
        if folder is not None and folder.status() == "finished":
            return folder.id, "finished", config.steps
        if token in _ended:
            return None if folder is None else folder.id, "waiting", 0
        if folder is None or folder.status() not in ("running", "paused"):
            break
        time.sleep(BEAT_SECONDS)  # somebody else trains it: a worker that Dask gave up too early, or a person
    if folder is None:
        folder = create_run(root, config)
    send(folder, "start")
    trainer = Trainer(folder)
    said = 0.0

    def tell(row: Row) -> None:
        nonlocal said
        if row["split"] == "train" and time.monotonic() - said > NEWS_SECONDS:
            said = time.monotonic()
            worker.log_event(token, {"cell": number, "run": folder.id, "step": row["step"], "bits": row["bits"]})

    trainer.on_row = tell
    _at_work[token] = trainer
    try:
        if token in _ended:  # asked while the text was read
            trainer.interrupted = True
        return folder.id, trainer.run(), trainer.step
    finally:
        del _at_work[token]


def end(token: str) -> None:
    """In a worker: stop what it trains for a sweep, and begin nothing more for it."""
    _ended.add(token)
    if token in _at_work:
        _at_work[token].interrupted = True


def _made(root: Path, digest: str) -> list[tuple[RunFolder, RunConfig]]:
    """All runs over a text, newest first, but for twins and those that began with weights from elsewhere."""
    made = []
    for folder in RunStore(root).list():
        with suppress(RunError):  # of another version, or being made
            record = folder.read_config()
            if record.get("corpus", {}).get("digest") == digest and not {"twin", "initial"} & set(record):
                made.append((folder, RunConfig.from_json(record)))
    return made


def _pick(made: Sequence[tuple[RunFolder, RunConfig]], config: RunConfig) -> RunFolder | None:
    """See `find_run`."""
    found = []
    for folder, its in made:
        backend = config.backend if config.backend == "auto" else its.backend
        if (replace(its, paths=config.paths, threads=config.threads, backend=backend) == config
                and not any(r.get("kind") in STEERING for r in read_records(folder.inputs)[0])):
            found.append(folder)
    return next((f for f in found if f.status() == "finished"), found[0] if found else None)


def _value(name: str, text: str) -> Any:
    """A setting's value as a run takes it."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    kind = next(f.type for f in fields(RunConfig) if f.name == name)
    return float(value) if kind == "float" and type(value) is int else value
