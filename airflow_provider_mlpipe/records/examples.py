"""Serializes Arrow record batches as tf.Examples, without a Python loop over rows.

The bytes are those of `tf.train.Example.SerializeToString(deterministic=True)`: numbers are packed, and features are
sorted by name. If one name is a prefix of another, the longer name comes first: this is the order of upb, on which
Python's protobuf is based since 4.21. The messages are those of tensorflow/core/example/{example,feature}.proto::

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }      # an entry is { string key = 1; Feature value = 2; }
    Feature  { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    *List    { repeated value = 1; }

A column is flat (one value per row; null is an empty list of the column's kind), or a list (null leaves the feature
out), or of Arrow's null type (a feature without a kind). A dictionary column is flat, and is encoded once per distinct
value. With `kindless`, null is a feature without a kind, in flat columns and in lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.binary import binary_array, fixed_width, joined, offsets_of, repeated, varints
from airflow_provider_mlpipe.records.dense_entries import dense_entries, dense_part
from airflow_provider_mlpipe.records.short_columns import FEW_ROWS, grouped

_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"  # tag bytes: field number << 3 | 2 (length-delimited)


def encode_examples(batch: pa.RecordBatch, *, kindless: bool = False) -> pa.BinaryArray:
    """Serialize every row of `batch` as a tf.Example.

    Values are integers of up to 64 bits, float32, float64 (rounded to 32 bits), strings or bytes.
    Raises InvalidInputError, with the column, when a column holds anything else, or a null within a list.
    """
    names = sorted(batch.schema.names, key=_sort_key)
    columns = [(name, batch.column(batch.schema.get_field_index(name))) for name in names]
    if columns and batch.num_rows < FEW_ROWS:
        return _delimited(_FIELD_1, _entries_at_once(columns, batch.num_rows, kindless))
    entries = list(_all_entries(columns, kindless))
    return _delimited(_FIELD_1, joined(*entries) if entries else repeated(b"", batch.num_rows))


def encode_features(name: str, column: pa.Array, *, kindless: bool = False) -> pa.BinaryArray:
    """Serialize every row of `column` as a tf.train.Feature; null where a list column leaves the feature out.

    Raises the same errors as `encode_examples`; `name` is for their messages.
    """
    if pa.types.is_null(column.type):
        return repeated(b"", len(column))
    if pa.types.is_dictionary(column.type):
        features = encode_features(name, _with_null(column.dictionary), kindless=kindless)
        return features.take(column.indices.fill_null(len(column.dictionary)))
    if _is_list(column.type):
        features = _list_features(name, column)
        return features.fill_null(b"") if kindless else features
    tag, encoded = _encoded_values(name, column)
    content = encoded if tag == _FIELD_1 else _delimited(_FIELD_1, encoded)
    return _delimited(tag, content).fill_null(b"") if kindless else _delimited(tag, content.fill_null(b""))


def _sort_key(name: str) -> bytes:
    return name.encode() + b"\xff"  # greater than all bytes of UTF-8, so that the end of a name sorts last


def _all_entries(columns: Iterable[tuple[str, pa.Array]], kindless: bool) -> Iterator[pa.BinaryArray]:
    """Make the entries of all columns; consecutive dense columns are encoded together."""
    parts = ((name, column, dense_part(name, column)) for name, column in columns)
    for is_dense, some in itertools.groupby(parts, key=lambda part: part[2] is not None):
        if is_dense:
            yield dense_entries([part for _, _, part in some if part is not None])
        else:
            yield from (_column_entries(name, column, kindless) for name, column, _ in some)


def _entries_at_once(columns: Sequence[tuple[str, pa.Array]], rows: int, kindless: bool) -> pa.BinaryArray:
    """Make for each row its entries of all columns; flat columns of the same type are encoded together."""
    keys = _delimited(_FIELD_1, pa.array([name.encode() for name, _ in columns], pa.binary()))
    flat = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for _, column in columns]
    kinds = [place if _is_list(column.type) else column.type for place, column in enumerate(flat)]
    pieces, order = [], []
    for places in grouped(kinds).values():
        together = pa.concat_arrays([flat[place] for place in places])
        features = encode_features(columns[places[0]][0], together, kindless=kindless)
        pieces.append(_entries(keys.take(pa.array(np.repeat(places, rows))), features))
        order += places
    by_row = np.argsort(order) * rows + np.arange(rows)[:, None]
    entries = pa.concat_arrays(pieces).take(pa.array(by_row.ravel()))
    lists = pa.ListArray.from_arrays(pa.array(offsets_of(np.full(rows, len(columns)))), entries)
    return pc.binary_join(lists, pa.scalar(b"", pa.binary()))


def _list_features(name: str, column: pa.Array) -> pa.BinaryArray:
    values = column.flatten()
    if values.null_count:
        raise InvalidInputError(f"column {name!r} has a list with a null in it, which a tf.Example cannot hold")
    tag, encoded = _encoded_values(name, values)
    lengths = pc.list_value_length(column).fill_null(0).to_numpy()
    lists = pa.ListArray.from_arrays(pa.array(offsets_of(lengths)), encoded)
    content = pc.binary_join(lists, pa.scalar(b"", pa.binary()))
    if tag != _FIELD_1:  # packed, and an empty packed field is not written at all
        content = pc.if_else(pc.equal(pc.binary_length(content), 0), content, _delimited(_FIELD_1, content))
    return _null_where_null_in(column, _delimited(tag, content))


def _column_entries(name: str, column: pa.Array, kindless: bool) -> pa.BinaryArray:
    """Make for each row the column's entry in the map of Features; it is empty where the feature is left out."""
    if pa.types.is_dictionary(column.type):
        entries = _column_entries(name, _with_null(column.dictionary), kindless)
        return entries.take(column.indices.fill_null(len(column.dictionary)))
    key = _delimited(_FIELD_1, repeated(name.encode(), 1))[0]
    return _entries(key, encode_features(name, column, kindless=kindless))


