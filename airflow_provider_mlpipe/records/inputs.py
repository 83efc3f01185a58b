"""Reads input artifacts for executors: the schema, and the record files of splits that a user named."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import file_of, folder_of, split_folder

log = logging.getLogger(__name__)

_MUST_HOLD = "it must hold a tensorflow.metadata.v0.Schema in text format"
PAYLOAD_FORMAT = "FORMAT_TF_EXAMPLE"


def read_schema(schema: Schema) -> schema_pb2.Schema:
    """Read a Schema artifact; raises InvalidInputError, with the file, when that is missing or not a schema."""
    path = file_of(schema)
    try:
        return parse_schema(path, str(path))
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} does not exist; run the producer of this schema again") from error


def parse_schema(path: Path, what: str) -> schema_pb2.Schema:
    """Read a schema in text format.

    Raises OSError, and InvalidInputError, which begins with `what`, with line and column, when it is not a schema.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8-sig"), schema_pb2.Schema())
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{what} is not text in UTF-8; {_MUST_HOLD}, as text_format.MessageToString writes it"
        ) from error
    except text_format.ParseError as error:
        place = f", line {error.GetLine()}, column {error.GetColumn()}" if error.GetLine() else ""
        said = re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
        raise InvalidInputError(f"{what}{place}: {said}; {_MUST_HOLD}") from error


def write_schema(schema: Schema, content: schema_pb2.Schema) -> None:
    """Write a schema for `read_schema`; equal schemas give equal bytes."""
    (folder_of(schema) / Schema.FILE).write_text(text_format.MessageToString(content), encoding="utf-8")


def named_splits(artifact: Artifact, names: Sequence[str], *, parameter: str) -> list[str]:
    """Check the split names of `parameter`, and return them in their order, each once.

    Raises InvalidInputError, with the known splits, when a name is unknown or there are no names, and for Examples
    whose records are no tf.Examples.
    """
    if isinstance(artifact, Examples):
        check_payload(artifact)
    known = artifact.properties.get("splits", [])
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = f"has no split {', '.join(map(repr, unknown))}" if unknown else "needs at least one split"
        raise InvalidInputError(
            f"{parameter}: {artifact.TYPE_NAME} {artifact.uri} {wrong}; known splits: {', '.join(known) or 'none'}"
        )
    return list(dict.fromkeys(names))


def check_not_empty(artifact: Artifact, counts: Mapping[str, int]) -> None:
    """Warn of each split without examples; raises InvalidInputError if no split has any. `counts` are by split."""
    empty = [split for split, count in counts.items() if not count]
    if len(empty) == len(counts):
        raise InvalidInputError(f"{artifact.uri}: no split has any example ({', '.join(empty)}); check the data")
    for split in empty:
        log.warning("split %s of %s has no examples", split, folder_of(artifact))


def check_payload(examples: Examples) -> None:
    """Raise InvalidInputError for records other than tf.Examples: read as such, they would lose features."""
    payload = examples.properties.get("payload_format")
    if payload not in (None, "", PAYLOAD_FORMAT):
        raise InvalidInputError(
            f"{examples.uri} has the payload_format {payload!r}, but only {PAYLOAD_FORMAT} can be read; convert the "
            "records to tf.Examples"
        )


def split_files(examples: Examples, split: str) -> list[Path]:
    """List the record files of a split in the order of their names.

    Raises InvalidInputError if there are none, or if their records are no tf.Examples.
    """
    check_payload(examples)
    folder = split_folder(examples, split)
    files = sorted(path for path in folder.glob("*.gz") if path.is_file())
    if not files:
        raise InvalidInputError(f"{folder} has no record files (*.gz); run the producer of these examples again")
    return files
