"""Checks an `eval_config` when the DAG is parsed, long before a model was trained for it.

TFMA is not imported for this. Its config messages are one generated module, which is loaded from its file.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import wrappers_pb2  # noqa: F401 - TFMA 0.52 refers to its messages without importing it
from google.protobuf.message import Message

from airflow_provider_mlpipe.exceptions import InvalidInputError, InvalidValueError
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.spelling import by_likeness, listed

_FOR_THE_MODELS_OWN = ("thresholds", "per_slice_thresholds", "cross_slice_thresholds")


def checked(eval_config: Mapping[str, Any], convert: Callable[[Any, Any, str], Any]) -> Any:
    """The config with TFMA's names of its fields; unchanged where TFMA is not installed.

    Raises InvalidValueError for a field that TFMA does not have, a threshold where it is not looked at, and
    model_specs that are not those of one model and at most one baseline.
    """
    message = message_type()
    config = eval_config if message is None else config_dict(message, eval_config, "eval_config", convert)
    _check_models(config)
    for place in _lost_thresholds(config):
        raise InvalidValueError(
            f"{place} is only for a metric that a Keras model brings along; give the metric in metrics, with the "
            "threshold beside its class_name"
        )
    return config


def check_features(config: Mapping[str, Any], features: Collection[str]) -> None:
    """Checks the features that a config, with TFMA's names of its fields, reads: labels, weights, slices and queries.

    Raises InvalidInputError for the first that is none of the schema's `features`, unless the model itself makes some.
    """
    if any(_items(spec).get("preprocessing_function_names") for spec in _list(config, "model_specs")):
        return
    for place, name in _features(config, "eval_config"):
        if name and name not in features:
            raise InvalidInputError(
                f"{place}: the schema has no feature {name!r}; it has {listed(by_likeness(name, features))}. For a "
                "feature that the model makes, name its signature in model_specs.preprocessing_function_names"
            )


def _features(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The features that a part of a config names, each with its place."""
    for key, item in _items(value).items():
        place = f"{path}.{key}"
        if key in ("label_key", "example_weight_key", "query_key"):
            yield place, item
        elif key in ("feature_keys", "feature_values"):
            yield from ((place, name) for name in item)
        elif key in ("label_keys", "example_weight_keys"):
            yield from ((f"{place}.{output}", name) for output, name in item.items())
        else:
            yield from _features(item, place)
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _features(item, f"{path}[{number}]")


def _check_models(config: Mapping[str, Any]) -> None:
    specs = _list(config, "model_specs")
    roles = [_items(spec).get("is_baseline", False) for spec in specs]
    if specs and all(isinstance(role, bool) for role in roles) and (roles.count(False) != 1 or len(roles) > 2):
        raise InvalidValueError(
            "eval_config.model_specs takes one spec of the model, and may have one more with is_baseline, but has "
            f"{roles.count(False)} without and {roles.count(True)} with is_baseline"
        )


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
