"""A DuckDB database for the time of an executor, in a file in its temporary folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import duckdb

from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.records.engine import memory_mb

_SHARE_OF_MEMORY = 0.5  # the rest is for Arrow's batches and the libraries


@contextlib.contextmanager
def opened(context: ExecutorContext, **settings: str | bool | int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a new database, which uses the disk beyond its share of the memory; `settings` are further ones of DuckDB's.

    Nothing is installed from the network.
    """
    folder = Path(context.tmp_dir)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{int(memory_mb(context) * _SHARE_OF_MEMORY)}MiB",
        "temp_directory": str(folder / "duckdb"),
        "autoinstall_known_extensions": False,
        **settings,
    }
    with duckdb.connect(str(folder / "rows.duckdb"), config=config) as connection:
        yield connection
