"""ParquetExampleGen and AvroExampleGen: every type and value, held against TFX's conversion; faults; mutated files."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mutations import mutated
from sources import (
    DAY,
    DAYS,
    MICROSECONDS,
    MOMENT,
    ON_BEAM,
    ONE_SPLIT,
    all_of,
    as_tfx,
    generate,
    penguin_rows,
)

from airflow_provider_mlpipe.components.avro_example_gen import executor as avro
from airflow_provider_mlpipe.components.parquet_example_gen import executor as parquet
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.avro import MOST_BLOCK_BYTES
from airflow_provider_mlpipe.records.chunks import decode
from airflow_provider_mlpipe.records.sidecar import FILE_NAME as SIDECAR
from airflow_provider_mlpipe.records.sidecar import read_batches

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

Row = dict[str, Any]
AVRO_TYPES = {int: "long", float: "double", str: "string", bytes: "bytes", bool: "boolean"}


@dataclass(frozen=True)
class Kind:
    """A kind of file: its executor, and how to write rows of plain values, each column of one type."""

    run: Callable[..., Any]
    write: Callable[[Path, Sequence[Row], int], None]


def write_parquet(path: Path, rows: Sequence[Row], block_rows: int = 100) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=block_rows)


def write_avro(path: Path, rows: Sequence[Row], block_rows: int = 100, codec: str = "deflate") -> None:
    fields = [{"name": name, "type": ["null", avro_type(name, rows)]} for name in rows[0]]
    schema = {"type": "record", "name": "row", "fields": fields}
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows, codec=codec, sync_interval=block_rows * 20)


def avro_type(name: str, rows: Sequence[Row]) -> Any:
    value = next(row[name] for row in rows if row[name] not in (None, []))
    if isinstance(value, list):
        return {"type": "array", "items": AVRO_TYPES[type(value[0])]}
    return AVRO_TYPES[type(value)]


KINDS = {"parquet": Kind(parquet.run, write_parquet), "avro": Kind(avro.run, write_avro)}
ROWS: list[Row] = [
    {"i": 1, "f": 0.5, "s": "a", "b": True, "l": [1, 2], "t": ["a", ""], "raw": b"\xff\x00"},
    {"i": 0, "f": None, "s": "", "b": False, "l": None, "t": None, "raw": b""},
    {"i": None, "f": 0.0, "s": None, "b": None, "l": [0], "t": ["x"], "raw": None},
    {"i": -5, "f": 3.25, "s": "ü", "b": True, "l": [-(2**63), 2**63 - 1], "t": ["y", "z"], "raw": b"x"},
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_zeros_and_empty_text_are_values_and_null_alone_is_missing(kind: Kind, base: Path, tmp_path: Path) -> None:
    kind.write(base / "a", ROWS, 2)
    produced, records = generate(kind.run, base, tmp_path / "out")
    assert all_of(records) == sorted(map(as_tfx, ROWS))
    assert sum(produced.properties["record_counts"].values()) == len(ROWS)


def test_real_data_gives_tfxs_records_and_splits_on_both_engines(kind: Kind, base: Path, tmp_path: Path) -> None:
    rows = penguin_rows()
    for place in range(3):
        kind.write(base / f"{place}.file", rows[place::3], 20)
    local, on_beam = (
        generate(kind.run, base, tmp_path / name, beam_pipeline_args=arguments)
        for name, arguments in (("local", ()), ("beam", ON_BEAM))
    )
    assert all_of(local[1]) == sorted(map(as_tfx, rows))
    assert local == on_beam
    assert local[0].properties["record_counts"] == {"train": len(local[1]["train"]), "eval": len(local[1]["eval"])}


def test_the_sidecar_has_what_the_records_have(kind: Kind, base: Path, tmp_path: Path) -> None:
    rows = [{**row, "place": place} for place, row in enumerate(ROWS * 50)]
    kind.write(base / "a", rows, 30)
    _, records = generate(kind.run, base, tmp_path / "out")
    for split, some in records.items():
        (batch,) = read_batches(tmp_path / "out" / f"Arrow-{split}" / SIDECAR, 0, 9)
        decoded = decode(some)
        assert batch.schema.names == sorted(decoded.schema.names)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            assert column.equals(decoded.column(decoded.schema.get_field_index(name))), name


def test_an_empty_list_is_present(kind: Kind, base: Path, tmp_path: Path) -> None:
    """TFX makes a missing feature of it."""
    kind.write(base / "a", [{"l": [1]}, {"l": []}, {"l": None}], 1)
    _, records = generate(kind.run, base, tmp_path / "out")
    entry = b"\x0a\x01l\x12"
    assert [record[4:] for record in sorted(all_of(records), key=len)] == [
        entry + b"\x00",
        entry + b"\x02\x1a\x00",
        entry + b"\x05\x1a\x03\x0a\x01\x01",
    ]


def test_rows_are_dealt_by_a_feature(kind: Kind, base: Path, tmp_path: Path) -> None:
    kind.write(base / "a", [{"key": place % 7, "place": place} for place in range(100)], 30)
    splits = [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]
    config = {"split_config": {"splits": splits, "partition_feature_name": "key"}}
    _, records = generate(kind.run, base, tmp_path / "out", output_config=config)
    keys = {name: {row["key"] for row in map(decoded_row, some)} for name, some in records.items()}
    assert keys["train"] | keys["eval"] == set(range(7))
    assert not keys["train"] & keys["eval"]


def test_rows_are_dealt_by_time(kind: Kind, base: Path, tmp_path: Path) -> None:
    days = [dt.date(2026, month, day) for month in range(1, 13) for day in (1, 28)]
    kind.write(base / "a", [{"day": day.isoformat(), "place": place} for place, day in enumerate(days)], 5)
    splits = [{"name": "train", "before": "2026-06-01"}, {"name": "eval", "before": "2026-09-01"}, {"name": "test"}]
    config = {"split_config": {"splits": splits, "partition_feature_name": "day"}}
    produced, records = generate(kind.run, base, tmp_path / "out", output_config=config)
    assert produced.properties["record_counts"] == {"train": 10, "eval": 6, "test": 8}
    places = [decoded_row(record)["place"] for name in ("train", "eval", "test") for record in records[name]]
    assert places == list(range(24))


def decoded_row(record: bytes) -> Row:
    return {name: values[0] for name, values in decode([record]).to_pylist()[0].items()}


def test_several_input_splits_keep_their_names(kind: Kind, base: Path, tmp_path: Path) -> None:
    kind.write(base / "one", ROWS[:1], 1)
    kind.write(base / "two", ROWS[1:], 2)
    config = {"splits": [{"name": "first", "pattern": "one"}, {"name": "second", "pattern": "two"}]}
    produced, records = generate(kind.run, base, tmp_path / "out", config, {})
    assert produced.properties["record_counts"] == {"first": 1, "second": 3}
    assert records["first"] == [as_tfx(ROWS[0])]


FAULTS: dict[str, tuple[list[list[Row]], dict[str, Any], str]] = {
    "another column": ([[{"a": 1}], [{"b": 1}]], {}, r"1.file: column 'a' is missing, but in .*0.file it is INT"),
    "another type": ([[{"a": 1}], [{"a": "x"}]], {}, r"1.file: column 'a' is BYTES, but in .*0.file it is INT"),
    "no such key": ([[{"a": 1}]], {"partition_feature_name": "b"}, "'b' is not a column; the columns are a"),
    "a float key": ([[{"a": 1.5}]], {"partition_feature_name": "a"}, "'a' is FLOAT; an INT or BYTES column"),
    "a null key": (
        [[{"a": 1}] * 3, [{"a": 1}, {"a": None}]],
        {"partition_feature_name": "a"},
        "1.file, row 2: partition_feature_name 'a' has no value",
    ),
    "a value of no split": (
        [[{"a": "x"}, {"a": "y"}]],
        {"partition_feature_name": "a", "splits": [{"name": "train", "values": ["x"]}]},
        "no output split takes records whose 'a' is 'y'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_and_column(kind: Kind, base: Path, tmp_path: Path, fault: str) -> None:
    files, deal, message = FAULTS[fault]
    for place, rows in enumerate(files):
        kind.write(base / f"{place}.file", rows, 2)
    splits = [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]
    with pytest.raises(InvalidInputError, match=message):
        generate(kind.run, base, tmp_path / "out", output_config={"split_config": {"splits": splits, **deal}})


@pytest.mark.parametrize("content", [b"", b"x", b"PAR1", b"Obj\x01", b"a,b\n1,2\n" * 100], ids=repr)
def test_a_file_of_another_kind_is_refused(kind: Kind, base: Path, tmp_path: Path, content: bytes) -> None:
    (base / "a.file").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.file is no (whole Parquet|Avro) file: .*; create the file again"):
        generate(kind.run, base, tmp_path / "out")


def test_a_file_that_is_cut_off_anywhere_is_refused(kind: Kind, base: Path, tmp_path: Path) -> None:
    """Only an Avro file that ends with a whole block is whole, as far as anybody can tell."""
    rows = [{"i": place, "s": str(place) * 5} for place in range(300)]
    kind.write(base / "a.file", rows, 100)
    whole = (base / "a.file").read_bytes()
    _, expected = generate(kind.run, base, tmp_path / "whole")
    draw = random.Random(0)
    for number, size in enumerate(draw.sample(range(1, len(whole)), 25)):
        (base / "a.file").write_bytes(whole[:size])
        try:
            _, records = generate(kind.run, base, tmp_path / str(number))
        except InvalidInputError as error:
            assert "a.file" in str(error)  # noqa: PT017
        else:
            assert kind is KINDS["avro"]
            assert set(all_of(records)) < set(all_of(expected))


@pytest.mark.parametrize("seed", range(10))
def test_of_mutated_files_no_row_is_lost_in_silence(kind: Kind, base: Path, tmp_path: Path, seed: int) -> None:
    """20 files each: as many records as rows, or an error that names the file."""
    rows = [{"i": place, "f": place / 3, "s": str(place) * 5, "l": [place] * (place % 3)} for place in range(300)]
    kind.write(base / "a.file", rows, 100)
    whole = (base / "a.file").read_bytes()
    draw = random.Random(seed)
    refused = 0
    for number in range(20):
        (base / "a.file").write_bytes(mutated(whole, draw))
        try:
            produced, _ = generate(kind.run, base, tmp_path / str(number))
        except InvalidInputError as error:
            refused += 1
            assert "a.file" in str(error)  # noqa: PT017
        else:
            assert sum(produced.properties["record_counts"].values()) == len(rows)
    assert refused


NOON = dt.time(12, 0, 0, 7)
PARQUET_COLUMNS: dict[str, tuple[pa.Array, Any]] = {
    "uint8": (pa.array([255], pa.uint8()), 255),
    "uint64": (pa.array([2**63 - 1], pa.uint64()), 2**63 - 1),
    "float": (pa.array([1 / 3], pa.float32()), 1 / 3),
    "decimal": (pa.array([Decimal("-12.50")]), -12.5),
    "whole_decimal": (pa.array([Decimal("12")]), 12),
    "date": (pa.array([DAY]), DAYS),
    "timestamp": (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us")), MICROSECONDS),
    "timestamp_ms": (pa.array([1500], pa.int64()).cast(pa.timestamp("ms")), 1_500_000),
    "timestamp_ns": (pa.array([7000], pa.int64()).cast(pa.timestamp("ns")), 7),
    "zoned": (pa.array([MOMENT], pa.timestamp("us", "America/New_York")), MICROSECONDS),
    "time": (pa.array([NOON]), 43_200_000_007),
    "duration": (pa.array([dt.timedelta(seconds=2)]), 2_000_000),
    "dictionary": (pa.array(["x"]).dictionary_encode(), "x"),
    "large": (pa.array(["x"], pa.large_string()), "x"),
    "fixed": (pa.array([b"ab"], pa.binary(2)), b"ab"),
    "fixed_list": (pa.array([[1, 2]], pa.list_(pa.int32(), 2)), [1, 2]),
    "list_of_dates": (pa.array([[DAY, DAY]]), [DAYS, DAYS]),
    "nothing": (pa.nulls(1), None),
}


@pytest.mark.parametrize("name", PARQUET_COLUMNS)
def test_a_parquet_type_has_its_documented_form(name: str, base: Path, tmp_path: Path) -> None:
    column, expected = PARQUET_COLUMNS[name]
    pq.write_table(pa.table({name: column}), base / "a", version="2.6")
    _, records = generate(parquet.run, base, tmp_path / "out")
    assert all_of(records) == [as_tfx({name: expected})]


def test_structs_and_nested_records_become_columns(base: Path, tmp_path: Path) -> None:
    rows = [{"p": {"x": 1, "q": {"y": "a"}}}, {"p": {"x": None, "q": None}}, {"p": None}]
    expected = sorted(as_tfx(row) for row in ({"p.x": 1, "p.q.y": "a"}, *[{"p.x": None, "p.q.y": None}] * 2))
    pq.write_table(pa.Table.from_pylist(rows), base / "a")
    _, records = generate(parquet.run, base, tmp_path / "parquet")
    assert all_of(records) == expected
    inner = {"type": "record", "name": "q", "fields": [{"name": "y", "type": "string"}]}
    fields = [{"name": "x", "type": ["null", "long"]}, {"name": "q", "type": ["null", inner]}]
    outer = {"type": "record", "name": "p", "fields": fields}
    write_typed(base / "a", [{"name": "p", "type": ["null", outer]}], rows)
    _, records = generate(avro.run, base, tmp_path / "avro")
    assert all_of(records) == expected


def write_typed(path: Path, fields: list[Any], rows: list[Row]) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "row", "fields": fields}, rows)


AVRO_FIELDS: dict[str, tuple[Any, Any, Any]] = {
    "int": ("int", -7, -7),
    "float": ("float", 1 / 3, 1 / 3),
    "enum": ({"type": "enum", "name": "e", "symbols": ["A", "B"]}, "B", "B"),
    "fixed": ({"type": "fixed", "name": "f", "size": 2}, b"ab", b"ab"),
    "date": ({"type": "int", "logicalType": "date"}, DAY, DAYS),
    "time": ({"type": "long", "logicalType": "time-micros"}, NOON, 43_200_000_007),
    "time_ms": ({"type": "int", "logicalType": "time-millis"}, dt.time(0, 0, 1), 1_000_000),
    "timestamp": ({"type": "long", "logicalType": "timestamp-micros"}, MOMENT, MICROSECONDS),
    "timestamp_ms": ({"type": "long", "logicalType": "timestamp-millis"}, MOMENT, MICROSECONDS // 1000 * 1000),
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, Decimal("-12.5"), -12.5),
    "whole": ({"type": "bytes", "logicalType": "decimal", "precision": 6}, Decimal("12"), 12),
    "uuid": ({"type": "string", "logicalType": "uuid"}, "00000000-0000-0000-0000-00000000000a", None),
    "widened": (["null", "int", "long"], 2**40, 2**40),
    "dates": ({"type": "array", "items": {"type": "int", "logicalType": "date"}}, [DAY, DAY], [DAYS, DAYS]),
    "nothing": ("null", None, None),
}


@pytest.mark.parametrize("name", AVRO_FIELDS)
def test_an_avro_type_has_its_documented_form(name: str, base: Path, tmp_path: Path) -> None:
    kind, value, expected = AVRO_FIELDS[name]
    write_typed(base / "a", [{"name": name, "type": kind}, {"name": "one", "type": "int"}], [{name: value, "one": 1}])
    _, records = generate(avro.run, base, tmp_path / "out")
    assert all_of(records) == [as_tfx({name: value if name == "uuid" else expected, "one": 1})]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_avros_compressed_blocks_are_read(codec: str, base: Path, tmp_path: Path) -> None:
    rows = [{"i": place} for place in range(1000)]
    write_avro(base / "a", rows, 10, codec)
    _, records = generate(avro.run, base, tmp_path / "out")
    assert all_of(records) == sorted(map(as_tfx, rows))


PARQUET_REFUSED: dict[str, tuple[pa.Array, str]] = {
    "uint64": (pa.array([1, 2**63], pa.uint64()), "a: column 'c', row 2: 9223372036854775808 has no form|'c', row 2"),
    "nanoseconds": (pa.array([1000, 1001], pa.int64()).cast(pa.timestamp("ns")), "'c', row 2: 1970-01-01"),
    "null in a list": (pa.array([[1], [2, None]]), r"'c', row 2: \[2, None\] has no form"),
    "list of lists": (pa.array([[[1]], [[2]]]), r"'c': list<.*list<.* has no form in a tf.Example"),
    "list of structs": (pa.array([[{"x": 1}], [{"x": 2}]]), r"'c': list<.*struct<.* has no form in a tf.Example"),
    "map": (pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64())), r"'c': map<.* has no form"),
}


@pytest.mark.parametrize("name", PARQUET_REFUSED)
def test_what_has_no_form_in_parquet_is_refused(name: str, base: Path, tmp_path: Path) -> None:
    column, message = PARQUET_REFUSED[name]
    pq.write_table(pa.table({"c": column}), base / "a", row_group_size=1, version="2.6")
    with pytest.raises(InvalidInputError, match=message):
        generate(parquet.run, base, tmp_path / "out")


AVRO_REFUSED: dict[str, tuple[Any, Any, str]] = {
    "map": ({"type": "map", "values": "int"}, {}, "column 'c': a map has no form"),
    "union": (["null", "int", "string"], 1, "column 'c': a union of several types has no form"),
    "array of arrays": (
        {"type": "array", "items": {"type": "array", "items": "int"}},
        [[1]],
        "column 'c': an array of arrays has no form",
    ),
    "null in an array": ({"type": "array", "items": ["null", "int"]}, [1, None], "column 'c', row 1: "),
    "recursion": (
        ["null", {"type": "record", "name": "r", "fields": [{"name": "r", "type": ["null", "r"]}]}],
        None,
        "column 'c.r': a record within itself",
    ),
    "nothing": ("null", None, "has no column with values"),
    "decimal": (
        {"type": "bytes", "logicalType": "decimal", "precision": 40},
        Decimal(2**70),
        "column 'c', rows 1 to 1",
    ),
}


@pytest.mark.parametrize("name", AVRO_REFUSED)
def test_what_has_no_form_in_avro_is_refused(name: str, base: Path, tmp_path: Path) -> None:
    kind, value, message = AVRO_REFUSED[name]
    write_typed(base / "a", [{"name": "c", "type": kind}], [{"c": value}])
    with pytest.raises(InvalidInputError, match=message):
        generate(avro.run, base, tmp_path / "out")


def test_an_avro_schema_that_is_no_record_is_refused(base: Path, tmp_path: Path) -> None:
    with (base / "a").open("wb") as file:
        fastavro.writer(file, "int", [1, 2])
    with pytest.raises(InvalidInputError, match="only records have columns"):
        generate(avro.run, base, tmp_path / "out")


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz"])
def test_an_avro_block_that_would_take_all_memory_is_refused(codec: str, base: Path, tmp_path: Path) -> None:
    rows = [{"x": "a"}, {"x": "a" * MOST_BLOCK_BYTES}]
    write_avro(base / "a", rows, 10, codec)
    with pytest.raises(InvalidInputError, match=r"a: the block at byte .* has more than 256 MiB"):
        generate(avro.run, base, tmp_path / "out")


def test_an_avro_block_that_claims_more_than_the_file_has_is_refused(base: Path, tmp_path: Path) -> None:
    write_avro(base / "a", [{"x": "a"}], 10, "null")
    with (base / "a").open("rb") as file:
        (block,) = fastavro.block_reader(file)
    content = (base / "a").read_bytes()
    claim = b"\x02" + b"\xfe" * 8 + b"\x7f"  # one row, and more bytes than there is memory
    (base / "a").write_bytes(content[: block.offset] + claim + content[block.offset + 2 :])
    with pytest.raises(InvalidInputError, match=rf"a: the block at byte {block.offset:,} is corrupt: it is cut off"):
        generate(avro.run, base, tmp_path / "out")


def test_a_corrupt_avro_block_is_named_by_its_byte(base: Path, tmp_path: Path) -> None:
    write_avro(base / "a", [{"s": "x" * 100} for _ in range(1000)], 100, "null")
    content = bytearray((base / "a").read_bytes())
    with (base / "a").open("rb") as file:
        blocks = list(fastavro.block_reader(file))
    bad = blocks[2]
    content[bad.offset + 10] ^= 0xFF  # in the block's first text: its length
    (base / "a").write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"a: the block at byte {bad.offset:,} is corrupt"):
        generate(avro.run, base, tmp_path / "out")


def test_no_row_at_all_is_refused(kind: Kind, base: Path, tmp_path: Path) -> None:
    if kind is KINDS["parquet"]:
        pq.write_table(pa.table({"a": pa.array([], pa.int64())}), base / "a")
    else:
        write_typed(base / "a", [{"name": "a", "type": "int"}], [])
    with pytest.raises(InvalidInputError, match=r"no input split has a row \(single_split\)"):
        generate(kind.run, base, tmp_path / "out")


def test_images_stay_bytes(base: Path, tmp_path: Path) -> None:
    images = [np.random.default_rng(place).bytes(200_000) for place in range(100)]
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), base / "a")
    _, records = generate(parquet.run, base, tmp_path / "out", ONE_SPLIT)
    assert all_of(records) == sorted(as_tfx({"image": image}) for image in images)
