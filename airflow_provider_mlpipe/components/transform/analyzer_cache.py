"""Reuses analyzers' states of a piece (a split of one Examples) from an earlier execution that read the same records.

A state's key covers everything that the state depends on: the files with the piece's rows; the analyzer, as described
in `identity.py`; this package's code, the versions of libraries, and the processor's features. So a cached state equals
the one that would be computed, and the result is the same with and without a cache.

A state is in a file `<key>.state`: a line with a digest of the key and of the rest, then the state as
`stored_states.py` encodes it. A file that is damaged, or belongs to another key, is treated as missing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import platform
import re
import shutil
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tfx_bsl

from airflow_provider_mlpipe.artifacts import TransformCache
from airflow_provider_mlpipe.components.transform.accumulators import Analyzer
from airflow_provider_mlpipe.components.transform.stored_states import decode, encode
from airflow_provider_mlpipe.records import chunks
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.storage.digests import file_digest, files_digest, text_digest
from airflow_provider_mlpipe.storage.layout import folder_of

log = logging.getLogger(__name__)

_CODE = (Path(__file__).parent, Path(chunks.__file__).parent)
"""The folders with the code that reads rows and computes states from them."""


class AnalyzerCache:
    """Finds states of pieces in `given`, and writes all found and computed states to `kept`.

    :param given: the cache of an earlier execution, or None
    :param kept: an empty artifact, for the cache of this execution
    """

    def __init__(self, given: TransformCache | None, kept: TransformCache) -> None:
        self._given = folder_of(given) if given else None
        self._kept = folder_of(kept)
        self._readings: dict[Piece, str] = {}
        self._reused = self._computed = self._not_kept = 0

    def __str__(self) -> str:
        not_kept = f", {self._not_kept} of which cannot be kept" if self._not_kept else ""
        total = self._reused + self._computed
        return f"{self._reused} of {total} states reused; {self._computed} computed{not_kept}"

    def find(self, piece: Piece, analyzers: Mapping[str, Analyzer]) -> dict[str, Any]:
        """Return the cached states of a piece, by label."""
        found = {}
        for label, analyzer in analyzers.items():
            key = self._key(piece, analyzer)
            if key and (entry := self._read(key)):
                stored, found[label] = entry
                self._write(key, stored)
        self._reused += len(found)
        return found

    def keep(self, piece: Piece, analyzers: Mapping[str, Analyzer], states: Mapping[str, Any]) -> None:
        """Store the computed states of a piece, by label, except those that cannot be kept."""
        for label, state in states.items():
            if (key := self._key(piece, analyzers[label])) and (stored := _encoded(state)):
                self._write(key, stored)
            else:
                self._not_kept += 1
        self._computed += len(states)

    def pass_on(self) -> None:
        """Copy the given cache for later executions, when this one does not use it."""
        for path in self._given.glob("*.state") if self._given else ():
            shutil.copyfile(path, self._kept / path.name)

    def _key(self, piece: Piece, analyzer: Analyzer) -> str | None:
        if piece not in self._readings:
            self._readings[piece] = _reading(chunks.files_read(piece.examples, piece.split))
        return text_digest(f"{self._readings[piece]} {analyzer.digest}") if analyzer.digest else None

    def _read(self, key: str) -> tuple[bytes, Any] | None:
        """Return a state, as stored and decoded; None if it is missing, or damaged (with a warning)."""
        if self._given is None:
            return None
        path = self._given / f"{key}.state"
        try:
            digest, _, stored = path.read_bytes().partition(b"\n")
            if digest != _digest(key, stored):
                raise ValueError("its digest does not match")
            return stored, decode(stored)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - the file may contain anything
            log.warning("Analyzer cache: %s cannot be used, so its state is computed: %s", path, error)
            return None

    def _write(self, key: str, stored: bytes) -> None:
        (self._kept / f"{key}.state").write_bytes(_digest(key, stored) + b"\n" + stored)


def _reading(files: Iterable[Path]) -> str:
    """Return a digest of the files that are read, and of the code, libraries and processor that read them."""
    return text_digest(json.dumps([*_surroundings(), [file_digest(path) for path in files]]))


@functools.cache
def _surroundings() -> tuple[Any, ...]:
    """Return what is the same for every piece."""
    code = [path for folder in _CODE for path in folder.glob("*.py")]
    libraries = [library.__version__ for library in (tf, tft, tfx_bsl, np, pa)]
    source = files_digest((f"{path.parent.name}/{path.name}", file_digest(path)) for path in code)
    return source, libraries, _processor()


def _processor() -> list[str]:
    """Return the processor's features: libraries choose their code by them, so the last digit may depend on them."""
    with contextlib.suppress(OSError):
        if flags := re.search(r"^(flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return [platform.machine(), *sorted(flags[2].split())]
    return [platform.machine()]


def _digest(key: str, stored: bytes) -> bytes:
    return sha256(key.encode() + stored).hexdigest().encode()


def _encoded(state: Any) -> bytes | None:
    try:
        return encode(state)
    except TypeError:
        return None
