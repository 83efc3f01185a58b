"""The schema: inferred from statistics, or a curated file brought into its normal form."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from airflow_provider_mlpipe.artifacts import ExampleStatistics, Schema, select_splits
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.executors import ExecutorContext, Produced
from airflow_provider_mlpipe.records.inputs import SCHEMA_FILE
from airflow_provider_mlpipe.records.statistics import read_statistics

log = logging.getLogger(__name__)


def run(
    *,
    statistics: ExampleStatistics,
    infer_feature_shape: bool,
    exclude_splits: Sequence[str],
    schema: Schema,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Infer the schema on the first split, and let the others widen it.

    Raises InvalidInputError for an unknown split, and for a split without statistics or examples.
    """
    import tensorflow_data_validation as tfdv  # here, so that an import of a schema does not wait for it

    first, *others = select_splits(statistics, exclude_splits, "exclude_splits")
    inferred = tfdv.infer_schema(read_statistics(statistics, first), infer_feature_shape)
    for split in others:
        inferred = tfdv.update_schema(inferred, read_statistics(statistics, split), infer_feature_shape)
    log.info("inferred %d features from %s", len(inferred.feature), ", ".join([first, *others]))
    _write(schema, inferred)
    return {}


def import_schema(*, schema_file: str, schema: Schema, context: ExecutorContext) -> dict[str, Produced]:
    """Write what `schema_file` says, without its comments and spacing, so that only a change of content counts.

    Raises InvalidInputError that names the file, and the line that is no schema.
    """
    _write(schema, _parse(Path(schema_file)))
    return {}


def _parse(path: Path) -> schema_pb2.Schema:
    try:
        parsed = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except text_format.ParseError as error:
        line = f"line {error.GetLine()}: " if error.GetLine() else ""
        raise InvalidInputError(f"schema_file {path}: {line}no tensorflow.metadata.v0.Schema: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"schema_file {path} is not valid UTF-8: {error}") from error
    except OSError as error:
        raise InvalidInputError(f"schema_file {path} cannot be read: {error.strerror}") from error
    if not parsed.feature:
        raise InvalidInputError(f"schema_file {path} declares no feature")
    return parsed


def _write(schema: Schema, content: schema_pb2.Schema) -> None:
    Path(schema.uri, SCHEMA_FILE).write_text(text_format.MessageToString(content), encoding="utf-8")
