"""Compares distributions with TensorFlow Data Validation: those of a split with those of a baseline's split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from airflow_provider_mlpipe.artifacts import ExampleAnomalies, ExampleStatistics
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.anomalies import (
    Described,
    add_not_compared,
    describe,
    log_anomalies,
    write_anomalies,
)
from airflow_provider_mlpipe.records.comparators import why_not_comparable, why_not_compared
from airflow_provider_mlpipe.records.statistics import (
    are_the_same,
    check_examples,
    features_of,
    overall,
    read_statistics,
)
from airflow_provider_mlpipe.storage.split_pairs import SplitPair, select_split_pairs, split_pair_folder

log = logging.getLogger(__name__)

BLESSED, NOT_BLESSED, NOT_COMPARED = 1, 0, 2
"""The values of `blessed`."""

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatistics
Comparators: TypeAlias = Mapping[str, schema_pb2.FeatureComparator]


def run(
    *,
    statistics: ExampleStatistics,
    baseline_statistics: ExampleStatistics | None,
    config: Mapping[str, Any],
    include_split_pairs: Sequence[Sequence[str]] | None,
    fail_on: str | None,
    anomalies: ExampleAnomalies,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write `SplitPair-<test>_<base>/SchemaDiff.pb` for every pair of splits, and list the anomalies as a property.

    Without a baseline nothing is written. The executor ignores `fail_on`: the task checks it after the anomalies are
    published. Raises InvalidInputError for an unknown split, statistics that cannot be read, if no split has examples,
    and for numbers that are compared as categories.
    """
    pairs = select_split_pairs(statistics, baseline_statistics, include_split_pairs)
    described = _described(statistics, baseline_statistics, pairs, config, anomalies) if baseline_statistics else {}
    blessed = {str(pair): NOT_COMPARED for pair in pairs}
    blessed |= {pair: NOT_BLESSED if features else BLESSED for pair, features in described.items()}
    if not baseline_statistics:
        log.warning("nothing is compared: there are no baseline_statistics; a later run may have them")
    properties = {"splits": list(described), "blessed": blessed}
    return {"anomalies": Produced(properties=properties, custom_properties={"anomalies": described})}


def _described(
    statistics: ExampleStatistics,
    baseline: ExampleStatistics,
    pairs: Sequence[SplitPair],
    config: Mapping[str, Any],
    anomalies: ExampleAnomalies,
) -> dict[str, Described]:
    """Write the anomalies of each pair, and return them by pair; a split is not compared with itself."""
    is_one = are_the_same(statistics, baseline)
    itself = [pair for pair in pairs if is_one and pair.test == pair.base]
    for pair in itself:
        log.warning("split pair %s: not compared: the baseline_statistics are the same as the statistics", pair)
    compared = [pair for pair in pairs if pair not in itself]
    tests = _read(statistics, [pair.test for pair in compared])
    bases = _read(baseline, [pair.base for pair in compared])
    described: dict[str, Described] = {}
    for pair in compared:
        found = _compared(tests[pair.test], bases[pair.base], config, f"split pair {pair}")
        folder = split_pair_folder(anomalies, pair)
        folder.mkdir()
        write_anomalies(folder, found)
        described[str(pair)] = describe(found)
        log_anomalies(f"split pair {pair}", described[str(pair)])
    return described


def _read(statistics: ExampleStatistics, splits: Sequence[str]) -> dict[str, Statistics]:
    found = {split: read_statistics(statistics, split) for split in splits}
    if found:
        check_examples(statistics, found)
    return {split: overall(each) for split, each in found.items()}


def _compared(test: Statistics, base: Statistics, config: Mapping[str, Any], where: str) -> anomalies_pb2.Anomalies:
    """Return what TFDV finds in the comparison, and an anomaly for each feature that could not be compared."""
    wanted = config["default_slice_config"]
    comparators = {
        feature["path"]["step"][0]: _parsed(feature["distribution_comparator"], schema_pb2.FeatureComparator())
        for feature in wanted.get("feature", ())
    }
    _check_kinds(test, base, comparators, where)
    schema = tfdv.infer_schema(_alone(base))
    for feature in schema.feature:
        if feature.name in comparators:
            feature.drift_comparator.CopyFrom(comparators[feature.name])
    if fractions := wanted.get("num_examples_comparator"):
        _parsed(fractions, schema.dataset_constraints.num_examples_drift_comparator)
    found = tfdv.validate_statistics(_alone(test), schema, previous_statistics=_alone(base))
    _keep_comparisons(found)
    compared = {info.path.step[0] for info in found.drift_skew_info}
    for name, comparator in comparators.items():
        if problem := why_not_compared(test, base, name, comparator):
            add_not_compared(found, name, problem)
        elif name not in compared:
            add_not_compared(found, name, "TFDV has no distance for these statistics")
    return found


def _alone(dataset: Statistics) -> statistics_pb2.DatasetFeatureStatisticsList:
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])


def _parsed(given: Mapping[str, Any], message: Message) -> Any:
    """Our config messages have the fields of TensorFlow Metadata's."""
    return json_format.ParseDict(dict(given), message)


def _check_kinds(test: Statistics, base: Statistics, comparators: Comparators, where: str) -> None:
    """Raise InvalidInputError, with all features of numbers that a comparator of categories would compare."""
    wrong = [
        problem
        for name, comparator in comparators.items()
        if all(_is_number(side, name) for side in (test, base))
        if (problem := why_not_comparable(base, name, _of_categories(comparator)))
    ]
    if wrong:
        raise InvalidInputError(f"config, {where}: " + "; ".join(wrong))


def _of_categories(comparator: schema_pb2.FeatureComparator) -> schema_pb2.FeatureComparator:
    only = schema_pb2.FeatureComparator()
    only.CopyFrom(comparator)
    only.ClearField("jensen_shannon_divergence")
    return only


def _is_number(dataset: Statistics, name: str) -> bool:
    feature = features_of(dataset).get(name)
    return feature is not None and feature.HasField("num_stats")


def _keep_comparisons(found: anomalies_pb2.Anomalies) -> None:
    """Remove what is not about the comparison: the schema only stands for the baseline.

    The texts of a feature as a whole describe all its anomalies, so they are removed, too.
    """
    for name in list(found.anomaly_info):
        _keep_comparison_reasons(found.anomaly_info[name])
        if not found.anomaly_info[name].reason:
            del found.anomaly_info[name]
    if found.HasField("dataset_anomaly_info"):
        _keep_comparison_reasons(found.dataset_anomaly_info)
        if not found.dataset_anomaly_info.reason:
            found.ClearField("dataset_anomaly_info")
    found.ClearField("data_missing")
    found.anomaly_name_format = anomalies_pb2.Anomalies.SERIALIZED_PATH


def _keep_comparison_reasons(info: anomalies_pb2.AnomalyInfo) -> None:
    kept = [each for each in info.reason if anomalies_pb2.AnomalyInfo.Type.Name(each.type).startswith("COMPARATOR_")]
    for field in ("description", "short_description", "diff_regions", "reason"):
        info.ClearField(field)
    info.reason.extend(kept)
