"""Finds the user's line in tracebacks, and the cause in messages of libraries."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, is_installed
from airflow_provider_mlpipe.spelling import by_likeness, listed

_GENERATED = ("<", "__autograph_generated")
"""How names of files begin that nobody wrote: Python's own, such as `<string>`, and those of AutoGraph."""

_OF_TYPES = re.compile(r"\b(tensor|dtype|string|float\d*|int\d+)\b", re.IGNORECASE)
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
    kind, message, where = type(error).__name__, _message(error), users_place(error)
    said = f"{kind}: {message}" if message else kind
    return f"{said} ({where})" if where and where not in said else said


def explained(function: str, error: BaseException, features: Mapping[str, str], *, otherwise_at: str) -> str:
    """Describe an error that the user's `function` raised, and add its message and traceback below.

    The first line has the user's deepest line, or else `otherwise_at`, and the cause. `features` are the types of what
    it reads, by name: the features are listed if the error is about an unknown one, or about types.
    """
    place = users_place(error) or otherwise_at
    said = f"{function} raised {type(error).__name__} at {place}: {_message(error) or 'it has no message'}"
    if names := _in_question(error, features):
        said = f"{said.removesuffix('.')}; the features are {listed([f'{name} ({features[name]})' for name in names])}"
    trace = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)[1:]))
    return f"{said}\n{_text(error)}\n{trace}"


def _in_question(error: BaseException, features: Collection[str]) -> list[str]:
    """The features if the error is about them; those come first that are most like an unknown one."""
    if not isinstance(error, KeyError):
        return sorted(features) if _OF_TYPES.search(_text(error)) else []
    key = _message(error).strip("'\"")
    return [] if key in features else by_likeness(key, features)


def _message(error: BaseException) -> str:
    return cause(_text(error)).removeprefix(f"{type(error).__name__}: ")


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
