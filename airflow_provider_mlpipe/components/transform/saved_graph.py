"""The transform graph, or the graph of one phase, in a form that any process can load and apply to raw rows."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TensorAdapter, TensorAdapterConfig, TFExampleRecord

from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.execution.user_code import load_function


def described(schema: schema_pb2.Schema) -> TFExampleRecord:
    """Describe rows of tf.Examples under `schema`; it reads none."""
    return TFExampleRecord(file_pattern="no file is read", schema=schema, telemetry_descriptors=["mlpipe", "Transform"])


def adapter_config(schema: schema_pb2.Schema) -> TensorAdapterConfig:
    """Describe how rows of tf.Examples become tensors under `schema`."""
    return described(schema).TensorAdapterConfig()


@dataclass(frozen=True)
class UserModule:
    """Where the `preprocessing_fn` is: in a module file, or at a dotted name."""

    module_file: str | None
    preprocessing_fn: str | None

    def load(self) -> Any:
        """Import the module and return the function; raises UserCodeError."""
        return load_function(self.module_file, self.preprocessing_fn, "preprocessing_fn")


@dataclass(frozen=True)
class GraphPart:
    """A part of a traced graph, without variables and tables: a serialized GraphDef, and names of tensors in it.

    `feeds` names the tensors of each feature's components, `fetches` the output tensors by key. Unlike a SavedModel, it
    needs no second trace and no files.
    """

    graph_def: bytes
    feeds: tuple[tuple[str, tuple[str, ...]], ...]
    fetches: tuple[tuple[str, str], ...]

    def only(self, keys: Collection[str]) -> GraphPart:
        """Return the part of the graph that outputs `keys`."""
        return replace(self, fetches=tuple(fetch for fetch in self.fetches if fetch[0] in keys))

    def load(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Return a function from tensors by feature to tensors by key.

        Turns off TensorFlow's graph optimizer in this process. Its rewrites depend on which outputs are requested, and
        so would the last digit of each output.
        """
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        definition = tf.compat.v1.GraphDef.FromString(self.graph_def)
        whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
        tensor = whole.graph.get_tensor_by_name
        function = whole.prune(
            [tensor(name) for _, names in self.feeds for name in names],
            {key: tensor(name) for key, name in self.fetches},
        )

        def apply(features: Mapping[str, Any]) -> dict[str, Any]:
            fed = [tf.nest.flatten(features[feature], expand_composites=True) for feature, _ in self.feeds]
            outputs: dict[str, Any] = function(*itertools.chain.from_iterable(fed))
            return outputs

        return apply


class GraphError(UserCodeError):
    """TensorFlow's message about an op that fails on the rows of a split, or of an unknown one ("")."""

    def __init__(self, message: str, split: str) -> None:
        super().__init__(message, split)
        self.message, self.split = message, split

    def __str__(self) -> str:
        return self.message

    @classmethod
    def in_text(cls, text: str) -> GraphError | None:
        """Find such a message in one of TFT or Beam, or return None."""
        kinds = "|".join(kind.__name__ for kind in _OF_THE_DATA)
        found = re.search(rf"(?:\b(?:{kinds}): |apply the transformation: \")(.*?\{{\{{node .*)", text, re.DOTALL)
        return cls(found[1], "") if found else None


_OF_THE_DATA = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.OutOfRangeError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
)
"""Errors of an op that come again with the same rows."""


@contextlib.contextmanager
def of_split(split: str) -> Iterator[None]:
    """Raise GraphError for an error of TensorFlow that would come again: another process can take it."""
    try:
        yield
    except _OF_THE_DATA as error:
        raise GraphError(error.message, split) from error


@dataclass(frozen=True)
class SavedGraph:
    """A SavedModel with a `transform_fn`, or a GraphPart. A process loads it at its first use, and keeps it loaded.

    `raw_schema` is the serialized schema of the rows. The user's module is imported first, because it may load
    TensorFlow ops that the graph needs, such as those of tensorflow_text.
    """

    graph: str | GraphPart
    raw_schema: bytes
    user_module: UserModule

    def apply(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """Return the graph's outputs for a batch of rows, as eager tensors.

        Raises InvalidInputError for rows that cannot become the tensors that the schema describes.
        """
        adapter, function = _loaded(self)
        try:
            features = adapter.ToBatchTensors(batch)
        except ValueError as error:
            raise InvalidInputError(
                f"{error}: {error.__cause__}; correct the data, or the tensor_representation_group of the schema"
            ) from error
        return function(features)


@functools.lru_cache(maxsize=1)
def _loaded(saved: SavedGraph) -> tuple[TensorAdapter, Callable[[Mapping[str, Any]], dict[str, Any]]]:
    saved.user_module.load()
    adapter = TensorAdapter(adapter_config(schema_pb2.Schema.FromString(saved.raw_schema)))
    if isinstance(saved.graph, GraphPart):
        return adapter, saved.graph.load()
    model = tf.saved_model.load(saved.graph)
    return adapter, lambda features: model.transform_fn(features)
