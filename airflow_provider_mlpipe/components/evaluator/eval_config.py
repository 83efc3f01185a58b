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

from airflow_provider_mlpipe.components.evaluator.metric_names import KNOWN
from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.pipeline.parameters import is_template
from airflow_provider_mlpipe.proto.configs import config_dict
from airflow_provider_mlpipe.spelling import did_you_mean

_FOR_THE_MODELS_OWN = ("thresholds", "per_slice_thresholds", "cross_slice_thresholds")


def checked(eval_config: Mapping[str, Any], convert: Callable[[Any, Any, str], Any]) -> Any:
    """The config with TFMA's names of its fields; unchanged where TFMA is not installed.

    Raises InvalidValueError for a field that TFMA does not have, a threshold where it is not looked at, a metric that
    is neither TFMA's nor Keras' and has no module, and model_specs that are not those of one model and at most one
    baseline.
    """
    message = message_type()
    config = eval_config if message is None else config_dict(message, eval_config, "eval_config", convert)
    _check_models(config)
    _check_metrics(config)
    for place in _lost_thresholds(config):
        raise InvalidValueError(
            f"{place} is only for a metric that a Keras model brings along; give the metric in metrics, with the "
            "threshold beside its class_name"
        )
    return config


def _check_models(config: Mapping[str, Any]) -> None:
    specs = _list(config, "model_specs")
    roles = [_items(spec).get("is_baseline", False) for spec in specs]
    if specs and all(isinstance(role, bool) for role in roles) and (roles.count(False) != 1 or len(roles) > 2):
        raise InvalidValueError(
            "eval_config.model_specs takes one spec of the model, and may have one more with is_baseline, but has "
            f"{roles.count(False)} without and {roles.count(True)} with is_baseline"
        )


def _check_metrics(config: Mapping[str, Any]) -> None:
    for number, spec in enumerate(_list(config, "metrics_specs")):
        for place, metric in enumerate(_list(_items(spec), "metrics")):
            name, module = (_items(metric).get(field) for field in ("class_name", "module"))
            if isinstance(name, str) and name not in KNOWN and not module and not is_template(name):
                meant = did_you_mean(name, KNOWN)
                raise InvalidValueError(
                    f"eval_config.metrics_specs[{number}].metrics[{place}].class_name: neither TFMA nor Keras has a "
                    f"metric {name!r}; {meant or 'for one of your own, name its module in module'}"
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
