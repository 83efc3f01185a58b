"""Transform's analysis with TFT's own Beam code: on a named runner, and for analyzers that `tft_nodes` lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow_transform.beam as tft_beam
from tfx_bsl.public.tfxio import TensorAdapterConfig

from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.engine import Chunk, Source, batches_of


def analyze_on_beam(
    function: Callable[[Any], Any],
    sources: Sequence[Source[Chunk]],
    adapter_config: TensorAdapterConfig,
    folder: str,
    output: Path,
    beam_pipeline_args: Sequence[str],
) -> None:
    """Analyze all rows of `sources`, and write the transform graph of `function` to `output`.

    `folder` is for temporary files. Without a runner in `beam_pipeline_args`, Beam runs in this process.
    """
    with pipeline(beam_pipeline_args) as run, tft_beam.Context(temp_dir=folder):
        batches = run | beam.Create(list(sources)) | beam.Reshuffle() | beam.FlatMap(batches_of)
        transform_fn = (batches, adapter_config) | tft_beam.AnalyzeDataset(function)
        _ = transform_fn | tft_beam.WriteTransformFn(str(output))
