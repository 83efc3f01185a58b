"""Walks through nested values: dicts, lists and tuples of whatever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

DROPPED: Any = object()
"""What `mapped` leaves out of the dict or list that it is in."""


def leaves(value: Any) -> Iterator[Any]:
    """Every value that is neither a dict, a list nor a tuple, in order; keys do not count."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with each leaf changed; tuples become lists, and what changes to DROPPED is left out."""
    if isinstance(value, Mapping):
        return {key: new for key, item in value.items() if (new := mapped(item, change)) is not DROPPED}
    if isinstance(value, (list, tuple)):
        return [new for item in value if (new := mapped(item, change)) is not DROPPED]
    return change(value)
