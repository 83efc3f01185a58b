"""Reads the rows of a DB-API cursor (https://peps.python.org/pep-0249/) into a file of Arrow batches, and from there.

A query is read once, and only its end tells the type of each column: a column may be null for a million rows. So the
rows wait in a file of the task's temporary folder, a batch at a time.
"""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pyarrow as pa

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records import spool
from airflow_provider_mlpipe.records.batches import columns_of, of_columns
from airflow_provider_mlpipe.records.table_columns import feature_types
from airflow_provider_mlpipe.records.tables import ReadRows

ROWS_AT_ONCE = 8_000
_REMEDY = "convert it in the query, e.g. by CAST"


@dataclass(frozen=True, kw_only=True)
class Spool:
    """The rows of a query in a file, as a source; `kinds` are the types of the columns over all rows."""

    path: Path
    kinds: Mapping[str, pa.DataType]
    rows: int

    @property
    def types(self) -> Mapping[str, str]:
        """The features' types by name."""
        return feature_types(pa.schema(list(self.kinds.items())), "the query")

    def chunks(self) -> Iterator[ReadRows]:
        """Yield the rows in order."""
        before = 0
        for batch in spool.batches(self.path):
            columns = {name: column.cast(self.kinds[name], safe=False) for name, column in columns_of(batch).items()}
            yield ReadRows(rows=of_columns(columns, batch.num_rows), where="the query", rows_before=before)
            before += batch.num_rows


def spooled(cursor: Any, path: Path) -> Spool:
    """Write all rows of a cursor that has executed its query to a file.

    Raises InvalidInputError for two columns of one name, and a value or a mixture of types that has no form in a
    tf.Example; and the driver's errors.
    """
    kinds: dict[str, pa.DataType] = {}
    rows = 0
    with path.open("wb") as file:
        while some := cursor.fetchmany(ROWS_AT_ONCE):
            names = _names(cursor.description)
            cells = zip(*some, strict=True)  # by column
            columns = {name: _column(values, name, rows) for name, values in zip(names, cells, strict=True)}
            for name, column in columns.items():
                kinds[name] = _common(kinds.get(name, pa.null()), column.type, name, rows)
            spool.append(file, of_columns(columns, len(some)))
            rows += len(some)
    return Spool(path=path, kinds=kinds, rows=rows)


def _names(description: Sequence[Sequence[Any]]) -> list[str]:
    names = [str(column[0]) for column in description]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInputError(f"the query has two columns {twice[0]!r}; name one with AS")
    return names


def _column(values: Sequence[Any], name: str, rows_before: int) -> pa.Array:
    """A column of one Arrow type. Python's types say which, since each driver has its own codes for those of SQL."""
    types = set(map(type, values)) - {NoneType}
    if types and all(issubclass(each, list) for each in types):
        lists = [value for value in values if value is not None]
        inner = set(map(type, itertools.chain.from_iterable(lists))) - {NoneType}
        kind, convert = _kind(inner, name, rows_before)
        converted = [value if value is None else _converted(value, convert) for value in values]
        return _array(converted, pa.large_list(kind), name, rows_before)
    kind, convert = _kind(types, name, rows_before)
    return _array(_converted(values, convert), kind, name, rows_before)


def _converted(values: Sequence[Any], convert: Callable[[Any], Any] | None) -> Sequence[Any]:
    return values if convert is None else [None if value is None else convert(value) for value in values]


def _kind(types: Iterable[type], name: str, rows_before: int) -> tuple[pa.DataType, Callable[[Any], Any] | None]:
    """The Arrow type for values of these types, and what makes its values of them; None if they are such."""
    found = set(map(_base, types))
    if not found:
        return pa.null(), None
    if found <= {int, float, decimal.Decimal} and len(found) > 1:
        return pa.float64(), float
    if len(found) == 1 and (known := _KINDS.get(next(iter(found)))):
        return known
    names = ", ".join(sorted(kind.__name__ for kind in found))
    raise InvalidInputError(
        f"the query, column {name!r}, after row {rows_before:,}: values of the type {names} have no form in a "
        f"tf.Example; {_REMEDY}"
    )


def _base(kind: type) -> type[Any]:
    return next((each for each in kind.__mro__ if each in _KINDS), kind)


def _array(values: Sequence[Any], kind: pa.DataType, name: str, rows_before: int) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError) as error:
        raise InvalidInputError(
            f"the query, column {name!r}, after row {rows_before:,}: {str(error).strip()}; {_REMEDY}"
        ) from error


def _common(one: pa.DataType, other: pa.DataType, name: str, rows_before: int) -> pa.DataType:
    """The type of a column over two batches."""
    if pa.types.is_null(one) or one == other:
        return other
    if pa.types.is_null(other):
        return one
    if pa.types.is_large_list(one) and pa.types.is_large_list(other):
        return pa.large_list(_common(one.value_type, other.value_type, name, rows_before))
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    raise InvalidInputError(
        f"the query, column {name!r}: its values are {one} up to row {rows_before:,}, but {other} after it; {_REMEDY}"
    )


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo is None else moment.astimezone(dt.timezone.utc).replace(tzinfo=None)


_KINDS: dict[type, tuple[pa.DataType, Callable[[Any], Any] | None]] = {
    bool: (pa.int64(), int),
    int: (pa.int64(), None),
    float: (pa.float64(), None),
    decimal.Decimal: (pa.float64(), float),
    str: (pa.large_string(), None),
    bytes: (pa.large_binary(), None),
    bytearray: (pa.large_binary(), bytes),
    memoryview: (pa.large_binary(), bytes),
    uuid.UUID: (pa.large_string(), str),
    dt.datetime: (pa.timestamp("us"), _in_utc),
    dt.date: (pa.date32(), None),
    dt.time: (pa.time64("us"), None),
    dt.timedelta: (pa.duration("us"), None),
}
"""The Arrow type of Python's, and what makes its values of them, if that is needed. A datetime is a date, too, so it
comes first."""
