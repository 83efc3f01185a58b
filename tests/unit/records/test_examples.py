"""The encoder against bytes written by hand from the protobuf wire format (tests/executors asks TensorFlow)."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiled import tiled

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.examples import encode_examples, encode_features


def features(array: pa.Array) -> list[bytes | None]:
    return encode_features("x", array).to_pylist()


def test_an_example_by_hand() -> None:
    batch = pa.record_batch([pa.array([1]), pa.array(["x"])], ["b", "a"])
    a = b"\x0a\x0a" + b"\x0a\x01a" + b"\x12\x05" + b"\x0a\x03\x0a\x01x"
    b = b"\x0a\x0a" + b"\x0a\x01b" + b"\x12\x05" + b"\x1a\x03\x0a\x01\x01"
    assert encode_examples(batch).to_pylist() == [b"\x0a\x18" + a + b]


def test_names_are_sorted_by_their_utf8_bytes_and_longer_ones_first() -> None:
    names = ["B", "dep_time", "dep", "e", "\uffff", "\U00010000", ""]  # UTF-16 would put U+10000 before U+FFFF
    encoded = encode_examples(pa.record_batch([pa.nulls(1)] * 7, sorted(names)))[0].as_py()
    places = [encoded.index(b"\x0a" + bytes([len(name.encode())]) + name.encode() + b"\x12") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("value", "varint"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (2**63 - 1, "ffffffffffffffff7f"),
        (-1, "ffffffffffffffffff01"),
        (-(2**63), "80808080808080808001"),
    ],
)
def test_integers_are_varints(value: int, varint: str) -> None:
    packed = bytes.fromhex(varint)
    size = len(packed)
    assert features(pa.array([value])) == [bytes([0x1A, size + 2, 0x0A, size]) + packed]
    assert features(pa.array([0, value, None]))[1:] == [bytes([0x1A, size + 2, 0x0A, size]) + packed, b"\x1a\x00"]


def test_floats_are_rounded_to_32_bits() -> None:
    for value in (0.1, -0.0, 1e-46, 1e300, float("-inf")):
        expected = struct.pack("<f", value if abs(value) < 1e39 else value * float("inf"))
        assert features(pa.array([value])) == [b"\x12\x06\x0a\x04" + expected]
        assert features(pa.array([value], pa.float32())) == [b"\x12\x06\x0a\x04" + expected]


def test_a_missing_value_is_an_empty_list_of_the_columns_kind() -> None:
    assert features(pa.array([None, b"x"])) == [b"\x0a\x00", b"\x0a\x03\x0a\x01x"]
    assert features(pa.array([None, 1.0]))[0] == b"\x12\x00"
    assert features(pa.array([None, 1]))[0] == b"\x1a\x00"
    assert features(pa.nulls(2)) == [b"", b""]
    assert features(pa.array([b""])) == [b"\x0a\x02\x0a\x00"]


def test_lists() -> None:
    assert features(pa.array([[1, 300], [], None])) == [b"\x1a\x05\x0a\x03\x01\xac\x02", b"\x1a\x00", None]
    assert features(pa.array([["a", ""], []])) == [b"\x0a\x05\x0a\x01a\x0a\x00", b"\x0a\x00"]
    floats = pa.array([[1.0], [2.0, 3.0]], pa.large_list(pa.float32()))[1:]
    assert features(floats) == [b"\x12\x0a\x0a\x08" + struct.pack("<2f", 2, 3)]
    left_out = encode_examples(pa.record_batch([pa.array([None], pa.list_(pa.int64()))], ["x"]))
    assert left_out.to_pylist() == [b"\x0a\x00"]


def test_dictionaries_encode_as_their_values() -> None:
    for values in (["a", None, "b", "a"], [1, 2, None, 1], [0.5, None, None, 0.5]):
        plain = pa.array(values)
        for column in (plain.dictionary_encode(), plain.dictionary_encode()[1:]):
            expected = plain[len(plain) - len(column) :]
            assert features(column) == features(expected)
            encoded = encode_examples(pa.record_batch([expected], ["x"]))
            rows = pa.record_batch([column], ["x"])
            assert encode_examples(rows) == encode_examples(tiled(rows))[: len(rows)] == encoded


def test_no_rows_and_no_columns() -> None:
    assert encode_examples(pa.record_batch([pa.array([], pa.int64())], ["x"])).to_pylist() == []
    assert features(pa.array([], pa.float64())) == features(pa.array([], pa.string()).dictionary_encode()) == []


@pytest.mark.parametrize("column", [pa.array([True]), pa.array([{"a": 1}]), pa.array([[[1]]])])
def test_another_type_names_the_column(column: pa.Array) -> None:
    with pytest.raises(InvalidInputError, match="column 'odd' has the Arrow type"):
        encode_examples(pa.record_batch([column], ["odd"]))


def test_a_null_within_a_list_names_the_column() -> None:
    with pytest.raises(InvalidInputError, match="column 'odd' has a list with a null in it"):
        encode_examples(pa.record_batch([pa.array([[1, None]])], ["odd"]))


_NUMBERS = {
    pa.int64(): st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 300)),
    pa.int8(): st.integers(-128, 127),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
}


@given(st.data(), st.integers(1, 20), st.sets(st.sampled_from(["a", "ä", "n" * 90, "n" * 110, "n" * 130]), min_size=1))
def test_dense_columns_are_encoded_as_others_are(data: st.DataObject, rows: int, names: set[str]) -> None:
    """A column with as many numbers in every row is made in another way than one with a gap, to the same bytes."""
    columns = {}
    for name in names:
        kind, width = data.draw(st.sampled_from(list(_NUMBERS))), data.draw(st.sampled_from([0, 1, 2, 40]))
        row = st.lists(_NUMBERS[kind], min_size=width, max_size=width) if width else _NUMBERS[kind]
        values = data.draw(st.lists(row, min_size=rows, max_size=rows))
        columns[name] = pa.array(values, pa.large_list(kind) if width else kind)
    with_gaps = {name: pa.concat_arrays([column, pa.nulls(1, column.type)]) for name, column in columns.items()}
    encoded = encode_examples(tiled(pa.RecordBatch.from_pydict(columns))).to_pylist()[:rows]
    assert encoded == encode_examples(tiled(pa.RecordBatch.from_pydict(with_gaps))).to_pylist()[:rows]
    assert encoded == encode_examples(pa.RecordBatch.from_pydict(columns)).to_pylist()  # not dense, but short


def test_the_work_follows_the_cells_and_not_the_columns() -> None:
    """A call takes longer than a cell, so the calls for a wide table must not be as many as its columns allow."""
    calls = {}
    for width in (500, 1000):
        rows = pa.record_batch([pa.array([number, None]) for number in range(width)], list(map(str, range(width))))
        calls[width] = count_calls(encode_examples, rows)
    assert calls[1000] < 2.2 * calls[500]
    assert calls[1000] < 20 * 1000


def count_calls(work: Callable[[pa.RecordBatch], object], rows: pa.RecordBatch) -> int:
    counted: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _: counted.update([event]))
    try:
        work(rows)
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]
