"""CsvExampleGen: records, splits and digests, held against TensorFlow's serializer and tfx_bsl's CSV decoder."""

from __future__ import annotations

import csv
import functools
import gzip
import hashlib
import importlib.util
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tensorflow")
import pyarrow as pa
import sources
import stock
import tensorflow as tf
from csv_parameters import CSV_PARAMETERS
from sources import ONE_SPLIT, TRAIN_AND_EVAL
from tfx_bsl.coders import csv_decoder
from tiled import tiled

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.components.csv_example_gen.executor import run
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import Produced
from airflow_provider_mlpipe.records.binary import values_buffer
from airflow_provider_mlpipe.records.csv import CsvSplit, infer, infer_type, typed
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.sidecar import read_batches, sidecar_path
from airflow_provider_mlpipe.records.tfrecord import examples_digest, frame, read_records

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]


def generate(
    base: Path,
    out: Path,
    input_config: dict[str, Any] = ONE_SPLIT,
    output_config: dict[str, Any] = TRAIN_AND_EVAL,
    beam_pipeline_args: tuple[str, ...] = (),
    **parameters: Any,
) -> tuple[Produced, dict[str, list[bytes]]]:
    given = CSV_PARAMETERS | parameters
    return sources.generate(run, base, out, input_config, output_config, beam_pipeline_args, **given)


def csv_folder(tmp_path: Path, **files: str) -> Path:
    base = tmp_path / "in"
    base.mkdir()
    for name, content in files.items():
        (base / f"{name}.csv").write_text(content)
    return base


def penguins() -> Path:
    spec = importlib.util.find_spec("palmerpenguins")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def bucket(key: bytes, buckets: int) -> int:
    return int(hashlib.sha256(key).hexdigest(), 16) % buckets


def test_records_by_hand(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, x="n,f,s\n1,.5,a\n2,,\n")
    produced, records = generate(base, tmp_path / "out")
    half = struct.pack("<f", 0.5)
    f, n, s = (b"\x0a\x01" + name + b"\x12" for name in (b"f", b"n", b"s"))
    first = [f + b"\x08\x12\x06\x0a\x04" + half, n + b"\x05\x1a\x03\x0a\x01\x01", s + b"\x05\x0a\x03\x0a\x01a"]
    second = [f + b"\x02\x12\x00", n + b"\x05\x1a\x03\x0a\x01\x02", s + b"\x02\x0a\x00"]
    for entries in (first, second):
        body = b"".join(b"\x0a" + bytes([len(entry)]) + entry for entry in entries)
        record = b"\x0a" + bytes([len(body)]) + body
        assert record in records["train" if bucket(record, 3) < 2 else "eval"]
    counts = {name: len(found) for name, found in records.items()}
    assert sum(counts.values()) == 2
    assert produced.properties == {
        "splits": ["train", "eval"],
        "payload_format": "FORMAT_TF_EXAMPLE",
        "file_format": "tfrecords_gzip",
        "record_counts": counts,
    }
    digests = {
        name: hashlib.sha256(values_buffer(frame(pa.array(found)))).hexdigest() for name, found in records.items()
    }
    assert produced.digest == examples_digest(digests)


def test_penguins_are_what_tensorflow_and_tfx_make_of_them(tmp_path: Path) -> None:
    config = {"splits": [{"name": "all", "pattern": "penguins.csv"}]}
    _, records = generate(penguins(), tmp_path / "out", config)
    expected = [example.SerializeToString(deterministic=True) for example in tfx_examples(penguins() / "penguins.csv")]
    assert len(expected) == 344
    assert records["train"] == [record for record in expected if bucket(record, 3) < 2]
    assert records["eval"] == [record for record in expected if bucket(record, 3) == 2]


def test_the_sidecar_holds_the_records(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, penguins=(penguins() / "penguins.csv").read_text())
    _, records = generate(base, tmp_path / "out")
    for name, found in records.items():
        path = sidecar_path(Examples(uri=str(tmp_path / "out")), name)
        (rows,) = read_batches(path, 0, 10)
        assert encode_examples(rows).to_pylist() == found


def test_both_engines_write_the_same_files(tmp_path: Path) -> None:
    text = penguins() / "penguins.csv"
    base = csv_folder(tmp_path, a=text.read_text(), b=text.read_text())
    one, _ = generate(base, tmp_path / "forks")
    other, _ = generate(base, tmp_path / "beam", beam_pipeline_args=("--runner=DirectRunner",))
    assert one == other
    files = [path.relative_to(tmp_path / "forks") for path in (tmp_path / "forks").rglob("*") if path.is_file()]
    assert len(files) == 6  # records, sidecar and its checksums
    assert sorted(files) == sorted(
        path.relative_to(tmp_path / "beam") for path in (tmp_path / "beam").rglob("*") if path.is_file()
    )
    for file in files:
        assert (tmp_path / "forks" / file).read_bytes() == (tmp_path / "beam" / file).read_bytes()


