"""Standard output is for a command's answer alone.

Logs, and whatever DAG files and libraries print meanwhile, go to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STDOUT, _STDERR = 1, 2
_kept: list[tuple[TextIO, int]] = []  # standard output and a copy of its file descriptor, while a command works


@contextmanager
def kept_apart() -> Iterator[None]:
    """Let standard output be standard error in the block, but not in `answering`.

    The file descriptor, too: log handlers and C libraries write there by what they opened before.
    """
    out = sys.stdout
    out.flush()
    copy = os.dup(_STDOUT)
    _kept.append((out, copy))
    try:
        with _redirected(out, sys.stderr, _STDERR):
            yield
    finally:
        _kept.pop()
        os.close(copy)


@contextmanager
def answering() -> Iterator[None]:
    """Let standard output be what it was before `kept_apart`, for the answer."""
    out, copy = _kept[-1]
    with _redirected(out, out, copy):
        yield


@contextmanager
def _redirected(out: TextIO, to: TextIO, descriptor: int) -> Iterator[None]:
    """Let `sys.stdout` be `to`, and its file descriptor another one; `out` holds no text over a change."""
    before, copy = sys.stdout, os.dup(_STDOUT)
    out.flush()
    os.dup2(descriptor, _STDOUT)
    sys.stdout = to
    try:
        yield
    finally:
        out.flush()
        sys.stdout = before
        os.dup2(copy, _STDOUT)
        os.close(copy)
