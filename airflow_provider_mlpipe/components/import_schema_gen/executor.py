"""Reads a curated schema from a file, and writes it in normal form."""

from __future__ import annotations

from pathlib import Path

from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.artifacts import Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.records.file_kinds import HEAD_BYTES, other_than_text
from airflow_provider_mlpipe.records.inputs import parse_schema, write_schema
from airflow_provider_mlpipe.storage.disk_errors import translated


def run(*, schema_file: str, schema: Schema, context: ExecutorContext) -> dict[str, Produced]:
    """Write the schema of `schema_file` without comments and spacing, so that its digest depends on the content only.

    Raises InvalidInputError, with the file, and with the line of a syntax error.
    """
    write_schema(schema, _parse(Path(schema_file)))
    return {}


def _parse(path: Path) -> schema_pb2.Schema:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if other := other_than_text(head):
            raise InvalidInputError(f"schema_file {path} {other}")
        parsed = parse_schema(path, f"schema_file {path}")
    except OSError as error:
        raise translated(error, f"schema_file {path} cannot be read", "Give a file that the worker can read") from error
    if not parsed.feature:
        raise InvalidInputError(f"schema_file {path} declares no feature; declare the columns, as SchemaGen does")
    return parsed
