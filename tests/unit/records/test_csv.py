"""CSV files: what is a row, what a cell means, and what is said of a bad file."""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import itertools
import lzma
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiled import tiled

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.csv import BLOCK_BYTES, ColumnType, CsvSplit, infer, infer_type, merged, typed

INT, FLOAT, STRING, UNKNOWN = ColumnType.INT, ColumnType.FLOAT, ColumnType.STRING, ColumnType.UNKNOWN


def write(tmp_path: Path, *contents: bytes) -> list[Path]:
    paths = [tmp_path / f"{number}.csv" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def read(paths: list[Path], **options: int) -> tuple[list[ColumnType], list[list[object]]]:
    split = CsvSplit(paths, **options)
    found = functools.reduce(merged, map(infer, blocks(split)))
    rows = typed_rows(split, found.types)
    assert found.rows == len(rows)
    return list(found.types), rows


def blocks(split: CsvSplit) -> Iterator[pa.RecordBatch]:
    return itertools.chain.from_iterable(file.chunks() for file in split.files)


def typed_rows(split: CsvSplit, types: Sequence[ColumnType]) -> list[list[object]]:
    return [
        list(row.values())
        for block in blocks(split)
        for row in typed(block, dict(zip(split.header, types, strict=True))).to_pylist()
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (b"7", INT),
        (b"007", INT),
        (b"+5", INT),
        (b" 5 ", INT),
        (b"1_000", INT),
        (b"-9223372036854775808", INT),
        (b"9223372036854775807", INT),
        (b"9223372036854775808", STRING),
        (b"-9223372036854775809", STRING),
        (b"1e5", FLOAT),
        (b"1.", FLOAT),
        (b".5", FLOAT),
        (b"NaN", FLOAT),
        (b"-inf", FLOAT),
        (b"Infinity", FLOAT),
        (b"1e999", FLOAT),
        (b"0x1F", STRING),
        (b"nan(1)", STRING),
        (b"1,5", STRING),
        (b"NA", STRING),
        (b"true", STRING),
        (b" ", STRING),
        ("\u0663".encode(), STRING),  # a digit to str, not to bytes
    ],
)
def test_the_type_of_a_cell(cell: bytes, expected: ColumnType) -> None:
    assert infer_type([cell]) is expected


def test_a_column_has_the_greatest_type_of_its_cells() -> None:
    assert infer_type([b"1", b"2.5", b"3"]) is FLOAT
    assert infer_type([b"2.5", b"x"]) is STRING
    assert infer_type([b"1"], known=FLOAT) is FLOAT
    assert infer_type([]) is UNKNOWN


def test_types_are_inferred_over_all_files(tmp_path: Path) -> None:
    types, rows = read(write(tmp_path, b"a,b,c,d\n1,1,1,\n", b"a,b,c,d\n2,.5,x,\n"))
    assert types == [INT, FLOAT, STRING, UNKNOWN]
    assert rows == [[1, 1.0, b"1", None], [2, 0.5, b"x", None]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", [[1, 2]]),
        (b"a,b\n1,2", [[1, 2]]),
        (b"a,b\r\n1,2\r\n", [[1, 2]]),
        (b"\xef\xbb\xbfa,b\n1,2\n", [[1, 2]]),
        (b"BZh,ORC\n1,2\n", [[1, 2]]),
        (b"ORC\n1\n", [[1]]),
        (b"a,b\n\n1,2\n\n\n3,4\n\n", [[1, 2], [3, 4]]),
        (b'a,b\n"x\ny",2\n', [[b"x\ny", 2]]),
        (b'a,b\n"x\r\ny\n",2', [[b"x\r\ny\n", 2]]),
        (b'a,b\n"x""y","1"\n', [[b'x"y', 1]]),
        (b'a,b\n1,"2\n"', [[1, 2]]),  # int() ignores the newline
        (b'a,b\n,""\n1,2\n', [[None, None], [1, 2]]),
        (b'"a\nx",b\n1,2\n', [[1, 2]]),
        (b'a\n1\n""\n\n2\n', [[1], [None], [2]]),
        (b'a,b\n1,""', [[1, None]]),
        (b'a,b\n1,""""', [[1, b'"']]),
        (b'a,b\n1,"\n"\n', [[1, b"\n"]]),
        (b'a,b\n1,""2', [[1, 2]]),
        (b"a,b\n,\n,\n", [[None, None], [None, None]]),
    ],
)
def test_rows(tmp_path: Path, content: bytes, expected: list[list[object]]) -> None:
    assert read(write(tmp_path, content))[1] == expected


def test_a_file_with_a_header_only_adds_no_row(tmp_path: Path) -> None:
    assert read(write(tmp_path, b"a,b", b"a,b\n1,2\n", b"a,b\n"))[1] == [[1, 2]]
    assert list(blocks(CsvSplit(write(tmp_path, b"a,b")))) == []


