"""Trainer's executor: calls the user's `run_fn` with FnArgs, and checks that it saved a model."""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.records import keras3  # noqa: F401  (before tensorflow)
from airflow_provider_mlpipe.records.saved_model import settle_uuid
from airflow_provider_mlpipe.storage import layout
from airflow_provider_mlpipe.storage.layout import evaluation_model, file_of, folder_of, serving_model, split_folder

# isort: split
import keras
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import RecordBatchesOptions, TensorFlowDatasetOptions, TFExampleRecord

from airflow_provider_mlpipe.artifacts import Examples, HyperParameters, Model, ModelRun, Schema, TransformGraph
from airflow_provider_mlpipe.components.trainer.examples_fit import check_fit
from airflow_provider_mlpipe.components.trainer.fn_args import DataAccessor, FnArgs
from airflow_provider_mlpipe.components.trainer.variable_order import order_variables
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError, UserCodeError
from airflow_provider_mlpipe.execution.contract import ExecutorContext, Produced
from airflow_provider_mlpipe.execution.user_code import check_takes, load_function
from airflow_provider_mlpipe.execution.user_errors import explained, users_frame
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import EvalArgs, TrainArgs
from airflow_provider_mlpipe.records.dataset import check_rows, dataset
from airflow_provider_mlpipe.records.pieces import Piece, pieces_of
from airflow_provider_mlpipe.spelling import did_you_mean
from airflow_provider_mlpipe.storage.disk_errors import translated

log = logging.getLogger(__name__)

_SEED = 0
_SERVING, _EVAL = "Format-Serving", "Format-TFMA"
_FAULTS_OF_CODE = (
    *(AttributeError, ImportError, KeyError, NameError, SyntaxError, TypeError),
    *(tf.errors.InvalidArgumentError, tf.errors.UnimplementedError),
)
_INPUT_OF = {
    "schema_path": "schema",
    "schema_file": "schema",
    "transform_graph_path": "transform_graph",
    "transform_output": "transform_graph",
    "base_model": "base_model",
    "hyperparameters": "hyperparameters",
}
"""By attribute of fn_args, the input of Trainer that it comes from."""


def run(
    *,
    examples: Sequence[Examples],
    transform_graph: TransformGraph | None,
    schema: Schema | None,
    base_model: Model | None,
    hyperparameters: HyperParameters | None,
    module_file: str | None,
    run_fn: str | None,
    train_args: Mapping[str, Any] | None,
    eval_args: Mapping[str, Any] | None,
    custom_config: Mapping[str, Any] | None,
    check_examples: str | None,
    model: Model,
    model_run: ModelRun,
    context: ExecutorContext,
) -> dict[str, Produced]:
    """Call `run_fn`; the model is what it saves to `fn_args.serving_model_dir`.

    Raises InvalidInputError for an unknown split, and, with `check_examples`, for a row that does not fit;
    UserCodeError for a run_fn that is missing, does not take fn_args, fails as it always would, or saves no model; and
    every other error of run_fn.
    """
    function = load_function(module_file, run_fn, "run_fn")
    check_takes(function, "fn_args")
    train = parse_config(TrainArgs, train_args, parameter="train_args")
    evaluation = parse_config(EvalArgs, eval_args, parameter="eval_args")
    train_pieces = pieces_of(examples, train.splits or ["train"], parameter="train_args.splits")
    eval_pieces = pieces_of(examples, evaluation.splits or ["eval"], parameter="eval_args.splits")
    if check_examples is not None:
        pieces = list({(id(piece.examples), piece.split): piece for piece in [*train_pieces, *eval_pieces]}.values())
        check_fit(pieces, check_examples, schema=schema, transform_graph=transform_graph)
    reader = Reader()
    fn_args = FnArgs(
        working_dir=context.tmp_dir,
        train_files=_patterns(train_pieces),
        eval_files=_patterns(eval_pieces),
        train_steps=train.num_steps or None,
        eval_steps=evaluation.num_steps or None,
        schema_path=str(file_of(schema)) if schema else None,
        transform_graph_path=str(folder_of(transform_graph)) if transform_graph else None,
        data_accessor=DataAccessor(tf_dataset_factory=reader.tf_dataset, record_batch_factory=record_batches),
        serving_model_dir=str(serving_model(model)),
        eval_model_dir=str(evaluation_model(model)),
        model_run_dir=str(folder_of(model_run)),
        checkpoint_dir=context.checkpoint_dir,
        base_model=str(layout.base_model(base_model)) if base_model else None,
        hyperparameters=_read_hyperparameters(hyperparameters) if hyperparameters else None,
        custom_config=dict(custom_config or {}),
    )
    keras.utils.set_random_seed(_SEED)
    order_variables()
    with _explained(fn_args, reader, f"{module_file or run_fn}"):
        function(fn_args)
    _check_saved(serving_model(model), f"{module_file or run_fn}")
    for saved in (serving_model(model), evaluation_model(model)):
        settle_uuid(saved)
    return {}


