"""SchemaGenOperator and ImportSchemaGenOperator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleStatistics, Schema
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Content, Input, Value


class SchemaGenOperator(ComponentOperator):
    """Infers a schema from `statistics`: from the first split, then widened until the others fit too.

    With `infer_feature_shape` a feature that has the same number of values in every example gets a fixed shape.
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
    """Publishes the curated schema in `schema_file`, a text `tensorflow.metadata.v0.Schema`."""

    EXECUTOR = "airflow_provider_mlpipe.components.schema_gen.executor:import_schema"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow-metadata",)

    def __init__(self, *, schema_file: Content[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema_file = schema_file
