"""Encodes columns with the same number of values in every row, many at once, as `records.examples` would.

An entry in the map of Features (see there) is a prefix, with the key and the length of the rest, and then the numbers.
All prefixes of a column have the same length, so a column is made as a matrix of bytes. The bytes that a shorter number
leaves unused in its row are then removed, once for all columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.records.binary import binary_array, fixed_width, offsets_of, varints

Bytes: TypeAlias = npt.NDArray[np.uint8]
Part: TypeAlias = tuple[Bytes, "npt.NDArray[np.bool_] | None"]
"""A column's entries, one per row, and which of the bytes are used (None: all)."""

_LONGEST = 10  # bytes of a 64-bit varint
_FLOATS, _INTEGERS = b"\x12", b"\x1a"  # tags of a Feature's float_list and int64_list


def dense_part(name: str, column: pa.Array) -> Part | None:
    """Return the entries of a column; None if it does not hold numbers, has nulls, or has rows of different lengths."""
    numbers = _numbers(column)
    if numbers is None:
        return None
    if numbers.dtype.kind == "f":
        return _floats(name, numbers)
    return _integers(name, numbers[:, 0]) if numbers.shape[1] == 1 else None


def dense_entries(parts: Sequence[Part]) -> pa.BinaryArray:
    """Return for each row its entries of all columns, one after the other."""
    matrix = np.concatenate([entries for entries, _ in parts], axis=1)
    if all(used is None for _, used in parts):
        return fixed_width(matrix.shape[1], matrix)
    every = [np.ones(entries.shape, bool) if used is None else used for entries, used in parts]
    used = np.concatenate(every, axis=1)
    return binary_array(offsets_of(used.sum(axis=1)), matrix[used])


def _numbers(column: pa.Array) -> npt.NDArray[Any] | None:
    """Return a column without nulls as a matrix [rows, numbers in each row]; None for other columns."""
    values, width = column, 1
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pc.list_value_length(column)
        extremes = pc.min_max(lengths)
        width = extremes["min"].as_py() or 0
        if width != extremes["max"].as_py():
            return None
        values = column.flatten()
    if not len(column) or not width or column.null_count or values.null_count:
        return None
    if pa.types.is_integer(values.type):
        values = values.cast(pa.int64())
    elif not pa.types.is_floating(values.type):
        return None
    return values.to_numpy(zero_copy_only=False).reshape(len(column), width)  # type: ignore[no-any-return]


def _floats(name: str, numbers: npt.NDArray[Any]) -> Part:
    with np.errstate(over="ignore"):  # values beyond float32 become infinity, as in protobuf
        payload = np.ascontiguousarray(numbers, "<f4").view(np.uint8)
    prefix = np.frombuffer(_prefix(name, _FLOATS, payload.shape[1]), np.uint8)
    return np.concatenate([np.broadcast_to(prefix, (len(payload), len(prefix))), payload], axis=1), None


def _integers(name: str, numbers: npt.NDArray[Any]) -> Part | None:
    prefixes = [_prefix(name, _INTEGERS, size) for size in range(1, _LONGEST + 1)]
    if len(prefixes[0]) != len(prefixes[-1]):  # with a longer number, a length in the prefix takes another byte
        return None
    sevens, sizes = varints(np.ascontiguousarray(numbers).view(np.uint64))
    table = np.frombuffer(b"".join(prefixes), np.uint8).reshape(_LONGEST, -1)
    entries = np.concatenate([table[sizes - 1], sevens], axis=1)
    used = np.arange(sevens.shape[1]) < sizes[:, None]
    if used.all():
        return entries, None
    return entries, np.concatenate([np.ones((len(sizes), table.shape[1]), bool), used], axis=1)


def _prefix(name: str, kind: bytes, size: int) -> bytes:
    """Return the part of an entry before its packed numbers, which take `size` bytes."""
    key = _field(b"\x0a", name.encode())
    packed = b"\x0a" + _varint(size)
    feature = kind + _varint(len(packed) + size) + packed
    value = b"\x12" + _varint(len(feature) + size) + feature
    return b"\x0a" + _varint(len(key) + len(value) + size) + key + value


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Encode as `records.binary.varints` does, but faster for a single number."""
    head = bytearray()
    while number >= 0x80:
        head.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*head, number])
