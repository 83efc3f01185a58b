"""Reads the records of TFRecord files that others wrote, to pass them on byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tensorflow.core.example.example_pb2 import SequenceExample  # protos only: this process forks

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import columns_of, of_columns
from airflow_provider_mlpipe.records.chunks import decode
from airflow_provider_mlpipe.records.dealing import Encoded
from airflow_provider_mlpipe.records.examples import encode_features
from airflow_provider_mlpipe.records.mixed_types import NAMES
from airflow_provider_mlpipe.records.tfrecord import read_blocks

_TYPES = {kind: pa.large_list(values) for values, kind in NAMES.items()} | {"UNKNOWN": pa.null()}


@dataclass(frozen=True, kw_only=True)
class RecordsOf:
    """Some records of the file `path`; `before` is how many of its records come before them."""

    path: Path
    before: int
    records: Sequence[bytes]

    def first_fault(self, read: Callable[[bytes], object], what: str, error: Exception) -> InvalidInputError:
        """The error for the first record that `read` cannot read; `error` is what it said of all together."""
        for number, record in enumerate(self.records, start=self.before + 1):
            try:
                read(record)
            except Exception as alone:  # noqa: BLE001 - what a library raises for a record
                return InvalidInputError(
                    f"{self.path}, record {number:,} is no {what}: {alone}; correct payload_format"
                )
        return InvalidInputError(f"{self.path}, records from {self.before + 1:,} on: {error}; correct the data")


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """A TFRecord file, gzipped or not, as a source of records."""

    path: Path

    def chunks(self) -> Iterator[RecordsOf]:
        """Yield the records in order; raises InvalidInputError, with file and record, where the file is corrupt."""
        before = 0
        for records in read_blocks(self.path):
            if records:
                yield RecordsOf(path=self.path, before=before, records=records)
            before += len(records)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What some tf.Examples hold: how many they are, and the type of each feature by name.

    A type is INT, FLOAT, BYTES, or UNKNOWN where no record has a value.
    """

    rows: int
    types: Mapping[str, str]
    where: str


def content_of(chunk: RecordsOf) -> Content:
    """Decode tf.Examples; raises InvalidInputError, with file and record, for a record that is none."""
    types = {name: _kind(column) for name, column in columns_of(_decoded(chunk)).items()}
    return Content(rows=len(chunk.records), types=types, where=f"{chunk.path}, records from {chunk.before + 1:,} on")


def merged(first: Content, second: Content) -> Content:
    """Return what both hold; raises InvalidInputError for a feature of two types."""
    types = dict(first.types)
    for name, kind in second.types.items():
        if types.get(name, "UNKNOWN") == "UNKNOWN":
            types[name] = kind
        elif kind not in ("UNKNOWN", types[name]):
            raise InvalidInputError(
                f"{second.where}: feature {name!r} is {kind}, but it was {types[name]} before; give it one type"
            )
    return Content(rows=first.rows + second.rows, types=types, where=second.where)


@dataclass(frozen=True)
class ExampleRecords:
    """Passes tf.Examples on, and their features as columns; `types` are those of all records."""

    types: Mapping[str, str]

    def __call__(self, chunk: RecordsOf, partition_feature: str) -> Encoded:
        """Raises InvalidInputError for a record without a value for the partition feature."""
        columns, count = columns_of(_decoded(chunk)), len(chunk.records)
        rows = {
            name: columns[name] if _has_type(columns.get(name)) else pa.nulls(count, _TYPES[kind])
            for name, kind in self.types.items()
        }
        keys = encode_features(partition_feature, rows[partition_feature]) if partition_feature else None
        if keys is not None and keys.null_count:
            number = chunk.before + keys.is_null().to_pylist().index(True) + 1
            raise InvalidInputError(
                f"{chunk.path}, record {number:,}: partition_feature_name {partition_feature!r} has no value; deal by "
                "another feature"
            )
        return Encoded(records=pa.array(chunk.records, pa.binary()), rows=of_columns(rows, count), keys=keys)


def sequence_examples(chunk: RecordsOf, partition_feature: str) -> Encoded:
    """Pass tf.SequenceExamples on; raises InvalidInputError, with file and record, for a record that is none."""
    try:
        for record in chunk.records:
            SequenceExample.FromString(record)
    except Exception as error:  # protobuf's error depends on its version
        raise chunk.first_fault(SequenceExample.FromString, "tf.SequenceExample", error) from error
    return any_bytes(chunk, partition_feature)


def any_bytes(chunk: RecordsOf, partition_feature: str) -> Encoded:
    """Pass records of any kind on."""
    return Encoded(records=pa.array(chunk.records, pa.binary()), rows=None)


def _decoded(chunk: RecordsOf) -> pa.RecordBatch:
    try:
        return decode(chunk.records)
    except RuntimeError as error:
        raise chunk.first_fault(lambda record: decode([record]), "tf.Example", error) from error


def _kind(column: pa.Array) -> str:
    return "UNKNOWN" if pa.types.is_null(column.type) else NAMES[column.type.value_type]


def _has_type(column: pa.Array | None) -> bool:
    return column is not None and not pa.types.is_null(column.type)