@pytest.mark.parametrize(
    ("name", "delimiter", "quote", "encoding"),
    [
        ("x.csv.gz", ",", '"', "utf-8"),
        ("x.tsv", "\t", '"', "utf-8"),
        ("x.csv", ";", "'", "latin-1"),
        ("x.csv", "|", "'", "utf-16"),
        ("x.csv.gz", ";", '"', "cp1252"),
    ],
)
@pytest.mark.parametrize("engine", [(), sources.ON_BEAM])
def test_the_form_of_a_file_does_not_show(
    tmp_path: Path, name: str, delimiter: str, quote: str, encoding: str, engine: tuple[str, ...]
) -> None:
    rows = [["i", "f", "s"], *([str(n), "" if n % 7 else f"{n / 8}", f'é "{n}"\n,;|\t\''] for n in range(2000))]
    plain, formed = csv_folder(tmp_path), tmp_path / "formed"
    formed.mkdir()
    with (plain / "x.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    opened = gzip.open if name.endswith(".gz") else open
    with opened(formed / name, "wt", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, quotechar=quote).writerows(rows)
    dialect = {"delimiter": delimiter, "quote": quote, "encoding": encoding}
    wanted, records = generate(plain, tmp_path / "wanted")
    found, others = generate(formed, tmp_path / "found", beam_pipeline_args=engine, **dialect)
    assert (found, others) == (wanted, records)
    assert sum(map(len, records.values())) == 2000


def tfx_examples(path: Path) -> list[tf.train.Example]:
    """What TFX's CsvExampleGen makes of a file without quoted newlines, by tfx_bsl's own parser and type inference."""
    header, *lines = path.read_text().splitlines()
    parser = csv_decoder.ParseCSVLine(delimiter=",")
    parser.setup()
    rows = [cells for line in lines for cells, _ in parser.process(line)]
    inferrer = csv_decoder.ColumnTypeInferrer(header.split(","), skip_blank_lines=True)
    types = functools.reduce(inferrer.add_input, rows, inferrer.create_accumulator())
    columns = inferrer.extract_output(types)
    return [stock.example(row, columns) for row in rows if row]


def test_splits_and_records_are_those_that_beam_writes(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, penguins=(penguins() / "penguins.csv").read_text())
    _, records = generate(base, tmp_path / "out")
    stock.write_examples(base, tmp_path / "stock", {"train": 2, "eval": 1})
    for name, found in records.items():
        files = (tmp_path / "stock" / f"Split-{name}").glob("*.gz")
        assert Counter(found) == Counter(record for file in files for record in read_records(file))


NUMBERS = ["1", "007", "+5", " 5", "5 ", "1_000", "-0", "9223372036854775807", "9223372036854775808", "1" * 5000]
FLOATS = ["1e5", "1.", ".5", "-0.0", "1e999", "1e39", "-1e-46", "3.4028235677973366e38", "0.1", "1_0.5", "+1.5"]
ODD = [
    "NaN",
    "nan",
    "-nan",
    "inf",
    "-Infinity",
    "nan(1)",
    "0x1F",
    "True",
    " ",
    "NA",
    "\u0663",
    "\u00b2",
    "caf\u00e9",
    "1e",
    "",
]


@given(
    st.lists(st.sampled_from(NUMBERS) | st.sampled_from(FLOATS) | st.sampled_from(ODD) | st.text("0123456789eE+-._ "))
)
def test_types_are_those_of_tfx_bsl(cells: list[str]) -> None:
    known = csv_decoder.ColumnType.UNKNOWN
    for cell in cells:
        known = max(known, csv_decoder._InferValueType(cell.encode()))
    assert infer_type([cell.encode() for cell in cells if cell]).name == known.name


@pytest.mark.parametrize("cells", [[], NUMBERS[:8], [*NUMBERS[:7], *FLOATS], [*FLOATS, *ODD[:5]], NUMBERS, ODD, [""]])
def test_odd_cells_are_what_tfx_makes_of_them(tmp_path: Path, cells: list[str]) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("i,x\n" + "".join(f"{number},{cell}\n" for number, cell in enumerate(["", *cells])))
    split = CsvSplit([path])
    (block,) = split.files[0].chunks()
    found = encode_examples(typed(block, dict(zip(split.header, infer(block).types, strict=True)))).to_pylist()
    assert found == [example.SerializeToString(deterministic=True) for example in tfx_examples(path)]


INT64 = st.integers(-(2**63), 2**63 - 1)
COLUMN = st.one_of(
    st.lists(st.none() | INT64, min_size=5, max_size=5).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.none() | st.floats(), min_size=5, max_size=5).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.none() | st.binary(), min_size=5, max_size=5).map(lambda v: pa.array(v, pa.binary())),
    st.lists(st.none() | st.text(), min_size=5, max_size=5).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.none() | st.lists(INT64), min_size=5, max_size=5).map(lambda v: pa.array(v, pa.list_(pa.int64()))),
    st.lists(st.none() | st.lists(st.floats(width=32)), min_size=5, max_size=5).map(
        lambda v: pa.array(v, pa.large_list(pa.float32()))
    ),
    st.lists(st.none() | st.lists(st.binary()), min_size=5, max_size=5).map(
        lambda v: pa.array(v, pa.list_(pa.large_binary()))
    ),
    st.just(pa.nulls(5)),
)


