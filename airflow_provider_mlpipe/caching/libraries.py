"""What is installed: which distributions provide a module, their versions, and whether a file belongs to one."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import importlib.util
import inspect
import json
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path

from airflow_provider_mlpipe.storage.digests import file_digest, files_digest

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
PACKAGE = PACKAGE_ROOT.name
"""This package: its folder and its name."""


def library_versions(names: Collection[str]) -> dict[str, str]:
    """The distributions that provide the modules with these dotted names: {distribution: version}.

    A distribution that did not come from a package index has a digest of its files in its version: they may have
    changed without it.

    Distributions may share a namespace package. Then the ones that have the module count, or all of them if the name is
    the namespace itself. Modules of the standard library, and modules that are not installed, add nothing.
    """
    versions: dict[str, str] = {}
    for name in {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}:
        for library, version in filter(all, map(_name_and_version, _of_module(name))):  # without METADATA it has none
            versions.setdefault(library, version)  # Python imports from the first one on the path
    return dict(sorted(versions.items()))


def missing_libraries(names: Iterable[str]) -> list[str]:
    """The top-level names that are not in the standard library and not in an installed distribution."""
    tops = {name.partition(".")[0] for name in names}
    return sorted(tops - sys.stdlib_module_names - _providers().keys())


def _of_module(name: str) -> list[Distribution]:
    providers = _providers().get(name.partition(".")[0], [])
    while len(providers) > 1 and "." in name:
        if having := [provider for provider in providers if _has_module(provider, name)]:
            return having
        name = name.rpartition(".")[0]  # it may be a name in a module
    return providers


@functools.cache
def _name_and_version(provider: Distribution) -> tuple[str, str]:
    name, version = provider.metadata["Name"], provider.metadata["Version"]
    if name is None or name.replace("-", "_") == PACKAGE or _is_from_an_index(provider):
        return name, version
    digest = _files_digest(provider)
    return name, f"{version}, files {digest}" if digest else version


def _is_from_an_index(provider: Distribution) -> bool:
    """Installers write `direct_url.json` for a folder, an archive or a repository, and their own name for any."""
    return provider.read_text("direct_url.json") is None and provider.read_text("INSTALLER") is not None


def _files_digest(provider: Distribution) -> str | None:
    """The digest of the modules and data of a distribution, from the hashes that the installer wrote; None without."""
    rows = [(row[0], row[1]) for row in csv.reader((provider.read_text("RECORD") or "").splitlines()) if row]
    apart = (".dist-info/", "__pycache__/")
    counted = [(path, hashed) for path, hashed in rows if not path.startswith("..") and not any(map(path.count, apart))]
    if counted and all(hashed for _, hashed in counted):
        return files_digest(counted)
    places = (Path(str(provider.locate_file(f"{top}{end}"))) for top in _top_levels(provider) for end in ("", ".py"))
    found = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    hashed = {str(path): file_digest(path) for path in found if "__pycache__" not in path.parts}
    root = str(provider.locate_file(""))
    return files_digest((name.removeprefix(root), digest) for name, digest in hashed.items()) if hashed else None


def _has_module(provider: Distribution, name: str) -> bool:
    path = name.replace(".", "/")
    return any(f"\n{path}{end}" in _record(provider) for end in "/.")


@functools.cache
def _record(provider: Distribution) -> str:
    """The lines of what it installed, which begin with a path."""
    return "\n" + (provider.read_text("RECORD") or "")


@functools.cache
def _providers() -> Mapping[str, list[Distribution]]:
    """The distributions by top-level module.

    `importlib.metadata.packages_distributions` finds the same, but takes ten times as long, in every task: it looks for
    each file and parses the metadata of every distribution.
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
    paths = map(_path_of, record.splitlines()) if record else map(str, distribution.files or ())
    for path in paths:
        top, is_below, _ = path.partition("/")
        if not is_below:
            yield from filter(None, [inspect.getmodulename(top)])
        elif path.endswith(".py"):
            yield top


def _path_of(line: str) -> str:
    """The path in a line of RECORD, which is CSV; few lines need its reader."""
    return next(csv.reader([line]))[0] if line.startswith('"') else line.partition(",")[0]


@functools.cache
def editable_roots() -> tuple[Path, ...]:
    """The folders with the source of editable installations, to which the installer's own finder leads."""
    found = (
        _source_folder(name)
        for distribution in importlib.metadata.distributions()
        if json.loads(distribution.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable")
        for name in _top_levels(distribution)
    )
    return tuple({folder: None for folder in found if folder is not None and not is_installed(folder)})


def _source_folder(top: str) -> Path | None:
    """The folder from which Python would import a module; finds it without importing it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.parents[1] if path.name == "__init__.py" else path.parent


def is_installed(path: Path) -> bool:
    """Whether the file belongs to Python or to an installed distribution.

    Not every file below `sys.prefix` does: a DAGs folder may be there, too.
    """
    below = any(path == root or root in path.parents for root in _installation())
    return below or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


@functools.cache
def _installation() -> tuple[Path, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_paths()[key]).resolve() for key in keys})
