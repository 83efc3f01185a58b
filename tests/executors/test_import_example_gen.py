"""ImportExampleGen: records pass unchanged, in the splits of TFX; features are known; faults name file and record."""

from __future__ import annotations

import gzip
import hashlib
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import pyarrow as pa
import tensorflow as tf
from mutations import mutated
from sources import ON_BEAM, TRAIN_AND_EVAL, all_of, as_tfx, generate, penguin_rows

from airflow_provider_mlpipe.components.import_example_gen.executor import run
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.chunks import decode
from airflow_provider_mlpipe.records.sidecar import FILE_NAME as SIDECAR
from airflow_provider_mlpipe.records.sidecar import read_batches
from airflow_provider_mlpipe.records.tfrecord import frame

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

EXAMPLES = [as_tfx(row) for row in penguin_rows()]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, records: Sequence[bytes], *, gzipped: bool = False) -> None:
    content = b"".join(frame(pa.array(records, pa.binary())).to_pylist())
    path.write_bytes(gzip.compress(content) if gzipped else content)


def imported(base: Path, out: Path, **arguments: Any) -> Any:
    return generate(run, base, out, **{"payload_format": "FORMAT_TF_EXAMPLE", **arguments})


def test_records_pass_unchanged_into_tfxs_splits_on_both_engines(base: Path, tmp_path: Path) -> None:
    write(base / "a", EXAMPLES[::2])
    write(base / "b.gz", EXAMPLES[1::2], gzipped=True)
    produced, records = imported(base, tmp_path / "local")
    assert imported(base, tmp_path / "beam", beam_pipeline_args=ON_BEAM) == (produced, records)
    assert all_of(records) == sorted(EXAMPLES)
    for name, some in records.items():
        buckets = {int(hashlib.sha256(record).hexdigest(), 16) % 3 for record in some}
        assert buckets == ({0, 1} if name == "train" else {2})
    assert produced.properties["payload_format"] == "FORMAT_TF_EXAMPLE"


def test_tensorflow_reads_what_tensorflow_wrote(base: Path, tmp_path: Path) -> None:
    """Also with features in an order of its own: no byte changes."""
    reordered = tf.train.Example.FromString(EXAMPLES[0])
    turned = b"".join(
        b"\x0a" + bytes([len(entry)]) + entry
        for entry in reversed([_entry(name, reordered.features.feature[name]) for name in ("species", "year")])
    )
    record = b"\x0a" + bytes([len(turned)]) + turned
    with tf.io.TFRecordWriter(str(base / "a"), "GZIP") as writer:
        writer.write(record)
    _, records = imported(base, tmp_path / "out")
    assert all_of(records) == [record]


def _entry(name: str, feature: tf.train.Feature) -> bytes:
    value = feature.SerializeToString()
    return b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12" + bytes([len(value)]) + value


def test_the_sidecar_has_what_the_records_have(base: Path, tmp_path: Path) -> None:
    some_features = [
        as_tfx({"a": place}) if place % 2 else as_tfx({"b": [0.5] * (1 + place % 5)}) for place in range(999)
    ]
    write(base / "a", some_features)
    _, records = imported(base, tmp_path / "out")
    for split, some in records.items():
        (batch,) = read_batches(tmp_path / "out" / f"Arrow-{split}" / SIDECAR, 0, 9)
        assert batch.to_pylist() == decode(some).to_pylist()


@pytest.mark.parametrize("gzipped", [True, False])
def test_a_file_of_many_records_of_any_length_is_read(base: Path, tmp_path: Path, gzipped: bool) -> None:
    """One of them has the length 0x8b1f, so that a plain file begins like a gzipped one."""
    draw = random.Random(0)
    records = [draw.randbytes(0x8B1F), b"", *(draw.randbytes(draw.randrange(5000)) for _ in range(3000))]
    write(base / "a", records, gzipped=gzipped)
    produced, found = imported(base, tmp_path / "out", payload_format="FORMAT_PROTO")
    assert all_of(found) == sorted(records)
    assert produced.properties["payload_format"] == "FORMAT_PROTO"
    assert not list((tmp_path / "out").glob("Arrow-*"))


