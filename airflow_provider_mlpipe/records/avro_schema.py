"""What an Avro schema (https://avro.apache.org/docs/1.12.0/specification/) says of the columns of its records."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from airflow_provider_mlpipe.exceptions import InvalidInputError

_PLAIN = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "fixed": pa.binary(),
    "enum": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("ns", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "local-timestamp-nanos": pa.timestamp("ns"),
}
_NUMBERS = {"date": pa.int32(), "time-millis": pa.int32()}
"""The type of the number that stands for a value of a logical type, where it is not int64."""

_REMEDY = "leave it out, or write it as fields or arrays of numbers or text"


@dataclass(frozen=True, kw_only=True)
class AvroColumn:
    """A column of leaves: `path` leads to it through nested records, and `is_list` says that a row has several values.

    `number` is the Arrow type of what a file holds, without its logical type; `kind` is the type with it. `decimal` is
    the scale of a decimal number, None for another type.
    """

    path: tuple[str, ...]
    kind: pa.DataType
    number: pa.DataType
    is_list: bool = False
    decimal: int | None = None

    @property
    def name(self) -> str:
        """The name of its feature."""
        return ".".join(self.path)

    def array(self, values: list[Any]) -> pa.Array:
        """Return a column with these values: of each row, one, several as a list, or None."""
        if self.decimal is not None:
            values = [self._decimals(value) for value in values]
        if not self.is_list:
            return self._typed(pa.array(values, self.number))
        lists = pa.array(values, pa.large_list(self.number))
        return _of_lists(lists, self._typed(lists.values))

    def _typed(self, numbers: pa.Array) -> pa.Array:
        return numbers if self.kind == self.number else numbers.cast(self.kind)

    def _decimals(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decimals(each) for each in value]
        if value is None:
            return None
        unscaled = int.from_bytes(value, "big", signed=True)
        return unscaled / 10**self.decimal if self.decimal else unscaled


def _of_lists(lists: pa.Array, values: pa.Array) -> pa.Array:
    missing = pa.array([*lists.is_null().to_pylist(), False]).to_numpy(zero_copy_only=False)
    offsets = lists.offsets.to_numpy()
    return pa.LargeListArray.from_arrays(pa.array(offsets, mask=missing if lists.null_count else None), values)


def columns_of_schema(schema: Any, where: str) -> list[AvroColumn]:
    """Return the columns of a file's records, for a parsed schema.

    Raises InvalidInputError, which begins with `where`, for records without a column with values, and for a field that
    has no form in a tf.Example.
    """
    walk = _Walk(where)
    if not (isinstance(schema, Mapping) and schema.get("type") == "record"):
        raise InvalidInputError(f"{where} has a schema that is no record, but {schema!r}; only records have columns")
    columns = list(walk.record(schema, ()))
    if all(pa.types.is_null(column.kind) for column in columns):
        raise InvalidInputError(f"{where} has no column with values; check what wrote it")
    return columns


class _Walk:
    """Walks through a schema; a named type is defined where it is first used."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._named: dict[str, Any] = {}
        self._open: list[str] = []

    def record(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[AvroColumn]:
        name = str(schema["name"])
        if name in self._open:
            raise self._no_form(path, "a record within itself")
        self._named[name] = schema
        self._open.append(name)
        for field in schema["fields"]:
            yield from self._field(field["type"], (*path, field["name"]))
        self._open.pop()

    def _field(self, schema: Any, path: tuple[str, ...]) -> Iterator[AvroColumn]:
        schema = self._resolved(schema, path)
        if _is(schema, "record"):
            yield from self.record(schema, path)
        elif _is(schema, "array"):
            item = self._resolved(schema["items"], path)
            if any(_is(item, kind) for kind in ("record", "array", "map")):
                raise self._no_form(path, f"an array of {item['type']}s")
            yield self._leaf(item, path, is_list=True)
        else:
            yield self._leaf(schema, path)

    def _resolved(self, schema: Any, path: tuple[str, ...]) -> Any:
        """Follow a name, and take the one branch of a union that is not null."""
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        if isinstance(schema, list):
            branches = [self._resolved(branch, path) for branch in schema if branch != "null"]
            return functools.reduce(lambda one, other: self._wider(one, other, path), branches) if branches else "null"
        if isinstance(schema, Mapping) and isinstance(schema.get("type"), (Mapping, list)):
            return self._resolved(schema["type"], path)
        if isinstance(schema, Mapping) and schema.get("type") in ("enum", "fixed"):
            self._named[str(schema["name"])] = schema
        return schema

    def _wider(self, one: Any, other: Any, path: tuple[str, ...]) -> Any:
        for widths in (("int", "long"), ("float", "double")):
            if one in widths and other in widths:
                return widths[1]
        raise self._no_form(path, "a union of several types")

    def _leaf(self, schema: Any, path: tuple[str, ...], *, is_list: bool = False) -> AvroColumn:
        plain = schema["type"] if isinstance(schema, Mapping) else schema
        logical = schema.get("logicalType") if isinstance(schema, Mapping) else None
        if plain not in _PLAIN:
            raise self._no_form(path, f"a {plain}")
        if logical == "decimal":
            scale = int(schema.get("scale", 0))
            number = pa.float64() if scale else pa.int64()
            return AvroColumn(path=path, kind=number, number=number, is_list=is_list, decimal=scale)
        if logical in _LOGICAL and plain in ("int", "long"):
            number = _NUMBERS.get(logical, pa.int64())
            return AvroColumn(path=path, kind=_LOGICAL[logical], number=number, is_list=is_list)
        return AvroColumn(path=path, kind=_PLAIN[plain], number=_PLAIN[plain], is_list=is_list)

    def _no_form(self, path: tuple[str, ...], what: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self._where}, column {'.'.join(path)!r}: {what} has no form in a tf.Example; {_REMEDY}"
        )


def _is(schema: Any, kind: str) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == kind


def without_logical_types(schema: Any) -> Any:
    """Return the schema by which a reader yields what the file holds: numbers and bytes."""
    if isinstance(schema, Mapping):
        return {key: without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return [without_logical_types(each) for each in schema] if isinstance(schema, list) else schema


def values_at(records: list[Mapping[str, Any]], path: tuple[str, ...]) -> list[Any]:
    """Return what each record has at a path; None where a nested record is missing."""
    first, *rest = path
    values = [record[first] for record in records]
    for name in rest:
        values = [None if value is None else value[name] for value in values]
    return values
