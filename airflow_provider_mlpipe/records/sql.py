"""Reads the rows of a DB-API cursor (https://peps.python.org/pep-0249/) into a file of Arrow batches, and from there.

A query is read once, and only its end tells the type of each column: a column may be null for a million rows. So the
rows wait in a file of the task's temporary folder, a batch at a time.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
            columns = {name: _column([row[place] for row in some], name, rows) for place, name in enumerate(names)}
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


def _column(values: list[Any], name: str, rows_before: int) -> pa.Array:
    """A column of one Arrow type. Python's types say which, since each driver has its own codes for those of SQL."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, list) for value in present):
        kind, convert = _kind([each for value in present for each in value], name, rows_before)
        lists = [
            value if value is None else [each if each is None else convert(each) for each in value] for value in values
        ]
        return _array(lists, pa.large_list(kind), name, rows_before)
    kind, convert = _kind(present, name, rows_before)
    return _array([None if value is None else convert(value) for value in values], kind, name, rows_before)


def _kind(values: Sequence[Any], name: str, rows_before: int) -> tuple[pa.DataType, Callable[[Any], Any]]:
    found = {_base(type(value)) for value in values if value is not None}
    if not found:
        return pa.null(), _same
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


def _array(values: list[Any], kind: pa.DataType, name: str, rows_before: int) -> pa.Array:
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


def _same(value: Any) -> Any:
    return value


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo is None else moment.astimezone(dt.timezone.utc).replace(tzinfo=None)


_KINDS: dict[type, tuple[pa.DataType, Callable[[Any], Any]]] = {
    bool: (pa.int64(), int),
    int: (pa.int64(), _same),
    float: (pa.float64(), _same),
    decimal.Decimal: (pa.float64(), float),
    str: (pa.large_string(), _same),
    bytes: (pa.large_binary(), _same),
    bytearray: (pa.large_binary(), bytes),
    memoryview: (pa.large_binary(), bytes),
    uuid.UUID: (pa.large_string(), str),
    dt.datetime: (pa.timestamp("us"), _in_utc),
    dt.date: (pa.date32(), _same),
    dt.time: (pa.time64("us"), _same),
    dt.timedelta: (pa.duration("us"), _same),
}
"""The Arrow type of Python's, and what makes its values of them. A datetime is a date, too, so it comes first."""
