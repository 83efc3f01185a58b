"""Where one batch of records ends and the next begins: by the records alone, so that all readers see the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

BATCH_ROWS = 8_000
BATCH_BYTES = 16 << 20
"""A batch has at most so many rows and, unless it is a single one, so many bytes of serialized records."""

CHUNK_BATCHES = 4
"""So many batches in a row are one piece of work."""


class BatchCutter:
    """Cuts the records of a file, in their order, into batches."""

    def __init__(self) -> None:
        self._rows = self._bytes = 0

    def starts(self, sizes: Iterable[int]) -> list[int]:
        """Return the places of those records that start a batch, of the next ones, whose sizes in bytes are given.

        The first record of a file starts none: no batch ends before it.
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
    """Return so many rows with these columns, of which there may be none: `from_arrays` makes no rows of none."""
    kind = pa.struct([(name, column.type) for name, column in columns.items()])
    rows = pa.Array.from_buffers(kind, row_count, [None], null_count=0, children=list(columns.values()))
    return pa.RecordBatch.from_struct_array(rows)
