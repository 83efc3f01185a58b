"""Rows read from the sidecar and from the records, by both engines: the same batches, value for value."""

from __future__ import annotations

import base64
import functools
import itertools
import pickle
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.arrow.table_util import RecordBatchTake

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records import batches
from airflow_provider_mlpipe.records.chunks import example_sources, files_read
from airflow_provider_mlpipe.records.engine import Chunk, Source, map_chunks
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.sidecar import FILE_NAME as FILE_NAME_OF_SIDECAR
from airflow_provider_mlpipe.records.sidecar import sidecar_of, sidecar_path, stored
from airflow_provider_mlpipe.records.split_writer import SplitWriter
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter, frame

ROWS = 50_001
SCHEMA = text_format.Parse(
    'feature { name: "word" type: BYTES } feature { name: "absent" type: INT } feature { name: "never" type: FLOAT }',
    schema_pb2.Schema(),
).SerializeToString()


def rows(count: int) -> pa.RecordBatch:
    """Flat columns with and without gaps, lists, a dictionary, unicode, and a column without a single value."""
    draw = random.Random(7)
    gaps = [None if draw.random() < 0.2 else draw.randrange(-(2**40), 2**40) for _ in range(count)]
    words = [draw.choice(["", "ä", "日本", "w" * 40, None]) for _ in range(count)]
    lists = [draw.choice([None, [], [1], [2, 3]]) for _ in range(count)]
    return pa.RecordBatch.from_pydict(
        {
            "word": pa.array(words).dictionary_encode(),
            "int": pa.array(gaps, pa.int64()),
            "zz_float": pa.array([draw.random() for _ in range(count)], pa.float64()),
            "Lists": pa.array(lists, pa.list_(pa.int64())),
            "never": pa.nulls(count),
            "late": pa.array([None if number < 40_000 else [number] for number in range(count)], pa.list_(pa.int64())),
        }
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    made = Examples(uri=str(tmp_path_factory.mktemp("examples")), properties={"splits": ["train"]})
    table = rows(ROWS)
    with SplitWriter(made, "train") as writer:
        for start, stop in itertools.pairwise([0, 1, 5_000, 5_000, 30_000, ROWS]):
            block = table.slice(start, stop - start)
            writer.write(frame(encode_examples(block)), stored(block))
    return made


@pytest.fixture
def without_sidecar(examples: Examples, tmp_path: Path) -> Examples:
    Path(tmp_path, "Split-train").symlink_to(Path(examples.uri, "Split-train"))
    return Examples(uri=str(tmp_path), properties=examples.properties)


def read(sources: Sequence[Source[Chunk]]) -> list[pa.RecordBatch]:
    return [batch for chunk in chunks(sources) for batch in chunk.batches()]


def chunks(sources: Sequence[Source[Chunk]]) -> Iterator[Chunk]:
    return itertools.chain.from_iterable(source.chunks() for source in sources)


def number_and_rows(chunk: Chunk) -> list[int]:
    return [batch.num_rows for batch in chunk.batches()]


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_sidecar_and_records_give_the_same_batches(
    examples: Examples, without_sidecar: Examples, schema: bytes | None
) -> None:
    from_sidecar = read(example_sources(examples, "train", schema=schema))
    from_records = read(example_sources(without_sidecar, "train", schema=schema))
    assert len(from_sidecar) == len(from_records) == 7
    for one, other in zip(from_sidecar, from_records, strict=True):
        assert one.schema.equals(other.schema)
        assert one.to_pydict() == other.to_pydict()


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.large_binary()])
def test_rows_of_empty_lists_alone_can_be_taken(kind: pa.DataType, tmp_path: Path) -> None:
    made = Examples(uri=str(tmp_path), properties={"splits": ["train"]})
    table = pa.RecordBatch.from_pydict({"some": [[1], [2], [3]], "none": pa.array([[], None, []], pa.large_list(kind))})
    with SplitWriter(made, "train") as writer:
        writer.write(frame(encode_examples(table)), stored(table))
    (batch,) = read(example_sources(made, "train"))
    taken = RecordBatchTake(batch, pa.array([2, 1]))
    assert taken.to_pydict() == {"none": [[], None], "some": [[3], [2]]}


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_rows_without_any_feature_are_rows(schema: bytes | None, tmp_path: Path) -> None:
    made = Examples(uri=str(tmp_path), properties={"splits": ["train"]})
    table = pa.RecordBatch.from_pydict({"lists": pa.nulls(3, pa.list_(pa.int64()))})
    with SplitWriter(made, "train") as writer:
        writer.write(frame(encode_examples(table)), stored(table))
    from_sidecar = read(example_sources(made, "train", schema=schema))
    shutil.rmtree(sidecar_path(made, "train").parent)
    for (batch,) in (from_sidecar, read(example_sources(made, "train", schema=schema))):
        assert batch.num_rows == 3
        assert all(column.null_count == 3 for column in batch.columns)


