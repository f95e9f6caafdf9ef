"""How long `import core` takes beside `import numpy`, which it cannot do without.

    python -m tests.bench.imports [--rounds 15]

Fresh processes in turns; printed are medians of the time inside `import`, and of what `core` adds to NumPy's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from tests.bench.spawn import stamp


def seconds(module: str) -> float:
    """Of one import in a fresh process, the interpreter's own start left out."""
    ask = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    pairs = [(seconds("core"), seconds("numpy")) for _ in range(parser.parse_args().rounds)]
    core, numpy = (statistics.median(x) for x in zip(*pairs, strict=True))
    print(f"{stamp()}: import core {1000 * core:.0f} ms, import numpy {1000 * numpy:.0f} ms, "
          f"core adds {1000 * statistics.median(a - b for a, b in pairs):.0f} ms; limit 300 ms")


if __name__ == "__main__":
    main()
