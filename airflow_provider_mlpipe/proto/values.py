"""Converts Python values to `Value` messages and back, exactly: an int stays an int, a double keeps every bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.proto.mlpipe_pb2 import ListValue, MapValue, Value


def to_value(value: Any, where: str = "value") -> Value:
    """The message of None, bool, int (64 bits), float, str, or lists and str-keyed dicts of them.

    Raises InvalidValueError naming `where` for anything else.
    """
    if value is None:
        return Value(null_value=0)  # type: ignore[arg-type]
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InvalidValueError(f"{where}: {value} does not fit 64 bits")
        return Value(int_value=value)
    if isinstance(value, float):
        return Value(double_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, Mapping):
        return Value(map_value=to_map(value, where))
    if isinstance(value, (list, tuple)):
        return Value(list_value=ListValue(values=[to_value(v, f"{where}[{i}]") for i, v in enumerate(value)]))
    raise InvalidValueError(f"{where}: {type(value).__name__} is not None, bool, int, float, str, list or dict")


def to_map(values: Mapping[str, Any], where: str = "value") -> MapValue:
    """The message of a str-keyed dict; raises InvalidValueError as `to_value` does."""
    for key in values:
        if not isinstance(key, str):
            raise InvalidValueError(f"{where}: the key {key!r} is not a str")
    return MapValue(fields={key: to_value(value, f"{where}.{key}") for key, value in values.items()})


def from_value(message: Value) -> Any:
    """The Python value of a message."""
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "list_value":
        return [from_value(item) for item in message.list_value.values]
    if kind == "map_value":
        return from_map(message.map_value)
    return getattr(message, kind)


def from_map(message: MapValue) -> dict[str, Any]:
    """The dict of a message, sorted by key (protobuf maps have no order)."""
    return {key: from_value(message.fields[key]) for key in sorted(message.fields)}
