"""Announced points in a run, where the chaos tests kill a process or hold it while they kill something else.

With `MLPIPE_BARRIERS` unset this does nothing. Set, it names a folder: reaching a barrier creates `<name>@<pid>` there,
and if `<name>.hold` exists the process waits until that file is gone (or the process is killed).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "MLPIPE_BARRIERS"


def barrier(name: str) -> None:
    """Announces that this process has come to `name`."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    Path(folder, f"{name}@{os.getpid()}").touch()
    while Path(folder, f"{name}.hold").exists():
        time.sleep(0.01)
