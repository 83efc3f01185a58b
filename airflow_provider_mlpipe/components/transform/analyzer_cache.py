"""What analyzers keep of a split, taken over from an earlier execution in which they read the same.

A state's key says all that the state depends on: the files from which the split's rows are read; the analyzer, as
`identity.py` has it; this package's code, the versions of libraries, and what the processor can do. So what is found is
what would be made, and a result is the same with a cache and without.

A state is in a file `<key>.state`: a line with a digest of the key and of the rest, then what `stored_states.py` makes
of it. What is damaged, or another's, is as good as missing.
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

from airflow_provider_mlpipe.artifacts import Examples, TransformCache
from airflow_provider_mlpipe.components.transform.accumulators import Analyzer
from airflow_provider_mlpipe.components.transform.stored_states import decode, encode
from airflow_provider_mlpipe.records import chunks
from airflow_provider_mlpipe.storage.digests import file_digest, files_digest, text_digest
from airflow_provider_mlpipe.storage.layout import folder_of

log = logging.getLogger(__name__)

_CODE = (Path(__file__).parent, Path(chunks.__file__).parent)
"""The folders with the code that reads rows and makes states of them."""


class AnalyzerCache:
    """Finds states of the splits of `examples` in `given`, and keeps in `kept` those that are found or made.

    :param given: what an earlier execution has kept, or None
    :param kept: an empty artifact
    """

    def __init__(self, examples: Examples, given: TransformCache | None, kept: TransformCache) -> None:
        self._examples = examples
        self._given = folder_of(given) if given else None
        self._kept = folder_of(kept)
        self._readings: dict[str, str] = {}
        self._reused = self._computed = self._not_kept = 0

    def __str__(self) -> str:
        not_kept = f", {self._not_kept} of them of a kind that is not kept" if self._not_kept else ""
        total = self._reused + self._computed
        return f"{self._reused} of {total} states reused; {self._computed} computed{not_kept}"

    def find(self, split: str, analyzers: Mapping[str, Analyzer]) -> dict[str, Any]:
        """Return the states that there are of a split, by label."""
        found = {}
        for label, analyzer in analyzers.items():
            key = self._key(split, analyzer)
            if key and (entry := self._read(key)):
                stored, found[label] = entry
                self._write(key, stored)
        self._reused += len(found)
        return found

    def keep(self, split: str, analyzers: Mapping[str, Analyzer], states: Mapping[str, Any]) -> None:
        """Store states of a split that were computed, by label, but for those that cannot be kept."""
        for label, state in states.items():
            if (key := self._key(split, analyzers[label])) and (stored := _encoded(state)):
                self._write(key, stored)
            else:
                self._not_kept += 1
        self._computed += len(states)

    def pass_on(self) -> None:
        """Keep for later executions what there is, where this one asks for no state."""
        for path in self._given.glob("*.state") if self._given else ():
            shutil.copyfile(path, self._kept / path.name)

    def _key(self, split: str, analyzer: Analyzer) -> str | None:
        if split not in self._readings:
            self._readings[split] = _reading(chunks.files_read(self._examples, split))
        return text_digest(f"{self._readings[split]} {analyzer.digest}") if analyzer.digest else None

    def _read(self, key: str) -> tuple[bytes, Any] | None:
        """Return a state as it is stored, and as it is; warns of one that is damaged."""
        if self._given is None:
            return None
        path = self._given / f"{key}.state"
        try:
            digest, _, stored = path.read_bytes().partition(b"\n")
            if digest != _digest(key, stored):
                raise ValueError("its digest is another")
            return stored, decode(stored)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever may be in the file
            log.warning("Analyzer cache: %s cannot be used, so its state is computed: %s", path, error)
            return None

    def _write(self, key: str, stored: bytes) -> None:
        (self._kept / f"{key}.state").write_bytes(_digest(key, stored) + b"\n" + stored)


def _reading(files: Iterable[Path]) -> str:
    """Return a digest of the files that are read, and of all that an analyzer is given their rows by."""
    return text_digest(json.dumps([*_surroundings(), [file_digest(path) for path in files]]))


@functools.cache
def _surroundings() -> tuple[Any, ...]:
    """What is the same for every split."""
    code = [path for folder in _CODE for path in folder.glob("*.py")]
    libraries = [library.__version__ for library in (tf, tft, tfx_bsl, np, pa)]
    source = files_digest((f"{path.parent.name}/{path.name}", file_digest(path)) for path in code)
    return source, libraries, _processor()


def _processor() -> list[str]:
    """What the last digit may depend on: libraries choose their code by what the processor can do."""
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
