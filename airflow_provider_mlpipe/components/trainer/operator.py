"""TrainerOperator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from airflow_provider_mlpipe.artifacts import (
    Artifact,
    Examples,
    HyperParameters,
    Model,
    ModelRun,
    Schema,
    TransformGraph,
)
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.spec import Config, Content, Function, Inputs, OptionalInput, Value
from airflow_provider_mlpipe.proto.mlpipe_pb2 import EvalArgs, TrainArgs

CheckedAgainst = Literal["schema", "transform_graph"]


class TrainerOperator(ComponentOperator):
    """Calls the user's `run_fn(fn_args)`, which trains a model and saves it to `fn_args.serving_model_dir`.

    Reads `examples`, and the optional inputs that are given; `fn_args.py` beside this file describes `fn_args`.
    Publishes `model` (Model): `Format-Serving/`, the SavedModel, and `Format-TFMA/` if `run_fn` wrote to
    `fn_args.eval_model_dir`; and `model_run` (ModelRun): the logs and checkpoints in `fn_args.model_run_dir`.

    The random numbers of Python, NumPy and TensorFlow start from a fixed seed, so training on equal input is as
    reproducible as TensorFlow allows. A `run_fn` may set another seed. Equal models that `model.export` or
    `tf.saved_model.save` saves have equal bytes. So Evaluator does not judge them again.

    :param examples: a channel of Examples, raw or transformed; of several, the files of all, the oldest span first
    :param transform_graph: a channel of a TransformGraph, for `fn_args.transform_graph_path` (default None)
    :param schema: a channel of a Schema, for `fn_args.schema_path` (default None)
    :param base_model: a channel of a Model to start from (default None). `fn_args.base_model` is its SavedModel to
        serve, `Format-Serving/`. Of an imported folder without that, it is the folder, or its only file (`.keras`)
    :param hyperparameters: a channel of HyperParameters, read into `fn_args.hyperparameters` (default None)
    :param module_file: a `.py` file that defines `run_fn`, as in TFX. The fingerprint covers its source, the local
        files that it imports and the versions of the libraries, but not its path. A result is not reused if the run
        imported a local file that the fingerprint does not cover
    :param run_fn: instead of `module_file`, the function's dotted name, "module.function". The fingerprint covers its
        module in the same way, and the name
    :param train_args: a `TrainArgs` or its dict, with `splits` (default `train`) and `num_steps` (default:
        `fn_args.train_steps` is None)
    :param eval_args: an `EvalArgs` or its dict, with `splits` (default `eval`) and `num_steps` (default:
        `fn_args.eval_steps` is None)
    :param custom_config: a dict, for `fn_args.custom_config` (default None: an empty dict)
    :param check_examples: "schema" or "transform_graph": before `run_fn` is called, read all rows of the splits once,
        and fail for the first that does not fit the schema of that input. For raw examples it is "schema", for
        transformed ones "transform_graph" (default None: not checked)
    :param kwargs: everything that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time when neither or both of `module_file` and `run_fn` are given, a config does
    not match its message type, an input is not a channel of its type, or `check_examples` names an input that is not
    given. The task raises InvalidInputError for an
    unknown split, for hyperparameters that cannot be read, and for the first row that does not fit the schema, if
    `data_accessor` read it; UserCodeError when `run_fn` is missing, cannot be
    imported, saves no model, or fails as it always would (such as by a NameError, an unknown feature, or an input that
    a Keras layer does not take); and ExecutorFailedError, which is retried, for any other error that `run_fn` raises.
    """

    KEEPS_CHECKPOINTS = True
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model, "model_run": ModelRun}

    def __init__(
        self,
        *,
        examples: Inputs[Examples],
        transform_graph: OptionalInput[TransformGraph] = None,
        schema: OptionalInput[Schema] = None,
        base_model: OptionalInput[Model] = None,
        hyperparameters: OptionalInput[HyperParameters] = None,
        module_file: Content[str | None] = None,
        run_fn: Function[str | None] = None,
        train_args: Config[TrainArgs | Mapping[str, Any] | None] = None,
        eval_args: Config[EvalArgs | Mapping[str, Any] | None] = None,
        custom_config: Config[Mapping[str, Any] | None] = None,
        check_examples: Value[CheckedAgainst | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (module_file is None) == (run_fn is None):
            raise PipelineError(f"{self.task_id}: give either module_file or run_fn")
        for name, given in (("schema", schema), ("transform_graph", transform_graph)):
            if check_examples == name and given is None:
                raise PipelineError(f"{self.task_id}: check_examples={name!r} needs the input {name}")
        self.examples = examples
        self.transform_graph = transform_graph
        self.schema = schema
        self.base_model = base_model
        self.hyperparameters = hyperparameters
        self.module_file = module_file
        self.run_fn = run_fn
        self.train_args = train_args
        self.eval_args = eval_args
        self.custom_config = custom_config
        self.check_examples = check_examples
