"""Files and folders that user code read while it ran. They are known only afterwards, so they are no part of the
fingerprint: they are recorded with the execution, and an equal execution is a hit only if they are still the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.storage.digests import file_digest, text_digest

_ABSENT, _UNREADABLE = "absent", "unreadable"


@dataclass(frozen=True, kw_only=True)
class Read:
    """One of them. `content` is its digest; a folder's is that of the names in it.

    `stamp` changes whenever a file is written, so a file with the same one need not be hashed again. A folder, or what
    does not exist, has none.
    """

    path: str
    content: str
    stamp: str


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


def changes(reads: Iterable[Read]) -> Iterator[str]:
    """What has changed since then, each as a text."""
    for read in reads:
        if read.stamp and read.stamp == stamp(read.path):
            continue
        content = _content(Path(read.path))
        if content != read.content:
            how = "is gone" if content == _ABSENT else "is new" if read.content == _ABSENT else "changed"
            yield f"{read.path}, which its code reads, {how}"


def to_struct(reads: Sequence[Read]) -> dict[str, list[str]]:
    """A form that the store can hold."""
    return {read.path: [read.content, read.stamp] for read in reads}


def from_struct(struct: Mapping[str, Any]) -> list[Read]:
    """What `to_struct` was given."""
    return [Read(path=path, content=content, stamp=stamp) for path, (content, stamp) in struct.items()]


def _content(path: Path) -> str:
    try:
        if path.is_dir():
            names = (name for name in os.listdir(path) if name != "__pycache__" and not name.startswith("."))
            return text_digest("\0".join(sorted(names)))
        return file_digest(path) if path.is_file() else _ABSENT
    except OSError:
        return _UNREADABLE
