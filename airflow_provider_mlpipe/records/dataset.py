"""A tf.data.Dataset that reads Arrow sidecars: the rows of tfx_bsl's TFRecord reader, but already parsed."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapter, TensorFlowDatasetOptions, TFExampleRecord

from airflow_provider_mlpipe.records.chunks import RecordFile, SidecarChunk
from airflow_provider_mlpipe.records.engine import batches_of
from airflow_provider_mlpipe.records.sidecar import sidecar_of, starts

log = logging.getLogger(__name__)

Columns = dict[str, npt.NDArray[np.generic]]


def dataset(
    patterns: Sequence[str], options: TensorFlowDatasetOptions, schema: schema_pb2.Schema
) -> tf.data.Dataset | None:
    """Return the same dataset as `TFExampleRecord.TensorFlowDataset`, in memory that does not grow with the rows.

    Returns None if a file of `patterns` has no sidecar, or if the schema makes a feature's tensor sparse or ragged:
    such batches are not faster to make from columns. The log names the file or the feature. Shuffled rows have another
    order than those of tfx_bsl.
    """
    files = _files(patterns)
    sidecars = [sidecar_of(path) for path in files]
    adapter = TensorAdapter(
        TFExampleRecord(list(patterns), schema=schema, telemetry_descriptors=["mlpipe"]).TensorAdapterConfig()
    )
    specs = adapter.TypeSpecs()
    if not files:
        return None
    if (why := _why_not(dict(zip(files, sidecars, strict=True)), specs)) is not None:
        log.info("tfx_bsl's reader reads the batches, because %s", why)
        return None
    serialized = schema.SerializeToString()
    chunks = [
        SidecarChunk(path=path, first=first, schema=serialized)
        for path in sidecars
        if path is not None
        for first in starts(path)
    ]
    seed = options.shuffle_seed if options.shuffle_seed is not None else np.random.randint(2**31)
    random = np.random.default_rng(seed)  # once, so that each iteration over the dataset has another order
    blocks = tf.data.Dataset.from_generator(lambda: _epochs(chunks, adapter, options, random), output_signature=specs)
    drop_final_batch = options.drop_final_batch or options.num_epochs is None
    batches = blocks.rebatch(options.batch_size, drop_remainder=drop_final_batch)
    if options.label_key is not None:
        batches = batches.map(lambda features: (features, features.pop(options.label_key)))
    return batches.prefetch(tf.data.AUTOTUNE)


def check_rows(patterns: Sequence[str], schema: schema_pb2.Schema) -> None:
    """Read all rows; raises InvalidInputError for the first that does not fit the schema."""
    for path in _files(patterns):
        for _ in batches_of(RecordFile(path=path, schema=schema.SerializeToString())):
            pass


def _files(patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in map(Path, tf.io.gfile.glob(pattern)))


def _why_not(sidecars: Mapping[Path, Path | None], specs: Mapping[str, tf.TypeSpec]) -> str | None:
    without = next((path for path, sidecar in sidecars.items() if sidecar is None), None)
    if without is not None:
        return f"{without} has no sidecar"
    other = next((name for name, spec in specs.items() if not isinstance(spec, tf.TensorSpec)), None)
    return None if other is None else f"the schema makes the feature {other!r} a {type(specs[other]).__name__}"


def _epochs(
    chunks: Sequence[SidecarChunk],
    adapter: TensorAdapter,
    options: TensorFlowDatasetOptions,
    random: np.random.Generator,
) -> Iterator[Columns]:
    for _ in itertools.repeat(None) if options.num_epochs is None else range(options.num_epochs):
        blocks = _blocks(chunks, adapter)
        yield from shuffled(blocks, options.shuffle_buffer_size, random) if options.shuffle else blocks


def _blocks(chunks: Sequence[SidecarChunk], adapter: TensorAdapter) -> Iterator[Columns]:
    for chunk in chunks:
        for batch in chunk.batches():
            yield {name: tensor.numpy() for name, tensor in adapter.ToBatchTensors(batch).items()}


def shuffled(blocks: Iterator[Columns], buffer_size: int, random: np.random.Generator) -> Iterator[Columns]:
    """Yield all rows of the blocks in random order; `buffer_size` rows wait in a buffer to be mixed with later ones."""
    waiting: Columns | None = None
    for block in blocks:
        pool = _shuffle(block if waiting is None else _joined(waiting, block), random)
        come = max(0, _row_count(pool) - buffer_size)
        if come:
            yield {name: column[:come] for name, column in pool.items()}
        waiting = {name: column[come:] for name, column in pool.items()}
    if waiting is not None and _row_count(waiting):
        yield waiting


def _shuffle(columns: Columns, random: np.random.Generator) -> Columns:
    order = random.permutation(_row_count(columns))
    return {name: column[order] for name, column in columns.items()}


def _joined(first: Columns, second: Columns) -> Columns:
    return {name: np.concatenate([column, second[name]]) for name, column in first.items()}


def _row_count(columns: Mapping[str, npt.NDArray[np.generic]]) -> int:
    return len(next(iter(columns.values())))
