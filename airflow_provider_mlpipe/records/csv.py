"""CSV files to Arrow record batches, typed as TFX types them, in memory that does not grow with the rows.

Arrow cuts blocks of text into cells; the two passes are `CsvSplit.infer` (one type per column over all files of the
split) and `CsvSplit.batches`. What a cell means is decided by Python's `int` and `float` on bytes, as in
`tfx_bsl.coders.csv_decoder`, once per distinct cell of a block: Arrow's own parsers differ (`0x1F`, `+5`, `1_000`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.ahead import ahead
from airflow_provider_mlpipe.records.csv_text import common_header, first_fault, has_rows
from airflow_provider_mlpipe.records.examples import bytes_list

BLOCK_BYTES = 4 << 20
"""How many bytes of a file are parsed at a time. A single row must be smaller."""

_INT64_END = 2**63


class ColumnType(IntEnum):
    """The type of a column: the greatest of its cells' types. UNKNOWN is a column without a single value."""

    UNKNOWN = 0
    INT = 1
    FLOAT = 2
    STRING = 3


class CsvSplit:
    """The CSV files of one input split, in the order of `paths`, all with the same header.

    A blank line is skipped, a quoted newline is data, an empty cell is a missing value, a byte order mark is ignored.
    Raises InvalidInputError, with file and line, for: an empty file, a blank header, a column named twice, headers that
    differ, a row with the wrong number of cells, a quote that is never closed, a row of `block_bytes` or more, invalid
    UTF-8.
    """

    def __init__(self, paths: Sequence[Path], block_bytes: int = BLOCK_BYTES) -> None:
        self.paths = list(paths)
        self.header = common_header(self.paths)
        self._block_bytes = block_bytes

    def infer(self) -> tuple[list[ColumnType], int]:
        """Read all files once and return the type of each column, and the number of rows."""
        types = [ColumnType.UNKNOWN for _ in self.header]
        rows = 0
        for cells in ahead(self._blocks()):
            rows += cells.num_rows
            for index, known in enumerate(types):
                if known < ColumnType.STRING:
                    types[index] = infer_type(bytes_list(_bytes(cells.column(index)).unique().drop_null()), known)
        return types, rows

    def batches(self, types: Sequence[ColumnType]) -> Iterator[pa.RecordBatch]:
        """Read all files again, as batches of dictionary columns of `types`; a missing cell is null."""
        for cells in self._blocks():
            columns = [_typed(_bytes(cells.column(index)), kind) for index, kind in enumerate(types)]
            yield pa.RecordBatch.from_arrays(columns, self.header)

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        for path in self.paths:
            if has_rows(path):
                yield from self._checked(path)

    def _checked(self, path: Path) -> Iterator[pa.RecordBatch]:
        last_cell = None
        try:
            for block in self._parsed(path):
                if block.num_rows:
                    last_cell = block.column(block.num_columns - 1)[-1].as_py()
                    yield block
        except pa.ArrowInvalid as error:
            raise self._fault(path) or InvalidInputError(f"{path}: {error}") from error
        if _may_end_in_quotes(path, last_cell) and (fault := self._fault(path)):
            raise fault

    def _fault(self, path: Path) -> InvalidInputError | None:
        return first_fault(path, len(self.header), self._block_bytes)

    def _parsed(self, path: Path) -> Iterator[pa.RecordBatch]:
        names = [str(index) for index in range(len(self.header))]
        read = pa.csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=self._block_bytes)
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),  # string and not binary, so that UTF-8 is checked
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        # Arrow's own file: a reader that is given up waits for its thread, which must not wait for Python's lock.
        yield from pa.csv.open_csv(pa.OSFile(str(path)), read, parse, convert)


def infer_type(cells: Iterable[bytes], known: ColumnType = ColumnType.UNKNOWN) -> ColumnType:
    """Return the type of a column that is `known` so far and also holds the non-empty `cells`.

    INT is what `int` reads within 64 bits, FLOAT what `float` reads, STRING the rest and integers beyond 64 bits.
    """
    for cell in cells:
        kind = _cell_type(cell)
        if kind > known:
            known = kind
        if known is ColumnType.STRING:
            break
    return known


def _cell_type(cell: bytes) -> ColumnType:
    try:
        return ColumnType.INT if -_INT64_END <= int(cell) < _INT64_END else ColumnType.STRING
    except ValueError:
        pass
    try:
        float(cell)
    except ValueError:
        return ColumnType.STRING
    return ColumnType.FLOAT


def _typed(cells: pa.BinaryArray, kind: ColumnType) -> pa.Array:
    if kind is ColumnType.UNKNOWN:
        return pa.nulls(len(cells))
    distinct = cells.dictionary_encode()
    if kind is ColumnType.STRING:
        return distinct
    parse, arrow_type = (int, pa.int64()) if kind is ColumnType.INT else (float, pa.float64())
    values = pa.array(map(parse, bytes_list(distinct.dictionary)), arrow_type)
    return pa.DictionaryArray.from_arrays(distinct.indices, values)


def _bytes(cells: pa.StringArray) -> pa.BinaryArray:
    return cells.cast(pa.binary())


def _may_end_in_quotes(path: Path, last_cell: str | None) -> bool:
    """Whether a file may end within a quoted cell, which Arrow takes for closed; False is certain.

    If it does, its last bytes are the opening quote and that cell, in which quotes are doubled.
    """
    tail = b'"' + (last_cell or "").replace('"', '""').encode()
    with path.open("rb") as file:
        file.seek(-min(len(tail), path.stat().st_size), os.SEEK_END)
        return file.read() == tail
