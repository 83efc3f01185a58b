"""Notes which files and folders user code reads, in this process and its forks.

Python tells an audit hook of every `open` and of every folder that is listed. What a library reads in C or C++, such as
`tf.io.gfile`, `tf.data` or pyarrow, it does not tell.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, is_installed
from airflow_provider_mlpipe.caching.reads import Read, read_now, stamp
from airflow_provider_mlpipe.metadata.values import printable

_MOST = 1000
"""How many files and folders are recorded for one execution: each is looked at before a hit."""
_FOLDERS = frozenset({"os.listdir", "os.scandir"})
_FILES = frozenset({"open", "sqlite3.connect"})
# What libraries look up in the operating system on behalf of any code.
_OF_THE_SYSTEM = (
    "/bin", "/dev", "/etc/fonts", "/etc/group", "/etc/hosts", "/etc/localtime", "/etc/machine-id", "/etc/mime.types",
    "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd", "/etc/pki", "/etc/resolv.conf", "/etc/ssl", "/etc/timezone",
    "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib64", "/usr/local/lib",
    "/usr/sbin", "/usr/share",
)  # fmt: skip


_named: set[str] = set()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What user code read, or why later runs must not reuse the result."""

    reads: Sequence[Read] = ()
    problem: str = ""


def count_as_user_code(module: str) -> None:
    """From now on the package of this module counts as user code, even if it is installed; this package never does."""
    _named.update({module.partition(".")[0]} - {PACKAGE_ROOT.name})


class Watch:
    """From its start on, appends to the file `notes` what user code reads, except in the places `apart`."""

    def __init__(self, notes: Path, apart: Sequence[str]) -> None:
        self._notes = str(notes)
        places = {
            place for path in (*apart, str(PACKAGE_ROOT)) for place in (os.path.abspath(path), os.path.realpath(path))
        }
        self._apart = (*_OF_THE_SYSTEM, *sorted(places))
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._is_busy = threading.local()

    def start(self) -> None:
        """Starts for good: Python cannot remove a hook."""
        is_installed(PACKAGE_ROOT)  # its first call imports a module, which must not happen inside the hook
        notes = os.open(self._notes, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
        os.close(notes)
        sys.addaudithook(self._hear)

    def seen(self, sources: Collection[str]) -> Seen:
        """What user code has read so far, without the `sources`, which were imported."""
        stamps = {path: stamp for path, stamp in self._first_reads().items() if path not in sources}
        if len(stamps) > _MOST:
            return Seen(
                problem=f"its code reads more than {_MOST:,} files and folders; name their folders in cache_files"
            )
        if strange := [path for path in stamps if printable(path) != path]:
            return Seen(problem=f"its code reads a file whose name is not valid text: {printable(strange[0])}")
        reads = [read_now(path) for path in sorted(stamps)]
        written = [read.path for read in reads if read.stamp != stamps[read.path]]
        return Seen(
            reads=reads, problem=f"changed while it ran: {', '.join(written)}, which its code reads" if written else ""
        )

    def _first_reads(self) -> dict[str, str]:
        """The stamps of files at their first read; without the files that were written before it."""
        written: set[str] = set()
        first: dict[str, str] = {}
        for line in Path(self._notes).read_text().splitlines():
            path, is_written, stamp = json.loads(line)
            if is_written:
                written.add(path)
            elif path not in written:
                first.setdefault(path, stamp)
        return first

    def _hear(self, event: str, arguments: Sequence[Any]) -> None:
        if (event in _FILES or event in _FOLDERS) and not getattr(self._is_busy, "now", False):
            self._is_busy.now = True
            try:
                self._note(event, arguments)
            except (OSError, TypeError, ValueError):  # not a path: Python will say so
                pass
            finally:
                self._is_busy.now = False

    def _note(self, event: str, arguments: Sequence[Any]) -> None:
        place = arguments[0]
        if place is None or isinstance(place, int):
            return
        is_written = event == "open" and _writes(arguments[2])
        noted = self._written if is_written else self._read
        path = os.path.abspath(os.fsdecode(place))
        if path in noted or len(self._read) > _MOST or self._is_apart(path) or self._is_apart(os.path.realpath(path)):
            return
        if is_written or _is_of_user_code(sys._getframe(2)):
            noted.add(path)
            self._append([path, is_written, "" if is_written else stamp(path)])

    def _append(self, note: list[Any]) -> None:
        descriptor = os.open(self._notes, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, json.dumps(note).encode() + b"\n")
        finally:
            os.close(descriptor)

    def _is_apart(self, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}/") for each in self._apart) or _is_installed(path)


def _writes(flags: int) -> bool:
    """Whether a file is opened to be written; one that is both read and written counts as read if it must exist."""
    mode = flags & os.O_ACCMODE
    return mode == os.O_WRONLY or (mode == os.O_RDWR and bool(flags & os.O_CREAT))


def _is_installed(path: str) -> bool:
    return _is_installed_folder(os.path.dirname(path))


@functools.cache
def _is_installed_folder(folder: str) -> bool:
    return is_installed(Path(folder))


def _is_of_user_code(frame: FrameType | None) -> bool:
    """Whether user code asked for it, itself or by a library.

    It is not if this package asked for it, or Python in order to import a module.
    """
    while frame is not None:
        answer = _asks(frame)
        if answer is not None:
            return answer
        frame = frame.f_back
    return True  # a thread, which user code or a library has started


def _asks(frame: FrameType) -> bool | None:
    """Whether this is user code; None for a library, which acts for whoever calls it."""
    file = frame.f_code.co_filename
    if file.startswith("<frozen importlib") and frame.f_code.co_name != "get_data":
        return False
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _named:
        return True
    return None if file.startswith("<") else _is_user_file(file)


@functools.cache
def _is_user_file(file: str) -> bool | None:
    if file.startswith(f"{PACKAGE_ROOT}{os.sep}"):
        return False
    return None if is_installed(Path(file)) else True
