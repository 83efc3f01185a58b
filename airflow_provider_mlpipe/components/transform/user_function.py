"""Calls the user's `preprocessing_fn`, so that errors in it, or in its outputs, point to the user's code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import tensorflow as tf

from airflow_provider_mlpipe.components.transform.tft_nodes import awaits_analyzers, nested_analyzers
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_errors import explained, place, users_frame

_IN_SCHEMA = {tf.string: "BYTES", tf.int64: "INT", tf.float32: "FLOAT"}
"""The types that a tf.Example can hold, as a schema calls them. TFT does not cast outputs to them."""

_SIZES = "only the batch may have an unknown size: name the others, e.g. by tf.ensure_shape(x, [None, 3])"


@dataclass(frozen=True)
class UserPreprocessing:
    """A `preprocessing_fn(inputs)`, or `preprocessing_fn(inputs, custom_config)`; Beam can pickle it."""

    function: Callable[..., Any]
    custom_config: Mapping[str, Any] | None = None

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Call the function; raises UserCodeError with file, line and traceback if the user's code raises an error.

        Also raises UserCodeError for outputs that are not tensors with a value for each row: TFT would fail later, and
        would not name the output. And for an analyzer inside another function: TFT would never compute it.
        """
        try:
            outputs = self.function(inputs, **config_keywords(self.function, self.custom_config))
        except Exception as error:  # user code can raise anything
            where = named(self.function).removeprefix("preprocessing_fn at ")
            types = {name: in_schema(feature.dtype) for name, feature in inputs.items()}
            raise UserCodeError(explained("preprocessing_fn", error, types, otherwise_at=where)) from error
        graph = tf.compat.v1.get_default_graph()
        complaints = [_misplaced(analyzer) for analyzer in nested_analyzers(graph)]
        complaints += [
            f"{named(self.function)} returned {complaint}"
            for complaint in (*_complaints(outputs), *([] if awaits_analyzers(graph) else _unknown_sizes(outputs)))
        ]
        if complaints:
            raise UserCodeError("\n".join(dict.fromkeys(complaints)))
        return outputs


def config_keywords(function: Callable[..., Any], custom_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the keywords to call a user's function with: `custom_config`, if it takes that."""
    takes_config = "custom_config" in inspect.signature(function).parameters
    return {"custom_config": dict(custom_config or {})} if takes_config else {}


def named(function: Callable[..., Any]) -> str:
    """Name a `preprocessing_fn` for error messages, with the file and the line where it is defined."""
    code = _code(function)
    where = f"at {code.co_filename}, line {code.co_firstlineno}" if code else str(function)
    return f"preprocessing_fn {where}"


def in_schema(dtype: tf.DType) -> str:
    """Return what a schema calls the type of a feature."""
    return _IN_SCHEMA.get(dtype) or str(dtype.name)


def _code(function: Callable[..., Any]) -> CodeType | None:
    """Return the function's code object; None for a partial or a callable object, which has none."""
    code: CodeType | None = getattr(inspect.unwrap(function), "__code__", None)
    return code


def _complaints(outputs: Any) -> Iterator[str]:
    """Describe each invalid output, and say how to correct it."""
    if not isinstance(outputs, dict) or not outputs:
        yield f"{outputs!r}; it must return a dict of at least one tensor"
        return
    rows = "return a tensor with a value for each row"
    for key, output in outputs.items():
        if not isinstance(key, (str, bytes)):
            yield f"an output with the key {key!r}; use a string as the key"
        elif not _is_traced(output):
            yield f"an object of type {type(output).__name__} for {key!r}, which is not a tensor of its graph; {rows}"
        elif output.dtype not in _IN_SCHEMA:
            dtype = output.dtype.name
            yield f"tf.{dtype} for {key!r}, not a type of tf.Examples; cast it to tf.int64, tf.float32 or tf.string"
        elif isinstance(output, tf.Tensor) and output.shape.rank == 0:
            yield f"a scalar for {key!r}; {rows}"


def _unknown_sizes(outputs: Any) -> Iterator[str]:
    """Describe each tensor that has another unknown size than the batch's, when all analyzers have their results."""
    for key, output in outputs.items() if isinstance(outputs, dict) else ():
        if isinstance(output, tf.Tensor) and not output.shape[1:].is_fully_defined():
            yield f"a tensor of the shape {output.shape} for {key!r}{_made_at(output)}; {_SIZES}"


def _made_at(output: tf.Tensor) -> str:
    frame = users_frame(output.op.traceback)
    return f" (made at {place(frame)})" if frame else ""


def _is_traced(output: Any) -> bool:
    """Whether it is a dense, sparse or ragged tensor of a graph. A constant made in `tf.init_scope` is not."""
    if not isinstance(output, (tf.Tensor, tf.SparseTensor, tf.RaggedTensor)):
        return False
    return any(tf.is_symbolic_tensor(one) for one in tf.nest.flatten(output, expand_composites=True))


def _misplaced(analyzer: tf.Operation) -> str:
    frame = users_frame(analyzer.traceback)
    where = f" at {place(frame)}" if frame else ""
    return (
        f"preprocessing_fn calls an analyzer{where} inside a tf.function, a tf.cond, a loop or the like, where it "
        f"would see no data. Call it outside, and pass its result in. If preprocessing_fn itself is a tf.function, "
        f"remove the decorator"
    )