def test_chunks_are_the_same_on_both_engines(examples: Examples, without_sidecar: Examples, tmp_path: Path) -> None:
    local = ExecutorContext(component_id="c", execution_id=1, tmp_dir=str(tmp_path))
    on_beam = ExecutorContext(
        component_id="c", execution_id=1, tmp_dir=str(tmp_path), beam_pipeline_args=("--runner=DirectRunner",)
    )
    expected = [[8_000] * 4, [8_000, 8_000, 2_001]]
    for given in (examples, without_sidecar):
        for context in (local, on_beam):
            assert list(map_chunks(number_and_rows, example_sources(given, "train"), context)) == expected


def test_a_corrupt_record_is_named_on_beam_too(examples: Examples, tmp_path: Path) -> None:
    broken = tmp_path / "Split-train" / FILE_NAME
    broken.parent.mkdir()
    broken.write_bytes(Path(examples.uri, "Split-train", FILE_NAME).read_bytes()[:-1000])
    context = ExecutorContext(
        component_id="c", execution_id=1, tmp_dir=str(tmp_path), beam_pipeline_args=("--runner=DirectRunner",)
    )
    sources = example_sources(Examples(uri=str(tmp_path), properties=examples.properties), "train")
    with pytest.raises(InvalidInputError, match=rf"{FILE_NAME}: record \d+ is corrupt"):
        list(map_chunks(number_and_rows, sources, context))


def leave_a_result(folder: Path, line: str, chunk: Chunk) -> int:
    """Work, and meanwhile write among the results of the workers, as another user of --temp_location might."""
    (results,) = folder.glob("mlpipe-*")
    (results / "results-of-another").write_text(f"{line}\n")
    return 1


FOREIGN = pickle.dumps("not a worker's")


@pytest.mark.parametrize("content", [FOREIGN, bytes(32) + FOREIGN, b""], ids=["unsigned", "signed wrongly", "empty"])
def test_a_result_that_no_worker_wrote_is_refused(examples: Examples, tmp_path: Path, content: bytes) -> None:
    context = ExecutorContext(
        component_id="c", execution_id=1, tmp_dir=str(tmp_path), beam_pipeline_args=("--runner=DirectRunner",)
    )
    line = f"{0:09} {0:09} {base64.b64encode(content).decode()}"
    work = functools.partial(leave_a_result, tmp_path, line)
    with pytest.raises(TransientError, match="has a result that no worker of this run wrote"):
        list(map_chunks(work, example_sources(examples, "train"), context))


def test_records_can_be_had_as_a_column(examples: Examples) -> None:
    (first, *_) = read(example_sources(examples, "train", record_column="raw"))
    expected = encode_examples(rows(ROWS).slice(0, 8_000)).to_pylist()
    assert [row["raw"] for row in first.to_pylist()] == [[record] for record in expected]


