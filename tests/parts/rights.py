"""A user who may not enter every folder, as which also root can work for a while."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_VERSION = 0x20080522  # of the kernel's structs, with 64 capabilities in two words
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def closed(folder: Path) -> Iterator[None]:
    """During the `with` block this thread may not enter the folder."""
    if sys.platform != "linux":
        pytest.skip("root can give up rights on Linux only")
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        with _without_overrides():
            yield
    finally:
        folder.chmod(mode)


@contextlib.contextmanager
def _without_overrides() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    words = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    assert libc.capget(header, words) == 0
    before = words[0]
    words[0] &= ~_OVERRIDES
    assert libc.capset(header, words) == 0
    try:
        yield
    finally:
        words[0] = before
        assert libc.capset(header, words) == 0
