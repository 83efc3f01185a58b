"""Builds Arrow's binary arrays from numpy arrays, and takes them apart, without a Python loop over the values."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_mlpipe.exceptions import InvalidInputError

Numbers: TypeAlias = npt.NDArray[np.number[Any]]


def bytes_list(array: pa.BinaryArray) -> list[bytes]:
    """Return the values of an array without nulls; several times faster than `to_pylist`, which makes scalars first."""
    offsets = _offsets(array).tolist()
    data = array.buffers()[2].to_pybytes() if offsets[-1] else b""
    return [data[start:end] for start, end in itertools.pairwise(offsets)]


def values_buffer(array: pa.BinaryArray) -> pa.Buffer:
    """Return the values of an array without nulls, one after the other, without copying them."""
    offsets = _offsets(array)
    first, last = int(offsets[0]), int(offsets[-1])
    return array.buffers()[2].slice(first, last - first) if last else pa.py_buffer(b"")


def _offsets(array: pa.BinaryArray) -> Numbers:
    if not len(array):
        return np.zeros(1, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]


def joined(*parts: pa.BinaryArray | pa.BinaryScalar) -> pa.BinaryArray:
    """Join arrays value by value; a scalar is part of every value. A value is null if any of its parts is null."""
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def repeated(value: bytes, count: int) -> pa.BinaryArray:
    """Return an array of `count` copies of the value."""
    return pa.array([value], pa.binary()).take(pa.array(np.zeros(count, np.int32)))


def fixed_width(width: int, data: Numbers) -> pa.BinaryArray:
    """Cut the bytes of `data` into values of `width` bytes each."""
    return binary_array(offsets_of(np.full(data.nbytes // width, width)), data)


def binary_array(offsets: Numbers, data: Numbers) -> pa.BinaryArray:
    """Cut the bytes of `data` at `offsets` (int32, one more than there are values)."""
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def varints(numbers: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint8], Numbers]:
    """Return numbers in base 128 (https://protobuf.dev/programming-guides/encoding), and how many bytes each takes.

    The numbers are rows of a matrix, each as wide as the greatest number. Each byte has seven bits of the number, the
    least significant ones first; its high bit is set, except in the last byte.
    """
    width = max(1, -(-int(numbers.max(initial=0)).bit_length() // 7))
    sizes = np.full(len(numbers), 1)
    if width == 1:  # a byte each, as for most lengths
        return numbers.astype(np.uint8)[:, None], sizes
    sevens = (numbers[:, None] >> np.arange(0, 7 * width, 7, dtype=np.uint64)).astype(np.uint8) & np.uint8(0x7F)
    for more in range(1, width):
        sizes += numbers >= np.uint64(1 << 7 * more)
    sevens[np.arange(width) < sizes[:, None] - 1] |= 0x80
    return sevens, sizes


def offsets_of(lengths: Numbers) -> Numbers:
    """Return the offsets of values that have these lengths; raises InvalidInputError beyond 2 GiB, Arrow's limit."""
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if offsets[-1] > np.iinfo(np.int32).max:
        raise InvalidInputError(
            f"{len(lengths)} values take {offsets[-1]} bytes, but Arrow's limit is 2 GiB; write less per row"
        )
    return offsets.astype(np.int32)
