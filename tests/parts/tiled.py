"""Rows repeated until their columns are no longer short: short columns are worked on in another way."""

from __future__ import annotations

import pyarrow as pa

from airflow_provider_mlpipe.records.batches import columns_of, of_columns
from airflow_provider_mlpipe.records.short_columns import FEW_ROWS


def tiled(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows again and again, FEW_ROWS of them at least; none of none."""
    times = -(-FEW_ROWS // rows.num_rows) if rows.num_rows else 1
    columns = {name: pa.concat_arrays([column] * times) for name, column in columns_of(rows).items()}
    return of_columns(columns, rows.num_rows * times)
