"""Finds the feature that has values of two types in records, which no decoder names with both."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import columns_of
from airflow_provider_mlpipe.records.inputs import split_files
from airflow_provider_mlpipe.records.tfrecord import read_records
from airflow_provider_mlpipe.storage.layout import folder_of

NAMES = {pa.int64(): "INT", pa.float32(): "FLOAT", pa.large_binary(): "BYTES"}
"""What a schema calls the types of values in decoded tf.Examples."""


def mixed_types_of(examples: Examples, split: str) -> InvalidInputError | None:
    """Return an error that names the first such feature of a split and the record, or None."""
    records = itertools.chain.from_iterable(map(read_records, split_files(examples, split)))
    return mixed_types(records, str(folder_of(examples)), split, first=1)


def mixed_types(records: Iterable[bytes], where: str, split: str, *, first: int) -> InvalidInputError | None:
    """Return an error as `mixed_types_of` does, for some records of a split. `first` is the number of the first one.

    It decodes record by record. Raises RuntimeError for a record that cannot be decoded.
    """
    known: dict[str, str] = {}
    for number, record in enumerate(records, start=first):
        for name, kind in _types(record):
            if known.setdefault(name, kind) != kind:
                return InvalidInputError(
                    f"{where}, split {split!r}: feature {name!r} is {known[name]}, but {kind} in record {number:,}; "
                    "create the examples again, with one type for each feature"
                )
    return None


def _types(record: bytes) -> Iterator[tuple[str, str]]:
    for name, column in columns_of(ExamplesToRecordBatchDecoder().DecodeBatch([record])).items():
        if not pa.types.is_null(column.type):
            yield name, NAMES[column.type.value_type]
