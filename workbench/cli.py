"""The command line `zspace`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from core.desire import SETS
from core.generate import Sampling
from core.importing import read_state
from core.nn.families import FAMILIES
from core.optim import OPTIMISERS, SHAPES
from core.runs import compare as comparison
from core.runs.config import RunConfig
from core.runs.control import send
from core.runs.evaluation import evaluate_run
from core.runs.generations import Writer, measure_desire, new_name, replay_generation
from core.runs.index import UNREADABLE, RunIndex
from core.runs.opening import create_run
from core.runs.replay import replay as replay_run
from core.runs.store import RunFolder, RunStore
from core.runs.trainer import WARM_STEPS, Trainer
from core.tuning import Tuner, cache_file
from workbench.doctor import examine
from workbench.painting import disk, read_disk, steer
from workbench.shell import DEFAULT_RUNS, AsJson, Runs, err, kind, out, print_json
from workbench.standalone import browser
from workbench.study import compare, sweep
from workbench.tables import choice_table, effect_table, evaluation_tables, launch_table, timing_table
from workbench.wishes import read_hint, read_phases, read_wishes

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
                  help="Train small attention-free character models on your own text, and see and steer the loop.")
bench = typer.Typer(no_args_is_help=True, help="Measure this machine.")
app.add_typer(bench, name="bench")

Checkpoint = Annotated[str, typer.Option(help="latest, or best: that of the best validation loss.")]


@app.command()
@kind
def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5006,
    texts: Annotated[Path, typer.Option(help="Folder that texts must lie in.")] = Path(),
    show: Annotated[bool, typer.Option("--show", help="Open a browser.")] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Open the live page on this machine only: `panel serve workbench`, bound to 127.0.0.1."""
    if not texts.is_dir():
        raise ValueError(f"--texts {texts} is no folder: name the one that holds your texts")
    os.environ |= {"ZSPACE_RUNS": str(runs.absolute()), "ZSPACE_TEXTS": str(texts.absolute())}
    out.print(f"the page: http://127.0.0.1:{port}/workbench  (Ctrl-C ends the server; runs go on)")
    words = ["panel", "serve", str(Path(__file__).parent), "--address", "127.0.0.1", "--port", str(port),
             "--log-level", "warning", *(["--show"] if show else [])]
    os.execv(sys.executable, [sys.executable, "-m", *words])


