"""The statistics of every split, by TensorFlow Data Validation on Beam."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics, Schema, select_splits
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.inputs import named_splits, read_schema, split_files
from airflow_provider_mlpipe.records.statistics import read_statistics, write_statistics
from airflow_provider_mlpipe.records.stats_options import read_stats_options

log = logging.getLogger(__name__)

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
            options = _options(stats_options, schema, rates.get(split))
            files = [str(path) for path in split_files(examples, split)]
            source = TFExampleRecord(files, telemetry_descriptors=["StatisticsGen"])
            _ = (
                p
                | f"Read[{split}]" >> source.BeamSource(options.desired_batch_size)
                | f"Compute[{split}]" >> tfdv.GenerateStatistics(options)
                | f"Write[{split}]" >> tfdv.WriteStatisticsToBinaryFile(str(draft))
            )
    for split, draft in drafts.items():
        _publish(statistics, split, draft)
    return {"statistics": Produced(properties={"splits": splits, "span": examples.properties.get("span", 0)})}


def _options(given: Mapping[str, Any] | str | None, schema: Schema | None, rate: float | None) -> tfdv.StatsOptions:
    options = read_stats_options(given)
    if schema is not None:
        if options.schema is not None:
            raise InvalidInputError("the schema is given as an input and in stats_options; leave one out")
        options.schema = read_schema(schema)
    if rate is not None:
        options.sample_rate = rate
    if options.desired_batch_size is None:
        options.desired_batch_size = BATCH
    return options


def _publish(statistics: ExampleStatistics, split: str, draft: Path) -> None:
    write_statistics(statistics, split, statistics_pb2.DatasetFeatureStatisticsList.FromString(draft.read_bytes()))
    dataset = read_statistics(statistics, split).datasets[0]
    log.info("split %s: %d examples, %d features", split, dataset.num_examples, len(dataset.features))
