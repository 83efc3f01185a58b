"""Training batches from the sidecar: those of tfx_bsl's own reader, in its order where nothing is shuffled."""

from __future__ import annotations

import gzip
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("tensorflow")
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions, TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.records.dataset import dataset, shuffled
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.sidecar import stored
from airflow_provider_mlpipe.records.split_writer import SplitWriter
from airflow_provider_mlpipe.records.tfrecord import frame

ROWS = 20_011
DENSE = text_format.Parse(
    """
    feature { name: "number" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "row" type: INT presence { min_fraction: 1 } shape {} }
    feature { name: "word" type: BYTES presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "pair" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 2 } } }
    """,
    Schema(),
)
SPARSE = text_format.Parse('feature { name: "row" type: INT }', Schema())


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The records of a split with a sidecar."""
    examples = Examples(uri=str(tmp_path_factory.mktemp("examples")))
    random = np.random.default_rng(1)
    rows = pa.RecordBatch.from_pydict(
        {
            "number": pa.array(random.random(ROWS), pa.float32()),
            "row": pa.array(range(ROWS), pa.int64()),
            "word": pa.array([f"wört {number % 7}" for number in range(ROWS)]),
            "pair": pa.array(random.random((ROWS, 2)).tolist(), pa.list_(pa.float32())),
        }
    )
    with SplitWriter(examples, "train") as writer:
        writer.write(frame(encode_examples(rows)), stored(rows))
    return str(Path(examples.uri, "Split-train", "*.gz"))


def stock(pattern: str, options: TensorFlowDatasetOptions) -> Any:
    return TFExampleRecord([pattern], schema=DENSE, telemetry_descriptors=["test"]).TensorFlowDataset(options)


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 1000, "num_epochs": 1},
        {"batch_size": 9001, "num_epochs": 2},
        {"batch_size": 64, "num_epochs": 1, "drop_final_batch": True},
        {"batch_size": 1000, "num_epochs": 1, "label_key": "number"},
    ],
)
def test_batches_are_tfx_bsls(pattern: str, given: dict[str, Any]) -> None:
    options = TensorFlowDatasetOptions(shuffle=False, **given)
    ours, theirs = dataset([pattern], options, DENSE), stock(pattern, options)
    assert ours is not None
    assert [str(spec) for spec in tf.nest.flatten(ours.element_spec)] == [
        str(spec) for spec in tf.nest.flatten(theirs.element_spec)
    ]
    for one, other in zip(ours.as_numpy_iterator(), theirs.as_numpy_iterator(), strict=True):
        tf.nest.assert_same_structure(one, other)
        assert all(map(np.array_equal, tf.nest.flatten(one), tf.nest.flatten(other)))


def test_without_an_end_the_rows_come_again(pattern: str) -> None:
    endless = dataset([pattern], TensorFlowDatasetOptions(batch_size=ROWS, shuffle=False), DENSE)
    assert [batch["row"].tolist() for batch in endless.take(2).as_numpy_iterator()] == [list(range(ROWS))] * 2


def rows_of(pattern: str, **given: Any) -> list[int]:
    batches = dataset([pattern], TensorFlowDatasetOptions(batch_size=500, num_epochs=2, **given), DENSE)
    return [int(row) for batch in batches.as_numpy_iterator() for row in batch["row"]]


def test_a_shuffled_epoch_has_every_row_once(pattern: str) -> None:
    first = rows_of(pattern, shuffle_buffer_size=3000, shuffle_seed=5)
    assert sorted(first[:ROWS]) == sorted(first[ROWS:]) == list(range(ROWS))
    assert first[:ROWS] != first[ROWS:]
    assert first == rows_of(pattern, shuffle_buffer_size=3000, shuffle_seed=5)
    assert first != rows_of(pattern, shuffle_buffer_size=3000, shuffle_seed=6)


def test_each_iteration_has_an_order_of_its_own(pattern: str) -> None:
    options = TensorFlowDatasetOptions(batch_size=500, num_epochs=1, shuffle_buffer_size=3000, shuffle_seed=5)
    batches = dataset([pattern], options, DENSE)
    first, second = ([int(row) for batch in batches.as_numpy_iterator() for row in batch["row"]] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first != second


def test_without_a_seed_the_programs_decides(pattern: str) -> None:
    def seeded(seed: int) -> list[int]:
        tf.keras.utils.set_random_seed(seed)
        return rows_of(pattern)

    assert seeded(1) == seeded(1) != seeded(2)


def test_a_buffer_for_all_rows_gives_every_order() -> None:
    random = np.random.default_rng(0)
    blocks = [{"x": np.array([0, 1])}, {"x": np.array([2])}]
    orders = Counter(
        tuple(int(row) for block in shuffled(iter(blocks), 10, random) for row in block["x"]) for _ in range(6000)
    )
    assert len(orders) == 6
    assert all(850 < count < 1150 for count in orders.values())


def test_where_the_reader_of_records_is_needed(pattern: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    options = TensorFlowDatasetOptions(batch_size=10, num_epochs=1)
    assert dataset([pattern], options, SPARSE) is None
    (tmp_path / "Split-train").symlink_to(Path(pattern).parent)
    assert dataset([str(tmp_path / "Split-train" / "*.gz")], options, DENSE) is None
    assert dataset([str(tmp_path / "none")], options, DENSE) is None
    sparse, without = (record.message for record in caplog.records if record.name == dataset.__module__)
    assert re.search("reader reads the batches, because the schema makes the feature '.*' a SparseTensorSpec", sparse)
    assert "data_tfrecord-00000-of-00001.gz has no sidecar" in without


def test_a_sidecar_of_other_records_feeds_nothing(pattern: str, tmp_path: Path) -> None:
    copy = shutil.copytree(Path(pattern).parents[1], tmp_path / "examples")
    options = TensorFlowDatasetOptions(batch_size=10, num_epochs=1)
    there = str(copy / "Split-train" / "*.gz")
    assert dataset([there], options, DENSE) is not None
    (records,) = copy.glob("Split-train/*.gz")
    records.write_bytes(gzip.compress(gzip.decompress(records.read_bytes())[::-1]))
    assert dataset([there], options, DENSE) is None
