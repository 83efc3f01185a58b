"""Where code is: the address of a function, the places that are searched for modules, and a module's file."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from airflow_provider_mlpipe.caching import source_files
from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT, editable_roots, is_installed
from airflow_provider_mlpipe.caching.source_files import SourceFile
from airflow_provider_mlpipe.exceptions import UserCodeError


@dataclass(frozen=True)
class Roots:
    """The places that are searched for local modules, in order.

    `own` is the folder of a module that is given as a file: it is searched before the installation.
    """

    places: tuple[Path, ...]
    own: Path | None = None


_OURS = Roots((PACKAGE_ROOT.parent,))


@dataclass(frozen=True)
class Address:
    """Where a function is: `function` in `module`, a dotted name or the path of a `.py` file."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Take "package.module:function" or "/path/file.py:function" apart."""
        module, _, function = text.rpartition(":")
        return cls(module, function)

    @property
    def file(self) -> Path | None:
        """The module's file, if the address names it."""
        return Path(self.module) if self.module.endswith(".py") else None

    @functools.cached_property
    def is_ours(self) -> bool:
        """Whether it is a module of this package."""
        return self.module.partition(".")[0] == PACKAGE and find_module(self.module, _OURS) is not None

    @functools.cached_property
    def roots(self) -> Roots:
        """The places in which its local imports are searched."""
        if self.is_ours:
            return _OURS
        if self.file is None:
            return Roots(import_roots())
        own = self.file.resolve().parent
        return Roots(tuple(dict.fromkeys([own, *import_roots()])), own)

    @functools.cached_property
    def entry(self) -> SourceFile | None:
        """The module's own file; None if there is no such local module."""
        if self.file is not None:
            return SourceFile(self.file.resolve().parent, self.file.resolve().name)
        return self.packages.get(self.module)

    @functools.cached_property
    def packages(self) -> dict[str, SourceFile]:
        """The local files that run when it is imported by its name: its packages and itself."""
        return {} if self.file else local_files(self.module, self.roots, self.is_ours)


def import_roots() -> tuple[Path, ...]:
    """The import path outside of the installation, zip files and the source of editable installations among it.

    The current folder is not on it: executors start without that.
    """
    places = (*(Path(item).resolve() for item in sys.path if item), *editable_roots())
    return tuple(dict.fromkeys(place for place in places if source_files.is_place(place) and not is_installed(place)))


def find_module(dotted: str, roots: Roots) -> SourceFile | None:
    """The file of a local module, or None.

    Raises UserCodeError for a file beside a module file that has the name of a module of Python's standard library.
    """
    base, top = dotted.replace(".", "/"), dotted.partition(".")[0]
    for root in roots.places:
        for file in (SourceFile(root, f"{base}/__init__.py"), SourceFile(root, f"{base}.py")):
            if file.exists() and (root == roots.own or not _is_hidden(top, root)):
                if root == roots.own and top in sys.stdlib_module_names:
                    raise UserCodeError(
                        f"{file.path} has the name of Python's own module {top!r}, which other code may have imported "
                        f"already: rename the file, and write its new name in `import {dotted}`"
                    )
                return file
    return None


def local_files(dotted: str, roots: Roots, is_ours: bool) -> dict[str, SourceFile]:
    """The local files that run when `dotted` is imported, by name: the `__init__` of its packages and the module."""
    parts = dotted.split(".") if dotted else []
    # For user code this package is a library, even if it is a checkout on the import path. For this package everything
    # else is a library.
    if (parts[:1] == [PACKAGE]) != is_ours:
        return {}
    found: dict[str, SourceFile] = {}
    for number in range(len(parts)):
        name = ".".join(parts[: number + 1])
        if file := find_module(name, roots):
            found[name] = file
            if not file.is_package:  # nothing is below it
                break
    return found


def top_modules(place: Path) -> Iterator[Path]:
    """The files and packages that can be imported from a place of the import path by a name without a dot."""
    if source_files.is_place(place) and not is_installed(place.resolve()):
        for name in source_files.names(place):
            top, _, rest = name.partition("/")
            if not rest or rest == "__init__.py":
                yield place / top


def _is_hidden(top: str, root: Path) -> bool:
    """Whether Python finds an installed module of this name before it looks into `root`."""
    if top == PACKAGE:
        return False
    spec = PathFinder.find_spec(top, _installed_before(root, tuple(sys.path)))
    return top in sys.builtin_module_names or (spec is not None and spec.origin is not None)


@functools.lru_cache(maxsize=64)
def _installed_before(root: Path, path: tuple[str, ...]) -> list[str]:
    before: list[str] = []
    for entry in filter(None, path):
        place = Path(entry).resolve()
        if place == root:
            return before
        if is_installed(place):
            before.append(entry)
    return []
