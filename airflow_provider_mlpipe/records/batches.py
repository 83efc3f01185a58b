"""Cuts records into batches. The cuts depend on the records only, so all readers see the same batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

BATCH_ROWS = 8_000
BATCH_BYTES = 16 << 20
"""A batch has at most BATCH_ROWS rows and BATCH_BYTES bytes of serialized records. A larger record is a batch alone."""

CHUNK_BATCHES = 4
"""This many consecutive batches are a chunk, the unit of work."""


class BatchCutter:
    """Cuts the records of a file, in their order, into batches."""

    def __init__(self) -> None:
        self._rows = self._bytes = 0

    def starts(self, sizes: Iterable[int]) -> list[int]:
        """Take the sizes in bytes of the next records, and return the places of those that start a new batch.

        The first record of a file is never listed: no batch ends before it.
        """
        starts = []
        for place, size in enumerate(sizes):
            if self._rows == BATCH_ROWS or (self._rows and self._bytes + size > BATCH_BYTES):
                starts.append(place)
                self._rows = self._bytes = 0
            self._rows += 1
            self._bytes += size
        return starts


def taken(rows: pa.RecordBatch, places: pa.Array) -> pa.RecordBatch:
    """Return the rows at these places; pyarrow 10 has no `RecordBatch.take`."""
    return of_columns({name: column.take(places) for name, column in columns_of(rows).items()}, len(places))


def columns_of(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return the columns by name, in their order."""
    return dict(zip(rows.schema.names, rows.columns, strict=True))


def of_columns(columns: Mapping[str, pa.Array], row_count: int) -> pa.RecordBatch:
    """Return a batch of `row_count` rows with these columns. Without columns, `from_arrays` would lose the rows."""
    kind = pa.struct([(name, column.type) for name, column in columns.items()])
    rows = pa.Array.from_buffers(kind, row_count, [None], null_count=0, children=list(columns.values()))
    return pa.RecordBatch.from_struct_array(rows)
