"""Reads the rows of a split in chunks, from its Arrow sidecar or from its records."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tfx_bsl.arrow.table_util import MergeRecordBatches
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import CHUNK_BATCHES, BatchCutter
from airflow_provider_mlpipe.records.inputs import split_files
from airflow_provider_mlpipe.records.sidecar import read_batches, sidecar_of, starts
from airflow_provider_mlpipe.records.tfrecord import read_blocks

_DECODED_AT_ONCE = 250  # with more records at a time, the decoder takes longer per record


def example_sources(
    examples: Examples, split: str, *, schema: bytes | None = None, record_column: str | None = None
) -> Sequence[SidecarChunk] | Sequence[RecordFile]:
    """Return the sources of a split's rows: columns are large_list (of int64, float32, large_binary) or null.

    With a `schema` (a serialized tensorflow.metadata.v0.Schema), the columns are its features, in its order and with
    its types. With a `record_column`, the serialized record is in a column of that name, and the sidecar, which has no
    records, is not used.

    Raises InvalidInputError when the split has no files.
    """
    files = split_files(examples, split)
    sidecar = sidecar_of(files[0]) if record_column is None else None
    if sidecar is not None:
        return [SidecarChunk(path=sidecar, first=first, schema=schema) for first in starts(sidecar)]
    return [RecordFile(path=path, schema=schema, record_column=record_column) for path in files]


def files_read(examples: Examples, split: str) -> list[Path]:
    """Return the files from which `example_sources` reads rows without a `record_column`; raises the same errors."""
    return list(dict.fromkeys(source.path for source in example_sources(examples, split)))


@dataclass(frozen=True, kw_only=True)
class SidecarChunk:
    """CHUNK_BATCHES batches of a sidecar, from batch `first` on. It is both a source and its only chunk."""

    path: Path
    first: int
    schema: bytes | None = None

    def chunks(self) -> Iterator[SidecarChunk]:
        """Yield this chunk."""
        yield self

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches; raises InvalidInputError for a feature with another type than in the schema."""
        fields = ExamplesToRecordBatchDecoder(self.schema).ArrowSchema() if self.schema is not None else None
        for batch in read_batches(self.path, self.first, self.first + CHUNK_BATCHES):
            yield batch if fields is None else _as_in_schema(batch, fields, self.path)


def _as_in_schema(batch: pa.RecordBatch, fields: pa.Schema, path: Path) -> pa.RecordBatch:
    columns = []
    for field in fields:
        place = batch.schema.get_field_index(field.name)
        column = pa.nulls(batch.num_rows) if place < 0 else batch.column(place)
        if pa.types.is_null(column.type):
            column = pa.nulls(batch.num_rows, field.type)
        if column.type != field.type:
            raise InvalidInputError(
                f"{path}: feature {field.name!r} is {column.type}, but in the schema it is {field.type}; "
                "correct the schema, or the data"
            )
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=fields)


@dataclass(frozen=True, kw_only=True)
class RecordFile:
    """A record file as a source: read from start to end, and decoded chunk by chunk."""

    path: Path
    schema: bytes | None = None
    record_column: str | None = None

    def chunks(self) -> Iterator[RecordChunk]:
        """Yield CHUNK_BATCHES batches at a time; raises InvalidInputError where the file is corrupt."""
        batches = _cut(read_blocks(self.path))
        while some := tuple(itertools.islice(batches, CHUNK_BATCHES)):
            yield RecordChunk(records=some, schema=self.schema, record_column=self.record_column)


def _cut(blocks: Iterable[Sequence[bytes]]) -> Iterator[list[bytes]]:
    cutter = BatchCutter()
    batch: list[bytes] = []
    for records in blocks:
        start = 0
        for stop in cutter.starts(map(len, records)):
            yield [*batch, *records[start:stop]]
            batch, start = [], stop
        batch.extend(records[start:])
    if batch:
        yield batch


@dataclass(frozen=True, kw_only=True)
class RecordChunk:
    """Batches of serialized tf.Examples."""

    records: Sequence[Sequence[bytes]]
    schema: bytes | None = None
    record_column: str | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, decoded."""
        decoder = ExamplesToRecordBatchDecoder(self.schema)
        for batch in self.records:
            pieces = [batch[place : place + _DECODED_AT_ONCE] for place in range(0, len(batch), _DECODED_AT_ONCE)]
            decoded = MergeRecordBatches([decoder.DecodeBatch(list(piece)) for piece in pieces])
            yield _with_records(decoded, batch, self.record_column) if self.record_column else decoded


def _with_records(batch: pa.RecordBatch, records: Sequence[bytes], column: str) -> pa.RecordBatch:
    lists = pa.array([[record] for record in records], pa.large_list(pa.large_binary()))
    return pa.RecordBatch.from_arrays([*batch.columns, lists], [*batch.schema.names, column])
