"""CSV files to Arrow record batches, typed as TFX types them, in memory that does not grow with the rows.

Arrow cuts blocks of text into cells; the two passes are `CsvSplit.infer` (one type per column over all files of the
split) and `CsvSplit.batches`. What a cell means is decided by Python's `int` and `float` on bytes, as in
`tfx_bsl.coders.csv_decoder`, once per distinct cell of a block: Arrow's own parsers differ (`0x1F`, `+5`, `1_000`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.csv

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.ahead import ahead
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
        self.header = _common_header(self.paths)
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
            try:
                yield from _without_end_row(self._blocks_of(path))
            except (pa.ArrowInvalid, _UnclosedQuoteError) as error:
                raise _fault(path, len(self.header), self._block_bytes, error) from error

    def _blocks_of(self, path: Path) -> Iterator[pa.RecordBatch]:
        names = [str(index) for index in range(len(self.header))]
        read = pa.csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=self._block_bytes)
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),  # string and not binary, so that UTF-8 is checked
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        with path.open("rb", buffering=0) as file:
            source: Any = _WithEndRow(file, len(names))
            yield from pa.csv.open_csv(
                io.BufferedReader(source), read, parse, convert
            )  # Arrow takes a short read for a block


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


class _UnclosedQuoteError(Exception):
    """The end row was swallowed by a cell."""


class _WithEndRow(io.RawIOBase):
    """A CSV file with a newline and one row of empty cells after its end.

    Arrow takes an unclosed quote for a cell that lasts until the file ends; then the end row is missing. And it needs
    the newline when a file ends within its header line.
    """

    def __init__(self, file: BinaryIO | io.FileIO, cells: int) -> None:
        super().__init__()
        self._file = file
        self._end = io.BytesIO(b"\n" + (b"," * (cells - 1) or b'""') + b"\n")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return self._file.readinto(buffer) or self._end.readinto(buffer)  # type: ignore[union-attr]


def _without_end_row(blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    last = None
    for block in blocks:
        if block.num_rows:
            if last is not None:
                yield last
            last = block
    if last is None or any(cell[-1].is_valid for cell in last.columns):
        raise _UnclosedQuoteError("a quote that opens in this row is never closed")
    yield last.slice(0, last.num_rows - 1)


def _common_header(paths: Sequence[Path]) -> list[str]:
    first, *others = paths
    header = _header(first)
    for path in others:
        if (other := _header(path)) != header:
            raise InvalidInputError(
                f"{path} has another header than {first}: {_first_difference(other, header)}; "
                "all files of a split need the same columns in the same order"
            )
    return header


def _first_difference(header: list[str], expected: list[str]) -> str:
    for place, (name, wanted) in enumerate(zip(header, expected, strict=False), start=1):
        if name != wanted:
            return f"column {place} is {name!r}, not {wanted!r}"
    if len(header) > len(expected):
        return f"column {len(expected) + 1}, {header[len(expected)]!r}, is too many"
    return f"column {len(header) + 1}, {expected[len(header)]!r}, is missing"


def _header(path: Path) -> list[str]:
    with _text(path) as file:
        header = next(csv.reader(file), None)
    if header is None:
        raise InvalidInputError(f"{path} is empty; its first line must name the columns")
    if not header:
        raise InvalidInputError(f"{path}: line 1 is blank; it must name the columns")
    if not _is_utf8(header):
        raise InvalidInputError(f"{path}: line 1 is not valid UTF-8; convert the file to UTF-8")
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise InvalidInputError(f"{path}: line 1 names the column {twice!r} twice; rename one")
    return header


def _fault(path: Path, width: int, block_bytes: int, error: Exception) -> InvalidInputError:
    """Find the first bad row of a file that Arrow refused; slow, but Arrow does not say the line."""
    limit = csv.field_size_limit(block_bytes)
    line = start = 1
    try:
        with _text(path) as file:
            reader = csv.reader(file)
            for row in reader:
                start, line = line, reader.line_num + 1
                if fault := _row_fault(row, width, block_bytes, lines=line - start):
                    return InvalidInputError(f"{path}: line {start}: {fault}")
        return InvalidInputError(
            f"{path}: line {start}: {error}" if type(error) is _UnclosedQuoteError else f"{path}: {error}"
        )
    except csv.Error:
        return InvalidInputError(f"{path}: line {line}: {_too_long(block_bytes)}")
    finally:
        csv.field_size_limit(limit)


def _row_fault(row: list[str], width: int, block_bytes: int, *, lines: int) -> str | None:
    if not _is_utf8(row):
        return "a cell is not valid UTF-8; convert the file to UTF-8"
    if sum(len(cell.encode()) + 1 for cell in row) > block_bytes:
        return _too_long(block_bytes)
    if row and len(row) != width:
        hint = f" (the row goes on for {lines} lines: is a quote never closed?)" if lines > 1 else ""
        return f"the row has {len(row)} cells, the header has {width}{hint}"
    return None


def _too_long(block_bytes: int) -> str:
    return f"the row has {block_bytes} bytes or more, which is too long: is a quote never closed?"


def _text(path: Path) -> TextIO:
    """Open a file whose invalid bytes become lone surrogates, so that rows before and after them can be read."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _is_utf8(row: list[str]) -> bool:
    return not any("\udc80" <= char <= "\udcff" for cell in row for char in cell)
