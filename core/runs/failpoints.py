"""Places where a test may kill the process, to prove that a run survives it. In normal use they do nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

from core.errors import RunError

VARIABLE = "ZSPACE_FAILPOINT"
_hits: Counter[str] = Counter()


def failpoint(name: str, last_act: Callable[[], object] | None = None) -> None:
    """Kill this process with SIGKILL at the hit that ``ZSPACE_FAILPOINT="name:count"`` names; otherwise do nothing.

    Parameters
    ----------
    name
        Name of the place. In use: ``journal.before``, ``journal.half``, ``journal.after``, and for files that are
        replaced as a whole ``KIND.half``, ``KIND.before_replace``, ``KIND.after_replace`` with KIND ``atomic``,
        ``checkpoint`` or ``live``.
    last_act
        Called just before death, for instance to write the first half of a record.

    Raises
    ------
    RunError
        When the variable is set but is not ``name:count`` with a count of at least 1.
    """
    setting = os.environ.get(VARIABLE)
    if setting is None:
        return
    armed, _, count = setting.rpartition(":")
    if not armed or not count.isdecimal() or int(count) < 1:
        raise RunError(f"{VARIABLE}={setting!r} is not name:count with a count of at least 1; unset it or correct it.")
    if armed != name:
        return
    _hits[name] += 1
    if _hits[name] == int(count):
        if last_act is not None:
            last_act()
        os.kill(os.getpid(), signal.SIGKILL)