def test_large_records_make_small_batches(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 100_000)
    found = read(example_sources(examples, "train", record_column="raw"))
    assert sum(batch.num_rows for batch in found) == ROWS
    sizes = [sum(len(record) for (record,) in batch.column("raw").to_pylist()) for batch in found]
    assert 90_000 < max(sizes) <= 100_000


def test_a_feature_of_another_type_is_named(examples: Examples) -> None:
    wrong = text_format.Parse('feature { name: "int" type: BYTES }', schema_pb2.Schema()).SerializeToString()
    with pytest.raises(
        InvalidInputError,
        match=r"data-00000-of-00001.arrow: feature 'int' is INT, but in the schema it is BYTES; correct the schema",
    ):
        read(example_sources(examples, "train", schema=wrong))


def dense(name: str, shape: str, kind: str = "FLOAT") -> str:
    return f'feature {{ name: "{name}" type: {kind} presence {{ min_fraction: 1 }} shape {{ {shape} }} }}'


ONE, PAIR = dense("x", "dim { size: 1 }"), dense("pair", "dim { size: 2 }")
WITH_DEFAULT = """
feature { name: "x" type: FLOAT }
tensor_representation_group { key: "" value { tensor_representation {
  key: "x" value { dense_tensor { column_name: "x" shape { } default_value { float_value: -1 } } }
} } }
"""
Changes = dict[int, dict[str, list[float] | None]]


def uneven(folder: Path, changes: Changes, *, sidecar: bool) -> Examples:
    """3,000 rows of one number x and a pair, but for the changed ones."""
    rows = [{"x": [float(number)], "pair": [0.0, 1.0]} | changes.get(number, {}) for number in range(1, 3001)]
    columns = {name: pa.array([row[name] for row in rows], pa.list_(pa.float32())) for name in ("x", "pair")}
    table = pa.RecordBatch.from_pydict(columns)
    made = Examples(uri=str(folder), properties={"splits": ["train"]})
    with SplitWriter(made, "train") as writer:
        writer.write(frame(encode_examples(table)), stored(table))
    if not sidecar:
        shutil.rmtree(sidecar_path(made, "train").parent)
    return made


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize(
    ("changes", "schema", "words"),
    [
        ({1200: {"x": [1.0, 2.0]}, 2900: {"x": []}}, ONE, "row 1,200 of the split 'train': feature 'x' has 2 values, "),
        ({2501: {"x": None}, 2900: {"x": [1.0] * 2}}, ONE, "row 2,501 of the split 'train': feature 'x' has no values"),
        ({7: {"x": []}, 6: {"pair": [1.0]}, 5: {"pair": []}}, PAIR + ONE, "row 5 of .* 'pair' has no values.* says 2"),
        ({7: {"pair": [1.0]}}, PAIR, "row 7 of the split 'train': feature 'pair' has 1 value, but"),
        ({9: {"x": [1.0, 2.0]}, 4: {"x": None}}, WITH_DEFAULT, "row 9 of .* 'x' has 2 values, but the schema says 1"),
        ({}, dense("absent", ""), "row 1 of the split 'train': feature 'absent' has no values, but the schema says 1"),
    ],
)
def test_the_first_row_that_is_not_dense_is_named(
    changes: Changes, schema: str, words: str, sidecar: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 500)  # 2,000 rows make a chunk
    made = uneven(tmp_path, changes, sidecar=sidecar)
    serialized = text_format.Parse(schema, schema_pb2.Schema()).SerializeToString()
    for record_column in (None, "raw"):
        with pytest.raises(InvalidInputError, match=rf"/(Split|Arrow)-train/data.*, {words}"):
            read(example_sources(made, "train", schema=serialized, record_column=record_column))


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize("schema", [ONE + PAIR, WITH_DEFAULT, 'feature { name: "x" type: FLOAT }'])
def test_rows_that_fit_the_schema_are_read(schema: str, sidecar: bool, tmp_path: Path) -> None:
    changes: Changes = {} if schema == ONE + PAIR else {3: {"x": None, "pair": []}}
    made = uneven(tmp_path, changes, sidecar=sidecar)
    serialized = text_format.Parse(schema, schema_pb2.Schema()).SerializeToString()
    assert sum(batch.num_rows for batch in read(example_sources(made, "train", schema=serialized))) == 3000


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ('feature { name: "number" type: INT }', r", row 2 of the split 'train': .*expected int64_list, found float"),
        ("", ", split 'train': feature 'number' is INT, but FLOAT in record 2"),
    ],
)
def test_records_of_another_type_are_named(schema: str, words: str, tmp_path: Path) -> None:
    numbers = [pa.RecordBatch.from_pydict({"number": [number]}) for number in (1, 2.5)]
    made = of_records(tmp_path, [record for one in numbers for record in encode_examples(one).to_pylist()])
    serialized = text_format.Parse(schema, schema_pb2.Schema()).SerializeToString() if schema else None
    with pytest.raises(InvalidInputError, match=f"Split-train/{FILE_NAME}{words}"):
        read(example_sources(made, "train", schema=serialized))


