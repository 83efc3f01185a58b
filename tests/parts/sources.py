"""Runs an ExampleGen executor, and makes tf.Examples as TFX's `dict_to_example` does, to compare with."""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, read_records

ONE_SPLIT = {"splits": [{"name": "single_split", "pattern": "*"}]}
TRAIN_AND_EVAL = {
    "split_config": {"splits": [{"name": "train", "hash_buckets": 2}, {"name": "eval", "hash_buckets": 1}]}
}
ON_BEAM = ("--runner=DirectRunner",)
DAY = dt.date(2013, 1, 31)
MOMENT = dt.datetime(2013, 1, 31, 12, 30, 5, 123456, tzinfo=dt.timezone.utc)
DAYS = (DAY - dt.date(1970, 1, 1)).days
MICROSECONDS = int((MOMENT - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) / dt.timedelta(microseconds=1))


def generate(
    run: Callable[..., dict[str, Produced]],
    base: Path,
    out: Path,
    input_config: dict[str, Any] = ONE_SPLIT,
    output_config: dict[str, Any] = TRAIN_AND_EVAL,
    beam_pipeline_args: tuple[str, ...] = (),
    **parameters: Any,
) -> tuple[Produced, dict[str, list[bytes]]]:
    """Run an executor on the files in `base`; returns what it produced, and the records by output split."""
    out.mkdir()
    produced = run(
        input_base=str(base),
        input_config=input_config,
        output_config=output_config,
        examples=Examples(uri=str(out)),
        context=ExecutorContext(
            component_id="ExampleGen", execution_id=1, tmp_dir=str(out), beam_pipeline_args=beam_pipeline_args
        ),
        **{"shuffle_seed": None} | parameters,
    )["examples"]
    records = {name: list(read_records(out / f"Split-{name}" / FILE_NAME)) for name in produced.properties["splits"]}
    return produced, records


def as_tfx(row: Mapping[str, Any]) -> bytes:
    """A row as TFX makes a tf.Example of it, but with 0 and "".

    A value is an integer, a float, text, bytes, a list of them, or None.
    """
    features = {name: _feature(value if isinstance(value, list) else [value]) for name, value in row.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True))


def _feature(values: list[Any]) -> tf.train.Feature:
    if values == [None]:
        return tf.train.Feature()
    if all(isinstance(value, int) for value in values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))  # some protobufs take no bool
    if all(isinstance(value, float) for value in values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def all_of(records: Mapping[str, Iterable[bytes]]) -> list[bytes]:
    """The records of all splits, sorted."""
    return sorted(record for some in records.values() for record in some)


def penguin_rows() -> list[dict[str, Any]]:
    """The rows of the package palmerpenguins, with None for NA."""
    folder = Path(next(iter(importlib.util.find_spec("palmerpenguins").submodule_search_locations)))  # type: ignore[arg-type, union-attr]
    with (folder / "data" / "penguins.csv").open(newline="") as file:
        return [{name: _cell(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _cell(name: str, cell: str) -> Any:
    if cell in ("", "NA"):
        return None
    return float(cell) if name.endswith(("_mm", "_g")) else int(cell) if name == "year" else cell
