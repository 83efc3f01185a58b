"""What gzip or deflate that is cut off or corrupt raises when isal reads it."""

from __future__ import annotations

import zlib
from gzip import BadGzipFile
from typing import Any

from isal import isal_zlib

MAGIC = b"\x1f\x8b"
"""The first bytes of a gzip file."""

BROKEN: Any = (EOFError, BadGzipFile, zlib.error, isal_zlib.error)  # isal's stubs declare its error as an instance
"""The errors. BadGzipFile is an OSError, too, so it is caught before that."""
