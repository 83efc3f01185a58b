"""SchemaGenOperator and ImportSchemaGenOperator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Content, Input, Value


class SchemaGenOperator(ComponentOperator):
    """Infers a schema from statistics: from the first split, then widened until the others fit too.

    Reads `statistics`. Publishes `schema` (Schema): `schema.pbtxt`, a text `tensorflow.metadata.v0.Schema`.

    :param statistics: a channel of ExampleStatistics
    :param infer_feature_shape: whether a feature that has the same number of values in every example gets a fixed shape
        (default True)
    :param exclude_splits: names of splits to leave out (default: none)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError when the DAG is parsed and `statistics` is no channel of its type. The task raises
    InvalidInputError for an unknown split, when no split is left, and for a split without statistics or examples.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow-data-validation", "tensorflow-metadata")

    def __init__(
        self,
        *,
        statistics: Input[ExampleStatistics],
        infer_feature_shape: Value[bool] = True,
        exclude_splits: Value[Sequence[str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = statistics
        self.infer_feature_shape = infer_feature_shape
        self.exclude_splits = exclude_splits


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

    EXECUTOR = "airflow_provider_mlpipe.components.schema_gen.executor:import_schema"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow-metadata",)

    def __init__(self, *, schema_file: Content[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema_file = schema_file
