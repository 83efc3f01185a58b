"""File locks (flock). A lock is held until every process that has the file open has closed it or has ended."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil

_POLL = 0.2

log = logging.getLogger(__name__)


def opened(path: Path) -> IO[str]:
    """Open a lock's file, and create it if needed. Other users cannot open it: whoever can, can hold the lock."""
    return open(path, "a+", opener=_opener, encoding="utf-8")


def _opener(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and found.st_mode & 0o007:  # of an earlier version; a group may be wanted
        os.fchmod(descriptor, found.st_mode & 0o770)
    return descriptor


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
    """Holds the lock of the file at `path` during the `with` block; waits for it, and says for whom it waits."""
    with opened(path) as file:
        if not take(file, wait=False):
            log.warning("waits for the lock of %s, which %s holds", path, holder(file))
            take(file)
        yield


def holder(file: IO[Any]) -> str:
    """Who holds the lock of an open file: a process of this machine, as far as Linux tells."""
    inode = os.fstat(file.fileno()).st_ino
    with contextlib.suppress(OSError, psutil.Error):
        for line in Path("/proc/locks").read_text().splitlines():
            kind, pid, place = line.split()[1], line.split()[4], line.split()[5]
            if kind == "FLOCK" and place.rpartition(":")[2] == str(inode) and int(pid) > 0:
                process = psutil.Process(int(pid))
                return f"process {pid} ({process.name()}) of user {process.username()}"
    return "another process"
