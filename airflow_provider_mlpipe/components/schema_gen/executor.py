"""Infers the schema from statistics, with TensorFlow Data Validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import tensorflow_data_validation as tfdv

from airflow_provider_mlpipe.artifacts import ExampleStatistics, Schema
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records import keras3  # noqa: F401  (first: it pins Keras 3)
from airflow_provider_mlpipe.records.inputs import write_schema
from airflow_provider_mlpipe.records.statistics import read_statistics
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
    """Infer the schema from the first split, then widen it to fit the others.

    Raises InvalidInputError for an unknown split, and for a split without statistics or examples.
    """
    first, *others = select_splits(statistics, exclude_splits, "exclude_splits")
    inferred = tfdv.infer_schema(read_statistics(statistics, first), infer_feature_shape)
    for split in others:
        inferred = tfdv.update_schema(inferred, read_statistics(statistics, split), infer_feature_shape)
    log.info("inferred %d features from %s", len(inferred.feature), ", ".join([first, *others]))
    write_schema(schema, inferred)
    return {}