def test_records_that_are_no_examples_are_named(tmp_path: Path) -> None:
    made = of_records(tmp_path, [b"", b"\xff"])
    with pytest.raises(InvalidInputError, match=r"row 2 of the split 'train': .*Unable to parse example"):
        read(example_sources(made, "train"))


def of_records(folder: Path, records: list[bytes]) -> Examples:
    """Any records, without a sidecar."""
    (folder / "Split-train").mkdir()
    with TFRecordWriter(folder / "Split-train" / FILE_NAME) as writer:
        writer.write(records)
    return Examples(uri=str(folder), properties={"splits": ["train"]})


@pytest.fixture
def copied(examples: Examples, without_sidecar: Examples) -> Examples:
    """The same records, and a sidecar of their own."""
    shutil.copytree(sidecar_path(examples, "train").parent, sidecar_path(without_sidecar, "train").parent)
    return without_sidecar


def test_a_sidecar_that_is_cut_off_is_named(copied: Examples) -> None:
    path = sidecar_path(copied, "train")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInputError, match=f"{FILE_NAME_OF_SIDECAR} is damaged or cut off"):
        example_sources(copied, "train")


def test_no_damage_of_a_sidecar_goes_unseen(copied: Examples) -> None:
    path = sidecar_path(copied, "train")
    whole = bytearray(path.read_bytes())
    for place in range(7, len(whole), len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(InvalidInputError, match="is damaged or cut off"):
            read(example_sources(copied, "train"))
    path.write_bytes(whole)
    assert len(read(example_sources(copied, "train"))) == 7


@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole + b"more"]
)
def test_a_sidecar_of_another_size_is_named(damage: Callable[[bytes], bytes], copied: Examples) -> None:
    path = sidecar_path(copied, "train")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInputError, match=rf"{path} is damaged or cut off; .* delete this file"):
        example_sources(copied, "train")


@pytest.mark.parametrize("size", [0, 1])
def test_checksums_of_no_bytes_are_damaged(size: int, copied: Examples) -> None:
    path = sidecar_path(copied, "train")
    path.write_bytes(b"x" * size)
    rewrite_checksums(copied, lambda lines: ["0 00000000"] * size)
    with pytest.raises(InvalidInputError, match=rf"{path} is damaged or cut off"):
        example_sources(copied, "train")


