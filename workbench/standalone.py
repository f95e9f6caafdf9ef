"""A recorded run as a folder of plain files that any static host serves: `zspace browser RUN --out FOLDER`.

The page is made of the same modules as the workbench's own. The run comes as batches of `canvas.codec` messages, those
that the server would send, and Python as `make browser` staged it; every address in it is relative.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from canvas import codec
from canvas.codec import Message
from core.errors import RunError
from core.runs.store import RunFolder, RunStore
from workbench.controller import homology
from workbench.disk import Disk
from workbench.modules import STATIC, sources
from workbench.shell import DEFAULT_RUNS, Runs, kind, out
from workbench.staging import staged
from workbench.watch import RunWatch

BATCH = 4 << 20  # bytes that one file holds, about: a page takes 16 MiB at once
RECORD = "run.json"  # names the files with the run; whoever has it is a folder of ours
PARTS = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)  # of page.html that both pages have


@kind
def browser(
    run: Annotated[str, typer.Argument(help="The newest by default.")] = "",
    target: Annotated[Path, typer.Option("--out", help="Folder to write; an older one of this kind is replaced."),
                      ] = Path("build/browser"),
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Write a run as a page without a server: canvas, charts, replay and scripts, for any static host."""
    store = RunStore(runs)
    if not run and not store.list():
        raise ValueError(f"there is no run in {runs}: record one with `zspace train corpus`")
    folder = store.open(run) if run else max(store.list(), key=lambda f: f.config.stat().st_mtime)
    size = export(folder, target)
    python = "with Python" if staged() else "without Python for scripts (make browser stages it)"
    out.print(f"run {folder.id} is in {target}, {size / 1e6:.1f} MB {python}; look at it with:\n"
              f"python3 -m http.server --bind 127.0.0.1 --directory {target}", markup=False, soft_wrap=True)


def export(folder: RunFolder, target: Path) -> int:
    """Write a run and the page that shows it.

    Parameters
    ----------
    folder : RunFolder
    target : Path
        New, empty, or written by this before.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    ValueError
        The target holds something else.
    """
    if target.exists() and not (target / RECORD).exists() and any(target.iterdir()):
        raise ValueError(f"{target} holds other files: name a new folder with --out")
    fresh = target.with_name(target.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    _write_page(fresh)
    names = []
    for i, batch in enumerate(_batches(messages(folder))):
        names.append(f"run-{i}.bin")
        (fresh / names[-1]).write_bytes(batch)
    (fresh / RECORD).write_text(json.dumps({"run": folder.id, "files": names}))
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def messages(folder: RunFolder) -> Iterator[bytes]:
    """What a page would be told of a run, and of each look its components."""
    watch = RunWatch(folder)

    def say(**said: Any) -> bytes:
        return codec.encode(codec.text("text", said))

    try:
        disk = Disk(folder).facts
    except RunError:
        disk = None  # no checkpoint yet
    yield say(type="facts", **watch.facts, status=watch.state["status"], step=watch.step, disk=disk)
    for name in ("train", "validation", "looks"):
        table = getattr(watch, name).tail()
        if len(table):
            yield codec.encode(Message("series", name, 0, table.shape, "f64", table.astype("<f8").tobytes()))
    for look in watch.fields:
        yield codec.encode(Message("field", look.kind, look.step, look.rho.shape, "f32",
                                   look.rho.astype("<f4").tobytes(), time=look.time, frame=watch.frame.signature()))
        yield say(type="look", **homology(watch, look.kind, look.step))
    for path in sorted(folder.samples.glob("step-*.txt")):
        bits = path.with_suffix(".bits.json")
        yield say(type="sample", step=int(path.stem.removeprefix("step-")), text=path.read_text(encoding="utf-8"),
                  bits=json.loads(bits.read_text()) if bits.exists() else [])
    if watch.strokes:
        layers = np.stack([s.relation for s in watch.strokes]).astype("<f4")
        yield say(type="strokes", strokes=[{"step": s.step, "seq": s.seq} for s in watch.strokes])
        yield codec.encode(Message("layers", "atlas", 0, layers.shape, "f32", layers.tobytes()))


def _batches(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Whole messages, about `BATCH` bytes together; what belongs to a text stays with it."""
    held: list[bytes] = []
    for part in parts:
        if sum(map(len, held)) > BATCH and codec.decode(part, "browser").kind != "layers":
            yield b"".join(held)
            held = []
        held.append(part)
    yield b"".join(held)


def _write_page(target: Path) -> None:
    """index.html and what it loads, all under static/."""
    static = target / "static"
    static.mkdir(parents=True)
    for name in (*sources("standalone.js"), "script_worker.js", "theme.js", "workbench.css", "widget.css",
                 "standalone.css", "icon.svg"):
        shutil.copyfile(STATIC / name, static / name)
    shutil.copytree(STATIC / "kernels", static / "kernels")
    runtime = staged()
    if runtime:
        shutil.copytree(STATIC / "pyodide", static / "pyodide")
    page = (STATIC / "standalone.html").read_text(encoding="utf-8")
    shared = dict(PARTS.findall((Path(__file__).parent / "page.html").read_text(encoding="utf-8")))
    for name, part in shared.items():
        page = page.replace(f"<!-- {name} -->", part)
    (target / "index.html").write_text(page.replace("RUNTIME", html.escape(json.dumps(runtime))), encoding="utf-8")
