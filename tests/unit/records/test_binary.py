"""Binary arrays and their buffers, of slices too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.binary import (
    binary_array,
    bytes_list,
    fixed_width,
    offsets_of,
    values_buffer,
    varints,
)


def test_bytes_list_of_slices() -> None:
    array = pa.array([b"a", b"", b"ccc", b"d"])
    assert bytes_list(array) == [b"a", b"", b"ccc", b"d"]
    assert bytes_list(array[1:3]) == [b"", b"ccc"]
    assert bytes_list(array[4:]) == bytes_list(pa.array([], pa.binary())) == []
    assert bytes_list(pa.array([b"", b""])) == [b"", b""]


def test_more_than_arrow_can_hold_is_an_error() -> None:
    assert offsets_of(np.array([1 << 30, (1 << 30) - 1])).tolist() == [0, 1 << 30, (1 << 31) - 1]
    with pytest.raises(InvalidInputError, match="2147483648 bytes, but Arrow's limit is 2 GiB"):
        offsets_of(np.array([1 << 30, 1 << 30], np.int32))


def test_values_buffer_of_slices() -> None:
    array = pa.array([b"a", b"", b"ccc", b"d"])
    assert values_buffer(array).to_pybytes() == b"acccd"
    assert values_buffer(array[1:3]).to_pybytes() == b"ccc"
    assert values_buffer(array[4:]).to_pybytes() == values_buffer(pa.array([], pa.binary())).to_pybytes() == b""


def test_arrays_of_numbers() -> None:
    assert fixed_width(2, np.arange(6, dtype=np.uint8)).to_pylist() == [b"\0\1", b"\2\3", b"\4\5"]
    assert binary_array(offsets_of(np.array([1, 0, 2])), np.arange(3, dtype=np.uint8)).to_pylist() == [
        b"\0",
        b"",
        b"\1\2",
    ]


def test_varints_of_the_specification() -> None:
    matrix, sizes = varints(np.array([1, 150, 2**64 - 1], np.uint64))  # 150 is the example of protobuf's documentation
    assert [bytes(row[:size]) for row, size in zip(matrix, sizes, strict=True)] == [
        b"\x01",
        b"\x96\x01",
        b"\xff" * 9 + b"\x01",
    ]
    assert [array.shape for array in varints(np.array([], np.uint64))] == [(0, 1), (0,)]
