"""Which features of the examples an `eval_config` names, and whether the schema has them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from airflow_provider_mlpipe.artifacts import Schema
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import FeatureNames
from airflow_provider_mlpipe.spelling import by_likeness, listed
from airflow_provider_mlpipe.storage.layout import file_of


def check_features(config: Mapping[str, Any], features: Collection[str]) -> None:
    """Check the features that a config, with TFMA's names of its fields, reads: labels, weights, slices and queries.

    Raises InvalidInputError for the first that is none of the schema's `features`, unless the model itself makes some.
    """
    if any(spec.get("preprocessing_function_names") for spec in config.get("model_specs", ())):
        return
    for place, name in _named(config, "eval_config"):
        if name and name not in features:
            raise InvalidInputError(
                f"{place}: the schema has no feature {name!r}; it has {listed(by_likeness(name, features))}. For a "
                "feature that the model makes, name its signature in model_specs.preprocessing_function_names"
            )


def names_in(schema: Path) -> list[str] | None:
    """Return the features of a schema, a file or the folder of an artifact; None if it cannot be read.

    Who needs it then says why not.
    """
    try:
        text = file_of(Schema(uri=str(schema))).read_text(encoding="utf-8-sig")
        found = text_format.Parse(text, FeatureNames(), allow_unknown_field=True)
    except (OSError, InvalidInputError, UnicodeDecodeError, text_format.ParseError):
        return None
    return [feature.name for feature in found.feature]


def _named(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the features that a part of a config names, each with its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_field(key, item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _named(item, f"{path}[{number}]")


def _of_field(field: str, value: Any, path: str) -> Iterator[tuple[str, str]]:
    if field in ("label_key", "example_weight_key", "query_key"):
        yield path, value
    elif field in ("feature_keys", "feature_values"):
        yield from ((path, name) for name in value)
    elif field in ("label_keys", "example_weight_keys"):
        yield from ((f"{path}.{output}", name) for output, name in value.items())
    else:
        yield from _named(value, path)
