"""Turns the columns of a table, as Parquet, Avro or SQL have them, into columns that `examples` encodes.

==============================  ================================================================================
a column of                     becomes
==============================  ================================================================================
integers, booleans              INT; false is 0, true is 1
floats, decimals                FLOAT; a decimal without a fraction (scale 0) is INT
text, bytes, enumerations       BYTES; text in UTF-8, bytes as they are
dates                           INT: days since 1970-01-01, as the number of a span
timestamps                      INT: microseconds since 1970-01-01 UTC; one without a time zone counts as UTC
times of day, durations         INT: microseconds
lists of these                  a feature with as many values
structs                         a column for each field, named `<column>.<field>`
==============================  ================================================================================

Null alone is missing: 0, "" and an empty list are values. Lists of lists, lists of structs, maps and unions have no
form in a tf.Example.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import of_columns

_TEXT_OR_BYTES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)
_SHOWN = 100
_REMEDY = "leave it out, or write it as columns or lists of numbers or text"


def feature_types(schema: pa.Schema, where: str) -> dict[str, str]:
    """Return INT, FLOAT, BYTES or UNKNOWN for each feature, by name, for columns of these types.

    Raises InvalidInputError, which begins with `where`, for a column that has no form in a tf.Example, and for two
    features of one name.
    """
    found: dict[str, str] = {}
    for name, kind in _leaves(schema):
        if name in found:
            raise InvalidInputError(f"{where} has two columns that become the feature {name!r}; rename one")
        found[name] = _feature_type(name, kind, where)
    return found


def feature_columns(batch: pa.RecordBatch, where: str, rows_before: int = 0) -> pa.RecordBatch:
    """Return the rows with one flat or list column per feature, as `encode_examples` takes them.

    Raises InvalidInputError, with `where`, the column and the row (the number of the first is 1 + `rows_before`), for a
    value that a tf.Example cannot hold: an integer beyond 64 bits, a fraction of a microsecond, a null within a list.
    """
    columns = {}
    for name, column in _flattened(batch):
        try:
            columns[name] = _converted(column)
        except pa.ArrowInvalid as error:
            raise _misfit(column, f"{where}, column {name!r}", rows_before) from error
    return of_columns(columns, batch.num_rows)


def as_lists(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of `feature_columns` with lists only, in which null is a missing feature, for the sidecar."""
    columns = {name: _as_list(column) for name, column in zip(rows.schema.names, rows.columns, strict=True)}
    return of_columns(columns, rows.num_rows)


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    for field in schema:
        yield from _leaves_of(field.name, field.type)


def _leaves_of(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves_of(f"{name}.{field.name}", field.type)
    else:
        yield name, kind


def _flattened(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        yield from _flattened_column(name, column)


def _flattened_column(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_struct(column.type):
        for field, values in zip(column.type, column.flatten(), strict=True):  # null where the struct is null
            yield from _flattened_column(f"{name}.{field.name}", values)
    else:
        yield name, column


def _feature_type(name: str, kind: pa.DataType, where: str) -> str:
    values = _values_type(kind)
    if pa.types.is_null(values):
        return "UNKNOWN"
    if any(is_bytes(values) for is_bytes in _TEXT_OR_BYTES):
        return "BYTES"
    if pa.types.is_floating(values) or (pa.types.is_decimal(values) and values.scale > 0):
        return "FLOAT"
    if _is_int(values):
        return "INT"
    raise InvalidInputError(f"{where}, column {name!r}: {kind} has no form in a tf.Example; {_REMEDY}")


def _values_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _values_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _values_type(kind.value_type)
    return _values_type(kind.value_type) if _is_list(kind) and not _is_nested(kind.value_type) else kind


def _is_int(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
        or (pa.types.is_decimal(kind) and kind.scale <= 0)
    ) and not pa.types.is_interval(kind)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def _converted(column: pa.Array) -> pa.Array:
    """Raises ArrowInvalid for a value that a tf.Example cannot hold."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _converted(column.storage)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(column.indices, _converted(column.dictionary))
    if _is_list(kind):
        return _converted_list(column)
    return _converted_values(column)


def _converted_list(column: pa.Array) -> pa.Array:
    lengths = pc.list_value_length(column)
    if pa.types.is_fixed_size_list(column.type):
        lengths = pc.if_else(column.is_valid(), column.type.list_size, pa.scalar(None, pa.int32()))
    values = column.flatten()  # without what lies below a null list
    if values.null_count:
        raise pa.ArrowInvalid("a null within a list")
    converted = _converted(values)
    return _lists(lengths, converted.dictionary_decode() if pa.types.is_dictionary(converted.type) else converted)


def _lists(lengths: pa.Array, values: pa.Array) -> pa.LargeListArray:
    """Return lists of these lengths; null where a length is null."""
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    missing = np.append(lengths.is_null().to_numpy(zero_copy_only=False), False)
    offsets = pa.array(np.concatenate([np.zeros(1, np.int64), ends]), mask=missing if lengths.null_count else None)
    return pa.LargeListArray.from_arrays(offsets, values)


def _as_list(column: pa.Array) -> pa.Array:
    if pa.types.is_null(column.type) or _is_list(column.type):
        return column
    lengths = pc.if_else(column.is_valid(), pa.scalar(1, pa.int32()), pa.scalar(None, pa.int32()))
    values = column.drop_null()
    return _lists(lengths, values.dictionary_decode() if pa.types.is_dictionary(values.type) else values)


def _converted_values(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_float16(kind):
        numbers = values.fill_null(np.float16(0)).to_numpy(zero_copy_only=False).astype(np.float32)
        return pa.array(numbers, mask=values.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_fixed_size_binary(kind):
        return values.cast(pa.binary())
    if pa.types.is_decimal(kind) and kind.scale > 0:
        return values.cast(pa.float64())
    return _as_int64(values) if _is_int(kind) else values


def _as_int64(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_date(kind):
        return values.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    if pa.types.is_time(kind):
        return values.cast(pa.time64("us")).cast(pa.int64())
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
    if pa.types.is_duration(kind):
        return values.cast(pa.duration("us")).cast(pa.int64())
    return values.cast(pa.int64())


def _misfit(column: pa.Array, where: str, rows_before: int) -> InvalidInputError:
    row = next(row for row in range(len(column)) if not _fits(column.slice(row, 1)))
    value = _shown(column.slice(row, 1))
    return InvalidInputError(
        f"{where}, row {rows_before + row + 1:,}: {value} has no form in a tf.Example, where an INT has 64 bits, "
        "a time whole microseconds, and a list no null"
    )


def _shown(value: pa.Array) -> str:
    """Return the start of a single value's text."""
    times = pa.types.is_timestamp(value.type) or pa.types.is_time(value.type)  # Python's have no nanoseconds
    text = str((value.cast(pa.string()) if times else value)[0])
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text


def _fits(value: pa.Array) -> bool:
    try:
        _converted(value)
    except pa.ArrowInvalid:
        return False
    return True
