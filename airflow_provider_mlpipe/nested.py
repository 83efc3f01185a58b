"""A walk through nested values: dicts, lists and tuples that hold any values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys and places that lead to a value."""


def leaves(value: Any) -> Iterator[Any]:
    """Every value that is not a dict, list or tuple, in order; without the keys of dicts."""
    return (leaf for _, leaf in paths(value))


def paths(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The `leaves`, each with its path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from paths(item, (*path, place))
    else:
        yield path, value


def replaced(value: Any, change: Callable[[KeyPath, Any], Any], path: KeyPath = ()) -> Any:
    """A copy with dicts and lists, in which each leaf is what `change` returns for its path and the leaf."""
    if isinstance(value, Mapping):
        return {key: replaced(item, change, (*path, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced(item, change, (*path, place)) for place, item in enumerate(value)]
    return change(path, value)
