"""File locks (flock). A lock is held until every process that has the file open has closed it or has ended."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_POLL = 0.2


def take(file: int | IO[Any], *, shared: bool = False, wait: bool = True) -> bool:
    """Locks an open file. Without `wait`, returns False when another holds the lock.

    Raises OSError on a file system without locks.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_within(seconds: float, file: int | IO[Any]) -> bool:
    """Waits for the lock of an open file; returns False when others still hold it after so many `seconds`."""
    deadline = time.monotonic() + seconds
    while not take(file, wait=False):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Holds the lock of the file at `path` during the `with` block; waits for it, and creates the file if needed."""
    with path.open("a") as file:
        take(file)
        yield