def test_sequence_examples_pass(base: Path, tmp_path: Path) -> None:
    lists = tf.train.FeatureLists(feature_list={"words": tf.train.FeatureList(feature=[tf.train.Feature()])})
    record = tf.train.SequenceExample(feature_lists=lists).SerializeToString()
    write(base / "a", [record] * 5)
    _, found = imported(base, tmp_path / "out", payload_format="FORMAT_TF_SEQUENCE_EXAMPLE")
    assert all_of(found) == [record] * 5


def test_records_are_dealt_by_a_feature(base: Path, tmp_path: Path) -> None:
    write(base / "a", EXAMPLES)
    _, records = imported(base, tmp_path / "out", output_config=dealt_by("species"))
    species = {
        name: {tf.train.Example.FromString(record).features.feature["species"].SerializeToString() for record in some}
        for name, some in records.items()
    }
    assert not species["train"] & species["eval"]
    for name, keys in species.items():
        assert {int(hashlib.sha256(key).hexdigest(), 16) % 3 < 2 for key in keys} <= {name == "train"}


def dealt_by(name: str) -> dict[str, Any]:
    return {"split_config": {**TRAIN_AND_EVAL["split_config"], "partition_feature_name": name}}


FAULTS: dict[str, tuple[list[bytes], dict[str, Any], str]] = {
    "no example": ([*EXAMPLES[:7], b"nonsense"], {}, "a, record 8 is no tf.Example"),
    "no sequence": (
        [b"", b"nonsense"],
        {"payload_format": "FORMAT_TF_SEQUENCE_EXAMPLE"},
        "a, record 2 is no tf.SequenceExample",
    ),
    "two types": ([as_tfx({"x": 1}), as_tfx({"x": "y"})], {}, "'x'|correct the data"),
    "a missing key": (
        [as_tfx({"x": 1}), as_tfx({"y": 1})],
        {"output_config": dealt_by("x")},
        "a, record 2: partition_feature_name 'x' has no value",
    ),
    "an unknown key": ([as_tfx({"x": 1})], {"output_config": dealt_by("z")}, "'z' is not a column; the columns are x"),
    "a float key": ([as_tfx({"x": 1.5})], {"output_config": dealt_by("x")}, "'x' is FLOAT"),
    "no record": ([], {}, "no input split has a row"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_and_record(base: Path, tmp_path: Path, fault: str) -> None:
    records, arguments, message = FAULTS[fault]
    write(base / "a", records)
    with pytest.raises(InvalidInputError, match=message):
        imported(base, tmp_path / "out", **arguments)


def test_a_feature_of_two_types_in_two_files_is_refused(base: Path, tmp_path: Path) -> None:
    write(base / "a", [as_tfx({"x": 1})])
    write(base / "b", [as_tfx({"x": "text"})])
    with pytest.raises(InvalidInputError, match="b, records from 1 on: feature 'x' is BYTES, but it was INT before"):
        imported(base, tmp_path / "out")


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_of_mutated_files_no_record_is_lost_in_silence(base: Path, tmp_path: Path, seed: int, gzipped: bool) -> None:
    """20 files each; a plain file that ends with a whole record is whole, as far as anybody can tell."""
    write(base / "a", EXAMPLES, gzipped=gzipped)
    whole = (base / "a").read_bytes()
    draw = random.Random(seed)
    for number in range(20):
        (base / "a").write_bytes(mutated(whole, draw))
        try:
            _, records = imported(base, tmp_path / str(number))
        except InvalidInputError as error:
            assert f"{base / 'a'}" in str(error)  # noqa: PT017
        else:
            assert all_of(records) == sorted(EXAMPLES)


@pytest.mark.parametrize("length", [2**40, 2**31, 5])
def test_a_length_beyond_the_file_is_refused(base: Path, tmp_path: Path, length: int) -> None:
    header = struct.pack("<Q", length)
    crc = frame(pa.array([b"x" * 5], pa.binary()))[0].as_py()[8:12] if length == 5 else b"\0\0\0\0"
    (base / "a").write_bytes(header + crc)
    with pytest.raises(InvalidInputError, match="a: record 1 is corrupt"):
        imported(base, tmp_path / "out", payload_format="FORMAT_PROTO")
