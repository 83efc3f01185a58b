"""ImportSchemaGenOperator."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Schema
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Content


class ImportSchemaGenOperator(ComponentOperator):
    """Publishes a curated schema from a file.

    Reads no artifact. Publishes `schema` (Schema): `schema.pbtxt`, what the file says in its normal form, without
    comments and spacing.

    :param schema_file: a file that holds a text `tensorflow.metadata.v0.Schema`. For the cache its bytes count and not
        its path: after an edit of a comment alone this component runs again, and those that read the schema still hit
    :param kwargs: everything that ComponentOperator and BaseOperator take

    The task raises InvalidInputError, with the line where there is one, when the file is missing, cannot be read, is no
    schema, or declares no feature.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}

    def __init__(self, *, schema_file: Content[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema_file = schema_file
