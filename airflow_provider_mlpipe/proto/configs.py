"""Config messages. A user gives a protobuf message or a dict; it is checked, and kept as a plain dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.nested import DROPPED, mapped

M = TypeVar("M", bound=Message)


def config_dict(message: type[M], given: M | Mapping[str, Any] | None, *, parameter: str) -> dict[str, Any] | None:
    """A config as a plain dict; raises PipelineError, which names `parameter`, when it does not fit `message`.

    Values that are known only at run time (RuntimeParameter, Jinja) are kept unchecked; `parse_config` checks them.
    """
    if given is None:
        return None
    if isinstance(given, Message):
        if not isinstance(given, message):
            raise PipelineError(f"{parameter} takes {message.__name__}, but got {type(given).__name__}")
        return json_format.MessageToDict(given, preserving_proto_field_name=True)
    if not isinstance(given, Mapping):
        raise PipelineError(f"{parameter} takes {message.__name__} or a dict, but got {type(given).__name__}")
    try:
        json_format.ParseDict(mapped(given, _known_now), message())
    except json_format.ParseError as error:
        raise PipelineError(f"{parameter} does not fit {message.__name__}: {error}") from error
    return dict(given)


def parse_config(message: type[M], value: Mapping[str, Any] | None, *, parameter: str) -> M:
    """The message of a config whose run-time values are resolved; an empty message for None."""
    try:
        return json_format.ParseDict(dict(value or {}), message())
    except json_format.ParseError as error:
        raise InvalidInputError(f"{parameter} does not fit {message.__name__}: {error}") from error


def _known_now(value: Any) -> Any:
    """The leaf, or DROPPED if its value is known only at run time."""
    is_template = isinstance(value, str) and "{{" in value
    is_plain = value is None or isinstance(value, (str, int, float, bool))
    return value if is_plain and not is_template else DROPPED
