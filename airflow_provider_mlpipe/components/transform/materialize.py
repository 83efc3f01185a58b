"""Transforms raw examples: applies the transform graph to chunks of rows, and writes the results in input order."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from airflow_provider_mlpipe.components.transform.saved_graph import SavedGraph, of_split
from airflow_provider_mlpipe.components.transform.tft_nodes import to_arrow_converter
from airflow_provider_mlpipe.components.transform.user_function import named
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.batches import taken
from airflow_provider_mlpipe.records.engine import Chunk, Source, map_splits
from airflow_provider_mlpipe.records.examples import encode_examples
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.records.sidecar import stored
from airflow_provider_mlpipe.records.split_writer import SplitWriter
from airflow_provider_mlpipe.records.tfrecord import frame

_BLOCK_BYTES = 64 << 20
"""About how many bytes of outputs are computed and encoded at a time: a row may be much larger than its inputs."""

_FIRST_ROWS = 128
"""This many rows of a chunk are transformed first, to measure the output bytes per row."""

Block: TypeAlias = tuple["pa.RecordBatch | None", pa.BinaryArray]
"""A batch of transformed rows: in the form of a sidecar (None if it cannot hold them), and as framed records."""


@dataclass(frozen=True)
class Written:
    """A written piece: its number of records, and their `TFRecordWriter.digest`."""

    count: int
    digest: str


@dataclass(frozen=True)
class Transformation:
    """Applies the transform graph to a chunk of a split, and encodes the outputs as tf.Examples.

    `schema` is the serialized schema of the transformed examples.
    """

    graph: SavedGraph
    schema: bytes

    def __call__(self, split: str, chunk: Chunk) -> Iterator[Block]:
        """Transform the rows of a chunk, some at a time.

        Raises UserCodeError when an output has more or fewer rows than the input, and GraphError where an op fails.
        """
        coder = _coder(self.schema)
        at_once = _FIRST_ROWS
        for batch in chunk.batches():
            place = 0
            while place < batch.num_rows:
                rows = _slice(batch, place, at_once)
                with of_split(split):
                    columns = self._transformed(rows, coder)
                yield from map(coder.encode, _pieces(columns))
                place += rows.num_rows
                at_once = _rows_of_a_block(columns)

    def _transformed(self, rows: pa.RecordBatch, coder: _Coder) -> pa.RecordBatch:
        outputs = self.graph.apply(rows)
        for name, output in outputs.items():
            if output.shape[0] != rows.num_rows:
                raise UserCodeError(
                    f"{named(self.graph.user_module.load())} returned {output.shape[0]} rows for {name!r}, but got "
                    f"{rows.num_rows}; the first dimension of every output must be the batch: a value for each row"
                )
        return coder.converter.convert(outputs)


def _rows_of_a_block(columns: pa.RecordBatch) -> int:
    """Return how many rows like these, on average, make _BLOCK_BYTES."""
    rows: int = _BLOCK_BYTES * columns.num_rows // max(1, columns.nbytes)
    return max(1, rows)


def _pieces(columns: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows in pieces of a bounded number of bytes."""
    at_once = _rows_of_a_block(columns)
    for place in range(0, columns.num_rows, at_once):
        yield _slice(columns, place, at_once)


def _slice(rows: pa.RecordBatch, place: int, count: int) -> pa.RecordBatch:
    """Return some rows as a batch without an offset: not all readers of a batch handle offsets."""
    places = range(place, min(place + count, rows.num_rows))
    return rows if len(places) == rows.num_rows else taken(rows, pa.array(places))


def write_pieces(
    transformation: Transformation,
    sources: Mapping[str, Sequence[Source[Chunk]]],
    outputs: Mapping[str, Piece],
    context: ExecutorContext,
    *,
    in_this_process: bool = False,
) -> dict[str, Written]:
    """Transform the rows of each piece, and write them in their order, with a sidecar, to the piece of that name.

    With `in_this_process`, this process does the work, instead of forks or Beam.
    """
    gather = functools.partial(_write, outputs)
    return map_splits(transformation, sources, gather, context, in_this_process=in_this_process)


def _write(outputs: Mapping[str, Piece], name: str, blocks: Iterator[Block]) -> Written:
    with SplitWriter(outputs[name].examples, outputs[name].split) as writer:
        for rows, frames in blocks:
            writer.write(frames, rows)
    return Written(writer.count, writer.digest)


class _Coder:
    """Converts tensors to Arrow and to tf.Examples, by the schema of the transformed examples."""

    def __init__(self, schema: schema_pb2.Schema) -> None:
        self.converter: Any = to_arrow_converter(schema)
        self._features = {feature.name for feature in schema.feature}
        self._ragged = RecordBatchToExamplesEncoder(schema)

    def encode(self, columns: pa.RecordBatch) -> Block:
        if self._features.issuperset(columns.schema.names):
            return stored(columns), frame(encode_examples(columns))
        # A ragged column becomes several features. TFX's encoder knows which, but writes them in no fixed order.
        encoded = self._ragged.encode(columns)
        records = [tf.train.Example.FromString(one).SerializeToString(deterministic=True) for one in encoded]
        return None, frame(pa.array(records, pa.binary()))


@functools.lru_cache(maxsize=1)
def _coder(schema: bytes) -> _Coder:
    return _Coder(schema_pb2.Schema.FromString(schema))
