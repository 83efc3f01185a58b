"""EvaluatorOperator."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.message import Message

from airflow_provider_mlpipe.artifacts import Artifact, Examples, Model, ModelBlessing, ModelEvaluation, Schema
from airflow_provider_mlpipe.components.evaluator.eval_config import checked, message_type
from airflow_provider_mlpipe.components.evaluator.features import check_features, names_in
from airflow_provider_mlpipe.exceptions import InvalidInputError, PermanentError, PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.declared import IsLater, converted
from airflow_provider_mlpipe.pipeline.parameters import is_known_later
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Input, Inputs, OptionalInput, Value
from airflow_provider_mlpipe.pipeline.wiring import misfits


class EvaluatorOperator(ComponentOperator):
    """Computes TFMA's metrics of a model by slice, and blesses the model if every threshold is met.

    Reads `examples` and `model`, and the optional inputs that are given. Publishes `evaluation` (ModelEvaluation):
    TFMA's own result files, and `summary.json`, the verdict and the metrics of every slice as plain JSON; and
    `blessing` (ModelBlessing): an empty file `BLESSED` or `NOT_BLESSED`, with the properties `blessed` (1 or 0),
    `reason`, `model_digest` and `model_id`. A model that is not blessed is not an error.

    :param examples: a channel of Examples; several are evaluated together. `channel.newest()` evaluates the newest span
    :param model: a channel of the Model to evaluate, from its `Format-Serving/`
    :param eval_config: a `tfma.EvalConfig` or its JSON form as a dict. List the metrics in `metrics_specs`; without
        any, examples are only counted. Without a threshold no model is blessed. The fingerprint covers all of it: a
        changed threshold means a new evaluation
    :param baseline_model: a channel of the Model that change thresholds compare with. Without a baseline, as for a
        first model, only the value thresholds are checked (default None)
    :param schema: a channel of the Schema to parse the examples with. If it is known when the run is planned, so is
        whether it has the features that `eval_config` names (default None)
    :param example_splits: names of the splits to evaluate on, together (default `eval`)
    :param rubber_stamp: whether to bless a model although there is no threshold (default False)
    :param module_file: a `.py` file with `custom_eval_shared_model`, which makes the `tfma.EvalSharedModel`, or
        `custom_extractors`, which makes the list of TFMA's extractors, or both, as in TFX. Then TFMA's own pipeline
        evaluates, which is slower. The fingerprint covers its source, as Trainer's does (default None)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when an input is not a channel of its type, `eval_config` has a field that
    `tfma.EvalConfig` lacks, names a metric that neither TFMA nor Keras has and no `module` of it, a threshold is where
    TFMA does not look, or `model_specs` are not of one model and at most one baseline. The task raises
    InvalidInputError when `eval_config` names a metric that cannot be made or a feature that the schema lacks, for a
    model without a SavedModel in `Format-Serving/`, when no split has an example, and for an unknown split, a schema
    that cannot be read, or a row whose label or weight does not fit the schema; and UserCodeError for an error of the
    module.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"evaluation": ModelEvaluation, "blessing": ModelBlessing}

    def __init__(
        self,
        *,
        examples: Inputs[Examples],
        model: Input[Model],
        eval_config: Config[Message | Mapping[str, Any]],
        baseline_model: OptionalInput[Model] = None,
        schema: OptionalInput[Schema] = None,
        example_splits: Value[Sequence[str]] = ("eval",),
        rubber_stamp: Value[bool] = False,
        module_file: Content[str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.examples = examples
        self.model = model
        self.baseline_model = baseline_model
        self.schema = schema
        self.eval_config = eval_config
        self.example_splits = example_splits
        self.rubber_stamp = rubber_stamp
        self.module_file = module_file
        self._check_config(is_known_later, PipelineError)

    def convert_rendered(self) -> None:
        """As in every component; the fields of `eval_config` have TFMA's names."""
        super().convert_rendered()
        self._check_config(None, InvalidInputError)

    def check_foreseen(self, inputs: Mapping[str, Path]) -> None:
        """Check which features `eval_config` names, as soon as the schema is known; raises InvalidInputError."""
        config: Any = self.eval_config
        names = names_in(inputs["schema"]) if "schema" in inputs else None
        if names is not None and message_type() is not None:  # without TFMA, the names of the fields are not checked
            check_features(config, names)

    def _check_config(self, is_later: IsLater | None, error: type[PermanentError]) -> None:
        if isinstance(self.eval_config, Mapping):
            with misfits(self.task_id, error):
                self.eval_config = checked(self.eval_config, functools.partial(converted, is_later=is_later))
