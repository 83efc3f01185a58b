"""Finds the user's own lines in tracebacks."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path

from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, is_installed

_GENERATED = ("<", "__autograph_generated")
"""How names of files begin that nobody wrote: Python's own, such as `<string>`, and those of AutoGraph."""


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
