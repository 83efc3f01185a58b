"""Finds the feature that has values of two types in the examples of a split, which TFDV refuses without naming both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.batches import columns_of
from airflow_provider_mlpipe.records.inputs import split_files
from airflow_provider_mlpipe.records.tfrecord import read_records

_NAMES = {pa.int64(): "INT", pa.float32(): "FLOAT", pa.large_binary(): "BYTES"}


def mixed_types(examples: Examples, split: str) -> InvalidInputError | None:
    """Return an error that names the first such feature and the record, or None. It decodes record by record."""
    known: dict[str, str] = {}
    for number, record in enumerate(_records(examples, split), start=1):
        for name, kind in _types(record):
            if known.setdefault(name, kind) != kind:
                return InvalidInputError(
                    f"{examples.uri}, split {split!r}: feature {name!r} is {known[name]}, but {kind} in record "
                    f"{number:,}; create the examples again, with one type for each feature"
                )
    return None


def _records(examples: Examples, split: str) -> Iterator[bytes]:
    return itertools.chain.from_iterable(map(read_records, split_files(examples, split)))


def _types(record: bytes) -> Iterator[tuple[str, str]]:
    for name, column in columns_of(ExamplesToRecordBatchDecoder().DecodeBatch([record])).items():
        if not pa.types.is_null(column.type):
            yield name, _NAMES[column.type.value_type]
