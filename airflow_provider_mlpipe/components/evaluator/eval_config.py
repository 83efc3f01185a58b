"""Checks an `eval_config` when the DAG is parsed, long before a model was trained for it.

TFMA is not imported for this. Its config messages are one generated module, which is loaded from its file.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import wrappers_pb2  # noqa: F401 - TFMA 0.52 refers to its messages without importing it
from google.protobuf.message import Message

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.proto.configs import config_dict

_FOR_THE_MODELS_OWN = ("thresholds", "per_slice_thresholds", "cross_slice_thresholds")


def checked(eval_config: Mapping[str, Any], convert: Callable[[Any, Any, str], Any]) -> Any:
    """The config with TFMA's names of its fields; unchanged where TFMA is not installed.

    Raises InvalidValueError for a field that TFMA does not have, and for a threshold where it is not looked at.
    """
    message = message_type()
    config = eval_config if message is None else config_dict(message, eval_config, "eval_config", convert)
    for place in _lost_thresholds(config):
        raise InvalidValueError(
            f"{place} is only for a metric that a Keras model brings along; give the metric in metrics, with the "
            "threshold beside its class_name"
        )
    return config


@functools.cache
def message_type(library: str = "tensorflow_model_analysis") -> type[Message] | None:
    """`tfma.EvalConfig`, or None where the library is not installed, or has it elsewhere."""
    found = importlib.util.find_spec(library)
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "proto" / "config_pb2.py"
    if not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"{__name__}_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    message: type[Message] = module.EvalConfig
    return message


def _lost_thresholds(config: Mapping[str, Any]) -> Iterator[str]:
    """The places of thresholds that nothing is compared with: a SavedModel, the default, brings no metric along."""
    if any(_items(spec).get("model_type", "tf_generic") != "tf_generic" for spec in _list(config, "model_specs")):
        return
    for number, spec in enumerate(_list(config, "metrics_specs")):
        for field in _FOR_THE_MODELS_OWN:
            for metric in _items(_items(spec).get(field)):
                yield f"eval_config.metrics_specs[{number}].{field}.{metric}"


def _list(config: Mapping[str, Any], field: str) -> list[Any]:
    found = config.get(field)
    return found if isinstance(found, list) else []


def _items(value: Any) -> Mapping[str, Any]:
    """The value if it is a dict; what a template renders later is not looked into."""
    return value if isinstance(value, Mapping) else {}
