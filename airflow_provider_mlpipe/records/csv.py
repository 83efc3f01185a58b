"""Reads CSV files as Arrow record batches with TFX's column types, in memory that does not grow with the rows.

Arrow cuts blocks of text into cells. There are two passes over the cells: `infer` (one type per column over all files
of the split) and `typed`. Python's `int` and `float` parse each distinct cell of a block as bytes, as in
`tfx_bsl.coders.csv_decoder`: Arrow's own parsers differ (`0x1F`, `+5`, `1_000`).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.binary import bytes_list
from airflow_provider_mlpipe.records.csv_dialect import Dialect
from airflow_provider_mlpipe.records.csv_text import CsvText, common_header, first_fault, has_rows
from airflow_provider_mlpipe.records.short_columns import FEW_ROWS, map_columns
from airflow_provider_mlpipe.records.stand_ins import STAND_INS
from airflow_provider_mlpipe.records.text_file import TextFile

BLOCK_BYTES = 4 << 20
"""How many bytes of a file are parsed at a time. A single row must be smaller."""

_COMMAS = Dialect()
_INT64_END = 2**63
_STAND_INS = frozenset(text.encode() for text in STAND_INS)


class ColumnType(IntEnum):
    """The type of a column: the greatest of its cells' types. UNKNOWN is a column without values."""

    UNKNOWN = 0
    INT = 1
    FLOAT = 2
    STRING = 3


