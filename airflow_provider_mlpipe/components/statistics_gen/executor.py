"""The statistics of every split, by TensorFlow Data Validation on Beam."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics, Schema, select_splits
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.inputs import named_splits, read_schema, split_files
from airflow_provider_mlpipe.records.sample import sample_rows
from airflow_provider_mlpipe.records.statistics import read_statistics, write_statistics
from airflow_provider_mlpipe.records.stats_options import read_stats_options

log = logging.getLogger(__name__)

RECORD_COLUMN = "__serialized_example__"
BATCH = 1000
"""Records decoded at a time. Left to itself Beam chooses by the clock, and last digits would differ between runs."""


def run(
    *,
    examples: Examples,
    schema: Schema | None,
    stats_options: Mapping[str, Any] | str | None,
    exclude_splits: Sequence[str],
    sample_rate_by_split: Mapping[str, float] | None,
    statistics: ExampleStatistics,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write `Split-<name>/FeatureStats.pb` for every split but the excluded ones.

    Raises InvalidInputError for an unknown split or option, a schema given twice, and a split without examples.
    """
    splits = select_splits(examples, exclude_splits, "exclude_splits")
    rates = dict(sample_rate_by_split or {})
    if rates:
        named_splits(examples, list(rates), parameter="sample_rate_by_split")
    drafts = {split: Path(context.tmp_dir) / f"{split}.pb" for split in splits}
    with pipeline(context.beam_pipeline_args) as p:
        for split, draft in drafts.items():
            options = _options(stats_options, schema)
            rate, options.sample_rate = rates.get(split, options.sample_rate), None  # TFDV would draw whole batches
            _ = (
                p
                | f"Read[{split}]" >> _batches(examples, split, options.desired_batch_size, rate)
                | f"Compute[{split}]" >> tfdv.GenerateStatistics(options)
                | f"Write[{split}]" >> tfdv.WriteStatisticsToBinaryFile(str(draft))
            )
    for split, draft in drafts.items():
        _publish(statistics, split, draft)
    return {"statistics": Produced(properties={"splits": splits, "span": examples.properties.get("span", 0)})}


def _batches(examples: Examples, split: str, size: int, rate: float | None) -> beam.PTransform:
    files = [str(path) for path in split_files(examples, split)]
    if rate is None:
        return TFExampleRecord(files, telemetry_descriptors=["StatisticsGen"]).BeamSource(size)
    if not 0 < rate <= 1:
        raise InvalidInputError(f"the sample rate of split {split!r} is {rate}; it must be above 0 and at most 1")
    source = TFExampleRecord(files, raw_record_column_name=RECORD_COLUMN, telemetry_descriptors=["StatisticsGen"])
    sample = beam.Map(sample_rows, RECORD_COLUMN, rate).with_output_types(pa.RecordBatch)
    return source.BeamSource(size) | sample


def _options(given: Mapping[str, Any] | str | None, schema: Schema | None) -> tfdv.StatsOptions:
    options = read_stats_options(given)
    if schema is not None:
        if options.schema is not None:
            raise InvalidInputError("the schema is given as an input and in stats_options; leave one out")
        options.schema = read_schema(schema)
    if options.desired_batch_size is None:
        options.desired_batch_size = BATCH
    return options


def _publish(statistics: ExampleStatistics, split: str, draft: Path) -> None:
    write_statistics(statistics, split, statistics_pb2.DatasetFeatureStatisticsList.FromString(draft.read_bytes()))
    dataset = read_statistics(statistics, split).datasets[0]
    log.info("split %s: %d examples, %d features", split, dataset.num_examples, len(dataset.features))