def rewrite_checksums(examples: Examples, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines after the one that tells the records."""
    path = sidecar_path(examples, "train").with_suffix(".crc32c")
    records, *lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in [records, *change(lines)]))


def end_of(place: int, end: int) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:place], f"{end} {lines[place].split()[1]}", *lines[place + 1 :]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [],
        lambda lines: lines[:1],
        lambda lines: lines[:-1],
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [lines[0], *lines],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
        lambda lines: [*lines[:-1], lines[-1].split()[0]],
        end_of(3, -5),
        end_of(3, 2**62),
        end_of(3, 2**64),
        end_of(-1, 2**64),
        end_of(0, 0),
    ],
)
def test_checksums_that_do_not_fit_the_sidecar_are_damaged(
    damage: Callable[[list[str]], list[str]], copied: Examples
) -> None:
    rewrite_checksums(copied, damage)
    with pytest.raises(InvalidInputError, match=r"\.(arrow|crc32c) is damaged or cut off; .* delete this file"):
        example_sources(copied, "train")


def test_a_line_for_two_batches_is_damage(copied: Examples) -> None:
    path = sidecar_path(copied, "train")

    def joined(lines: list[str]) -> list[str]:
        (start, _), (end, _) = lines[1].split(), lines[3].split()
        checksum = google_crc32c.value(path.read_bytes()[int(start) : int(end)])
        return [*lines[:2], f"{end} {checksum:08x}", *lines[4:]]

    rewrite_checksums(copied, joined)
    with pytest.raises(InvalidInputError, match=rf"{path} is damaged or cut off"):
        example_sources(copied, "train")


def test_a_sidecar_without_its_checksums_is_none(copied: Examples) -> None:
    assert files_read(copied, "train") == [sidecar_path(copied, "train")]
    sidecar_path(copied, "train").with_suffix(".crc32c").unlink()
    assert files_read(copied, "train") == [Path(copied.uri, "Split-train", FILE_NAME)]


def written(folder: Path, **splits: int) -> Examples:
    """Examples with ten rows of a number for each split."""
    made = Examples(uri=str(folder), properties={"splits": list(splits)})
    for split, number in splits.items():
        table = pa.RecordBatch.from_pydict({"number": [number] * 10})
        with SplitWriter(made, split) as writer:
            writer.write(frame(encode_examples(table)), stored(table))
    return made


def numbers(examples: Examples, split: str) -> set[int]:
    return {row["number"][0] for batch in read(example_sources(examples, split)) for row in batch.to_pylist()}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == sidecar_of.__module__]


def test_sidecars_that_changed_places_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = written(tmp_path, train=1, eval=2)
    assert [numbers(made, "train"), numbers(made, "eval"), warnings(caplog)] == [{1}, {2}, []]
    train, evaluation = (sidecar_path(made, split).parent for split in ("train", "eval"))
    train.rename(tmp_path / "aside")
    evaluation.rename(train)
    (tmp_path / "aside").rename(evaluation)
    assert [numbers(made, "train"), numbers(made, "eval")] == [{1}, {2}]
    assert [message.split()[0] for message in warnings(caplog)] == [
        str(sidecar_path(made, "train")),
        str(sidecar_path(made, "eval")),
    ]


def test_a_sidecar_of_records_that_were_written_anew_is_none(tmp_path: Path) -> None:
    made, other = written(tmp_path / "one", train=1), written(tmp_path / "other", train=2)
    ours, theirs = (Path(one.uri, "Split-train", FILE_NAME) for one in (made, other))
    assert ours.stat().st_size == theirs.stat().st_size  # so the last bytes tell them apart
    shutil.copyfile(theirs, ours)
    assert sidecar_of(ours) is None
    assert numbers(made, "train") == {2}


@pytest.mark.parametrize(
    "damage", [lambda text: text.split(b"\n", 1)[1], lambda text: b"", lambda text: b"\xff" + text]
)
def test_a_sidecar_that_does_not_tell_its_records_is_none(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    made = written(tmp_path, train=1)
    checksums = sidecar_path(made, "train").with_suffix(".crc32c")
    checksums.write_bytes(damage(checksums.read_bytes()))
    assert files_read(made, "train") == [tmp_path / "Split-train" / FILE_NAME]


def test_the_sidecar_is_not_looked_at_where_the_records_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = written(tmp_path, train=1)
    sidecar_path(made, "train").with_suffix(".crc32c").write_bytes(b"")
    assert read(example_sources(made, "train", record_column="raw"))
    assert not warnings(caplog)
