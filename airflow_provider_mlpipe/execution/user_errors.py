"""Finds the user's line in tracebacks, and the cause in messages of libraries."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from pathlib import Path

from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, is_installed

_GENERATED = ("<", "__autograph_generated")
"""How names of files begin that nobody wrote: Python's own, such as `<string>`, and those of AutoGraph."""

_FILE_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_COLORS = re.compile(r"\x1b\[\d+m")
_NODES = re.compile(r"\s*(\[\[\{\{.*\}\}\]\])?\s*(\[Op:[^\]]*\])?\s*$")
_HEADINGS = re.compile(
    r"in user code:|Graph execution error:|Detected at node .*|<stack traces unavailable>"
    r"|Exception encountered when calling .*"
)
"""Lines that AutoGraph, TensorFlow and Keras put before the cause."""


def users_frame(frames: Iterable[traceback.FrameSummary]) -> traceback.FrameSummary | None:
    """Return the deepest frame in a file of the user's: neither installed, nor of this package, nor generated."""
    return next((frame for frame in reversed(list(frames)) if is_users(frame.filename)), None)


def is_users(filename: str) -> bool:
    """Whether a traceback's file is the user's."""
    path = Path(filename).resolve()
    return not (path.name.startswith(_GENERATED) or is_installed(path) or PACKAGE_ROOT in path.parents)


def place(frame: traceback.FrameSummary) -> str:
    """Return "file, line 3"."""
    return f"{frame.filename}, line {frame.lineno}"


def cause(message: str) -> str:
    """Return the line of a message that names the cause: the first that is not a heading, nor of a traceback."""
    lines = iter(_COLORS.sub("", message).splitlines())
    for line in map(str.strip, lines):
        if _FILE_LINE.match(line):
            next(lines, None)  # the line of code
        elif line and not _HEADINGS.fullmatch(line):
            return _NODES.sub("", line)
    return message.strip().partition("\n")[0]


def headline(error: BaseException) -> str:
    """Describe an error in one line: its type, its cause, and the user's file and line, if there is one."""
    kind, text = type(error).__name__, _text(error)
    message, where = cause(text).removeprefix(f"{kind}: "), users_place(error)
    said = f"{kind}: {message}" if message else kind
    return f"{said} ({where})" if where and where not in said else said


def users_place(error: BaseException) -> str | None:
    """Return the user's deepest file and line: AutoGraph and TensorFlow name it in the message only."""
    named = [found.groups() for found in _FILE_LINE.finditer(_text(error)) if is_users(found["file"])]
    frame = users_frame(traceback.extract_tb(error.__traceback__))
    return "{}, line {}".format(*named[-1]) if named else place(frame) if frame else None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's error may have any __str__
        return ""
