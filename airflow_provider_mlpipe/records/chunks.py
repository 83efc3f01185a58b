"""Reads the rows of a split in chunks, from its Arrow sidecar or from its records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tfx_bsl.arrow.table_util import MergeRecordBatches
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import CHUNK_BATCHES, BatchCutter
from airflow_provider_mlpipe.records.dense import first_misfit
from airflow_provider_mlpipe.records.inputs import split_files
from airflow_provider_mlpipe.records.mixed_types import NAMES, mixed_types
from airflow_provider_mlpipe.records.sidecar import read_batches, sidecar_of, starts
from airflow_provider_mlpipe.records.tfrecord import read_blocks
from airflow_provider_mlpipe.storage.layout import split_of

_DECODED_AT_ONCE = 250  # with more records at a time, the decoder takes longer per record


def example_sources(
    examples: Examples, split: str, *, schema: bytes | None = None, record_column: str | None = None
) -> Sequence[SidecarChunk] | Sequence[RecordFile]:
    """Return the sources of a split's rows: columns are large_list (of int64, float32, large_binary) or null.

    With a `schema` (a serialized tensorflow.metadata.v0.Schema), the columns are its features, in its order and with
    its types, and each row has as many values of a dense feature as the schema says. With a `record_column`, the
    serialized record is in a column of that name, and the sidecar, which has no records, is not used.

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
        """Yield the batches; raises InvalidInputError for the first row that does not fit the schema."""
        batches = read_batches(self.path, self.first, self.first + CHUNK_BATCHES)
        if self.schema is None:
            yield from batches
            return
        fields = ExamplesToRecordBatchDecoder(self.schema).ArrowSchema()
        in_schema = (_as_in_schema(batch, fields, self.path) for batch in batches)
        yield from _fitting(in_schema, self.schema, self.path, self._rows_before)

    def _rows_before(self) -> int:
        return sum(batch.num_rows for batch in read_batches(self.path, 0, self.first))


def _fitting(
    batches: Iterable[pa.RecordBatch], schema: bytes, path: Path, rows_before: Callable[[], int]
) -> Iterator[pa.RecordBatch]:
    """Yield the batches; raises InvalidInputError for the first row that cannot be part of a dense tensor."""
    rows = 0
    for batch in batches:
        if misfit := first_misfit(batch, schema):
            number = rows_before() + rows + misfit.row + 1
            raise InvalidInputError(f"{path}, row {number:,} of the split {split_of(path)!r}: {misfit}")
        rows += batch.num_rows
        yield batch


def _as_in_schema(batch: pa.RecordBatch, fields: pa.Schema, path: Path) -> pa.RecordBatch:
    columns = []
    for field in fields:
        place = batch.schema.get_field_index(field.name)
        column = pa.nulls(batch.num_rows) if place < 0 else batch.column(place)
        if pa.types.is_null(column.type):
            column = pa.nulls(batch.num_rows, field.type)
        if column.type != field.type:
            raise InvalidInputError(
                f"{path}: feature {field.name!r} is {_in_schema(column.type)}, but in the schema it is "
                f"{_in_schema(field.type)}; correct the schema, or the data"
            )
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=fields)


def _in_schema(column: pa.DataType) -> str:
    """Return what a schema calls the type of a column of lists."""
    return NAMES.get(getattr(column, "value_type", None), str(column))


@dataclass(frozen=True, kw_only=True)
class RecordFile:
    """A record file as a source: read from start to end, and decoded chunk by chunk."""

    path: Path
    schema: bytes | None = None
    record_column: str | None = None

    def chunks(self) -> Iterator[RecordChunk]:
        """Yield CHUNK_BATCHES batches at a time; raises InvalidInputError where the file is corrupt."""
        batches, before = _cut(read_blocks(self.path)), 0
        while some := tuple(itertools.islice(batches, CHUNK_BATCHES)):
            yield RecordChunk(
                path=self.path, before=before, records=some, schema=self.schema, record_column=self.record_column
            )
            before += sum(map(len, some))


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
    """Batches of serialized tf.Examples, which have `before` records before them in the file `path`."""

    path: Path
    before: int
    records: Sequence[Sequence[bytes]]
    schema: bytes | None = None
    record_column: str | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, decoded; raises InvalidInputError for the first row that does not fit the schema."""
        decoded: Iterator[pa.RecordBatch] = map(self._decoded, self.records)
        if self.schema is not None:
            decoded = _fitting(decoded, self.schema, self.path, lambda: self.before)
        for batch, records in zip(decoded, self.records, strict=True):
            yield _with_records(batch, records, self.record_column) if self.record_column else batch

    def _decoded(self, records: Sequence[bytes]) -> pa.RecordBatch:
        try:
            return decode(records, self.schema)
        except RuntimeError as error:
            raise self._fault() or InvalidInputError(f"{self.path}: {error}; correct the data") from error

    def _fault(self) -> InvalidInputError | None:
        """The first record that cannot be decoded even by itself, or else with those before it."""
        split, first = split_of(self.path), self.before + 1
        for number, record in enumerate(itertools.chain.from_iterable(self.records), start=first):
            try:
                decode([record], self.schema)
            except RuntimeError as error:
                return InvalidInputError(
                    f"{self.path}, row {number:,} of the split {split!r}: {error}; correct the data, or the schema"
                )
        return mixed_types(itertools.chain.from_iterable(self.records), str(self.path), split, first=first)


def decode(records: Sequence[bytes], schema: bytes | None = None) -> pa.RecordBatch:
    """Decode tf.Examples; raises RuntimeError for one that is none, or does not fit the schema or the others."""
    decoder = ExamplesToRecordBatchDecoder(schema)
    pieces = [records[place : place + _DECODED_AT_ONCE] for place in range(0, len(records), _DECODED_AT_ONCE)]
    return MergeRecordBatches([decoder.DecodeBatch(list(piece)) for piece in pieces])


def _with_records(batch: pa.RecordBatch, records: Sequence[bytes], column: str) -> pa.RecordBatch:
    lists = pa.array([[record] for record in records], pa.large_list(pa.large_binary()))
    return pa.RecordBatch.from_arrays([*batch.columns, lists], [*batch.schema.names, column])