@app.command()
@kind
def train(
    paths: Annotated[list[str], typer.Argument(help="Text files, folders or patterns to learn from.")],
    model: Annotated[str, typer.Option(help=f"Family: {', '.join(FAMILIES)}.")] = "rnn",
    preset: Annotated[str, typer.Option(help="Size: tiny, small, base or large.")] = "tiny",
    backend: Annotated[str, typer.Option(help="cpu, cuda, wgpu or auto.")] = "auto",
    steps: Annotated[int | None, typer.Option(help="Updates; the preset's own number by default.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights and batches.")] = 0,
    split: Annotated[str, typer.Option(help="What is held out, about a tenth: contiguous (the end of the text) or file "
                                       "(whole files).")] = "contiguous",
    threads: Annotated[int | None, typer.Option(help="CPU threads, all by default; a replay needs as many.")] = None,
    optimiser: Annotated[str, typer.Option(help=f"{', '.join(OPTIMISERS)}.")] = "adam",
    rate: Annotated[float | None, typer.Option(help="Peak learning rate; the preset's own, for the optimiser, by "
                                               "default.")] = None,
    schedule: Annotated[str, typer.Option(help=f"Of the rate, after a warm-up: {', '.join(SHAPES)}.")] = "linear",
    accumulate: Annotated[int, typer.Option(help="Batches whose gradients make one step: a larger batch in the memory "
                                            "of one.")] = 1,
    patience: Annotated[int, typer.Option(help="End after so many validation losses in a row without a better one; 0: "
                                          "never.")] = 0,
    storage: Annotated[str, typer.Option(help="float32, or float16 to keep activations for the backward pass in half "
                                         "the memory.")] = "float32",
    curvature: Annotated[float, typer.Option(help="Of the space of the symbols' embeddings: 0 is Euclidean, below 0, "
                                             "such as -1, the Poincare ball.")] = 0.0,
    recompute: Annotated[bool, typer.Option("--recompute", help="Less memory, more time: compute each block again in "
                                            "the backward pass instead of keeping it, for long windows.")] = False,
    dropout: Annotated[float | None, typer.Option(help="Share of activations that training loses at random: some helps "
                                                  "where the text is read many times; the preset's own by default.")
                       ] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Begin with the weights of a PyTorch model of this "
                                               "family and size, a .safetensors file; see core.importing.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Trace launches; print which dominate.")] = False,
    trace_steps: Annotated[int, typer.Option(min=1, help="Steps that --trace covers, after three to warm up.")] = 20,
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Train a model on text; Ctrl-C stops cleanly and `zspace resume` goes on."""
    config = RunConfig.from_preset(
        tuple(os.path.abspath(p) for p in paths), preset, model=model, backend=backend,
        threads=threads or len(os.sched_getaffinity(0)), seed=seed, steps=steps, recompute=recompute,
        split=split, curvature=curvature, optimiser=optimiser, schedule=schedule, accumulate=accumulate,
        patience=patience, storage=storage,
        **{name: value for name, value in (("rate", rate), ("dropout", dropout)) if value is not None})
    folder = create_run(runs, config, read_state(start) if start else None)
    record = folder.read_config()
    if not as_json:
        text = record["corpus"]
        out.print(f"{text['train'] + text['validation']:,} characters in {len(text['files'])} files, "
                  f"{len(text['vocabulary'])} symbols")
        for note in text["notes"]:
            out.print(f"note: {note}", style="yellow", markup=False)
        out.print("baselines, bits per character: "
                  + ", ".join(f"{name} {bits:.3f}" for name, bits in record["baselines"].items() if bits is not None))
    send(folder, "start")
    _run(folder, as_json, trace_steps if trace else 0)


@app.command()
@kind
def resume(run: str, runs: Runs = DEFAULT_RUNS, as_json: AsJson = False) -> None:
    """Go on with a stopped or interrupted run; rows after its checkpoint are recomputed and must be met bit for bit."""
    folder = RunStore(runs).open(run)
    state = folder.status()
    if state in ("running", "paused"):
        raise ValueError(f"run {folder.id} is {state} already: stop it first")
    send(folder, "start")
    _run(folder, as_json)


def _run(folder: RunFolder, as_json: bool, trace_steps: int = 0) -> None:
    """Train in this process, with a progress bar where somebody looks."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   TextColumn("{task.fields[loss]}"), console=out, disable=as_json)
    with bar:
        trainer = Trainer(folder, trace_steps=trace_steps)
        if not as_json:
            c, why = trainer.config, escape(trainer.backend_reason)
            bar.print(f"run [bold]{folder.id}[/]  {c.model} {c.preset} on {c.backend} ({why})")
        task = bar.add_task("training", total=trainer.config.steps, completed=trainer.step, loss="")

        def show(row: dict[str, Any]) -> None:
            if row["split"] == "train":
                bar.update(task, completed=row["step"], loss=f"{row['bits']:.3f} bits/char")
            elif not as_json:
                interval = "  ({:.3f} to {:.3f})".format(*row["interval"]) if "interval" in row else ""
                bar.print(f"step {row['step']:>6,}  {row['split']:<10} {row['bits']:.3f} bits/char{interval}  "
                          f"{row['characters']:,} characters")

        def interrupt(*_: object) -> None:
            trainer.interrupted = True

        trainer.on_row = show
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, interrupt)
        for warning in trainer.warnings:
            err.print(warning, style="yellow", markup=False)
        state = trainer.run()
    if trace_steps and trainer.traced is None:
        err.print(f"nothing was traced: that begins after {WARM_STEPS} steps", style="yellow")
    elif trainer.traced is not None and not as_json:
        out.print(launch_table(*trainer.traced))
        out.print(f"{folder.trace}: open it at ui.perfetto.dev", markup=False)
    found = comparison.summary(folder)
    if not as_json and found["peak_bytes"]:
        out.print(f"a step held at most {found['peak_bytes'] / 1e6:,.1f} MB of arrays on {trainer.config.backend}")
    if as_json:
        print_json(found)
    elif state == "stopped":
        out.print(f"stopped at step {trainer.step:,}; go on with: zspace resume {folder.id}")
    else:
        why = f" at step {trainer.step:,}: {trainer.ended}" if trainer.ended else ""
        out.print(f"finished{why}; listen to it with: zspace sample {folder.id}")


