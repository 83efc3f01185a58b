"""Remembers on disk what Python files import, by the digest of their content: parsing takes longest of a fingerprint.

It is a file in a folder of this user below TMPDIR, where each process finds what earlier ones have parsed. Without it
everything works the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage import private

_FORMAT = 1
"""Of the lists, which are `user_code`'s: raise it when they change."""

_MOST = 5_000
"""How many files it remembers at most; beyond that, only those of the process that writes."""

_NO_FOLDER = (OSError, InvalidInputError, ValueError)


class ParsedFiles:
    """Plain lists by digest. It is read when it is first asked, and `keep` writes what is new."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{_FORMAT}-python{sys.version_info[0]}.{sys.version_info[1]}.json"
        self._known: dict[str, Any] | None = None
        self._used: dict[str, Any] = {}
        self._is_new = False

    def get(self, digest: str, parse: Callable[[], list[Any]]) -> list[Any]:
        """What is known of a file with this digest, or what `parse` returns."""
        if self._known is None:
            self._known = self._read()
        if digest not in self._known:
            self._known[digest] = parse()
            self._is_new = True
        found: list[Any] = self._known[digest]
        self._used[digest] = found
        return found

    def keep(self) -> None:
        """Write what this process has parsed, for later ones."""
        if not self._is_new:
            return
        self._is_new = False
        with contextlib.suppress(*_NO_FOLDER):
            private.make_folder(self.path.parent)
            known = self._read() | self._used
            new = self.path.with_suffix(f".{os.getpid()}")
            with private.opened(new, "w") as file:
                json.dump(known if len(known) <= _MOST else self._used, file)
            new.replace(self.path)

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(*_NO_FOLDER):
            private.make_folder(self.path.parent)
            with private.opened(self.path, "r") as file:
                found = json.load(file)
            if isinstance(found, dict):
                return found
        return {}


def of_this_user() -> ParsedFiles:
    """The files that this user's processes have parsed. Without a temporary folder nothing is kept."""
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:
        place = os.devnull
    return ParsedFiles(Path(place, f"mlpipe-parsed-{os.geteuid()}"))
