"""Draws a sample of records. The record itself decides, so the sample is the same in every run."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from airflow_provider_mlpipe.records.batches import columns_of, of_columns

_SALT = b"sample:"  # so that this hash differs from the one that assigned the records to splits
_END = 1 << 64


def is_sampled(record: bytes, rate: float) -> bool:
    """Whether `record` is in a sample of the share `rate`; of equal records, either all or none are in it."""
    return int.from_bytes(hashlib.sha256(_SALT + record).digest()[:8], "big") < rate * _END


def sample_rows(batch: pa.RecordBatch, record_column: str, rate: float) -> pa.RecordBatch:
    """Return the sampled rows of `batch`, by their serialized records in `record_column`, without that column."""
    columns = columns_of(batch)
    records = columns.pop(record_column).flatten().to_pylist()
    kept = pa.array([is_sampled(record, rate) for record in records], pa.bool_())
    return of_columns({name: column.filter(kept) for name, column in columns.items()}, kept.true_count)
