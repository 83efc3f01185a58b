"""The argument of a user's `run_fn(fn_args)`, with the attributes and names of TFX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DataAccessor:
    """Readers of the Examples artifact.

    `tf_dataset_factory(file_pattern, options, schema)` takes file patterns, a `tfxio.TensorFlowDatasetOptions` and
    optionally a Schema, and returns a tf.data.Dataset of {feature: tensor}, or of (features, label) with a `label_key`.
    `record_batch_factory(file_pattern, options, schema)` takes a `tfxio.RecordBatchesOptions` and yields
    pyarrow.RecordBatches. `data_view_decode_fn` is None: there are no data views.
    """

    tf_dataset_factory: Callable[..., Any]
    record_batch_factory: Callable[..., Any]
    data_view_decode_fn: Callable[..., Any] | None = None


@dataclass(kw_only=True)
class FnArgs:
    """The argument of `run_fn`. Paths are folders or files of this execution; the path of a missing input is None.

    If `train_steps` or `eval_steps` is None, `run_fn` should read the data once, to the end. It saves the model as a
    SavedModel to `serving_model_dir`, and logs and checkpoints to `model_run_dir`. `checkpoint_dir`, which TFX has not,
    is for checkpoints that outlive a failed try: the task's next try finds them there (`training_checkpoint`). They are
    deleted when the execution is complete. As in TFX, it may set attributes;
    `schema_file` and `transform_output` are TFX's older names of `schema_path` and `transform_graph_path`.
    """

    working_dir: str | None
    train_files: list[str]
    eval_files: list[str]
    train_steps: int | None
    eval_steps: int | None
    schema_path: str | None
    transform_graph_path: str | None
    data_accessor: DataAccessor
    serving_model_dir: str
    eval_model_dir: str
    model_run_dir: str
    checkpoint_dir: str | None = None
    base_model: str | None = None
    hyperparameters: dict[str, Any] | None = None
    custom_config: dict[str, Any] = field(default_factory=dict)
    schema_file: str | None = field(init=False)
    transform_output: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.schema_file = self.schema_path
        self.transform_output = self.transform_graph_path
