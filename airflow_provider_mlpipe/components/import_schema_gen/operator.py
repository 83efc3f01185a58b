"""ImportSchemaGenOperator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Schema
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Content


class ImportSchemaGenOperator(ComponentOperator):
    """Publishes a curated schema from a file.

    Reads no artifact. Publishes `schema` (Schema): `schema.pbtxt`, the schema in normal form, without comments and
    spacing.

    :param schema_file: a file with a `tensorflow.metadata.v0.Schema` in text format. The fingerprint covers its bytes,
        not its path: after an edit of a comment this component runs again, but components that read the schema still
        get cache hits
    :param kwargs: everything that ComponentOperator and BaseOperator take

    The task raises InvalidInputError, with the line if it is known, when the file is missing, cannot be read, is not a
    schema, or declares no feature.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}

    def __init__(self, *, schema_file: Content[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema_file = schema_file

    def foreseen_outputs(self) -> Mapping[str, Path]:
        """Return the file whose schema will be published."""
        return {"schema": Path(str(self.schema_file))}
