"""A task's temporary folder: there as long as its task lives. What killed tasks have left is removed by later ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from airflow_provider_mlpipe.storage import locks

PREFIX = "mlpipe-executor-"
_JUST_MADE = 60.0  # seconds in which whoever made a folder has surely locked it


class TaskFolder:
    """A folder of this process's own below TMPDIR, which is locked (flock) until the end of the `with` block.

    The kernel lets go of the lock when this process is gone, however it went. Raises OSError when there can be none.
    """

    def __init__(self) -> None:
        _remove_abandoned()
        self._path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._descriptor = os.open(self._path, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks: then nobody else gets one either
            locks.take(self._descriptor, wait=False)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._descriptor)


def _remove_abandoned() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # its task lives, it is another user's, or somebody else removes it
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
