"""The page, measured: how soon it opens beside TensorBoard, what it costs training, how many frames it carries.

    python -m tests.bench.dashboard [--peer PYTHON_WITH_TENSORBOARD] [--only first-paint|cost|frames]

See `first_paint`, `page_cost` and `frames` for what each number means. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import first_paint, frames, page_cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has TensorBoard; without one, ours is measured alone")
    parser.add_argument("--only", choices=("first-paint", "cost", "frames"))
    parser.add_argument("--pairs", type=int, default=5)
    ask = parser.parse_args()
    parts: dict[str, Callable[[Path], None]] = {
        "first-paint": lambda root: first_paint.measure(root, ask.peer, ask.pairs),
        "cost": lambda root: page_cost.measure(root, ask.pairs),
        "frames": lambda root: frames.measure(root, ask.pairs)}
    for name, part in parts.items():
        if ask.only in (None, name):
            with tempfile.TemporaryDirectory() as root:
                part(Path(root))


if __name__ == "__main__":
    main()
