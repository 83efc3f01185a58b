"""File locks (flock): held until the file is closed in every process that has it, however its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_POLL = 0.2


def take(file: int | IO[Any], *, shared: bool = False, wait: bool = True) -> bool:
    """Locks an open file; False when others hold it and this need not `wait`. Raises OSError without locks."""
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_within(seconds: float, file: int | IO[Any]) -> bool:
    """Locks an open file as soon as others let go of it; False when they have not by then."""
    deadline = time.monotonic() + seconds
    while not take(file, wait=False):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Holds the lock of the file at `path`, made if need be, during the `with` block; waits for it."""
    with path.open("a") as file:
        take(file)
        yield
