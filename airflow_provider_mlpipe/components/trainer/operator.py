"""TrainerOperator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_mlpipe.artifacts import (
    Artifact,
    Examples,
    HyperParameters,
    Model,
    ModelRun,
    Schema,
    TransformGraph,
)
from airflow_provider_mlpipe.components.base import ComponentOperator
from airflow_provider_mlpipe.components.spec import Config, Content, Function, Input, OptionalInput
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.proto.mlpipe_pb2 import EvalArgs, TrainArgs


class TrainerOperator(ComponentOperator):
    """Calls the user's `run_fn(fn_args)`, which trains a model and saves it to `fn_args.serving_model_dir`.

    `module_file` is a file that defines `run_fn`, as in TFX; or `run_fn` is its dotted name. What `fn_args` holds is
    said in `fn_args.py` beside this file. `train_args` and `eval_args` are TrainArgs and EvalArgs, or dicts of their
    fields `splits` and `num_steps`; by default the splits are `train` and `eval`, and no number of steps is given.

    Python's, NumPy's and TensorFlow's random numbers start from a fixed seed, so that training again on equal input
    goes as equally as TensorFlow allows; a `run_fn` may set another seed.

    Raises PipelineError when neither or both of module_file and run_fn are given, or a config does not fit.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model, "model_run": ModelRun}
    LIBRARIES: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "tensorflow-transform", "tfx-bsl")

    def __init__(
        self,
        *,
        examples: Input[Examples],
        transform_graph: OptionalInput[TransformGraph] = None,
        schema: OptionalInput[Schema] = None,
        base_model: OptionalInput[Model] = None,
        hyperparameters: OptionalInput[HyperParameters] = None,
        module_file: Content[str | None] = None,
        run_fn: Function[str | None] = None,
        train_args: Config[TrainArgs | Mapping[str, Any] | None] = None,
        eval_args: Config[EvalArgs | Mapping[str, Any] | None] = None,
        custom_config: Config[Mapping[str, Any] | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (module_file is None) == (run_fn is None):
            raise PipelineError(f"{self.task_id}: give either module_file or run_fn")
        self.examples = examples
        self.transform_graph = transform_graph
        self.schema = schema
        self.base_model = base_model
        self.hyperparameters = hyperparameters
        self.module_file = module_file
        self.run_fn = run_fn
        self.train_args = config_dict(TrainArgs, train_args, parameter="train_args")
        self.eval_args = config_dict(EvalArgs, eval_args, parameter="eval_args")
        self.custom_config = custom_config
