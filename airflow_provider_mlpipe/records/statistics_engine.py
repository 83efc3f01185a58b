"""Computes the statistics of rows: by the kernel, or by TFDV's pipeline on Beam for what the kernel lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList
from tfx_bsl.public.tfxio import TFExampleRecord

from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.engine import MIB, Chunk, Source, memory_mb, run_kernels
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.records.sample import sample_rows
from airflow_provider_mlpipe.records.statistics_kernel import RECORD_COLUMN, Features, StatisticsKernel, beam_only

log = logging.getLogger(__name__)

_BATCH = 1000
"""Records that Beam decodes at a time. Beam's own choice depends on timing, and the last digits would vary with it."""
_UNTYPED = "--no_pipeline_type_check"
"""Beam refuses the type hints of TFDV's own generators, such as those that `label_feature` asks for."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of some pieces together. With a `schema`, they are read as it says, else as they are.

    A `rate` is the share of them that counts, above 0 and at most 1. A hash of each record decides.
    """

    pieces: Sequence[Piece]
    options: tfdv.StatsOptions
    rate: float | None = None
    schema: Schema | None = None


def compute(
    rows: Mapping[str, Rows], context: ExecutorContext, *, apart: Callable[..., Any] | None = None
) -> dict[str, DatasetFeatureStatisticsList]:
    """Return the statistics of all `rows`, by name. Their options differ in their values only.

    `apart` calls a function in another process, where TensorFlow has not run (default: this process). Raises
    InvalidInputError for options that TFDV refuses, and for a weight without exactly one number in every example.
    """
    for some in rows.values():
        some.options.desired_batch_size = some.options.desired_batch_size or _BATCH
    if others := beam_only(next(iter(rows.values())).options):
        log.info("TFDV's pipeline on Beam does the work, because there is no kernel for %s", ", ".join(others))
        return _on_beam(rows, context)
    memory_bytes = memory_mb(context) * MIB // 4
    kernels = {name: StatisticsKernel(some.options.to_json(), some.rate, memory_bytes) for name, some in rows.items()}
    sources = {name: _sources(some) for name, some in rows.items()}
    found: dict[str, DatasetFeatureStatisticsList]
    found = apart(run_kernels, kernels, sources, context) if apart else run_kernels(kernels, sources, context)
    return found


def _sources(rows: Rows) -> list[Source[Chunk]]:
    schema = None if rows.schema is None else rows.schema.SerializeToString()
    column = None if rows.rate is None else RECORD_COLUMN
    return [source for piece in rows.pieces for source in piece.sources(schema=schema, record_column=column)]


def _on_beam(rows: Mapping[str, Rows], context: ExecutorContext) -> dict[str, DatasetFeatureStatisticsList]:
    drafts = {name: Path(context.tmp_dir) / f"statistics-{name}.pb" for name in rows}
    with pipeline([*context.beam_pipeline_args, _UNTYPED]) as p:
        for name, draft in drafts.items():
            features = Features.of(rows[name].options)
            _ = (
                p
                | f"Read[{name}]" >> _batches(rows[name])
                | f"Select[{name}]" >> beam.Map(features.select).with_output_types(pa.RecordBatch)
                | f"Compute[{name}]" >> tfdv.GenerateStatistics(rows[name].options)
                | f"Write[{name}]" >> tfdv.WriteStatisticsToBinaryFile(str(draft))
            )
    return {name: DatasetFeatureStatisticsList.FromString(draft.read_bytes()) for name, draft in drafts.items()}


def _batches(rows: Rows) -> beam.PTransform:
    files = [str(path) for piece in rows.pieces for path in piece.files]
    column = None if rows.rate is None else RECORD_COLUMN
    source = TFExampleRecord(
        files, schema=rows.schema, raw_record_column_name=column, telemetry_descriptors=["mlpipe", "statistics"]
    ).BeamSource(_BATCH)
    if rows.rate is None:
        return source
    return source | beam.Map(sample_rows, RECORD_COLUMN, rows.rate).with_output_types(pa.RecordBatch)
