"""SchemaGenOperator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, ExampleStatistics, Schema
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Inputs, OptionalInput, Value


class SchemaGenOperator(ComponentOperator):
    """Infers one schema from the statistics of all splits: from the first one, then widened to fit the others.

    If the splits have the same features with the same types, it is the schema that TFX infers. A feature without a
    value in some split is optional (TFX deprecates it, so that Transform drops it from every split). A feature that is
    INT in one split and FLOAT in another is FLOAT.

    Reads `statistics`. Publishes `schema` (Schema): `schema.pbtxt`, a `tensorflow.metadata.v0.Schema` in text format.

    :param statistics: a channel of ExampleStatistics; of several, the schema fits all
    :param curated_schema: a channel of a Schema that is kept, such as ImportSchemaGen's; the log shows, feature by
        feature, what the inferred schema has otherwise (default None). It does not change the inferred schema
    :param infer_feature_shape: whether a feature that has the same number of values in every example gets a fixed shape
        (default True)
    :param exclude_splits: names of splits to leave out (default: none)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when `statistics` is not a channel of its type. The task raises
    InvalidInputError for an unknown split, when every split is excluded, for a split without statistics, when no split
    has examples, for a feature with other types that differ between splits, and for a curated schema that cannot be
    read.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"schema": Schema}

    def __init__(
        self,
        *,
        statistics: Inputs[ExampleStatistics],
        curated_schema: OptionalInput[Schema] = None,
        infer_feature_shape: Value[bool] = True,
        exclude_splits: Value[Sequence[str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = statistics
        self.curated_schema = curated_schema
        self.infer_feature_shape = infer_feature_shape
        self.exclude_splits = exclude_splits