@given(st.dictionaries(st.text(), COLUMN, max_size=5), st.booleans())
def test_the_encoder_writes_tensorflows_bytes(columns: dict[str, pa.Array], as_dictionaries: bool) -> None:
    batch = pa.RecordBatch.from_arrays(
        [column.dictionary_encode() if as_dictionaries and is_flat(column) else column for column in columns.values()],
        list(columns),
    )
    rows = [{name: column[row] for name, column in columns.items()} for row in range(5 if columns else 0)]
    expected = [tensorflow_bytes(row) for row in rows]
    assert encode_examples(batch).to_pylist() == expected
    assert encode_examples(tiled(batch)).to_pylist()[:5] == expected


def is_flat(column: pa.Array) -> bool:
    return not (pa.types.is_nested(column.type) or pa.types.is_null(column.type))


def tensorflow_bytes(row: dict[str, pa.Scalar]) -> bytes:
    features = {name: feature for name, cell in row.items() if (feature := tensorflow_feature(cell)) is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def tensorflow_feature(cell: pa.Scalar) -> tf.train.Feature | None:
    if pa.types.is_null(cell.type):
        return tf.train.Feature()
    nested = pa.types.is_nested(cell.type)
    if nested and not cell.is_valid:
        return None
    values = cell.as_py() if nested else [cell.as_py()] if cell.is_valid else []
    kind = cell.type.value_type if nested else cell.type
    if pa.types.is_integer(kind):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if pa.types.is_floating(kind):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def test_several_files_are_one_split_in_the_order_of_their_names(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, b="x\n3\n", a="x\n1\n2\n", c="x\n4.5\n")
    _, records = generate(base, tmp_path / "out", output_config={})
    values = [tf.train.Example.FromString(r).features.feature["x"].float_list.value[0] for r in records["single_split"]]
    assert values == [1, 2, 3, 4.5]


def test_several_input_splits_pass_through(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, train1="x\n1\n", train2="x\n2\n", test="x\na\n")
    config = {"splits": [{"name": "train", "pattern": "train*"}, {"name": "test", "pattern": "test.csv"}]}
    produced, records = generate(base, tmp_path / "out", config, {})
    assert produced.properties["record_counts"] == {"train": 2, "test": 1}
    assert [len(found) for found in records.values()] == [2, 1]


def test_a_column_with_floats_in_one_input_split_has_floats_in_all(tmp_path: Path) -> None:
    base = csv_folder(tmp_path, a="x,y,z\n1,1,1\n,1,1\n", b="x,y,z\n.5,2,a\n2,2,b\n", c="x,y\n,3\n,3\n")
    config = {"splits": [{"name": name, "pattern": f"{name}.csv"} for name in "abc"]}
    _, records = generate(base, tmp_path / "out", config, {})
    kinds = {
        name: [tf.train.Example.FromString(found[0]).features.feature[key].WhichOneof("kind") for key in "xyz"]
        for name, found in records.items()
    }
    assert kinds == {
        "a": ["float_list", "int64_list", "int64_list"],
        "b": ["float_list", "int64_list", "bytes_list"],
        "c": [None, "int64_list", None],
    }
    values = [tf.train.Example.FromString(record).features.feature["x"].float_list.value for record in records["a"]]
    assert values == [[1.0], []]


def test_a_partition_feature_keeps_its_values_together(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number % 7},\n" for number in range(70))
    config = {"split_config": TRAIN_AND_EVAL["split_config"] | {"partition_feature_name": "group"}}
    base = csv_folder(tmp_path, x="i,group,empty\n" + rows)
    _, records = generate(base, tmp_path / "out", output_config=config)
    for name, found in records.items():
        groups = {tf.train.Example.FromString(record).features.feature["group"].int64_list.value[0] for record in found}
        # A Feature {3: Int64List {1: packed [group]}}
        expected = {g for g in range(7) if (bucket(b"\x1a\x03\x0a\x01" + bytes([g]), 3) < 2) == (name == "train")}
        assert groups == expected


def test_rows_are_dealt_by_the_values_of_a_feature(tmp_path: Path) -> None:
    splits = [{"name": "eval", "values": ["CH", "AT"]}, {"name": "train"}]
    config = {"split_config": {"splits": splits, "partition_feature_name": "country"}}
    rows = "".join(f"{number},{('CH', 'DE', 'AT', 'FR')[number % 4]}\n" for number in range(40))
    base = csv_folder(tmp_path, x="i,country\n" + rows)
    _, records = generate(base, tmp_path / "out", output_config=config)
    places = {
        name: [tf.train.Example.FromString(record).features.feature["i"].int64_list.value[0] for record in found]
        for name, found in records.items()
    }
    assert places == {"eval": list(range(0, 40, 2)), "train": list(range(1, 40, 2))}
    (base / "x.csv").write_text("i,country\n1,CH\n2,\n")
    with pytest.raises(InvalidInputError, match="a record has 0 values of the partition feature 'country'"):
        generate(base, tmp_path / "out2", output_config=config)


@pytest.mark.parametrize(
    ("feature", "says"),
    [("other", "is not a column; the columns are i, f, e"), ("f", "holds floats"), ("e", "has no values")],
)
def test_a_partition_feature_that_cannot_be_used(tmp_path: Path, feature: str, says: str) -> None:
    config = {"split_config": TRAIN_AND_EVAL["split_config"] | {"partition_feature_name": feature}}
    with pytest.raises(InvalidInputError, match=f"partition_feature_name '{feature}' {says}"):
        generate(csv_folder(tmp_path, x="i,f,e\n1,1.5,\n"), tmp_path / "out", output_config=config)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "x\ty\n1\t2\n",
            r"split single_split: the only column is called 'x\\ty': does a tab separate the cells\? "
            r"Then give CsvExampleGen delimiter='\\t'",
        ),
        ("x;y\n1;2\n", "does a semicolon separate the cells"),
        (",x\na,1\n", r"column 1 has no name, so its feature is called '': name it, or leave it out .*index=False"),
        ("x,\n1,a\n", "column 2 has no name"),
        ("x;y,z\n1,2\n", None),
        ("x\n1\n", None),
    ],
)
def test_a_header_that_is_probably_not_meant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, says: str | None
) -> None:
    generate(csv_folder(tmp_path, a=text), tmp_path / "out")
    assert [re.search(says or "", line) is not None for line in warnings_in(caplog)] == [True] * bool(says)


