"""What the commands of `zspace` share: consoles, options, and errors meant for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from core.errors import ZSpaceError

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts.")]
DEFAULT_RUNS = Path("runs")


def kind(command: Callable[..., None]) -> Callable[..., None]:
    """Errors meant for people become one sentence and exit code 2."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (ZSpaceError, ValueError) as error:
            err.print(f"zspace: {error}", style="red", markup=False)
            raise typer.Exit(2) from error

    return run


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
