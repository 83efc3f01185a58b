"""CSV files that are gzipped, in other encodings, and in other dialects: the same rows, and clear errors."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.csv import BLOCK_BYTES, CsvSplit
from airflow_provider_mlpipe.records.csv_dialect import Dialect, dialect_problem

DIALECTS = [
    Dialect(delimiter=delimiter, quote=quote)
    for delimiter in (",", "\t", ";", "|", " ", "^", "\x01")
    for quote in "\"'"
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-7", "gb18030"]
HEADER = ["a", "b", "c"]


def text_of(rows: Sequence[Sequence[str]], dialect: Dialect = DIALECTS[0], **quoting: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=dialect.delimiter, quotechar=dialect.quote, **quoting)
    writer.writerows([HEADER, *rows])
    return text.getvalue()


def zipped(content: bytes, members: int = 1) -> bytes:
    size = -(-len(content) // members)
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def cells(split: CsvSplit) -> list[list[bytes | None]]:
    blocks = itertools.chain.from_iterable(file.chunks() for file in split.files)
    rows = [list(row.values()) for block in blocks for row in block.to_pylist()]
    return [[None if cell is None else cell.encode() for cell in row] for row in rows]


def expected(rows: Sequence[Sequence[str]]) -> list[list[bytes | None]]:
    return [[cell.encode() or None for cell in row] for row in rows]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ["1", "-2", "3.5", "a\nb", 'q"q', "'", "x,y", "x;\t|^", "", " ", "\r\n"]
)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=20),
    st.sampled_from(DIALECTS),
    st.sampled_from(ENCODINGS),
    st.integers(0, 3),
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.integers(200, 300) | st.just(BLOCK_BYTES),
)
def test_every_form_has_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    dialect: Dialect,
    encoding: str,
    members: int,
    line_end: tuple[str, int],
    block_bytes: int,
) -> None:
    content = text_of(rows, dialect, lineterminator=line_end[0], quoting=line_end[1]).encode(encoding)
    path = tmp_path_factory.mktemp("csv") / ("x.csv.gz" if members else "x.csv")
    path.write_bytes(zipped(content, members) if members else content)
    split = CsvSplit([path], block_bytes, dialect=dialect, encoding=encoding)
    assert split.header == HEADER
    assert cells(split) == expected(rows)


def test_nothing_need_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a;b\n"1;2"\n";\n')
    assert cells(CsvSplit([tmp_path / "x.csv"], dialect=Dialect(delimiter=";", quote=""))) == [
        [b'"1', b'2"'],
        [b'"', None],
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "iso2022_jp", "shift_jis"])
def test_an_encoding_that_lacks_most_letters(tmp_path: Path, encoding: str) -> None:
    rows = [(str(number), "é" if encoding in ("latin-1", "cp1252") else "日本\n語", "z") for number in range(5000)]
    (tmp_path / "x.csv").write_bytes(text_of(rows).encode(encoding))
    assert cells(CsvSplit([tmp_path / "x.csv"], 10_000, encoding=encoding)) == expected(rows)


@pytest.mark.parametrize(
    ("content", "encoding", "says"),
    [
        (
            b"a,b\n1,2\n\n3,\x81\n",
            "cp1252",
            r"line 4, near byte 12: .* not valid cp1252 \(.*give the encoding",
        ),
        (b"a,b\r1,2\r3,\xff\r", "ascii", r"line 3, near byte 11: the text is not valid ascii"),
        (b"a,\xff\n", "ascii", r"line 1, near byte 3"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "utf-16", r"line 2, near byte 18: .* \(truncated data\)"),
        ("a,b\n1,2\n".encode("utf-16-le"), "utf-16", r"line 1, near byte .*does not start with BOM"),
        ("a,b\n日本,2\n".encode("shift_jis").replace(b"2", b"\xfd"), "shift_jis", r"line 2, near byte 10: "),
        (b"a,b\n1,2\n" * 300_000 + b"\xff\n", "ascii", r"line 600001, near byte 2,400,001: "),
    ],
)
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_a_byte_that_is_not_valid_names_its_place(
    tmp_path: Path, content: bytes, encoding: str, says: str, is_gzipped: bool
) -> None:
    path = tmp_path / ("x.csv.gz" if is_gzipped else "x.csv")
    path.write_bytes(zipped(content) if is_gzipped else content)
    with pytest.raises(InvalidInputError, match=rf"{re.escape(path.name)}: {says}"):
        cells(CsvSplit([path], encoding=encoding))


ROWS = [(str(number), f"line\n{number}", str(number / 8)) for number in range(300)]


def test_gzip_that_is_cut_off_anywhere_is_an_error(tmp_path: Path) -> None:
    whole, path = zipped(text_of(ROWS).encode()), tmp_path / "x.csv.gz"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InvalidInputError, match=r"x\.csv\.gz: gzip is cut off or corrupt|x\.csv\.gz is called .gz"):
            cells(CsvSplit([path]))
    path.write_bytes(whole)
    assert cells(CsvSplit([path])) == expected(ROWS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n", r"x\.csv\.gz is called \.gz, but is not gzipped; gzip it, or rename it"),
        (b"", r"x\.csv\.gz is called \.gz"),
        (gzip.compress(b"", mtime=0), r"x\.csv\.gz is empty; its first line must name the columns"),
        (zipped(b"a,b\n1,2\n") + b"more", r"x\.csv\.gz: gzip is cut off or corrupt"),
        (zipped(b"a,b\n1,2\n" * 400_000)[:-1], r"corrupt, somewhere after 3,145,728 bytes of text \("),
        (zipped(zipped(b"a,b\n1,2\n")), r"x\.csv\.gz holds gzip, not text in UTF-8"),
        (zipped(b"a,b\n1,2\n\n1,2,3\n"), r"x\.csv\.gz: line 4: the row has 3 cells, the header has 2"),
        (zipped(b"a,b\n1,\xff\n"), r"x\.csv\.gz: line 2: a cell is not valid UTF-8; give CsvExampleGen its encoding"),
        (zipped(b'a,b\n1,"2\n'), r"x\.csv\.gz: line 2: a quote that opens in this row is never closed"),
        (zipped("a,b\n1,2\n".encode("utf-16")), r"x\.csv\.gz holds text in UTF-16"),
    ],
)
def test_a_bad_gzipped_file(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.csv.gz").write_bytes(content)
    with pytest.raises(InvalidInputError, match=says):
        cells(CsvSplit([tmp_path / "x.csv.gz"]))


@pytest.mark.parametrize(
    ("dialect", "text", "says"),
    [
        (Dialect(), "a;b\n1,5;2\n", r"line 2: the row has 2 cells, .* does a semicolon separate the cells\? Then give"),
        (Dialect(delimiter=";"), "a,b\n1;5,2\n", r"does a comma separate the cells\? Then give .*delimiter=','"),
        (Dialect(delimiter=";"), "a;b\n1;2;3\n", r"line 2: .* correct it, or quote cells that hold a semicolon"),
        (Dialect(delimiter="^"), "a^b\n1^2^3\n", r"quote cells that hold '\^'"),
        (Dialect(quote=""), "a,b\n1,2,3\n", r"the header has 2; correct it$"),
        (Dialect(quote="'"), "a,b\n1,'2\n", r"line 2: a quote that opens in this row is never closed"),
    ],
)
def test_a_dialect_that_the_file_does_not_have(tmp_path: Path, dialect: Dialect, text: str, says: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=says):
        cells(CsvSplit([tmp_path / "x.csv"], dialect=dialect))


@pytest.mark.parametrize(
    ("given_parameters", "says"),
    [
        ({"delimiter": ""}, "delimiter must be one ASCII character"),
        ({"delimiter": "::"}, "delimiter must be one ASCII character and no line break, but it is '::'"),
        ({"delimiter": "\n"}, "delimiter must be one"),
        ({"delimiter": "§"}, "delimiter must be one"),
        ({"quote": "''"}, "quote must be one ASCII character"),
        ({"delimiter": "'", "quote": "'"}, 'quote and delimiter are both "\'"'),
        ({"encoding": "utf-88"}, "encoding must be one that Python knows .*: unknown encoding: utf-88"),
        ({"encoding": "rot13"}, "encoding must be one that Python knows for text"),
        ({"encoding": "undefined"}, "encoding must be one"),
        ({"encoding": "a\0"}, "encoding must be one"),
        ({"delimiter": "\t", "quote": None, "encoding": "latin-1"}, None),
        ({"quote": ""}, None),
    ],
)
def test_what_cannot_be_a_dialect(given_parameters: dict[str, Any], says: str | None) -> None:
    found = dialect_problem(**given_parameters)
    assert (found is None) if says is None else re.match(says, found or "")


FUZZED = [("utf-8", False), ("utf-8", True), ("utf-16", False), ("cp1252", False), ("shift_jis", True)]


@pytest.mark.parametrize(("encoding", "is_gzipped"), FUZZED)
def test_a_mutated_file_is_read_as_python_reads_it_or_refused(tmp_path: Path, encoding: str, is_gzipped: bool) -> None:
    draw = random.Random(f"{encoding} {is_gzipped}")
    rows = [("1", 'x"y', "2.5"), ("-3", "a\r\nb", ""), ("", "x,y", "z"), ("7", "", "end")] * 10
    content = text_of(rows).encode(encoding)
    path = tmp_path / ("x.csv.gz" if is_gzipped else "x.csv")
    read = refused = 0
    for _ in range(200):
        # gzip's checksum finds nearly all that is changed in it, so half of the time the text in it is
        changed = mutated(zipped(content), draw) if is_gzipped and draw.random() < 0.5 else mutated(content, draw)
        stored = zipped(changed) if is_gzipped and not changed.startswith(b"\x1f\x8b") else changed
        path.write_bytes(stored)
        wanted = as_python_reads(stored, encoding, is_gzipped)
        if wanted is None:
            with pytest.raises(InvalidInputError, match=r"x\.csv"):
                cells(CsvSplit([path], encoding=encoding))
            refused += 1
        else:
            assert cells(CsvSplit([path], encoding=encoding)) == expected(wanted)
            read += 1
    assert read > 10
    assert refused > 10


def as_python_reads(stored: bytes, encoding: str, is_gzipped: bool) -> list[list[str]] | None:
    """The rows; None if the file has a fault."""
    try:
        text = (gzip.decompress(stored) if is_gzipped else stored).decode(encoding).removeprefix("\ufeff")
    except (EOFError, OSError, UnicodeError, gzip.zlib.error):  # type: ignore[attr-defined]
        return None
    last = ["", ""]
    header, *rows = csv.reader(itertools.chain(io.StringIO(text, newline=""), [",".join(last)]))
    rows = [row for row in rows if row]
    is_whole = all(len(row) == len(header) for row in rows[:-1]) and rows[-1:] == [last]
    if not (header and is_whole and len(set(header)) == len(header)) or "\0" in text:
        return None
    return rows[:-1]
