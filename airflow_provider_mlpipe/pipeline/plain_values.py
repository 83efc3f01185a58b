"""The scalars that a parameter may hold: None, bool, int, float and str, alone or in lists and dicts.

The store, the executor and Airflow's own JSON keep these as they are, and no others. What stands for exactly one of
them becomes it: a scalar of numpy, a member of an IntEnum, a path. The rest is refused with the remedy, before Airflow
stores the DAG: one NaN there ends the whole DAG processor.
"""

from __future__ import annotations

import math
import os
from datetime import date, time, timedelta
from enum import Enum
from typing import Any

from airflow_provider_mlpipe.exceptions import InvalidValueError
from airflow_provider_mlpipe.metadata.values import check_text

_REMEDIES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((set, frozenset), "give a sorted list"),
    ((bytes, bytearray, memoryview), "give text, for example by .decode()"),
    ((date, time), "give text, for example by .isoformat()"),
    ((timedelta,), "give a number, for example by .total_seconds()"),
    ((Enum,), "give its .value"),
)
_SHOWN = 80


def scalar(value: Any) -> Any:
    """The bool, int, float or str that `value` is or stands for; `value` itself if there is none."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # numpy's, which is not imported for this
        item = value.item()
        return scalar(item) if isinstance(item, (bool, int, float, str)) else value
    return value


def plain(value: Any, path: str) -> Any:
    """`value` as None, bool, int, float or str.

    Raises InvalidValueError, which begins with `path`, for anything else, for a number that is not finite or needs more
    than 64 bits, and for text that Postgres cannot hold.
    """
    value = scalar(value)
    if isinstance(value, str):
        return check_text(value, path)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValueError(f"{path} is {value}, but must be finite; leave it out, or give None or text")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidValueError(f"{path} is {shown(value)}, which needs more than 64 bits; give text")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    remedy = remedy_for(value) or "give None, bool, int, float, str, or lists and dicts of them"
    raise InvalidValueError(f"{path} cannot hold {shown(value)} (type {type(value).__name__}); {remedy}")


def plain_key(key: Any, path: str) -> str:
    """The key of a dict as text, as in JSON; raises InvalidValueError for one that is neither a str nor an int."""
    plain_key = scalar(key)
    if isinstance(plain_key, int) and not isinstance(plain_key, bool):
        return str(plain_key)
    if isinstance(plain_key, str):
        return check_text(plain_key, f"{path}, key {plain_key!r}")
    raise InvalidValueError(f"{path} has the key {shown(key)}; a key must be a str or an int")


def shown(value: Any) -> str:
    """The value for a message, not too long."""
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return with_article(type(value).__name__)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def with_article(name: str) -> str:
    """A class's name for a message, such as "an Input"."""
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def remedy_for(value: Any) -> str | None:
    """What to give instead of a value that cannot be held; None if there is no rule."""
    for types, remedy in _REMEDIES:
        if isinstance(value, types):
            return remedy
    if hasattr(value, "shape"):
        return "give a list, for example by .tolist()"
    return "give its dotted name, 'module.function'" if callable(value) and not isinstance(value, type) else None
