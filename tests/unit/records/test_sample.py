"""Samples: about the asked share, the same rows in every batch, and the rest of the columns with them."""

from __future__ import annotations

import pyarrow as pa

from airflow_provider_mlpipe.records.sample import is_sampled, sample_rows

RECORDS = [str(number).encode() for number in range(10_000)]


def test_the_share_and_its_ends() -> None:
    assert abs(sum(is_sampled(record, 0.1) for record in RECORDS) - 1000) < 100  # over three standard deviations
    assert all(is_sampled(record, 1.0) for record in RECORDS)
    assert all(is_sampled(record, 0.5) for record in RECORDS if is_sampled(record, 0.2))


def test_rows_keep_their_columns_whatever_the_batch() -> None:
    batch = pa.record_batch([pa.array([[record] for record in RECORDS]), pa.array(range(10_000))], ["raw", "number"])
    whole = sample_rows(batch, "raw", 0.1)
    halves = [sample_rows(half, "raw", 0.1) for half in (batch[:5000], batch[5000:])]
    assert whole.schema.names == ["number"]
    assert whole.column(0).to_pylist() == [number for half in halves for number in half.column(0).to_pylist()]
    assert whole.column(0).to_pylist() == [n for n, record in enumerate(RECORDS) if is_sampled(record, 0.1)]


def test_rows_are_kept_that_have_nothing_but_their_record() -> None:
    batch = pa.record_batch([pa.array([[record] for record in RECORDS])], ["raw"])
    assert sample_rows(batch, "raw", 0.1).num_rows == sum(is_sampled(record, 0.1) for record in RECORDS)
