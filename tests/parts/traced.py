"""The first pass over the data that a preprocessing_fn asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transforms import EVERY_ANALYZER_SCHEMA

Function = Callable[[Mapping[str, Any]], dict[str, Any]]
X = 'feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }'


class _First(Exception):
    """The first pass over the data was asked for."""


def first_pass(function: Function, folder: Path, schema: str = EVERY_ANALYZER_SCHEMA) -> tuple[Any, dict[str, Any]]:
    """The graph of a preprocessing_fn's first pass over the data, and its analyzers by their labels."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from airflow_provider_mlpipe.components.transform.saved_graph import adapter_config
    from airflow_provider_mlpipe.components.transform.tft_nodes import Analysis

    def over(graph: Any, analyzers: Any) -> Any:
        raise _First(graph, dict(analyzers))

    config = adapter_config(text_format.Parse(schema, schema_pb2.Schema()))
    try:
        Analysis(function, config, folder).run(over, folder / "out")
    except _First as asked:
        return asked.args
    raise AssertionError("no pass was asked for")


def applied_whole_and_in_part(folder: Path) -> tuple[bytes, bytes]:
    """An output for which an optimizer would multiply once, if it were the only one."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_transform as tft

    def preprocessing_fn(inputs: Mapping[str, Any]) -> dict[str, Any]:
        first = inputs["x"] * 1.1
        second = first * 1.3
        return {"x": inputs["x"] * tft.covariance(first, tf.float32) * tft.covariance(second, tf.float32, name="mine")}

    graph, analyzers = first_pass(preprocessing_fn, folder, X)
    ((key,),) = [one.tensors for label, one in analyzers.items() if "mine" in label]
    features = {"x": tf.constant(np.random.default_rng(0).normal(size=(999, 1)), tf.float32)}
    assert len(graph.fetches) == 2
    assert [name for name, _ in graph.only({key}).fetches] == [key]
    whole, part = (one.load()(features)[key].numpy().tobytes() for one in (graph, graph.only({key})))
    return whole, part
