"""Which installed distributions provide a module, and in which version, read from their records."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import inspect
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import Distribution


def library_versions(names: Collection[str]) -> dict[str, str]:
    """The distributions that provide these top-level modules, with their versions; several may share a namespace.

    Modules of the standard library, and those that nobody installed, have none.
    """
    versions: dict[str, str] = {}
    for name in set(names) - sys.stdlib_module_names:
        for metadata in (provider.metadata for provider in _providers().get(name, ())):
            versions.setdefault(metadata["Name"], metadata["Version"])  # the first on the path is the one that counts
    return dict(sorted(versions.items()))


@functools.cache
def _providers() -> Mapping[str, list[Distribution]]:
    """The distributions by top-level module.

    `importlib.metadata.packages_distributions` finds the same in ten times the time, which every task would take: it
    looks for each file, and parses the metadata of all.
    """
    found: dict[str, list[Distribution]] = {}
    for distribution in importlib.metadata.distributions():
        for name in set(_top_levels(distribution)):
            found.setdefault(name, []).append(distribution)
    return found


def _top_levels(distribution: Distribution) -> Iterator[str]:
    if declared := (distribution.read_text("top_level.txt") or "").split():
        yield from declared
        return
    record = distribution.read_text("RECORD")
    paths = (row[0] for row in csv.reader(record.splitlines())) if record else map(str, distribution.files or ())
    for path in paths:
        top, is_below, _ = path.partition("/")
        module = top if is_below and path.endswith(".py") else inspect.getmodulename(top)
        if module:
            yield module
