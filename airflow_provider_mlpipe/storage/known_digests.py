"""Digests of input files that the store remembers, so that an unchanged terabyte is not read again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.storage.digests import file_digest, file_stamp, text_digest

_SETTLED_NS = 2_000_000_000
"""A file that was written less than this before it is read is not remembered: some file systems have times of whole
seconds, so another write could leave it with the same times."""


class KnownDigests:
    """The digests of files: those that the store has for files as they are now, and those that had to be computed."""

    def __init__(self, store: MetadataStore, files: Iterable[Path]) -> None:
        self._store = store
        self._known = store.file_digests([_key(path) for path in files])
        self._new: dict[str, tuple[str, str]] = {}

    def of(self, path: Path) -> str:
        """The file's digest; raises what `file_digest` raises."""
        key, stat = _key(path), path.stat()
        stamp = file_stamp(stat)
        known_stamp, known = self._new.get(key) or self._known.get(key) or ("", "")
        if known_stamp == stamp:
            return known
        read_at = time.time_ns()
        digest = file_digest(path)
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < read_at - _SETTLED_NS and file_stamp(path.stat()) == stamp:
            self._new[key] = (stamp, digest)
        return digest

    def remember(self) -> None:
        """Let the store remember what had to be computed."""
        self._store.remember_file_digests(self._new)
        self._known, self._new = {**self._known, **self._new}, {}


def _key(path: Path) -> str:
    return text_digest(os.path.abspath(path))
