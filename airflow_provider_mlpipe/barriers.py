"""Named points in a run. The chaos tests kill a process there, or hold it while they kill another.

Without the variable `MLPIPE_BARRIERS` this does nothing. The variable names a folder: a process that reaches a barrier
creates the file `<name>@<pid>` there. If `<name>.hold` exists, the process waits until that file is gone (or until the
process is killed).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "MLPIPE_BARRIERS"


def barrier(name: str) -> None:
    """Announces that this process has reached `name`."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    Path(folder, f"{name}@{os.getpid()}").touch()
    while Path(folder, f"{name}.hold").exists():
        time.sleep(0.01)
