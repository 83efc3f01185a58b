"""Converts the rows of a SQL query to splits of gzipped tf.Examples with sidecars."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.components.sql_example_gen.database import Database
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import Output
from airflow_provider_mlpipe.records.dealing import InputSplit, write_examples
from airflow_provider_mlpipe.records.sql import ROWS_AT_ONCE, spooled
from airflow_provider_mlpipe.records.tables import EncodeTable, check_partition_feature

log = logging.getLogger(__name__)


def run(
    *,
    query: str,
    conn_id: str,
    fingerprint_query: str | None,
    output_config: Mapping[str, Any] | None,
    shuffle_seed: int | None,
    connection: str,
    examples: Examples,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Write every row of the query to one output split of `examples`; `connection` is the dict of its fields, as JSON.

    Raises InvalidInputError and TransientError for what the operator names.
    """
    output = parse_config(Output, output_config, parameter="output_config")
    database = Database(conn_id, json.loads(connection))
    with _known_to_airflow(conn_id, connection), database.cursor(rows_at_once=ROWS_AT_ONCE) as cursor:
        cursor.execute(query)
        rows = spooled(cursor, Path(context.tmp_dir, "rows"))
    log.info("the query has %d rows, %d columns", rows.rows, len(rows.kinds))
    if rows.rows:
        check_partition_feature(output.split_config.partition_feature_name, rows.types)
    split = InputSplit(name="query", sources=[rows], encode=EncodeTable(), rows=rows.rows)
    return write_examples([split], output, examples, context, shuffle_seed=shuffle_seed)


@contextlib.contextmanager
def _known_to_airflow(conn_id: str, connection: str) -> Iterator[None]:
    """Let a hook find the connection in this process, which cannot ask Airflow for it."""
    name = f"AIRFLOW_CONN_{conn_id.upper()}"
    before = os.environ.get(name)
    os.environ[name] = connection
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