def _entries(keys: pa.BinaryArray | pa.BinaryScalar, features: pa.BinaryArray) -> pa.BinaryArray:
    fields = joined(keys, _delimited(_FIELD_2, features))
    return _delimited(_FIELD_1, fields).fill_null(b"")


def _encoded_values(name: str, values: pa.Array) -> tuple[bytes, pa.BinaryArray]:
    """Return the tag of the Feature's kind, and every value as encoded in that kind's list."""
    if pa.types.is_integer(values.type):
        return _FIELD_3, _varints(values)
    if pa.types.is_floating(values.type):
        return _FIELD_2, _floats(values)
    if any(is_bytes(values.type) for is_bytes in _BYTES):
        return _FIELD_1, _delimited(_FIELD_1, values.cast(pa.binary()))
    raise InvalidInputError(
        f"column {name!r} has the Arrow type {values.type}; a tf.Example holds integers, floats and bytes"
    )


_BYTES = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)


def _varints(values: pa.Array) -> pa.BinaryArray:
    """Encode every number as a varint; a negative number is encoded as its 64-bit two's complement."""
    sevens, sizes = varints(values.fill_null(0).cast(pa.int64()).to_numpy().view(np.uint64))
    if sevens.shape[1] == 1:
        return _null_where_null_in(values, fixed_width(1, sevens))
    used = np.arange(sevens.shape[1]) < sizes[:, None]
    return _null_where_null_in(values, binary_array(offsets_of(sizes), sevens[used]))


def _floats(values: pa.Array) -> pa.BinaryArray:
    with np.errstate(over="ignore"):  # values beyond float32 become infinity, as in protobuf
        numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False).astype("<f4")
    return _null_where_null_in(values, fixed_width(4, numbers))


def _delimited(tag: bytes, contents: pa.BinaryArray) -> pa.BinaryArray:
    """Encode every content as a length-delimited field: tag, length, content. Null stays null."""
    return joined(pa.scalar(tag, pa.binary()), _varints(pc.binary_length(contents)), contents)


def _with_null(values: pa.Array) -> pa.Array:
    return pa.concat_arrays([values, pa.nulls(1, values.type)])


def _null_where_null_in(column: pa.Array, values: pa.BinaryArray) -> pa.BinaryArray:
    return pc.if_else(column.is_valid(), values, pa.scalar(None, pa.binary())) if column.null_count else values


def _is_list(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type))