@app.command()
@kind
def sample(
    run: str,
    prompt: Annotated[str | None, typer.Option(help="Text to continue; a new line by default.")] = None,
    length: Annotated[int, typer.Option(min=1, help="Characters to draw.")] = 400,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest character.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Keep the k likeliest characters.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Keep the fewest characters with this share.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seed and settings, equal text.")] = 0,
    desire: Annotated[str, typer.Option(help="What is wanted, and scores: characters or one of "
                                        f"{', '.join(SETS)}, such as 'vowels=1,xyz=-2'.")] = "",
    strength: Annotated[float, typer.Option(min=0, help="Largest tilt towards the desire.")] = 1.0,
    budget: Annotated[float, typer.Option(min=0, help="Largest KL divergence of the tilt, nats a character.")] = 0.1,
    checkpoint: Checkpoint = "latest",
    window: Annotated[str, typer.Option(help="A hint: characters to favour, as often as they stand here.")] = "",
    distribution: Annotated[str, typer.Option(help="A hint: shares to lean to, written like a desire.")] = "",
    phases: Annotated[str, typer.Option(help="Only look for the first characters, and settle later: 128,256.")] = "",
    entropy: Annotated[float | None, typer.Option(help="Lead the temperature to this entropy, in nats.")] = None,
    painted: Annotated[Path | None, typer.Option("--disk", help="A painted disk as .npy, 128 x 128 in [-1, 1]: what is "
                                                 "under a symbol is its score; `zspace disk` shows where.")] = None,
    compare: Annotated[int, typer.Option(min=0, help="Write so many seeds with and without desire, compared.")] = 0,
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Let a run's latest or best checkpoint continue a prompt; every step is recorded under generations/."""
    folder = RunStore(runs).open(run)
    writer = Writer(folder, checkpoint)
    prompt, symbols = writer.opening if prompt is None else prompt, writer.corpus.vocabulary
    wanted = read_wishes("--desire", desire, symbols)
    if painted is not None:
        wanted = read_disk(painted, writer) + (0.0 if wanted is None else wanted)
    how = Sampling(temperature, top_k, top_p, wanted, strength, budget,
                   read_hint(window, distribution, symbols), read_phases(phases), entropy)
    if compare:
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=err,
                      disable=as_json, transient=True) as bar:
            task = bar.add_task("writing", total=2 * compare * length)
            found = measure_desire(writer, prompt, length, range(seed, seed + compare), how,
                                   lambda *_: bar.advance(task))
        if as_json:
            print_json({"run": folder.id, **asdict(found)})
        else:
            out.print(effect_table(found))
            out.print(f"{compare} pairs are recorded, the first as {' and '.join(found.names[0])}", style="dim")
        return
    name, text = new_name(), []
    for drawn in writer.record(name, prompt, length, seed, how):
        text.append(writer.corpus.decode([drawn.symbol]))
        if not as_json:
            sys.stdout.write(text[-1])
            sys.stdout.flush()
    if as_json:
        print_json({"run": folder.id, "generation": name, "prompt": prompt, "text": "".join(text)})
    else:
        out.print(f"\nrecorded as generation {name}; zspace replay {folder.id} --generation {name}", style="dim",
                  soft_wrap=True)


