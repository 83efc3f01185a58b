"""Infers the schema from statistics, with TensorFlow Data Validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_provider_mlpipe.artifacts import ExampleStatistics, Schema
from airflow_provider_mlpipe.components.schema_gen.splits import infer
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records import keras3  # noqa: F401  (first: it pins Keras 3)
from airflow_provider_mlpipe.records.inputs import write_schema
from airflow_provider_mlpipe.records.statistics import check_examples, has_examples, read_statistics
from airflow_provider_mlpipe.storage.layout import select_splits

log = logging.getLogger(__name__)


def run(
    *,
    statistics: ExampleStatistics,
    infer_feature_shape: bool,
    exclude_splits: Sequence[str],
    schema: Schema,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Infer one schema that fits all splits.

    Raises InvalidInputError for an unknown split, for a split without statistics, if no split has examples, and for a
    feature whose type differs between splits, other than INT and FLOAT.
    """
    splits = select_splits(statistics, exclude_splits, "exclude_splits")
    found = {split: read_statistics(statistics, split) for split in splits}
    check_examples(statistics, found)
    found = {split: given for split, given in found.items() if has_examples(given)}
    inferred = infer(found, infer_feature_shape)
    log.info("inferred %d features from %s", len(inferred.feature), ", ".join(found))
    write_schema(schema, inferred)
    return {}
