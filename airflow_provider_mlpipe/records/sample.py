"""A sample of records that is the same in every run: the record itself decides."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from airflow_provider_mlpipe.records.batches import columns_of, of_columns

_SALT = b"sample:"  # another hash than the one that dealt the records to their splits
_END = 1 << 64


def is_sampled(record: bytes, rate: float) -> bool:
    """Whether `record` is in a sample of the share `rate`; equal records are in it together, or not at all."""
    return int.from_bytes(hashlib.sha256(_SALT + record).digest()[:8], "big") < rate * _END


def sample_rows(batch: pa.RecordBatch, record_column: str, rate: float) -> pa.RecordBatch:
    """Keep the sampled rows of `batch`, by the serialized record in `record_column`, which is left out."""
    columns = columns_of(batch)
    records = columns.pop(record_column).flatten().to_pylist()
    kept = pa.array([is_sampled(record, rate) for record in records], pa.bool_())
    return of_columns({name: column.filter(kept) for name, column in columns.items()}, kept.true_count)
