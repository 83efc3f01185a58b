"""Explains an error of TensorFlow in the user's graph: the user's line, and the features that the op is computed from.

TensorFlow names only the op. So the `preprocessing_fn` is traced once more, and the op is found in the new graph.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tfx_bsl.public.tfxio import TensorAdapterConfig

from airflow_provider_mlpipe.components.transform.saved_graph import GraphError
from airflow_provider_mlpipe.components.transform.tft_nodes import inner_graphs, traced
from airflow_provider_mlpipe.components.transform.user_function import in_schema
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.execution.user_errors import cause, place, users_frame

_NODE = re.compile(r"(?:\{\{function_node (?P<function>[^}]*)\}\}\s*)?\{\{node (?P<name>[^}]*)\}\}")
_AROUND = re.compile(r"^__inference_|_\d+$")


@contextlib.contextmanager
def explained(function: Callable[[Any], Any], inputs: TensorAdapterConfig) -> Iterator[None]:
    """Raise UserCodeError, with line and features, for an error of the graph of `function` on its `inputs`.

    In TFT's own pipeline, Beam puts such an error into the text of one of another type.
    """
    try:
        yield
    except Exception as error:
        of_graph = error if isinstance(error, GraphError) else GraphError.in_text(str(error))
        if of_graph is None:
            raise
        raise UserCodeError(_explanation(of_graph, function, inputs)) from error


def _explanation(error: GraphError, function: Callable[[Any], Any], inputs: TensorAdapterConfig) -> str:
    what = f"{cause(error.message)} (in the split {error.split!r})" if error.split else cause(error.message)
    with tempfile.TemporaryDirectory() as folder:
        graph, features = traced(function, inputs, folder)
    located = (_located(graph, found["name"], found["function"]) for found in _NODE.finditer(error.message))
    operation, caller = next(filter(None, located), (None, None))
    if operation is None:
        return f"preprocessing_fn fails on the data: {what}"
    frame = users_frame(operation.traceback)
    where = f" at {place(frame)}" if frame else ""
    named = ", ".join(_features_of(caller, features)) or "no feature"
    return (
        f"preprocessing_fn fails on the data{where}: {what}. {operation.type} is computed from {named}. Correct the "
        f"function, or the data"
    )


def _located(graph: Any, name: str, function: str | None) -> tuple[Any, Any] | None:
    """Return the op that TensorFlow names, and the op of `graph` that calls the function it is in; None if not found.

    The name of an op in a function may have the names of callers before it.
    """
    inner = list(inner_graphs(graph))
    named = [(caller, one) for caller, one in inner if one.name == _plain(function)]
    parts = name.split("/")
    for cut in range(len(parts)):
        for caller, one in [*named, *inner, (None, graph)] if cut or named else [(None, graph), *inner]:
            if operation := _by_name(one).get("/".join(parts[cut:])):
                return operation, caller or operation
    return None


def _plain(function: str | None) -> str:
    """Remove what TensorFlow puts around the name of a function."""
    return _AROUND.sub("", function or "")


def _by_name(graph: Any) -> dict[str, Any]:
    return {operation.name: operation for operation in graph.get_operations()}


def _features_of(operation: Any, features: Mapping[str, Any]) -> list[str]:
    """Name the features that an op is computed from, with their types in the schema."""
    ends = {
        tensor.op: f"{name!r} ({in_schema(feature.dtype)})"
        for name, feature in features.items()
        for tensor in tf.nest.flatten(feature, expand_composites=True)
    }
    found, seen, waiting = [], set(), [operation]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            found += [ends[one]] if one in ends else []
            waiting += [*(tensor.op for tensor in one.inputs), *one.control_inputs]
    return sorted(set(found))
