"""``python -m core.kernels [folder]`` refreshes the browser's copies, static/kernels by default."""

import sys
from pathlib import Path

from core.kernels import refresh_copies

changed = refresh_copies(Path(sys.argv[1] if len(sys.argv) > 1 else "static/kernels"))
print(f"refreshed: {', '.join(changed)}" if changed else "the copies are up to date")
