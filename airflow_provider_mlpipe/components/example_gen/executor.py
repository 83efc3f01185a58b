"""CSV files to split, gzipped tf.Examples: two streaming passes, one to infer types and one to write."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from airflow_provider_mlpipe.artifacts import Examples, split_dir
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Input, Output, SplitConfig
from airflow_provider_mlpipe.records.ahead import ahead
from airflow_provider_mlpipe.records.csv import ColumnType, CsvSplit
from airflow_provider_mlpipe.records.examples import bytes_list, encode_examples, encode_features
from airflow_provider_mlpipe.records.splits import HashSplit
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter, examples_digest
from airflow_provider_mlpipe.sources import input_files

log = logging.getLogger(__name__)


def run(
    *,
    input_base: str,
    input_config: Mapping[str, Any] | None,
    output_config: Mapping[str, Any] | None,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every row of every input split to one output split of `examples`.

    Raises InvalidInputError for files that are missing or no proper CSV, and for a partition feature that cannot be
    used.
    """
    inputs = parse_config(Input, input_config, parameter="input_config").splits
    deal = parse_config(Output, output_config, parameter="output_config").split_config
    writers: dict[str, TFRecordWriter] = {}
    for split in inputs:
        source = CsvSplit(input_files(input_base, split.pattern))
        log.info("split %s: %d file(s), %d columns", split.name, len(source.paths), len(source.header))
        writers |= _write(source, deal if deal.splits else _pass_through(split.name), examples)
    counts = {name: writer.count for name, writer in writers.items()}
    properties = {
        "splits": list(writers),
        "span": 0,
        "version": 0,
        "payload_format": "FORMAT_TF_EXAMPLE",
        "file_format": "tfrecords_gzip",
        "record_counts": counts,
    }
    digest = examples_digest({name: writer.digest for name, writer in writers.items()})
    return {"examples": Produced(properties=properties, digest=digest)}


def _pass_through(name: str) -> SplitConfig:
    return SplitConfig(splits=[SplitConfig.Split(name=name, hash_buckets=1)])


def _write(source: CsvSplit, deal: SplitConfig, examples: Examples) -> dict[str, TFRecordWriter]:
    types, rows = source.infer()
    if not rows:
        raise InvalidInputError(f"{', '.join(map(str, source.paths))}: no row follows the header")
    kinds = dict(zip(source.header, types, strict=True))
    _check_partition_feature(deal.partition_feature_name, kinds)
    split = HashSplit({output.name: output.hash_buckets for output in deal.splits})
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(_writer(examples, name)) for name in split.names}
        for records, keys in ahead(_serialized(source.batches(types), deal.partition_feature_name)):
            for name, dealt in split.deal(records, keys).items():
                writers[name].write(dealt)
    _check_counts(rows, {name: writer.count for name, writer in writers.items()})
    return writers


def _writer(examples: Examples, split: str) -> TFRecordWriter:
    folder = split_dir(examples, split)
    folder.mkdir(parents=True)
    return TFRecordWriter(folder / FILE_NAME)


def _serialized(batches: Iterator[pa.RecordBatch], feature: str) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """Serialize the rows of each batch, and beside them the keys that decide their splits."""
    for batch in batches:
        records = bytes_list(encode_examples(batch))
        column = batch.schema.get_field_index(feature)
        yield records, bytes_list(encode_features(feature, batch.column(column))) if feature else records


def _check_partition_feature(name: str, kinds: Mapping[str, ColumnType]) -> None:
    if not name:
        return
    if name not in kinds:
        raise InvalidInputError(f"partition_feature_name {name!r} is no column; the columns are {', '.join(kinds)}")
    if kinds[name] not in (ColumnType.INT, ColumnType.STRING):
        found = "holds floats" if kinds[name] is ColumnType.FLOAT else "has no values"
        raise InvalidInputError(f"partition_feature_name {name!r} {found}; an INT or STRING column is needed")


def _check_counts(rows: int, written: Mapping[str, int]) -> None:
    log.info("%d rows in, records out: %s", rows, dict(written))
    if sum(written.values()) != rows:
        raise InvalidInputError(
            f"{rows} rows were counted, then {sum(written.values())} read: the input files changed while they were read"
        )