@dataclass(frozen=True)
class Reader:
    """Creates datasets for `data_accessor`, and remembers the files and the schema of each."""

    created: list[tuple[list[str], schema_pb2.Schema]] = field(default_factory=list)

    def features(self) -> dict[str, str]:
        """Return the types of the features of all datasets, by name."""
        every = (feature for _, schema in self.created for feature in schema.feature)
        return {feature.name: schema_pb2.FeatureType.Name(feature.type) for feature in every}

    def tf_dataset(
        self,
        file_pattern: str | Sequence[str],
        options: TensorFlowDatasetOptions,
        schema: schema_pb2.Schema | None = None,
    ) -> tf.data.Dataset:
        """Create the dataset for `data_accessor.tf_dataset_factory`.

        Raises InvalidInputError when there is no schema, or the schema lacks the label of `options`.
        """
        if schema is None:
            raise InvalidInputError("tf_dataset_factory needs a schema as its third argument to parse the examples")
        names = [feature.name for feature in schema.feature]
        if options.label_key is not None and options.label_key not in names:
            raise InvalidInputError(
                f"label_key: the schema has no feature {options.label_key!r}; its features: {', '.join(sorted(names))}"
            )
        self.created.append((_as_list(file_pattern), schema))
        from_sidecars = dataset(_as_list(file_pattern), options, schema)
        return _reader(file_pattern, schema).TensorFlowDataset(options) if from_sidecars is None else from_sidecars


@contextlib.contextmanager
def _explained(fn_args: FnArgs, reader: Reader, source: str) -> Iterator[None]:
    """Raise UserCodeError, with line and cause, for an error of run_fn that would come again, or else the error.

    TensorFlow names neither the file nor the number of a row that it fails on. So InvalidInputError is raised for the
    first row that does not fit the schema that it was read with.
    """
    try:
        yield
    except MlpipeError:
        raise
    except Exception as error:
        if isinstance(error, (tf.errors.InvalidArgumentError, tf.errors.UnknownError)):
            for patterns, schema in reader.created:
                check_rows(patterns, schema)
        if not _comes_again(error):
            raise
        said, _, more = explained("run_fn", error, reader.features(), otherwise_at=source).partition("\n")
        raise UserCodeError(f"{said}{_meant(error, fn_args)}\n{more}") from error


def _comes_again(error: Exception) -> bool:
    """Whether the code is wrong, or does not fit the data. A ValueError may have any cause, but not one of Keras."""
    if isinstance(error, ValueError):
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        return any(Path(library.__file__).parent in raised_in.parents for library in (keras, tf))
    return isinstance(error, _FAULTS_OF_CODE)


def _meant(error: Exception, fn_args: FnArgs) -> str:
    """What to do about an attribute of fn_args that does not exist, or is None since Trainer has no such input."""
    if isinstance(error, AttributeError) and error.obj is fn_args:
        known = sorted(vars(fn_args))
        return f"; {did_you_mean(str(error.name), known) or 'it has ' + ', '.join(known)}"
    frame = users_frame(traceback.extract_tb(error.__traceback__))
    line = (frame and frame.line) or ""
    for name, given in _INPUT_OF.items():
        if f".{name}" in line and getattr(fn_args, name) is None:
            return f"; fn_args.{name} is None, since Trainer was not given its input {given}"
    return ""


def record_batches(
    file_pattern: str | Sequence[str], options: RecordBatchesOptions, schema: schema_pb2.Schema | None = None
) -> Iterator[pa.RecordBatch]:
    """Read the batches for `data_accessor.record_batch_factory`."""
    return iter(_reader(file_pattern, schema).RecordBatches(options))


def _reader(file_pattern: str | Sequence[str], schema: schema_pb2.Schema | None) -> TFExampleRecord:
    return TFExampleRecord(_as_list(file_pattern), schema=schema, telemetry_descriptors=["mlpipe", "Trainer"])


def _as_list(file_pattern: str | Sequence[str]) -> list[str]:
    return [file_pattern] if isinstance(file_pattern, str) else list(file_pattern)


def _patterns(pieces: Sequence[Piece]) -> list[str]:
    return [f"{_escaped(split_folder(piece.examples, piece.split))}/*.gz" for piece in pieces]


def _escaped(folder: Path) -> str:
    """Return a glob pattern that matches only this folder. TensorFlow, unlike Python, has backslash escapes."""
    return glob.escape(str(folder)).replace("\\", "\\\\")


def _read_hyperparameters(hyperparameters: HyperParameters) -> dict[str, Any]:
    path = file_of(hyperparameters)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise translated(error, f"{path} cannot be read as JSON", "Run its producer again") from error
    except ValueError as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}; run its producer again") from error
    return values


def _check_saved(saved_model: Path, source: str) -> None:
    if (saved_model / "saved_model.pb").is_file():
        log.info("run_fn saved its model to %s", saved_model)
        return
    raise UserCodeError(
        f"run_fn of {source} returned, but saved no SavedModel to fn_args.serving_model_dir ({saved_model}); end it "
        f"with `model.export(fn_args.serving_model_dir)` or `tf.saved_model.save(model, fn_args.serving_model_dir, "
        f"signatures=...)`"
    )