@app.command("eval")
@kind
def evaluate(
    run: str,
    window: Annotated[int | None, typer.Option(min=1, help="Characters a window; as in training by default.")] = None,
    text: Annotated[str | None, typer.Option(help="Score this file, folder or pattern instead of what the run holds "
                                             "out.")] = None,
    checkpoint: Checkpoint = "latest",
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint, each character once in windows of fresh state; recorded under evaluations/."""
    folder = RunStore(runs).open(run)
    found = evaluate_run(folder, window, text, checkpoint)
    if as_json:
        print_json(found)
        return
    scored = found["scored"]
    for note in scored["notes"]:
        out.print(f"note: {note}", style="yellow", markup=False)
    if scored["unknown"]:
        out.print(f"note: {scored['unknown']:,} of {scored['characters']:,} characters are unknown to the run's "
                  "vocabulary and are scored as its unknown symbol", style="yellow")
    for table in evaluation_tables(found):
        out.print(table)
    out.print(f"recorded as evaluation {found['id']}", style="dim")


app.command()(steer)
app.command()(disk)


@app.command()
@kind
def replay(
    run: str,
    generation: Annotated[str, typer.Option(help="Repeat this recorded generation instead of the training.")] = "",
    runs: Runs = DEFAULT_RUNS,
    as_json: AsJson = False,
) -> None:
    """Repeat a run in a fresh process; exit code 0: equal, 1: departs, 3: not comparable."""
    folder = RunStore(runs).open(run)
    result = replay_generation(folder, generation) if generation else replay_run(folder)
    if as_json:
        print_json(asdict(result))
    else:
        out.print(f"{result.verdict}: {result.reason}", markup=False)
    raise typer.Exit({"equal": 0, "departs": 1, "not comparable": 3}[result.verdict])


app.command()(browser)
app.command()(compare)
app.command()(sweep)


@app.command("runs")
@kind
def list_runs(runs: Runs = DEFAULT_RUNS, as_json: AsJson = False) -> None:
    """List the runs, newest first."""
    found = RunIndex(runs).summaries()
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"no runs in {runs}: start one with `zspace train corpus`", markup=False)
        return
    table = Table(*(Column(name, no_wrap=True) for name in ("run", "status", "model", "step", "bits/char", "patches")))
    for r in found:
        if r["status"] == UNREADABLE:
            err.print(f"{r['run']} cannot be read: {r['reason']}", style="yellow", markup=False)
            continue
        bits = next((r[k] for k in ("final", "validation", "train") if r[k] is not None), None)
        table.add_row(r["run"], r["status"], f"{r['model']} {r['preset']}", f"{r['step']:,} / {r['steps']:,}",
                      "-" if bits is None else f"{bits:.3f}", str(r["patches"]))
    out.print(table)


@app.command()
@kind
def doctor(as_json: AsJson = False) -> None:
    """Say which backends, browsers and libraries are here, and what to install."""
    findings = examine()
    if as_json:
        print_json([asdict(f) for f in findings])
        return
    table = Table("", "what", "found", "to get it")
    for f in findings:
        table.add_row("[green]yes[/]" if f.found else "[yellow]no[/]", f.name, escape(f.detail), escape(f.remedy))
    out.print(table)


@app.command("cache")
@kind
def show_cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget them; they are measured again.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the kernel variants that were found fastest on this machine's devices."""
    found = Tuner(cache_file())
    if clear:
        count = found.clear()
        if as_json:
            print_json({"file": str(found.path), "cleared": count})
        else:
            out.print(f"{count} choices cleared from {found.path}", markup=False)
        return
    entries = found.entries()
    if as_json:
        print_json({"file": str(found.path), "entries": [asdict(e) for e in entries]})
    elif entries:
        out.print(choice_table(entries))
        out.print(f"{found.path}, {found.path.stat().st_size:,} bytes", markup=False)
    else:
        out.print(f"nothing is tuned yet ({found.path} holds no choice): train on a backend with tuned kernels",
                  markup=False)


@bench.command()
@kind
def kernels(
    backend: Annotated[str, typer.Option(help="cpu, cuda, wgpu or auto.")] = "auto",
    size: Annotated[float, typer.Option(min=0.01, help="MiB in the largest input of a kernel.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds of a sequence of launches.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Time kernels beside the device's measured ceilings and beside NumPy, SciPy, CuPy and PyTorch, where they are."""
    from core.backends import choose, open_backend
    from core.bench import run as run_kernels

    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err,
                  disable=as_json, transient=True) as bar:
        task = bar.add_task("kernels", total=None)
        report = run_kernels(open_backend(choose(backend)[0]), size, seconds=seconds,
                             on_timing=lambda _: bar.advance(task))
    if as_json:
        print_json(asdict(report))
    else:
        out.print(timing_table(report))


if __name__ == "__main__":
    app()
