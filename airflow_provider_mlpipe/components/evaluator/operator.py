"""EvaluatorOperator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from google.protobuf import json_format
from google.protobuf.message import Message

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model, ModelBlessing, ModelEvaluation, Schema
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Config, Input, OptionalInput, Value


class EvaluatorOperator(ComponentOperator):
    """Computes metrics of `model` by slice with TFMA, and blesses it when every threshold is met.

    `eval_config` is a tfma.EvalConfig or its JSON form as a dict; metrics are to be listed in `metrics_specs`, and
    without a threshold nothing is blessed. Change thresholds compare with `baseline_model`; a first model, which has
    none, is held to the value thresholds only. `rubber_stamp` blesses a model although there is no threshold.

    `evaluation` holds TFMA's own result files and `summary.json`; `blessing` says the verdict and its reason.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"evaluation": ModelEvaluation, "blessing": ModelBlessing}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow", "tensorflow-model-analysis", "tfx-bsl", "apache-beam")

    def __init__(
        self,
        *,
        examples: Input[Examples],
        model: Input[Model],
        eval_config: Config[Message | Mapping[str, Any]],
        baseline_model: OptionalInput[Model] = None,
        schema: OptionalInput[Schema] = None,
        example_splits: Value[Sequence[str]] = ("eval",),
        rubber_stamp: Value[bool] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.model = model
        self.baseline_model = baseline_model
        self.schema = schema
        self.eval_config = _plain(eval_config)
        self.example_splits = example_splits
        self.rubber_stamp = rubber_stamp


def _plain(eval_config: Any) -> Any:
    """Turn a message into its JSON form; TFMA, which knows the message, is only imported where it runs."""
    if isinstance(eval_config, Message):
        return json_format.MessageToDict(eval_config, preserving_proto_field_name=True)
    return eval_config