def test_a_cell_may_be_large(tmp_path: Path) -> None:
    assert read(write(tmp_path, b"a\n" + b"x" * 1_000_000 + b"\n"))[1] == [[b"x" * 1_000_000]]


@pytest.mark.parametrize("rows", [b"", b"1\n"])
def test_a_name_may_be_large(tmp_path: Path, rows: bytes) -> None:
    split = CsvSplit(write(tmp_path, b"x" * 1_000_000 + b"\n" + rows))
    assert split.header == ["x" * 1_000_000]
    assert typed_rows(split, [INT]) == [[1] for _ in rows.splitlines()]


def test_a_files_name_need_not_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.csv")
    path.write_bytes(b"a\n1\n")
    assert read([path])[1] == [[1]]


def test_a_header_may_leave_a_name_empty(tmp_path: Path) -> None:
    assert CsvSplit(write(tmp_path, b",a\n1,2\n")).header == ["", "a"]


def test_texts_that_mean_a_missing_value(tmp_path: Path) -> None:
    (path,) = write(tmp_path, b'a,b\n1,x\nNA,-\n"NA",NA\n na,\n')
    split = CsvSplit([path], null_values=["NA", "-"])
    assert typed_rows(split, [STRING, STRING]) == [[b"1", b"x"], [None, None], [None, None], [b" na", None]]
    path.write_bytes(b'a,b\n1,"NA')
    with pytest.raises(InvalidInputError, match=r"0\.csv: line 2: a quote that opens in this row is never closed"):
        list(blocks(CsvSplit([path], null_values=["NA"])))


def test_blocks_do_not_show(tmp_path: Path) -> None:
    lines = [f'{number},"line\n{number}",{number / 8}' for number in range(500)]
    paths = write(tmp_path, ("i,s,f\n" + "\n".join(lines)).encode())
    types, rows = read(paths, block_bytes=100)
    assert types == [INT, STRING, FLOAT]
    assert rows == [[number, f"line\n{number}".encode(), number / 8] for number in range(500)]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\r\n" + b'1,"\r\n"\r\n' * 50,
        b"a,b\n" + b'1,",""\r\n"\n' * 50,
        b"a,b\r\n" + b'5",x"y"\r\n1,"x\r\n"\r\n' * 50,  # quotes that open no cell
        b'\xef\xbb\xbf"a,"",\r\n",b\r\n' + b'1,"x\r\n"\r\n' * 50,
        b"a,b\r\n" + "\ufeff1,2\r\n".encode() * 50,  # no byte order mark, but data
        b"a,b\r\n" + b"1,2\r\n" * 50 + b"3,4",
        b"a" + b"\r1" * 100,
    ],
)
def test_no_byte_is_lost_between_blocks(tmp_path: Path, content: bytes) -> None:
    (path,) = write(tmp_path, content)
    _, *expected = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    for block_bytes in range(30, 60):
        found = typed_rows(CsvSplit([path], block_bytes), [STRING] * len(expected[0]))
        assert found == [[cell.encode() for cell in row] for row in expected]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"0\.csv is empty; its first line must name the columns"),
        (b"\n1,2\n", r"0\.csv: line 1 is blank"),
        (
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            r"0\.csv holds gzip, not text in UTF-8; let its name end in \.gz, or decompress it",
        ),
        (bz2.compress(b"a,b\n1,2\n"), r"0\.csv holds bzip2, .* \(bunzip2\)"),
        (lzma.compress(b"a,b\n1,2\n"), r"0\.csv holds xz, .* \(unxz\)"),
        (b"PK\x03\x04\x14\0", r"0\.csv holds a zip archive or an Excel workbook .* export it as CSV in UTF-8"),
        (b"PAR1\x15\x04\0", r"0\.csv holds Parquet, .* export it as CSV in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), r"0\.csv holds text in UTF-16, .*; give CsvExampleGen encoding=\"utf-16\""),
        ("a,b\n1,2\n".encode("utf-32"), r"0\.csv holds text in UTF-32, .*; give CsvExampleGen encoding=\"utf-32\""),
        (b"a,b,a\n", r"0\.csv: line 1 names the column 'a' twice"),
        (b"a,\xff\n1,2\n", r"0\.csv: line 1 is not valid UTF-8"),
        (b"a,b\n1,2\n\n1,2,3\n", r"0\.csv: line 4: the row has 3 cells, the header has 2; correct it, or quote"),
        (b'a,b\n"x\ny",2\n1\n', r"0\.csv: line 4: the row has 1 cells, the header has 2; correct it, or quote"),
        (b"a,b\n1,2\n \n", r"0\.csv: line 3: the row has 1 cells"),
        (b"a,b\n1,2\n3,caf\xe9\n", r"0\.csv: line 3: a cell is not valid UTF-8; give CsvExampleGen its encoding"),
        (
            b"a\0,b\n1,2\n3,4\n",
            r"0\.csv: line 1: a cell holds a NUL byte; is the file UTF-16\? Then give Csv",
        ),
        ("a,b\n1,2\n".encode("utf-16-le"), r"0\.csv: line 1: a cell holds a NUL byte"),
        (b"a\n" + b"".join(b"user\0%d\n" % number for number in range(500)), r"0\.csv: line 2: a cell holds a NUL"),
        (b"a\n" + b"1\n" * 1000 + b"\0", r"0\.csv: line 1002: a cell holds a NUL byte"),
        (b'a,b\n1,2\n3,"4\n5,6\n', r"0\.csv: line 3: a quote that opens in this row is never closed"),
        (b'a,b\n1,"', r"0\.csv: line 2: a quote that opens in this row is never closed"),
        (b'a\n1\n"', r"0\.csv: line 3: a quote that opens in this row is never closed"),
        (b'a,b\nend,"', r"0\.csv: line 2: a quote that opens in this row is never closed"),
        (b'a,"b\n1,2\n', r"0\.csv: line 1: a quote that opens in this row is never closed"),
        (b'a,"b\n' + b"1,2\n" * 50_000, r"0\.csv: line 1: the row has 1000 bytes or more.*is a quote never closed"),
        (b"a\0,b\n", r"0\.csv: line 1: a cell holds a NUL byte"),
        (b'a\n"1', r"0\.csv: line 2: a quote that opens in this row is never closed"),
        (b'a,b\n"1,2\n3,4\n', r"0\.csv: line 2: the row has 1 cells, the header has 2 \(.*is a quote never closed"),
        (b"a,b\n1,2\n3," + b"x" * 2000 + b"\n", r"0\.csv: line 3: the row has 1000 bytes or more"),
        (b"a,b\n" + b"1" * 995 + b"\r\n3," + b"x" * 4000, r"0\.csv: line 2: the row has 1 cells"),
        (b"a,b\n1," + b"2" * 993 + b"\r\n3," + b"x" * 4000, r"0\.csv: line 3: the row has 1000 bytes or more"),
        (b'a,b\n1,2\n3,"' + b"x,\n" * 2000 + b"\n", r"0\.csv: line 3: the row has 1000 bytes or more"),
    ],
)
def test_a_bad_file_names_the_line(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read(write(tmp_path, content), block_bytes=1000)


@pytest.mark.parametrize(
    ("header", "difference"),
    [
        (b"a,x,c", "column 2 is 'x', not 'b'"),
        (b"a,b", "column 3, 'c', is missing"),
        (b"a,b,c,d", "column 4, 'd', is an extra column"),
        (b"b,a,c", "column 1 is 'b', not 'a'"),
    ],
)
def test_headers_that_differ_name_file_and_column(tmp_path: Path, header: bytes, difference: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"1\.csv has a different header than .*0\.csv: {difference}"):
        CsvSplit(write(tmp_path, b"a,b,c\n", header + b"\n"))


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ["1", "-2", "3.5", "a\nb", 'q"q', "x,y", "", " ", "\r\n"]
)


