"""Files and folders that user code read while it ran. They are known only afterwards, so they are no part of the
fingerprint: they are recorded with the execution, and an equal execution is a hit only if they are still the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.proto.mlpipe_pb2 import ExecutorResult
from airflow_provider_mlpipe.storage.digests import file_digest, text_digest

_ABSENT, _UNREADABLE = "absent", "unreadable"


@dataclass(frozen=True)
class Read:
    """One of them. `content` is its digest; a folder's is that of the names in it.

    `stamp` changes whenever a file is written, so a file with the same one need not be hashed again. A folder, or what
    does not exist, has none. `below` is the name of the source folder that it was in, and `place` its path there.
    """

    path: str
    content: str
    stamp: str
    below: str = ""
    place: str = ""

    def in_folders(self, folders: Mapping[str, str]) -> Read:
        """This read, with its place in the nearest of the source folders, which are given by name."""
        above = {folder: name for name, folder in folders.items() if f"{self.path}/".startswith(f"{folder}/")}
        if not above:
            return self
        nearest = max(above, key=len)
        return replace(self, below=above[nearest], place=os.path.relpath(self.path, nearest))


def read_now(path: str) -> Read:
    """The file or folder as it is now."""
    return Read(path=path, content=_content(Path(path)), stamp=stamp(path))


def stamp(path: str) -> str:
    """A file's place on disk, size and times; it costs no more than a look at the file."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def changes(reads: Iterable[Read], folders: Mapping[str, str]) -> Iterator[str]:
    """What has changed since then, each as a text. `folders` are those of the code that would run now, by name.

    What was beside the code then is looked for beside the code now: it may have moved, as with a new version of a DAG
    bundle. The old place may be gone; if it is there, it must be the same, too, since code may name it in full.
    """
    for read in reads:
        now = os.path.normpath(f"{folders[read.below]}/{read.place}") if read.below in folders else read.path
        if how := _change(read, now):
            yield f"{now}, which its code reads, {how}"
        elif now != read.path and os.path.exists(read.path) and (how := _change(read, read.path)):
            yield f"{read.path}, which its code reads, {how}"


def of_result(result: ExecutorResult, folders: Mapping[str, str]) -> list[Read]:
    """What an executor's result says its user code read, with its places in the source folders."""
    return [Read(read.path, read.content, read.stamp).in_folders(folders) for read in result.reads]


def to_struct(reads: Sequence[Read]) -> dict[str, list[str]]:
    """A form that the store can hold."""
    return {read.path: [read.content, read.stamp, read.below, read.place] for read in reads}


def from_struct(struct: Mapping[str, Any]) -> list[Read]:
    """What `to_struct` was given."""
    return [Read(path, *values) for path, values in struct.items()]


def _change(read: Read, path: str) -> str | None:
    if path == read.path and read.stamp and read.stamp == stamp(path):
        return None
    content = _content(Path(path))
    if content == read.content:
        return None
    return "is gone" if content == _ABSENT else "is new" if read.content == _ABSENT else "changed"


def _content(path: Path) -> str:
    try:
        if path.is_dir():
            names = (name for name in os.listdir(path) if name != "__pycache__" and not name.startswith("."))
            return text_digest("\0".join(sorted(names)))
        return file_digest(path) if path.is_file() else _ABSENT
    except OSError:
        return _UNREADABLE
