"""Converts property values to JSON text for `jsonb` and back, without changing a value.

`jsonb` cannot store NaN, ±inf and -0.0, and it prints 1e16 as an int. Such a float is stored as
`{"$double": "<repr>"}`. A user's key that starts with "$" gets another "$", so it cannot look like this tag.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from airflow_provider_mlpipe.artifacts import PropertyValue
from airflow_provider_mlpipe.exceptions import InvalidValueError

_TAG = "$double"
_MAX_DEPTH = 100


def encode(values: Mapping[str, PropertyValue], where: str = "") -> str:
    """Return the JSON text of a property mapping; raises what `encoded` raises."""
    return to_json(encoded(values, where))


def to_json(objects: Any) -> str:
    """Return the JSON text of a result of `encoded`, or of a list or dict that contains one."""
    return json.dumps(objects, ensure_ascii=False, allow_nan=False)


def encoded(values: Mapping[str, PropertyValue], where: str = "") -> dict[str, Any]:
    """Return a property mapping in a form that JSON can hold.

    Raises InvalidValueError for a value that cannot be stored exactly: NUL bytes, ints beyond 64 bits, other types,
    deep nesting. The message begins with the path of the value, which begins with `where`.
    """
    return _encoded_dict(values, where, 0)


def decode(stored: Any) -> Any:
    """Return the original values from the JSON objects that the driver parsed."""
    if isinstance(stored, dict):
        if stored.keys() == {_TAG}:
            return float(stored[_TAG])
        return {key[1:] if key.startswith("$") else key: decode(value) for key, value in stored.items()}
    if isinstance(stored, list):
        return [decode(value) for value in stored]
    return stored


def check_text(text: str, where: str) -> str:
    """Return `text`; raises InvalidValueError if Postgres cannot hold it (NUL bytes, lone surrogates)."""
    if "\0" in text:
        raise InvalidValueError(f"{where}: the store cannot hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"{where}: the store cannot hold a lone surrogate (not valid Unicode)") from None
    return text


def printable(text: str) -> str:
    """Return `text` without the characters that Postgres cannot hold: for messages, which must always be stored."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode(errors="backslashreplace").decode()


def _encoded(value: PropertyValue, where: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidValueError(f"{where[:200]}: nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _encoded_int(value, where)
    if isinstance(value, float):
        return _encoded_float(value)
    if isinstance(value, str):
        return check_text(value, where)
    if isinstance(value, list):
        return [_encoded(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _encoded_dict(value, where, depth)
    raise InvalidValueError(
        f"{where}: the store cannot hold a {type(value).__name__}, only bool, int, float, str, None, "
        "and lists and dicts of them"
    )


def _encoded_int(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**63:  # not a range: for a subclass of int it would look at each number
        raise InvalidValueError(
            f"{where}: the store holds ints of 64 bits, but this one needs {value.bit_length() + 1} bits"
        )
    return value


def _encoded_float(value: float) -> Any:
    # jsonb stores decimal numbers. From 1e16 on, a float's repr has an exponent, and jsonb would return an int.
    is_kept = math.isfinite(value) and abs(value) < 1e16 and (value != 0 or math.copysign(1, value) > 0)
    return value if is_kept else {_TAG: float.__repr__(value)}


def _encoded_dict(values: Mapping[str, PropertyValue], where: str, depth: int) -> dict[str, Any]:
    result = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise InvalidValueError(f"{where}: the key {key!r} is a {type(key).__name__}, but keys must be str")
        path = f"{where}.{key}" if where else key
        check_text(key, f"the key {path!r}")
        result[f"${key}" if key.startswith("$") else key] = _encoded(value, path, depth + 1)
    return result
