"""Where code is: the address of a function, the folders that are searched for modules, and a module's file."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT, is_installed

_OURS = (PACKAGE_ROOT.parent,)


@dataclass(frozen=True)
class Address:
    """Where an executor is: `function` in `module`, a dotted name or the path of a `.py` file."""

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

    @property
    def roots(self) -> Sequence[Path]:
        """The folders in which its local imports are searched."""
        if self.is_ours:
            return _OURS
        return local_roots(self.file) if self.file else import_roots()

    @property
    def entries(self) -> list[Path]:
        """The local files that run when the module is imported, the module's own last; empty if there are none."""
        return [self.file.resolve()] if self.file else local_files(self.module, self.roots, self.is_ours)


def local_roots(entry: Path) -> list[Path]:
    """Where to look for a user module's local imports: its folder, and the import path outside of the installation."""
    return list(dict.fromkeys([entry.resolve().parent, *import_roots()]))


def import_roots() -> list[Path]:
    """The import path outside of the installation. The current folder is not on it: executors start without that."""
    folders = (Path(item).resolve() for item in sys.path if item)
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir() and not is_installed(folder)))


def find_module(dotted: str, roots: Sequence[Path]) -> Path | None:
    """The file of a module below one of the roots, or None."""
    for root in roots:
        base = root.joinpath(*dotted.split("."))
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                return candidate.resolve()
    return None


def local_files(dotted: str, roots: Sequence[Path], is_ours: bool) -> list[Path]:
    """The local files that run when `dotted` is imported: the `__init__` of its packages and the module itself."""
    parts = dotted.split(".") if dotted else []
    # For user code this package is a library, even if it is a checkout on the import path. For this package everything
    # else is a library.
    if (parts[:1] == [PACKAGE]) != is_ours:
        return []
    names = (".".join(parts[: i + 1]) for i in range(len(parts)))
    return [path for name in names if (path := find_module(name, roots))]
