"""A task's temporary folder: it exists as long as the task. Later tasks remove the folders of killed tasks."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from airflow_provider_mlpipe.storage import locks

PREFIX = "mlpipe-executor-"
_JUST_MADE = 60.0  # seconds; a folder that is older has been locked by the task that made it


class TaskFolder:
    """This process's own folder below TMPDIR, which is locked (flock) until the end of the `with` block.

    The kernel releases the lock when this process ends for any reason. Raises OSError when the folder cannot be made.
    """

    def __init__(self) -> None:
        _remove_abandoned()
        self._path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._descriptor = os.open(self._path, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks: then no other process can lock it either
            locks.take(self._descriptor, wait=False)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._descriptor)


def _remove_abandoned() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # its task is running, it is another user's, or another task removes it
            if _is_old_and_ours(path):
                _remove_unless_locked(path)


def _is_old_and_ours(path: Path) -> bool:
    stat = path.lstat()
    return stat.st_uid == os.geteuid() and abs(time.time() - stat.st_mtime) > _JUST_MADE


def _remove_unless_locked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if locks.take(descriptor, wait=False):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
