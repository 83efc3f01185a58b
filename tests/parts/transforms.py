"""Transform by this package and by stock TFT on Beam, and what differs between the two."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fresh import run_executor

from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformCache, TransformGraph
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.execution.user_code import load_function

Row = Mapping[str, Sequence[Any]]
"""Lists of values by feature; a feature that is not there has none."""


@dataclass(frozen=True)
class Transformed:
    """A transform graph, the transformed rows as `read_rows` has them, and what the executor logged."""

    graph: Path
    rows: dict[int, dict[str, list[Any]]]
    log: list[str]

    @property
    def assets(self) -> dict[str, list[list[Any]]]:
        """The vocabularies by file name: the words of each line, numbers as such."""
        folder = self.graph / "transform_fn" / "assets"
        paths = sorted(folder.iterdir()) if folder.exists() else []
        return {path.name: [_words(line) for line in _lines(path)] for path in paths}

    @property
    def schema(self) -> Any:
        """What is said of the transformed features."""
        import tensorflow_transform as tft

        return tft.TFTransformOutput(str(self.graph)).transformed_metadata.schema

    @property
    def asset_map(self) -> dict[str, str]:
        """The vocabularies' file names by the names that the user gave them."""
        path = self.graph / "transformed_metadata" / "asset_map"
        return json.loads(path.read_text()) if path.exists() else {}


DEFAULTS: dict[str, Any] = {
    "analyzer_cache": None,
    "preprocessing_fn": None,
    "custom_config": None,
    "splits_config": None,
    "disable_analyzer_cache": False,
    "disable_statistics": True,
    "stats_options_updater_fn": None,
}
"""What the executor is given for what a DAG leaves out, next to a `module_file`."""


def write_examples(folder: Path, rows: Sequence[Row]) -> Examples:
    """Rows as tf.Examples, the split `train`."""
    return write_splits(folder, {"train": rows})


def write_splits(folder: Path, splits: Mapping[str, Sequence[Row]]) -> Examples:
    """Rows as tf.Examples, by split."""
    import tensorflow as tf

    from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter

    def feature(values: Sequence[Any]) -> Any:
        if values and isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if values and isinstance(values[0], str):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))
        if values and isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values)) if values else tf.train.Feature()

    for split, rows in splits.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        with TFRecordWriter(folder / f"Split-{split}" / FILE_NAME) as writer:
            for row in rows:
                features = tf.train.Features(feature={name: feature(values) for name, values in row.items()})
                writer.write([tf.train.Example(features=features).SerializeToString(deterministic=True)])
    counts = {split: len(rows) for split, rows in splits.items()}
    return Examples(uri=str(folder), properties={"splits": list(splits), "record_counts": counts})


DENSE_X = 'feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }'
"""A schema by which every row has one number x."""


def write_shifted(folder: Path, *, sidecar: bool) -> Examples:
    """3,000 rows of one number x, but row 1,201 has two and row 2,901 none, as the splits `train` and `eval`."""
    import pyarrow as pa

    from airflow_provider_mlpipe.records.examples import encode_examples
    from airflow_provider_mlpipe.records.sidecar import stored
    from airflow_provider_mlpipe.records.split_writer import SplitWriter
    from airflow_provider_mlpipe.records.tfrecord import frame

    examples = Examples(uri=str(folder), properties={"splits": ["train", "eval"]})
    numbers = [[float(number)] * {1200: 2, 2900: 0}.get(number, 1) for number in range(3000)]
    rows = pa.RecordBatch.from_pydict({"x": pa.array(numbers, pa.list_(pa.float32()))})
    for split in ("train", "eval"):
        with SplitWriter(examples, split) as writer:
            writer.write(frame(encode_examples(rows)), stored(rows) if sidecar else None)
    return examples


def write_schema(folder: Path, text: str) -> Schema:
    """A schema as it is written."""
    folder.mkdir(parents=True)
    (folder / "schema.pbtxt").write_text(text)
    return Schema(uri=str(folder))


def transform_here(
    folder: Path, examples: Examples, schema: Schema, module_file: Path, beam: tuple[str, ...] = (), **config: Any
) -> Transformed:
    """Transform the split `train` by this package's executor."""
    for name in ("graph", "examples", "cache", "tmp"):
        (folder / name).mkdir(parents=True)
    ran = run_executor(
        "airflow_provider_mlpipe.components.transform.executor:run",
        examples=examples,
        schema=schema,
        **DEFAULTS | {"custom_config": config or None},
        module_file=str(module_file),
        transform_graph=TransformGraph(uri=str(folder / "graph")),
        transformed_examples=Examples(uri=str(folder / "examples")),
        updated_analyzer_cache=TransformCache(uri=str(folder / "cache")),
        context=ExecutorContext(
            component_id="Transform", execution_id=1, tmp_dir=str(folder / "tmp"), beam_pipeline_args=beam
        ),
    )
    return Transformed(folder / "graph", read_rows(folder / "examples" / "Split-train"), ran.log)


