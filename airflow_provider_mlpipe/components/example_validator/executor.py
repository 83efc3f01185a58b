"""Finds anomalies with TensorFlow Data Validation: where the statistics of a split deviate from the schema."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, Examples, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.example_validator.comparisons import Comparison, log_distances, version_note
from airflow_provider_mlpipe.components.example_validator.sql_checks import add_anomalies, run_checks, write_report
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.anomalies import describe, log_anomalies, write_anomalies
from airflow_provider_mlpipe.records.csv import ColumnType, infer_type
from airflow_provider_mlpipe.records.inputs import read_schema
from airflow_provider_mlpipe.records.stand_ins import STAND_INS
from airflow_provider_mlpipe.records.stand_ins import described as stand_ins_described
from airflow_provider_mlpipe.records.statistics import check_examples, features_of, overall, read_statistics
from airflow_provider_mlpipe.storage.layout import select_splits, split_folder

log = logging.getLogger(__name__)


def run(
    *,
    statistics: ExampleStatistics,
    schema: Schema,
    examples: Examples | None,
    serving_statistics: ExampleStatistics | None,
    previous_statistics: ExampleStatistics | None,
    exclude_splits: Sequence[str],
    environment: str | None,
    sql_checks: Sequence[Mapping[str, Any]],
    fail_on: str | None,
    anomalies: ExampleAnomalies,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write `Split-<name>/SchemaDiff.pb` for every split that is not excluded, and list the anomalies as a property.

    What could not be compared with other statistics, because there are none, is the property `not_compared`. With
    `sql_checks`, write `sql_checks.json` beside it. The executor ignores `fail_on`: the task checks it after the
    anomalies are published. Raises InvalidInputError for an unknown split or environment, for a split without
    statistics, if no split has examples, and for SQL that fails.
    """
    splits = select_splits(statistics, exclude_splits, "exclude_splits")
    expected = read_schema(schema)
    _check_environment(environment, expected)
    statistics_of = {split: read_statistics(statistics, split) for split in splits}
    check_examples(statistics, statistics_of)
    skew = Comparison(statistics, "serving_statistics", serving_statistics, "skew_comparator", alone=True)
    drift = Comparison(statistics, "previous_statistics", previous_statistics, "drift_comparator", alone=False)
    found, not_compared = {}, {}
    for split, given in statistics_of.items():
        found[split] = tfdv.validate_statistics(
            given,
            expected,
            environment,
            previous_statistics=drift.other(split),
            serving_statistics=skew.other(split),
        )
        checked = (each.check(split, overall(given), expected, found[split]) for each in (skew, drift))
        not_compared[split] = [*itertools.chain.from_iterable(checked), *version_note(expected)]
        log_distances(split, found[split])
        log_anomalies(f"split {split}", describe(found[split]))
        for what in not_compared[split]:
            log.warning("split %s: not compared: %s", split, what)
        _warn_of_stand_ins(split, given)
    whole = {split: overall(given) for split, given in statistics_of.items()}
    outcomes = run_checks(sql_checks, environment, examples, whole, expected, context) if sql_checks else {}
    for split in splits:
        folder = split_folder(anomalies, split)
        folder.mkdir()
        if split in outcomes:
            add_anomalies(found[split], outcomes[split])
            write_report(folder, outcomes[split])
        write_anomalies(folder, found[split])
    described = {split: describe(each) for split, each in found.items()}
    properties = {
        "splits": splits,
        "blessed": {split: int(not features) for split, features in described.items()},
    }
    details: dict[str, Any] = {"anomalies": described}
    if any(not_compared.values()):
        details["not_compared"] = not_compared
    return {"anomalies": Produced(properties=properties, custom_properties=details)}


def _check_environment(environment: str | None, schema: schema_pb2.Schema) -> None:
    known = list(schema.default_environment)
    if environment is not None and environment not in known:
        listed = ", ".join(known) or "none"
        raise InvalidInputError(
            f"environment {environment!r} is not a default_environment of the schema; it has: {listed}"
        )


def _warn_of_stand_ins(split: str, statistics: statistics_pb2.DatasetFeatureStatisticsList) -> None:
    """Warn of features that are text only because of cells such as `NA`, as far as the frequent values tell."""
    for name, feature in sorted(features_of(overall(statistics)).items()):
        buckets = feature.string_stats.rank_histogram.buckets
        counts = {bucket.label: int(bucket.sample_count) for bucket in buckets if bucket.label in STAND_INS}
        others = [bucket.label.encode() for bucket in buckets if bucket.label not in STAND_INS]
        is_text = feature.type == statistics_pb2.FeatureNameStatistics.STRING
        if is_text and counts and infer_type(others) in (ColumnType.INT, ColumnType.FLOAT):
            total = int(feature.string_stats.common_stats.tot_num_values)
            log.warning("split %s: feature %r %s", split, name, stand_ins_described(counts, total))
