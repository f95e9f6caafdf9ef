"""What run.json says: everything that decides the rows of a run."""

from __future__ import annotations

import hashlib
import math
import platform
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from core.data import SPLITS, Corpus
from core.errors import RunError
from core.nn.families import FAMILIES, PRESETS, build
from core.nn.hyperbolic import check_curvature
from core.nn.model import Model
from core.optim import OPTIMISERS, SHAPES

LIBRARIES = ("numpy", "scipy", "numba")


class Training(NamedTuple):
    """How a preset trains unless told otherwise."""

    window: int
    batch: int
    rate: float
    steps: int
    warmup: int = 20
    decay: float = 0.0
    dropout: float = 0.0


# for a given number of characters many small updates learn most; a text that is read many times is learnt by heart
# unless something is lost on the way (`tests.bench.quality`)
TRAINING = {
    "tiny": Training(64, 16, 1.0e-2, 800),
    "small": Training(128, 16, 1.0e-2, 1000),
    "base": Training(64, 4, 3.0e-3, 9600, 200, 0.1),
    "large": Training(128, 64, 3.0e-3, 5000, 200, 1.0, 0.2),
}
RATES = {"adam": 1.0, "hypergrad": 1.0, "realgrad": 300.0}  # times the preset's rate; measured on corpus/
CHOICES = {"model": tuple(FAMILIES), "preset": PRESETS, "optimiser": tuple(OPTIMISERS), "schedule": tuple(SHAPES),
           "split": SPLITS, "storage": ("float32", "float16")}
OPTIONAL = ("patience", "recompute", "dropout", "decay")  # may be 0


@dataclass(frozen=True)
class RunConfig:
    """Settings of a training run; `from_preset` fills in the sizes.

    Parameters
    ----------
    paths : tuple of str
        Text to learn from, as `core.data.read_corpus` takes it, absolute.
    backend : str
        As `core.backends.choose` takes it; run.json holds what it chose, and `backend_reason` why.
    optimiser : str
        One of `core.optim.OPTIMISERS`.
    rate : float
        Peak learning rate: `warmup` steps up, then along the schedule.
    schedule : str
        One of `core.optim.SHAPES`: down to zero at `steps`, or constant.
    decay : float
        What each matrix loses a step of itself, in units of the rate.
    accumulate : int
        Batches whose gradients make one step, one after the other: the step of a batch so many times as large, in the
        memory of one.
    patience : int
        End the run after so many validation losses in a row that are no better than the best before; 0: never.
    clip : float
        Largest global norm of the gradient.
    field_every, evaluate_every, sample_every, checkpoint_every, digest_every : int
        Steps between looks at the field, validation losses, samples, checkpoints and parameter digests.
    capacity : int
        Length of the scheduler's queue: a stroke takes full effect after this many steps.
    recompute : bool
        Compute each block's inside again in the backward pass instead of keeping it: less memory, more time.
    curvature : float
        Of the space that the symbols' embeddings live in, and of the run's frame: 0 is Euclidean (its frame has -1),
        below 0 the Poincare ball.
    dropout : float
        Share of activations that training loses at random, from 0 to below 1: more than an epoch or two wants some.
    split : str
        What is held out, "contiguous" or "file", as `core.data.read_corpus` takes it.
    storage : str
        What the backward pass keeps of the forward pass, float32 or float16; everything is computed in float32.
    """

    paths: tuple[str, ...]
    model: str
    preset: str
    backend: str
    threads: int
    seed: int
    steps: int
    window: int
    batch: int
    rate: float
    warmup: int = 20
    clip: float = 1.0
    field_every: int = 10
    evaluate_every: int = 50
    sample_every: int = 50
    checkpoint_every: int = 100
    digest_every: int = 25
    capacity: int = 8
    recompute: bool = False
    curvature: float = 0.0
    dropout: float = 0.0
    decay: float = 0.0
    split: str = "contiguous"
    optimiser: str = "adam"
    schedule: str = "linear"
    accumulate: int = 1
    patience: int = 0
    storage: str = "float32"

    @classmethod
    def from_preset(cls, paths: tuple[str, ...], preset: str, *, model: str = "rnn", backend: str = "cpu",
                    threads: int, seed: int = 0, steps: int | None = None, **changes: Any) -> RunConfig:
        """Settings of a preset, with changes.

        Raises
        ------
        RunError
            A name that is unknown here, a setting that is not above 0, or a fraction where a whole number is needed.
        """
        _check_choices({"model": model, "preset": preset, **changes})
        usual, factor = TRAINING[preset], RATES[changes.get("optimiser", cls.optimiser)]
        base = {**usual._asdict(), "rate": usual.rate * factor, "decay": usual.decay / factor,
                "steps": usual.steps if steps is None else steps}
        config = cls(paths=paths, model=model, preset=preset, backend=backend, threads=threads, seed=seed,
                     **{**base, **changes})
        for field in fields(config):
            value = getattr(config, field.name)
            if field.type == "int" and type(value) is not int:
                raise RunError(f"{field.name} is {value!r:.40}: it must be a whole number")
            if field.type == "bool" and type(value) is not bool:
                raise RunError(f"{field.name} is {value!r:.40}: it must be true or false")
            if field.name == "dropout" and not 0 <= value < 1:
                raise RunError(f"dropout is {value}: it must be at least 0 and below 1")
            if field.name == "decay" and not 0 <= value < math.inf:
                raise RunError(f"decay is {value}: it must be at least 0")
            if field.name in ("seed", "curvature") or not isinstance(value, (int, float)):
                continue
            if not (value > 0 or (value == 0 and field.name in OPTIONAL)):
                raise RunError(f"{field.name} is {value}: it must be above 0")
        try:
            check_curvature(config.curvature)
        except ValueError as error:
            raise RunError(str(error)) from error
        return config

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {**asdict(self), "paths": list(self.paths)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> RunConfig:
        """Back from run.json.

        Raises
        ------
        RunError
            A setting is missing, or this version does not know what it names.
        """
        known: dict[str, Any] = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        _check_choices(known)
        try:
            return cls(**{**known, "paths": tuple(known["paths"])})
        except (TypeError, KeyError) as error:
            raise RunError(f"run.json lacks a setting ({error}): it was written by another version") from error

    def build(self, corpus: Corpus) -> Model:
        """The model, sized for the corpus."""
        return build(self.model, self.preset, len(corpus.vocabulary), self.curvature)


def _check_choices(settings: dict[str, Any]) -> None:
    """Refuse a name that nothing here goes by."""
    for name, known in CHOICES.items():
        if name in settings and settings[name] not in known:
            raise RunError(f"{name} {settings[name]!r:.40} is unknown: choose one of {', '.join(known)}")


def environment(backend: dict[str, Any]) -> dict[str, Any]:
    """What must be equal for two executions to be comparable bit for bit."""
    return {**backend, "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}",
            **{name: version(name) for name in LIBRARIES}, "code": code_digest()}


def code_digest() -> str:
    """SHA-256 over the engine's source files: equal digests, equal code."""
    root = Path(__file__).resolve().parent.parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()