class CsvSplit:
    """The CSV files of one input split, in the order of `paths`, all with the same header, dialect and encoding.

    Raises InvalidInputError, with file and line, for: an empty file, a blank header, a column named twice, headers that
    differ.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        block_bytes: int = BLOCK_BYTES,
        *,
        null_values: Sequence[str] = (),
        dialect: Dialect = _COMMAS,
        encoding: str = "utf-8",
    ) -> None:
        files = [TextFile(path=path, encoding=encoding) for path in paths]
        texts = [CsvText(file=file, dialect=dialect, row_bytes=block_bytes) for file in files]
        self.header = common_header(texts)
        self.files = [CsvFile(text=text, width=len(self.header), nulls=("", *null_values)) for text in texts]


@dataclass(frozen=True, kw_only=True)
class CsvFile:
    """A file with `width` columns, as a source of blocks of cells: strings, in columns named by their places.

    A blank line is skipped, a quoted newline is data, a byte order mark is ignored. A cell that is one of `nulls` is
    missing and null.
    """

    text: CsvText
    width: int
    nulls: Sequence[str] = ("",)

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Yield the blocks in order.

        Raises InvalidInputError, with file and line, for: a row with the wrong number of cells, a quote that is never
        closed, a row of `row_bytes` or more, bytes that are not valid, a NUL byte.
        """
        with self.text.file.plain() as plain:
            there = dataclasses.replace(self, text=dataclasses.replace(self.text, file=plain))
            if has_rows(there.text):
                yield from there.checked()

    def checked(self) -> Iterator[pa.RecordBatch]:
        """Yield the blocks of a file that is plain UTF-8 and has rows."""
        last_cell = None
        try:
            for block in self._parsed():
                if block.num_rows:
                    last_cell = block.column(block.num_columns - 1)[-1].as_py()
                    yield block
        except pa.ArrowInvalid as error:
            raise self._fault() or InvalidInputError(f"{self.text.file}: {error}") from error
        ends = self.nulls if last_cell is None else [last_cell]
        if any(_may_end_in_quotes(self.text, cell) for cell in ends) and (fault := self._fault()):
            raise fault

    def _fault(self) -> InvalidInputError | None:
        return first_fault(self.text, self.width)

    def _parsed(self) -> Iterator[pa.RecordBatch]:
        # After a block that ends in \r, Arrow's reader drops a \n at the start of the next one, even within quotes.
        if any(block.endswith(b"\r") for block in self._read()):
            for rows in self._cut():
                yield from pa.csv.read_csv(pa.BufferReader(rows), *self._options(len(rows))).to_batches()
        else:
            # Arrow opens the file: a reader that is not read to its end waits for its thread, and with a Python file
            # that thread would wait for the GIL.
            path, block_bytes = self.text.file.path, self.text.row_bytes
            yield from pa.csv.open_csv(pa.OSFile(os.fsencode(path)), *self._options(block_bytes))

    def _options(self, block_bytes: int) -> tuple[pa.csv.ReadOptions, pa.csv.ParseOptions, pa.csv.ConvertOptions]:
        names = [str(index) for index in range(self.width)]
        read = pa.csv.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=block_bytes)
        delimiter, quote = self.text.dialect.delimiter, self.text.dialect.quote or False
        parse = pa.csv.ParseOptions(delimiter=delimiter, quote_char=quote, newlines_in_values=True)
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),  # string and not binary, so that UTF-8 is checked
            null_values=list(self.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        return read, parse, convert

    def _cut(self) -> Iterator[bytes]:
        """Yield the rows that end in each block, and then the rest. The first line of each piece is to be skipped."""
        rest, quoted = b"", _quoted(self.text.dialect)
        for block in self._read():
            if len(rest) > self.text.row_bytes:
                raise pa.ArrowInvalid(f"a row has {self.text.row_bytes} bytes or more")
            text = rest + block
            end = _end_of_rows(text, quoted)
            yield text[:end]
            rest = b"\n" + text[end:]
        yield rest

    def _read(self) -> Iterator[bytes]:
        """Yield the bytes in blocks; raises for a NUL byte: Arrow would stop there, and lose the rows that follow."""
        with self.text.file.path.open("rb") as file:
            while block := file.read(self.text.row_bytes):
                if b"\0" in block:
                    raise pa.ArrowInvalid("the file holds a NUL byte")
                yield block


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What the cells of some rows say of the types of the columns.

    `others` are the types of the cells other than stand-ins such as `NA`. Where these are no text, `stand_ins` has the
    stand-ins of the column, by its place, and how many cells hold each.
    """

    rows: int
    others: tuple[ColumnType, ...]
    stand_ins: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    @property
    def types(self) -> tuple[ColumnType, ...]:
        """The type of each column."""
        return tuple(ColumnType.STRING if place in self.stand_ins else kind for place, kind in enumerate(self.others))


def infer(block: pa.RecordBatch) -> Inferred:
    """Infer the types of the columns from the cells of a block."""
    if block.num_rows < FEW_ROWS:
        return _infer_at_once(block)
    columns = [_bytes(column).dictionary_encode() for column in block.columns]  # faster than unique()
    distinct = [bytes_list(column.dictionary) for column in columns]
    others = tuple(infer_type(cell for cell in cells if cell not in _STAND_INS) for cells in distinct)
    found = {
        place: _counted(columns[place].indices.drop_null().to_numpy(), _stand_ins(cells))
        for place, cells in enumerate(distinct)
        if others[place] is not ColumnType.STRING and not _STAND_INS.isdisjoint(cells)
    }
    return Inferred(rows=block.num_rows, others=others, stand_ins=found)


def _infer_at_once(block: pa.RecordBatch) -> Inferred:
    encoded = _bytes(pa.concat_arrays(block.columns)).dictionary_encode()
    cells = bytes_list(encoded.dictionary)
    types = np.array([ColumnType.UNKNOWN if cell in _STAND_INS else _cell_type(cell) for cell in cells] + [0])
    places = encoded.indices.fill_null(len(cells)).to_numpy().reshape(block.num_columns, -1)
    others = types[places].max(axis=1, initial=ColumnType.UNKNOWN)
    stand_ins = _stand_ins(cells)
    some = np.isin(places, list(stand_ins)).any(axis=1) & (others != ColumnType.STRING)
    found = {place: _counted(places[place], stand_ins) for place in np.flatnonzero(some).tolist()}
    return Inferred(rows=block.num_rows, others=tuple(map(ColumnType, others.tolist())), stand_ins=found)


def _stand_ins(cells: Iterable[bytes]) -> dict[int, str]:
    """Return the stand-ins among cells, by their place."""
    return {place: cell.decode() for place, cell in enumerate(cells) if cell in _STAND_INS}


def _counted(places: npt.NDArray[Any], stand_ins: Mapping[int, str]) -> dict[str, int]:
    """Count how often each of the stand-ins is among the places."""
    counts = {text: int(np.count_nonzero(places == place)) for place, text in stand_ins.items()}
    return {text: count for text, count in counts.items() if count}


def merged(first: Inferred, second: Inferred) -> Inferred:
    """Return what the rows of both say."""
    others = tuple(map(max, first.others, second.others))
    found: dict[int, Counter[str]] = {}
    for place, counts in itertools.chain(first.stand_ins.items(), second.stand_ins.items()):
        found.setdefault(place, Counter()).update(counts)
    texts = {place: counts for place, counts in found.items() if others[place] is not ColumnType.STRING}
    return Inferred(rows=first.rows + second.rows, others=others, stand_ins=texts)


def typed(block: pa.RecordBatch, types: Mapping[str, ColumnType]) -> pa.RecordBatch:
    """Turn the cells of a block into columns of these names and types; a missing cell stays null.

    Long columns are dictionaries of their distinct values, short ones are flat.
    """
    work = _flat if block.num_rows < FEW_ROWS else _dictionary
    columns = map_columns(work, list(types.values()), block.columns)
    return pa.RecordBatch.from_arrays(columns, list(types))


def infer_type(cells: Iterable[bytes], known: ColumnType = ColumnType.UNKNOWN) -> ColumnType:
    """Return the type of a column that has the type `known` so far, and also the non-empty `cells`.

    A cell is INT if `int` reads it and it fits into 64 bits, FLOAT if only `float` reads it, otherwise STRING.
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


def _flat(kind: ColumnType, cells: pa.StringArray) -> pa.Array:
    column = _dictionary(kind, cells)
    return column if kind is ColumnType.UNKNOWN else column.dictionary_decode()


def _dictionary(kind: ColumnType, cells: pa.StringArray) -> pa.Array:
    if kind is ColumnType.UNKNOWN:
        return pa.nulls(len(cells))
    distinct = _bytes(cells).dictionary_encode()
    if kind is ColumnType.STRING:
        return distinct
    parse, arrow_type = (int, pa.int64()) if kind is ColumnType.INT else (float, pa.float64())
    values = pa.array(map(parse, bytes_list(distinct.dictionary)), arrow_type)
    return pa.DictionaryArray.from_arrays(distinct.indices, values)


def _bytes(cells: pa.StringArray) -> pa.BinaryArray:
    return cells.cast(pa.binary())


def _quoted(dialect: Dialect) -> re.Pattern[bytes]:
    """A quoted cell: from the quote at its start to the quote that closes it, or to the end of the text."""
    if not dialect.quote:
        return re.compile(rb"((?!))")  # matches nowhere
    comma, quote = (re.escape(char.encode()) for char in (dialect.delimiter, dialect.quote))
    return re.compile(
        rb"(%(q)b(?:(?<![^%(c)b\r\n]%(q)b)|(?<=\A\xef\xbb\xbf%(q)b))[^%(q)b]*(?:%(q)b%(q)b[^%(q)b]*)*%(q)b?)"
        % {b"c": comma, b"q": quote}
    )


def _end_of_rows(text: bytes, quoted: re.Pattern[bytes]) -> int:
    """Return where the last complete row of `text` ends; `text` starts at the start of a row."""
    parts = quoted.split(text)  # alternately unquoted and quoted
    while parts:
        unquoted = parts.pop()
        if end := max(unquoted.rfind(b"\n"), unquoted.rfind(b"\r")) + 1:
            return sum(map(len, parts)) + end
        del parts[-1:]
    return 0


def _may_end_in_quotes(text: CsvText, last_cell: str) -> bool:
    """Whether a file may end within a quoted cell, which Arrow treats as closed. False is certain, True is not.

    Such a file ends with the opening quote and the text of that cell, in which quotes are doubled.
    """
    path, quote = text.file.path, text.dialect.quote
    if not quote:
        return False
    tail = (quote + last_cell.replace(quote, quote * 2)).encode()
    with path.open("rb") as file:
        file.seek(-min(len(tail), path.stat().st_size), os.SEEK_END)
        return file.read() == tail
