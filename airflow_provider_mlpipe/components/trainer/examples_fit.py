"""Checks the examples of a training against a schema before it begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.artifacts import Schema, TransformGraph
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.records.engine import batches_of
from airflow_provider_mlpipe.records.inputs import parse_schema, read_schema
from airflow_provider_mlpipe.records.pieces import Piece
from airflow_provider_mlpipe.storage.disk_errors import translated
from airflow_provider_mlpipe.storage.layout import folder_of

log = logging.getLogger(__name__)


def check_fit(
    pieces: Sequence[Piece], against: str, *, schema: Schema | None, transform_graph: TransformGraph | None
) -> None:
    """Read all rows once; raises InvalidInputError for the first that does not fit the schema of the input `against`.

    That is a feature of another type, or another number of values than a dense feature has.
    """
    given = _schema_of(schema, transform_graph, against).SerializeToString()
    rows = sum(_check(piece, given) for piece in pieces)
    log.info("all %s rows fit the schema of %s", f"{rows:,}", against)


def _check(piece: Piece, schema: bytes) -> int:
    try:
        return sum(batch.num_rows for source in piece.sources(schema=schema) for batch in batches_of(source))
    except InvalidInputError as error:
        raise InvalidInputError(f"check_examples: {_name(piece)}: {error}") from error


def _name(piece: Piece) -> str:
    span = piece.examples.properties.get("span")
    return piece.name if span is None or piece.name != piece.split else f"{piece.split} of span {span}"


def _schema_of(schema: Schema | None, graph: TransformGraph | None, against: str) -> schema_pb2.Schema:
    if against == "schema" and schema is not None:
        return read_schema(schema)
    if against == "transform_graph" and graph is not None:
        path = folder_of(graph) / "transformed_metadata" / "schema.pbtxt"
        try:
            return parse_schema(path, str(path))
        except OSError as error:
            raise translated(error, f"{path} cannot be read", "Run its producer again") from error
    raise InvalidInputError(f"check_examples={against!r} needs the input {against}, which Trainer was not given")
