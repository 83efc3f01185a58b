"""Turns a user's `stats_options` into a `tfdv.StatsOptions`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.proto.slicing_spec_pb2 import SlicingConfig

from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.spelling import did_you_mean

_NOT_JSON = {
    "self",
    "generators",
    "schema",
    "slice_functions",
    "experimental_slice_functions",
    "per_feature_stats_config",
}


def read_stats_options(given: Mapping[str, Any] | str | None) -> tfdv.StatsOptions:
    """Read the JSON text of `StatsOptions.to_json`, or a dict of the arguments of `StatsOptions`.

    In a dict, `schema_json` replaces `schema`, `slicing_config` is a dict in the form of tfdv's SlicingConfig, and
    `per_feature_weight_override` has feature names instead of paths.

    Raises InvalidInputError, with the known options, when an option is unknown, or invalid according to TFDV.
    """
    options: Mapping[str, Any] | str = given or {}
    try:
        options = json.loads(options) if isinstance(options, str) else dict(options)
        if "TYPE_NAME" in options:
            return tfdv.StatsOptions.from_json(json.dumps(options))
        _check_names(options)
        return _from_arguments(**options)
    except (AttributeError, TypeError, ValueError, json_format.ParseError) as error:
        raise InvalidInputError(f"stats_options {options}: {error}; the options are {', '.join(_known())}") from error


def _from_arguments(
    schema_json: str | None = None,
    slicing_config: dict[str, Any] | None = None,
    per_feature_weight_override: dict[str, str] | None = None,
    **arguments: Any,
) -> tfdv.StatsOptions:
    schema = json_format.Parse(schema_json, schema_pb2.Schema()) if schema_json else None
    slicing = json_format.ParseDict(slicing_config, SlicingConfig()) if slicing_config else None
    weights = {tfdv.FeaturePath([name]): weight for name, weight in (per_feature_weight_override or {}).items()}
    return tfdv.StatsOptions(
        schema=schema, slicing_config=slicing, per_feature_weight_override=weights or None, **arguments
    )


def _check_names(options: Mapping[str, Any]) -> None:
    known = _known()
    for name in options:
        if name not in known:
            meant = did_you_mean(name, known) or f"it has {', '.join(known)}"
            raise InvalidInputError(f"stats_options has no {name!r}; {meant}")


def _known() -> list[str]:
    return ["schema_json", *(name for name in inspect.signature(tfdv.StatsOptions).parameters if name not in _NOT_JSON)]
