"""Reads CSV files row by row with Python's csv module, to get their headers and to find their faults.

This is slow, so it is used only for the first rows, and to find the line for an error message, which Arrow does not
give.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.csv_dialect import Dialect
from airflow_provider_mlpipe.records.file_kinds import GZIP, UTF_16, UTF_32, other_than_text
from airflow_provider_mlpipe.records.text_file import TextFile

_DELIMITERS = {",": "a comma", "\t": "a tab", ";": "a semicolon", "|": "a bar"}
_REMEDIES = {
    GZIP: "let its name end in .gz, or decompress it (gunzip)",
    UTF_16: 'give CsvExampleGen encoding="utf-16"',
    UTF_32: 'give CsvExampleGen encoding="utf-32"',
}

_ENCODING = 'give CsvExampleGen its encoding, such as encoding="cp1252"'

_END = ["", ""]
"""A row that is added after the last one. After an open quote it is read as data, not as this row."""


@dataclass(frozen=True, kw_only=True)
class CsvText:
    """A file, and how its cells are separated. No row may have `row_bytes` bytes or more."""

    file: TextFile
    dialect: Dialect
    row_bytes: int

    @contextlib.contextmanager
    def rows(self, *more: str) -> Iterator[Any]:
        """Python's reader of the rows, which are followed by the lines in `more`."""
        with self.file.open() as lines, _cell_limit(self.row_bytes):
            yield self.dialect.rows(itertools.chain(lines, more))


def common_header(texts: Sequence[CsvText]) -> list[str]:
    """Return the header that all files share.

    Raises InvalidInputError for an empty file, one that does not hold text, a blank header, a column named twice,
    bytes that are not valid, a quote that is never closed, a cell that is too long, and for headers that differ (with
    the file and the first such column).
    """
    first, *others = texts
    header = _header(first)
    for text in others:
        if (other := _header(text)) != header:
            raise InvalidInputError(
                f"{text.file} has a different header than {first.file}: {_first_difference(other, header)}; "
                "all files of a split need the same columns in the same order; leave other files out with a pattern in "
                "input_config"
            )
    return header


def has_rows(text: CsvText) -> bool:
    """Whether anything but blank lines follows the header."""
    with text.rows() as rows:
        next(rows, None)
        try:
            return any(rows)
        except csv.Error:  # a cell beyond the limit
            return True


def first_fault(text: CsvText, width: int) -> InvalidInputError | None:
    """Find the first row with a fault: a NUL byte, invalid UTF-8, too many bytes, a wrong cell count, an open quote."""
    start = end = 1
    try:
        with text.rows() as rows:
            for row in rows:
                start, end = end, rows.line_num + 1
                if fault := _row_fault(row, width, text, lines=end - start):
                    return InvalidInputError(f"{text.file}: line {start}: {fault}")
            return _unclosed(text, start) if _ends_in_quotes(text) else None
    except csv.Error:
        return InvalidInputError(f"{text.file}: line {end}: {_too_long(text)}")


def doubts(header: Sequence[str], delimiter: str) -> list[str]:
    """Return what is probably not meant in a header, each with the remedy."""
    found = []
    if len(header) == 1 and (other := _other_delimiter(header[0], delimiter)):
        found.append(f"the only column is called {header[0]!r}: {other}")
    if "" in header:
        found.append(
            f"column {list(header).index('') + 1} has no name, so its feature is called '': name it, or leave it out "
            "if it holds row names (pandas: to_csv(index=False), R: write.csv(row.names=FALSE))"
        )
    return found


def _other_delimiter(name: str, delimiter: str) -> str | None:
    """The question whether another character separates the cells, if that is in the name of the only column."""
    other = next((char for char in _DELIMITERS if char != delimiter and char in name), None)
    return other and f"does {_DELIMITERS[other]} separate the cells? Then give CsvExampleGen delimiter={other!r}"


def _header(text: CsvText) -> list[str]:
    file = text.file
    if file.is_utf8 and (other := other_than_text(file.head(), _REMEDIES)):
        raise InvalidInputError(f"{file} {other}")
    try:
        with text.rows() as rows:
            header: list[str] | None = next(rows, None)
    except csv.Error as error:
        raise InvalidInputError(f"{file}: line 1: {_too_long(text)}") from error
    if header is None:
        raise InvalidInputError(f"{file} is empty; its first line must name the columns")
    if not header:
        raise InvalidInputError(f"{file}: line 1 is blank; it must name the columns")
    if not _is_utf8(header):
        raise InvalidInputError(f"{file}: line 1 is not valid UTF-8; {_ENCODING}")
    if twice := [name for name, count in collections.Counter(header).items() if count > 1]:
        raise InvalidInputError(f"{file}: line 1 names the column {twice[0]!r} twice; rename one")
    if not has_rows(text) and (fault := first_fault(text, len(header))):
        raise fault
    return header


def _first_difference(header: list[str], expected: list[str]) -> str:
    for place, (name, wanted) in enumerate(zip(header, expected, strict=False), start=1):
        if name != wanted:
            return f"column {place} is {name!r}, not {wanted!r}"
    if len(header) > len(expected):
        return f"column {len(expected) + 1}, {header[len(expected)]!r}, is an extra column"
    return f"column {len(header) + 1}, {expected[len(header)]!r}, is missing"


def _row_fault(row: list[str], width: int, text: CsvText, *, lines: int) -> str | None:
    if any("\0" in cell for cell in row):
        return 'a cell holds a NUL byte; is the file UTF-16? Then give CsvExampleGen encoding="utf-16"'
    if not _is_utf8(row):
        return f"a cell is not valid UTF-8; {_ENCODING}"
    if sum(len(cell.encode()) + 1 for cell in row) > text.row_bytes:
        return _too_long(text)
    if row and len(row) != width:
        hint = f" (the row goes on for {lines} lines: is a quote never closed?)" if lines > 1 else ""
        return f"the row has {len(row)} cells, the header has {width}{hint}; {_remedy(text, width)}"
    return None


def _remedy(text: CsvText, width: int) -> str:
    """What to do when a row has another number of cells than the header."""
    delimiter = text.dialect.delimiter
    with text.rows() as rows:
        name = next(rows)[0]
    if width == 1 and (other := _other_delimiter(name, delimiter)):
        return other
    named = _DELIMITERS.get(delimiter, repr(delimiter))
    return f"correct it, or quote cells that hold {named}" if text.dialect.quote else "correct it"


def _too_long(text: CsvText) -> str:
    return f"the row has {text.row_bytes} bytes or more, which is too long: is a quote never closed?"


def _unclosed(text: CsvText, line: int) -> InvalidInputError:
    return InvalidInputError(
        f"{text.file}: line {line}: a quote that opens in this row is never closed; close it, or double quotes within "
        "a cell"
    )


def _ends_in_quotes(text: CsvText) -> bool:
    with text.rows(text.dialect.delimiter.join(_END)) as rows:
        (last,) = collections.deque(rows, maxlen=1)
    return bool(last != _END)


@contextlib.contextmanager
def _cell_limit(limit: int) -> Iterator[None]:
    """Allow cells of `limit` characters, in the whole process. The csv module's default is 128 KiB."""
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_utf8(row: list[str]) -> bool:
    return not any("\udc80" <= char <= "\udcff" for cell in row for char in cell)
