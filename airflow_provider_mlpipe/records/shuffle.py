"""Shuffles the rows of a split, however many, in memory that does not grow with them.

Each row gets a random key of 64 bits, and the rows are sorted by their keys. Rows that are too many for the memory go
to files, by the first bits of their keys; each file is then sorted alone, and by further bits if it is too large, too.
So the order depends on the seed, the split's name and how many rows there are, and on nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airflow_provider_mlpipe.records import spool
from airflow_provider_mlpipe.records.batches import of_columns, taken

_KEPT_BYTES = 32 << 20
"""How much of a split is kept in memory. A larger chunk is kept alone."""
_KEY_BITS = 64
_BITS = 5  # of the key decide between 32 files


class Writer(Protocol):
    """Where rows go, such as a SplitWriter."""

    def write(self, frames: pa.BinaryArray, rows: pa.RecordBatch | None) -> None:
        """Append framed records, and the same rows as columns; None if there are no columns."""
        ...


@contextlib.contextmanager
def shuffled(writer: Writer, folder: str, seed: int, split: str, kept_bytes: int = _KEPT_BYTES) -> Iterator[Writer]:
    """A writer that takes all rows of a split, and at the end of the `with` block passes them on in a random order.

    What the memory does not hold waits in a folder of its own below `folder`. Raises OSError.
    """
    with tempfile.TemporaryDirectory(dir=folder) as own:
        shuffle = _Shuffle(_Bucket(Path(own), _KEY_BITS, kept_bytes), seed, split)
        yield shuffle
        for frames, rows in shuffle.by_key():
            writer.write(frames, rows)


class _Shuffle:
    def __init__(self, rows: _Bucket, seed: int, split: str) -> None:
        entropy = hashlib.sha256(f"{seed} {split}".encode()).digest()
        # The raw numbers of a bit generator are the same in all versions of numpy; those of a Generator may not be.
        self._keys = np.random.PCG64(int.from_bytes(entropy, "big"))
        self._rows = rows
        self._names: list[str] | None = None

    def write(self, frames: pa.BinaryArray, rows: pa.RecordBatch | None) -> None:
        keys = pa.array(self._keys.random_raw(len(frames)), pa.uint64())
        columns = [] if rows is None else rows.columns
        self._names = None if rows is None else rows.schema.names
        names = [str(place) for place in range(len(columns) + 2)]
        self._rows.add(pa.RecordBatch.from_arrays([keys, frames, *columns], names))

    def by_key(self) -> Iterator[tuple[pa.BinaryArray, pa.RecordBatch | None]]:
        for batch in self._rows.by_key():
            _, frames, *columns = batch.columns
            if self._names is None:
                yield frames, None
            else:
                yield frames, of_columns(dict(zip(self._names, columns, strict=True)), len(frames))


class _Bucket:
    """Rows whose keys, the first column, differ in their last `bits` only."""

    def __init__(self, folder: Path, bits: int, kept_bytes: int) -> None:
        self._folder, self._bits, self._kept_bytes = folder, bits, kept_bytes
        self._kept: list[pa.RecordBatch] = []
        self._size = 0
        self._files: dict[int, Path] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        size = batch.nbytes
        if self._kept and self._size + size > self._kept_bytes and self._bits > _BITS:
            self._write()
        self._kept.append(batch)
        self._size += size

    def by_key(self) -> Iterator[pa.RecordBatch]:
        if not self._files:
            if self._kept:
                yield self._sorted()
            return
        self._write()
        for _, path in sorted(self._files.items()):
            bucket = _Bucket(path.with_suffix(""), self._bits - _BITS, self._kept_bytes)
            for batch in spool.batches(path):
                bucket.add(batch)
            path.unlink()
            yield from bucket.by_key()

    def _sorted(self) -> pa.RecordBatch:
        rows, keys = self._joined()
        return _taken(rows, np.argsort(keys, kind="stable"))

    def _write(self) -> None:
        """Move what is kept to files."""
        self._folder.mkdir(exist_ok=True)
        rows, keys = self._joined()
        places = keys >> np.uint64(self._bits - _BITS) & np.uint64((1 << _BITS) - 1)
        for place in np.unique(places).tolist():
            path = self._files.setdefault(place, self._folder / f"{place}.rows")
            with path.open("ab") as file:
                spool.append(file, _taken(rows, np.flatnonzero(places == place)))

    def _joined(self) -> tuple[pa.RecordBatch, npt.NDArray[np.uint64]]:
        (rows,) = pa.Table.from_batches(self._kept).combine_chunks().to_batches() or self._kept[:1]
        self._kept, self._size = [], 0
        return rows, rows.column(0).to_numpy()


def _taken(rows: pa.RecordBatch, places: npt.NDArray[np.intp]) -> pa.RecordBatch:
    return taken(rows, pa.array(places))
