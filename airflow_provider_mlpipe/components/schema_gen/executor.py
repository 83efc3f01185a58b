"""Infers the schema from statistics, with TensorFlow Data Validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from airflow_provider_mlpipe.artifacts import ExampleStatistics, Schema
from airflow_provider_mlpipe.components.schema_gen.splits import infer
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records import keras3  # noqa: F401  (first: it pins Keras 3)
from airflow_provider_mlpipe.records.inputs import read_schema, write_schema
from airflow_provider_mlpipe.records.pieces import piece_name
from airflow_provider_mlpipe.records.schema_diff import DOMAIN_VALUES, REMOVED, differences
from airflow_provider_mlpipe.records.statistics import check_examples, has_examples, read_statistics
from airflow_provider_mlpipe.storage.layout import select_splits

log = logging.getLogger(__name__)


def run(
    *,
    statistics: Sequence[ExampleStatistics],
    curated_schema: Schema | None,
    infer_feature_shape: bool,
    exclude_splits: Sequence[str],
    schema: Schema,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Infer one schema that fits all splits of all statistics, and log what it has otherwise than a curated one.

    Raises InvalidInputError for an unknown split, for a split without statistics, if no split has examples, and for a
    feature whose type differs between splits, other than INT and FLOAT.
    """
    found: dict[str, DatasetFeatureStatisticsList] = {}
    for place, one in enumerate(statistics):
        splits = select_splits(one, exclude_splits, "exclude_splits")
        by_split = {split: read_statistics(one, split) for split in splits}
        check_examples(one, by_split)
        found |= {piece_name(statistics, place, split): read for split, read in by_split.items() if has_examples(read)}
    inferred = infer(found, infer_feature_shape)
    log.info("inferred %d features from %s", len(inferred.feature), ", ".join(found))
    write_schema(schema, inferred)
    if curated_schema is not None:
        _log_differences(read_schema(curated_schema), inferred)
    return {}


def _log_differences(curated: schema_pb2.Schema, inferred: schema_pb2.Schema) -> None:
    """Leave out what only the curated schema has, such as comparators, besides features and values of domains."""
    found = differences(curated, inferred)
    shown = [each for each in found if each.after or each.what in (REMOVED, DOMAIN_VALUES)]
    log.info("from the curated schema to the inferred one, %d differences", len(shown))
    for difference in shown:
        log.info("%s", difference)
