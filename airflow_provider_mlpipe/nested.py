"""Walks through nested values: dicts, lists and tuples that hold any values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

DROPPED: Any = object()
"""A `change` returns it to have `mapped` remove the leaf from its dict or list."""


def leaves(value: Any) -> Iterator[Any]:
    """Every value that is not a dict, list or tuple, in order; without the keys of dicts."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with each leaf changed. Tuples become lists; a leaf that `change` makes DROPPED is removed."""
    if isinstance(value, Mapping):
        return {key: new for key, item in value.items() if (new := mapped(item, change)) is not DROPPED}
    if isinstance(value, (list, tuple)):
        return [new for item in value if (new := mapped(item, change)) is not DROPPED]
    return change(value)
