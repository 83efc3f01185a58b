"""Decides, before any work, whether the kernel can do an evaluation, or why TFMA's own pipeline has to do it.

Some reasons show only in the data, such as an example without a label. For these the kernel raises NotCovered, and
TFMA's pipeline takes over then, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow_model_analysis as tfma
from tensorflow.core.framework import types_pb2

from airflow_provider_mlpipe.components.evaluator.kernel import Task, signatures, value_keys
from airflow_provider_mlpipe.components.evaluator.measures import Explained, NotCovered
from airflow_provider_mlpipe.components.evaluator.tfma_internals import (
    computations,
    only,
    slice_specs,
)
from airflow_provider_mlpipe.exceptions import InvalidInputError


def why_not(task: Task) -> NotCovered | None:
    """Return why the kernel does not cover a task, or None.

    Creates Keras metrics, which runs TensorFlow ops, so do not call it in a process that forks later. Raises
    InvalidInputError for a metric that cannot be created.
    """
    try:
        return next(map(NotCovered, _reasons(task)), None)
    except NotCovered as reason:
        return reason


def _reasons(task: Task) -> Iterator[str]:
    config = task.eval_config
    yield from _of_options(task)
    yield from _of_features(task)
    yield from _of_models(task)
    for spec in config.metrics_specs:
        for number, metric in enumerate(spec.metrics):
            name = f"metric {metric.class_name}"
            if spec.query_key:
                yield f"{name}: it is computed by query (query_key {spec.query_key})"
            try:
                computations(only(config, spec, number), task.known_schema)
            except NotCovered as reason:
                yield f"{name}: {reason}"
            except Exception as error:  # TFMA and Keras raise errors of many types
                raise InvalidInputError(f"eval_config {name}: {error}") from error


def _of_options(task: Task) -> Iterator[str]:
    config = task.eval_config
    if any(spec.slice_keys_sql for spec in config.slicing_specs):
        yield "slicing_specs: only TFMA evaluates slice_keys_sql"
    if config.options.min_slice_size.value > 1 and config.cross_slicing_specs:
        yield "options: min_slice_size together with cross_slicing_specs"


def _of_features(task: Task) -> Iterator[str]:
    config = task.eval_config
    sliced_by = {name for spec in slice_specs(config) for name in spec.features}
    for name, representation in task.representations().items():
        kind = representation.WhichOneof("kind")
        if name in value_keys(config) | sliced_by and kind not in ("dense_tensor", "varlen_sparse_tensor"):
            yield f"feature {name}: the schema represents it as {kind}"


def _of_models(task: Task) -> Iterator[str]:
    config = task.eval_config
    names = {feature.name for feature in task.known_schema.feature} if task.known_schema else set()
    for spec in config.model_specs:
        if spec.model_type != tfma.TF_GENERIC:
            yield f"model_specs: the model type {spec.model_type}"
        if spec.HasField("padding_options"):
            yield "model_specs: padding_options"
        for name, inputs in signatures(task, spec):
            if list(inputs.values()) != [types_pb2.DT_STRING] or inputs.keys() & names:
                raise Explained(
                    f"model_specs: the signature {name} takes {', '.join(sorted(inputs))}, not serialized examples. "
                    f"Save the model with a signature that takes one tf.string tensor of serialized tf.Examples, and "
                    f"name it in signature_name"
                )
