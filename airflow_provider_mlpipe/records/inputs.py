"""What executors read of their input artifacts: the schema, and the record files of splits that a user named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.storage.layout import folder_of, split_folder

SCHEMA_FILE = "schema.pbtxt"


def read_schema(schema: Schema) -> schema_pb2.Schema:
    """Read a Schema artifact; raises InvalidInputError that names the file when it is missing or no schema."""
    path = folder_of(schema) / SCHEMA_FILE
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path} does not exist; run the producer of this schema anew") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no text tensorflow.metadata.v0.Schema: {error}") from error


def write_schema(schema: Schema, content: schema_pb2.Schema) -> None:
    """Write what `read_schema` reads; equal schemas are equal bytes."""
    (folder_of(schema) / SCHEMA_FILE).write_text(text_format.MessageToString(content), encoding="utf-8")


def named_splits(artifact: Artifact, names: Sequence[str], *, parameter: str) -> list[str]:
    """Check split names that `parameter` gives, keeping their order.

    Raises InvalidInputError that lists the known splits when one is unknown or none is named.
    """
    known = artifact.properties.get("splits", [])
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = f"has no split {', '.join(map(repr, unknown))}" if unknown else "needs at least one split"
        raise InvalidInputError(
            f"{parameter}: {artifact.TYPE_NAME} {artifact.uri} {wrong}; known splits: {', '.join(known) or 'none'}"
        )
    return list(dict.fromkeys(names))


def split_files(examples: Examples, split: str) -> list[Path]:
    """List the record files of a split in the order of their names; raises InvalidInputError when there is none."""
    folder = split_folder(examples, split)
    files = sorted(path for path in folder.glob("*.gz") if path.is_file())
    if not files:
        raise InvalidInputError(f"{folder} holds no record files (*.gz); run the producer of these examples anew")
    return files
