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
from pathlib import Path
from typing import TextIO

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.file_kinds import other_than_text

_DELIMITERS = {"\t": "a tab", ";": "a semicolon", "|": "a bar"}

_END = ["end", "end"]
"""A row that is added after the last one. After an open quote it is read as data, not as this row."""


def common_header(paths: Sequence[Path], row_bytes: int) -> list[str]:
    """Return the header that all files share.

    Raises InvalidInputError for an empty file, one that does not hold text, a blank header, a column named twice,
    invalid UTF-8, a quote that is never closed, a cell longer than `row_bytes`, and for headers that differ (with the
    file and the first such column).
    """
    first, *others = paths
    header = _header(first, row_bytes)
    for path in others:
        if (other := _header(path, row_bytes)) != header:
            raise InvalidInputError(
                f"{path} has a different header than {first}: {_first_difference(other, header)}; "
                "all files of a split need the same columns in the same order; leave other files out with a pattern in "
                "input_config"
            )
    return header


def has_rows(path: Path, row_bytes: int) -> bool:
    """Whether anything but blank lines follows the header."""
    with _text(path) as file, _cell_limit(row_bytes):
        reader = csv.reader(file)
        next(reader, None)
        try:
            return any(reader)
        except csv.Error:  # a cell beyond the limit
            return True


def first_fault(path: Path, width: int, row_bytes: int) -> InvalidInputError | None:
    """Find the first row with a fault: a NUL byte, invalid UTF-8, too many bytes, a wrong cell count, an open quote."""
    start = end = 1
    try:
        with _text(path) as file, _cell_limit(row_bytes):
            reader = csv.reader(file)
            for row in reader:
                start, end = end, reader.line_num + 1
                if fault := _row_fault(row, width, row_bytes, lines=end - start):
                    return InvalidInputError(f"{path}: line {start}: {fault}")
            return _unclosed(path, start) if _ends_in_quotes(path) else None
    except csv.Error:
        return InvalidInputError(f"{path}: line {end}: {_too_long(row_bytes)}")


def doubts(header: Sequence[str]) -> list[str]:
    """Return what is probably not meant in a header, each with the remedy."""
    found = []
    if len(header) == 1 and (delimiter := next((char for char in _DELIMITERS if char in header[0]), None)):
        found.append(
            f"the only column is called {header[0]!r}: does {_DELIMITERS[delimiter]} separate the cells? "
            "Only a comma does here; write the files with commas"
        )
    if "" in header:
        found.append(
            f"column {list(header).index('') + 1} has no name, so its feature is called '': name it, or leave it out "
            "if it holds row names (pandas: to_csv(index=False), R: write.csv(row.names=FALSE))"
        )
    return found


def _header(path: Path, row_bytes: int) -> list[str]:
    if other := other_than_text(path):
        raise InvalidInputError(f"{path} {other}")
    try:
        with _text(path) as file, _cell_limit(row_bytes):
            header = next(csv.reader(file), None)
    except csv.Error as error:
        raise InvalidInputError(f"{path}: line 1: {_too_long(row_bytes)}") from error
    if header is None:
        raise InvalidInputError(f"{path} is empty; its first line must name the columns")
    if not header:
        raise InvalidInputError(f"{path}: line 1 is blank; it must name the columns")
    if not _is_utf8(header):
        raise InvalidInputError(f"{path}: line 1 is not valid UTF-8; convert the file to UTF-8")
    if twice := [name for name, count in collections.Counter(header).items() if count > 1]:
        raise InvalidInputError(f"{path}: line 1 names the column {twice[0]!r} twice; rename one")
    if not has_rows(path, row_bytes) and (fault := first_fault(path, len(header), row_bytes)):
        raise fault
    return header


def _first_difference(header: list[str], expected: list[str]) -> str:
    for place, (name, wanted) in enumerate(zip(header, expected, strict=False), start=1):
        if name != wanted:
            return f"column {place} is {name!r}, not {wanted!r}"
    if len(header) > len(expected):
        return f"column {len(expected) + 1}, {header[len(expected)]!r}, is an extra column"
    return f"column {len(header) + 1}, {expected[len(header)]!r}, is missing"


def _row_fault(row: list[str], width: int, row_bytes: int, *, lines: int) -> str | None:
    if any("\0" in cell for cell in row):
        return "a cell holds a NUL byte; is the file UTF-16? convert it to UTF-8"
    if not _is_utf8(row):
        return "a cell is not valid UTF-8; convert the file to UTF-8"
    if sum(len(cell.encode()) + 1 for cell in row) > row_bytes:
        return _too_long(row_bytes)
    if row and len(row) != width:
        hint = f" (the row goes on for {lines} lines: is a quote never closed?)" if lines > 1 else ""
        remedy = "correct it, or quote cells that hold a comma"
        return f"the row has {len(row)} cells, the header has {width}{hint}; {remedy}"
    return None


def _too_long(row_bytes: int) -> str:
    return f"the row has {row_bytes} bytes or more, which is too long: is a quote never closed?"


def _unclosed(path: Path, line: int) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: line {line}: a quote that opens in this row is never closed; close it, or double quotes within a cell"
    )


def _ends_in_quotes(path: Path) -> bool:
    with _text(path) as file:
        lines = itertools.chain(file, [",".join(_END)])
        (last,) = collections.deque(csv.reader(lines), maxlen=1)
    return bool(last != _END)


def _text(path: Path) -> TextIO:
    """Open a file. Invalid bytes become lone surrogates, so that the rows before and after them can be read."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


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
