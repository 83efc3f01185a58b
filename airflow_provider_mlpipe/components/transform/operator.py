"""TransformOperator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Schema, TransformGraph
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Config, Content, Function, Input
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SplitsConfig


class TransformOperator(ComponentOperator):
    """Runs the user's `preprocessing_fn` over `examples`: analysis in a full pass, then every record.

    `module_file` is a file that defines `preprocessing_fn(inputs)`, as in TFX; or `preprocessing_fn` is its dotted
    name. A function that takes `custom_config` is given it. `splits_config` is a SplitsConfig or a dict of its fields
    `analyze` and `transform`; by default `train` is analyzed and every split is transformed.

    Raises PipelineError when neither or both of the two are given, or `splits_config` does not fit.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"transform_graph": TransformGraph, "transformed_examples": Examples}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow", "tensorflow-transform", "tfx-bsl", "apache-beam")

    def __init__(
        self,
        *,
        examples: Input[Examples],
        schema: Input[Schema],
        module_file: Content[str | None] = None,
        preprocessing_fn: Function[str | None] = None,
        custom_config: Config[Mapping[str, Any] | None] = None,
        splits_config: Config[SplitsConfig | Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (module_file is None) == (preprocessing_fn is None):
            raise PipelineError(f"{self.task_id}: give either module_file or preprocessing_fn")
        self.examples = examples
        self.schema = schema
        self.module_file = module_file
        self.preprocessing_fn = preprocessing_fn
        self.custom_config = custom_config
        self.splits_config = config_dict(SplitsConfig, splits_config, parameter="splits_config")
