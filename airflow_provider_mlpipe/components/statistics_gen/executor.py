"""Computes the statistics of every split with TensorFlow Data Validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from airflow_provider_mlpipe.artifacts import Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.inputs import named_splits, read_schema
from airflow_provider_mlpipe.records.mixed_types import mixed_types_of
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.records.statistics import check_examples, read_statistics, write_statistics
from airflow_provider_mlpipe.records.statistics_engine import Rows, compute
from airflow_provider_mlpipe.records.stats_options import read_stats_options
from airflow_provider_mlpipe.storage.layout import select_splits

log = logging.getLogger(__name__)


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
    """Write `Split-<name>/FeatureStats.pb` for every split that is not excluded.

    Raises InvalidInputError for an unknown split or option, a schema given twice, a feature with values of two types,
    if no split has examples, a `feature_allowlist` without any feature of the examples, and a weight without exactly
    one number in every example.
    """
    splits = select_splits(examples, exclude_splits, "exclude_splits")
    options = {split: _options(stats_options, schema) for split in splits}
    rates = _rates(examples, sample_rate_by_split, options)
    rows = {
        split: Rows(pieces=[Piece(examples, split, split)], options=options[split], rate=rates[split])
        for split in splits
    }
    try:
        found = compute(rows, context)
    except (RuntimeError, TypeError) as error:  # of the decoder, and of TFDV's generators
        mixed = next(filter(None, (mixed_types_of(examples, split) for split in splits)), None)
        raise mixed or error from error
    check_examples(examples, found)
    _look_for(options[splits[0]].feature_allowlist or (), found)
    for split in splits:
        _publish(examples, statistics, split, found[split], rates[split])
    return {"statistics": Produced(properties={"splits": splits})}


def _rates(
    examples: Examples, by_split: Mapping[str, float] | None, options: Mapping[str, tfdv.StatsOptions]
) -> dict[str, float | None]:
    """Return the sample rate of each split, and remove it from the options: TFDV would sample whole batches."""
    if by_split:
        named_splits(examples, list(by_split), parameter="sample_rate_by_split")
    rates = {split: (by_split or {}).get(split, option.sample_rate) for split, option in options.items()}
    for split, rate in rates.items():
        if rate is not None and not 0 < rate <= 1:
            raise InvalidInputError(f"the sample rate of split {split!r} is {rate}; it must be above 0 and at most 1")
        options[split].sample_rate = None
    return rates


def _options(given: Mapping[str, Any] | str | None, schema: Schema | None) -> tfdv.StatsOptions:
    options = read_stats_options(given)
    if not isinstance(options.epsilon, (int, float)) or not options.epsilon > 0:
        raise InvalidInputError(f"stats_options: epsilon is {options.epsilon!r}; it must be a number above 0")
    if schema is not None:
        if options.schema is not None:
            raise InvalidInputError("the schema is given as an input and in stats_options; leave one out")
        options.schema = read_schema(schema)
    return options


def _look_for(allowed: Sequence[str], found: Mapping[str, DatasetFeatureStatisticsList]) -> None:
    """Warn about allowed features that no split has; raise InvalidInputError if the examples have none of them."""
    datasets = [dataset for statistics in found.values() for dataset in statistics.datasets]
    there = {feature.path.step[0] for dataset in datasets for feature in dataset.features}
    unknown = ", ".join(repr(name) for name in allowed if name not in there)
    if unknown and not there and any(dataset.num_examples for dataset in datasets):
        raise InvalidInputError(
            f"stats_options: feature_allowlist names only features that no split has: {unknown}; correct the names, or "
            "leave feature_allowlist out to use all features"
        )
    if unknown:
        log.warning("stats_options: feature_allowlist names features that no split has: %s", unknown)


def _publish(
    examples: Examples,
    statistics: ExampleStatistics,
    split: str,
    found: DatasetFeatureStatisticsList,
    rate: float | None,
) -> None:
    write_statistics(statistics, split, found)
    dataset = read_statistics(statistics, split).datasets[0]
    log.info("split %s: %d examples, %d features", split, dataset.num_examples, len(dataset.features))
    known = examples.properties.get("record_counts", {}).get(split)
    if rate is None and known not in (None, dataset.num_examples):
        raise InvalidInputError(
            f"the split {split!r} of {examples.uri} has {known} records, but {dataset.num_examples} were read; "
            "create the examples again"
        )
