"""Transform's executor: TFT analyzes on Beam, then the graph that it made is applied record by record, in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.records import keras3  # noqa: F401  (before tensorflow)

# isort: split
import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.impl_helper import make_tensor_to_arrow_converter
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder, RecordBatchToExamplesEncoder
from tfx_bsl.public.tfxio import TensorAdapter, TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples, Schema, TransformGraph
from airflow_provider_mlpipe.components.transform.user_function import UserPreprocessing
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitsConfig
from airflow_provider_mlpipe.records.beam import pipeline
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.inputs import SCHEMA_FILE, named_splits, read_schema, split_files
from airflow_provider_mlpipe.records.saved_model import canonicalize
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, TFRecordWriter, examples_digest, read_records
from airflow_provider_mlpipe.user_code import load_function

log = logging.getLogger(__name__)

_BATCH = 1000


def run(
    *,
    examples: Examples,
    schema: Schema,
    module_file: str | None,
    preprocessing_fn: str | None,
    custom_config: Mapping[str, Any] | None,
    splits_config: Mapping[str, Any] | None,
    transform_graph: TransformGraph,
    transformed_examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write the transform graph as `tft.TFTransformOutput` reads it, and the transformed splits in input order.

    Equal input gives equal bytes. Raises InvalidInputError for an unknown or empty split, UserCodeError for a
    preprocessing_fn that is missing or raises.
    """
    function = UserPreprocessing(load_function(module_file, preprocessing_fn, "preprocessing_fn"), custom_config)
    config = parse_config(SplitsConfig, splits_config, parameter="splits_config")
    known = examples.properties.get("splits", [])
    analyzed = named_splits(examples, config.analyze or ["train"], parameter="splits_config.analyze")
    transformed = named_splits(examples, config.transform or known, parameter="splits_config.transform")
    raw_schema = read_schema(schema)

    files = [path for split in analyzed for path in split_files(examples, split)]
    _analyze(files, raw_schema, function, Path(transform_graph.uri), context)
    graph = _Graph(Path(transform_graph.uri), raw_schema)
    writers = {split: _transform(graph, examples, split, Path(transformed_examples.uri)) for split in transformed}
    counts = {split: writer.count for split, writer in writers.items()}
    log.info("Transformed %s", ", ".join(f"{count:,} records of {split}" for split, count in counts.items()))
    properties = {**examples.properties, "splits": transformed, "record_counts": counts}
    digest = examples_digest({split: writer.digest for split, writer in writers.items()})
    return {"transformed_examples": Produced(properties=properties, digest=digest)}


def _analyze(
    files: list[Path], schema: schema_pb2.Schema, function: UserPreprocessing, output: Path, context: ExecutorContext
) -> None:
    """Run the full pass over `files` and write the graph with its vocabularies to `output`."""
    if not any(True for path in files for _ in read_records(path)):
        raise InvalidInputError(
            f"splits_config.analyze: {files[0].parent} holds no records, so nothing can be analyzed"
        )
    adapter_config = _tfxio(schema).TensorAdapterConfig()
    temporary = Path(context.tmp_dir, "tft")
    with pipeline(context.beam_pipeline_args) as run, tft_beam.Context(temp_dir=str(temporary)):
        paths = run | beam.Create([str(path) for path in files])
        batches = paths | beam.FlatMap(_batches, schema.SerializeToString())
        transform_fn = (batches, adapter_config) | tft_beam.AnalyzeDataset(function)
        _ = transform_fn | tft_beam.WriteTransformFn(str(output))
    _write_schema(schema, output / tft.TFTransformOutput.RAW_METADATA_DIR)
    canonicalize(output / tft.TFTransformOutput.TRANSFORM_FN_DIR, temporary=temporary)


def _write_schema(schema: schema_pb2.Schema, folder: Path) -> None:
    """Write the raw schema where `TFTransformOutput.raw_feature_spec` looks for it."""
    folder.mkdir()
    (folder / SCHEMA_FILE).write_text(text_format.MessageToString(schema), encoding="utf-8")


def _tfxio(schema: schema_pb2.Schema) -> TFExampleRecord:
    """Describe how tf.Examples become tensors under `schema`; no file is read by it."""
    return TFExampleRecord(file_pattern="unused", schema=schema, telemetry_descriptors=["mlpipe", "Transform"])


def _batches(path: str, schema: bytes) -> Iterator[pa.RecordBatch]:
    decoder = ExamplesToRecordBatchDecoder(schema)
    records: list[bytes] = []
    for record in read_records(Path(path)):
        records.append(record)
        if len(records) == _BATCH:
            yield decoder.DecodeBatch(records)
            records = []
    if records:
        yield decoder.DecodeBatch(records)


class _Graph:
    """An analyzed transform graph, to be applied to serialized raw examples."""

    def __init__(self, path: Path, raw_schema: schema_pb2.Schema) -> None:
        output = tft.TFTransformOutput(str(path))
        transformed_schema = output.transformed_metadata.schema
        self.raw_schema = raw_schema.SerializeToString()
        self._adapter = TensorAdapter(_tfxio(raw_schema).TensorAdapterConfig())
        self._model = tf.saved_model.load(output.transform_savedmodel_dir)
        self._features = {feature.name for feature in transformed_schema.feature}
        self._converter = make_tensor_to_arrow_converter(transformed_schema)
        self._encoder = RecordBatchToExamplesEncoder(transformed_schema)

    def apply(self, batch: pa.RecordBatch) -> list[bytes]:
        """Transform a batch to serialized tf.Examples, one for each row."""
        tensors = self._model.transform_fn(self._adapter.ToBatchTensors(batch))
        transformed = self._converter.convert(tensors)
        if transformed.num_rows != batch.num_rows:
            raise InvalidInputError(
                f"preprocessing_fn made {transformed.num_rows} rows of {batch.num_rows}; "
                f"the first dimension of every output must be the batch"
            )
        return self._encode(transformed)

    def _encode(self, batch: pa.RecordBatch) -> list[bytes]:
        if self._features.issuperset(batch.schema.names):
            records: list[bytes] = encode_examples(batch).to_pylist()
            return records
        # A ragged column becomes several features. TFX's encoder knows which, but writes them in no fixed order.
        encoded = self._encoder.encode(batch)
        return [tf.train.Example.FromString(one).SerializeToString(deterministic=True) for one in encoded]


def _transform(graph: _Graph, examples: Examples, split: str, output: Path) -> TFRecordWriter:
    folder = output / f"Split-{split}"
    folder.mkdir()
    with TFRecordWriter(folder / FILE_NAME) as writer:
        for path in split_files(examples, split):
            for batch in _batches(str(path), graph.raw_schema):
                writer.write(graph.apply(batch))
    return writer
