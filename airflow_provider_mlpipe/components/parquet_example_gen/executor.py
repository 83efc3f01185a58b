"""Converts Parquet files to splits of gzipped tf.Examples with sidecars, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.parquet import ParquetFile
from airflow_provider_mlpipe.records.tables import write_tables


def run(
    *,
    input_base: str,
    input_config: Mapping[str, Any] | None,
    output_config: Mapping[str, Any] | None,
    shuffle_seed: int | None,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every row of every input split to one output split of `examples`.

    Raises InvalidInputError for what the operator names.
    """
    return write_tables(
        ParquetFile,
        input_base=input_base,
        input_config=input_config,
        output_config=output_config,
        shuffle_seed=shuffle_seed,
        examples=examples,
        context=context,
    )
