"""Reads Parquet files as Arrow record batches, row group by row group, in memory that does not grow with the rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.table_columns import feature_types
from airflow_provider_mlpipe.records.tables import Described, ReadRows, unreadable

BATCH_BYTES = 16 << 20
BATCH_ROWS = 32_000
"""At most this many bytes, as far as the file tells, and rows are read at a time."""

_BROKEN = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True, kw_only=True)
class ParquetFile:
    """A Parquet file as a source of rows."""

    path: Path

    def describe(self) -> Described:
        """Read the footer; raises InvalidInputError for a file that is not Parquet, and for columns without a form."""
        with _opened(self.path) as file:
            types = feature_types(file.schema_arrow, str(self.path))
            return Described(types=types, rows=file.metadata.num_rows)

    def chunks(self) -> Iterator[ReadRows]:
        """Yield the rows in order.

        Raises InvalidInputError, with the file and the row group (the first is 1), where it is cut off or corrupt.
        """
        with _opened(self.path) as file:
            rows = 0
            for group in range(file.num_row_groups):
                for batch in _batches(file, group, self.path):
                    yield ReadRows(rows=batch, where=str(self.path), rows_before=rows)
                    rows += batch.num_rows


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(pa.OSFile(os.fsencode(path)))
    except _BROKEN as error:
        raise unreadable(error, path, f"{path} is no whole Parquet file") from error


def _batches(file: Any, group: int, path: Path) -> Iterator[pa.RecordBatch]:
    metadata, where, read = file.metadata.row_group(group), f"{path}, row group {group + 1}", 0
    try:
        for batch in file.iter_batches(_rows_at_once(metadata), row_groups=[group], use_threads=False):
            batch.validate(full=True)
            read += batch.num_rows
            yield batch
    except _BROKEN as error:
        raise unreadable(error, path, where) from error
    if read != metadata.num_rows:
        raise InvalidInputError(
            f"{where} has {read:,} rows, but the footer says {metadata.num_rows:,}; create the file again from its "
            "source"
        )


def _rows_at_once(metadata: Any) -> int:
    bytes_per_row = metadata.total_byte_size / max(1, metadata.num_rows)
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1.0, bytes_per_row))))