def transform_by_tft(folder: Path, examples: Examples, schema: Schema, module_file: Path, **config: Any) -> Transformed:
    """Transform the split `train` as TFT's documentation says, by Beam in memory and by nothing of this package."""
    import stock
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    function = load_function(str(module_file), None, "preprocessing_fn")
    if config:
        function = functools.partial(function, custom_config=config)
    raw = text_format.Parse(Path(schema.uri, "schema.pbtxt").read_text(), schema_pb2.Schema())
    files = {"train": str(Path(examples.uri, "Split-train", "*.gz"))}
    stock.write_transformed(function, raw, files, "train", folder)
    return Transformed(folder / "graph", read_rows(folder / "Split-train"), [])


def _lines(path: Path) -> list[bytes]:
    from airflow_provider_mlpipe.records.tfrecord import read_records

    return list(read_records(path)) if path.suffix == ".gz" else path.read_bytes().split(b"\n")


def _words(line: bytes) -> list[Any]:
    """A line's words; of `1.5,2.25 key`, as a vocabulary of keys has it, the numbers, too."""
    numbers, space, key = line.decode().partition(" ")
    try:
        return [*map(float, numbers.split(",")), key] if space else [numbers]
    except ValueError:
        return [numbers, key]


def read_rows(split: Path) -> dict[int, dict[str, list[Any]]]:
    """The rows of a split's record files: by their feature `id`, or else by their place in sorted order."""
    import tensorflow as tf

    from airflow_provider_mlpipe.records.tfrecord import read_records

    rows = []
    for record in itertools.chain.from_iterable(map(read_records, sorted(split.glob("*.gz")))):
        features = tf.train.Example.FromString(record).features.feature
        rows.append({name: list(getattr(one, one.WhichOneof("kind")).value) for name, one in features.items()})
    if "id" in rows[0]:
        return {row["id"][0]: row for row in rows}
    return dict(enumerate(sorted(rows, key=_order)))


def _order(row: dict[str, list[Any]]) -> Any:
    """Integers come first. Floats are in the order of the raw ones, if all that was done is to scale them."""
    whole = [row[name] for name in sorted(row) if not any(isinstance(value, float) for value in row[name])]
    return whole, [row[name] for name in sorted(row)]


def assert_equal(ours: Transformed, stock: Transformed, tolerances: Mapping[str, float] = MappingProxyType({})) -> None:
    """Equal but for floats, which may differ by 1e-5, relative or absolute, or as `tolerances` says of a feature."""
    assert ours.assets.keys() == stock.assets.keys()
    for name, lines in ours.assets.items():
        assert len(lines) == len(stock.assets[name]), name
        assert all(map(_close, lines, stock.assets[name])), name
    assert ours.asset_map == stock.asset_map
    assert ours.schema == stock.schema
    assert ours.rows.keys() == stock.rows.keys()
    assert all(features.keys() == stock.rows[row].keys() for row, features in ours.rows.items())
    differences = [
        f"{row}: {name}: {values} is in stock {stock.rows[row][name]}"
        for row, features in ours.rows.items()
        for name, values in features.items()
        if not _close(values, stock.rows[row][name], tolerances.get(name, 1e-5))
    ]
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:20])


def _close(ours: Sequence[Any], stock: Sequence[Any], tolerance: float = 1e-5) -> bool:
    return len(ours) == len(stock) and all(_same(*pair, tolerance) for pair in zip(ours, stock, strict=True))


def _same(ours: Any, stock: Any, tolerance: float) -> bool:
    if not isinstance(ours, float) or not isinstance(stock, float):
        return bool(ours == stock)
    both_nan = math.isnan(ours) and math.isnan(stock)
    return both_nan or math.isclose(ours, stock, rel_tol=tolerance, abs_tol=tolerance)


# What the raw features of tests/executors/every_analyzer.py are.
EVERY_ANALYZER_SCHEMA = """
feature { name: "id" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "number" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "key" type: BYTES presence { min_fraction: 1 } shape { dim { size: 1 } } }
feature { name: "vector" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 3 } } }
feature { name: "sparse" type: FLOAT value_count { min: 0 max: 1 } }
feature { name: "words" type: BYTES value_count { min: 0 } }
"""

# The mean of the air pressure is 131 of its standard deviations, and TFT keeps it as a float32: its last digit is 8e-6
# of the scaled pressure, and how a sum of so many float32s is rounded depends on their order.
FLIGHT_TOLERANCES = {"pressure": 3e-5}