QUOTING = [{"lineterminator": "\n", "quoting": csv.QUOTE_ALL}, {"lineterminator": "\r\n", "quoting": csv.QUOTE_MINIMAL}]


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=20),
    st.sampled_from(QUOTING),
    st.integers(150, 250) | st.just(BLOCK_BYTES),
)
def test_cells_are_those_of_pythons_csv_module(
    tmp_path_factory, rows, quoting: dict[str, Any], block_bytes: int
) -> None:
    text = io.StringIO()
    csv.writer(text, **quoting).writerows([("a", "b", "c"), *rows])
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(text.getvalue().encode())
    found = typed_rows(CsvSplit([path], block_bytes), [STRING] * 3)
    assert found == [[cell.encode() or None for cell in row] for row in rows]


@given(st.lists(st.tuples(CELLS, CELLS, st.sampled_from(["", "1", "NA"]), st.just("")), min_size=1, max_size=20))
def test_cells_of_short_columns_mean_what_those_of_long_ones_do(rows: list[tuple[str, ...]]) -> None:
    cells = [pa.array([cell or None for cell in column], pa.string()) for column in zip(*rows, strict=True)]
    short = pa.record_batch(cells, list("abcd"))
    one, many = infer(short), infer(tiled(short))
    times = many.rows // one.rows
    assert one.others == many.others
    assert many.stand_ins == {
        place: {text: count * times for text, count in counts.items()} for place, counts in one.stand_ins.items()
    }
    named = dict(zip("abcd", one.types, strict=True))
    assert typed(short, named).to_pylist() == typed(tiled(short), named).to_pylist()[: len(rows)]


def test_a_refused_file_leaves_no_thread_that_waits_for_ever(tmp_path: Path) -> None:
    (path,) = write(tmp_path, b"a,b\n1,2\n3," + b"x" * 2000 + b"\n" + b"1,2\n" * 500)
    for _ in range(300):
        with pytest.raises(InvalidInputError):
            list(blocks(CsvSplit([path], block_bytes=1000)))