def test_cells_that_stand_for_a_missing_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        ("1", "1.5", "NA", "NA", "x"),
        ("NA", "-", "", "2", "NA"),
        ("NA", "?", "NA", "y", "3"),
        ("", "2", "NA", "", ""),
    ]
    base = csv_folder(tmp_path, a="i,f,none,text,late\n" + "".join(",".join(row) + "\n" for row in rows))
    _, records = generate(base, tmp_path / "out", output_config={})
    remedy = "only empty cells are missing, CsvExampleGen's null_values names others"
    said = "split single_split: column {} holds numbers, but is text: {}; " + remedy
    assert warnings_in(caplog) == [
        said.format("'i'", "2 of 4 cells are 'NA'"),
        said.format("'f'", "1 of 4 cells are '-', 1 of 4 cells are '?'"),
    ]
    assert kinds(records["single_split"][0]) == dict.fromkeys(["i", "f", "none", "text", "late"], "bytes_list")
    caplog.clear()
    _, records = generate(base, tmp_path / "named", output_config={}, null_values=["NA", "-", "?"])
    assert warnings_in(caplog) == []
    assert kinds(records["single_split"][1]) == {
        "i": "int64_list",
        "f": "float_list",
        "none": None,
        "text": "bytes_list",
        "late": "bytes_list",
    }
    assert [
        len(tf.train.Example.FromString(r).features.feature["i"].int64_list.value) for r in records["single_split"]
    ] == [1, 0, 0, 0]


def kinds(record: bytes) -> dict[str, str | None]:
    features = tf.train.Example.FromString(record).features.feature
    return {name: feature.WhichOneof("kind") for name, feature in features.items()}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("airflow_provider_mlpipe")
        if record.levelname == "WARNING"
    ]


def test_no_row_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"a\.csv, .*b\.csv: no row follows the header"):
        generate(csv_folder(tmp_path, a="x\n", b="x\n"), tmp_path / "out")


def test_no_matching_file_is_an_error(tmp_path: Path) -> None:
    config = {"splits": [{"name": "all", "pattern": "*.tsv"}]}
    with pytest.raises(
        InvalidInputError, match=r"no file matches '\*.tsv' in input_base '.*/in', which contains: a\.csv"
    ):
        generate(csv_folder(tmp_path, a="x\n1\n"), tmp_path / "out", config)
