"""Source files: below a folder, or in a zip file, from which Python imports as well."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError


@dataclass(frozen=True, order=True)
class SourceFile:
    """The file `name`, a relative path as imports spell it, below the folder or zip file `root`."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """Where imports find it."""
        return self.root / self.name

    @property
    def is_package(self) -> bool:
        """Whether other modules may be below it."""
        return self.name.endswith("/__init__.py")

    def exists(self) -> bool:
        """Whether it is there."""
        # Paths as text: it is asked thousands of times. Few roots are zip files.
        return os.path.isfile(f"{self.root}/{self.name}") or (not os.path.isdir(self.root) and is_file(self.path))

    def digest(self) -> str:
        """sha256 of its bytes; raises FileNotFoundError."""
        return hashlib.sha256(content(self.path)).hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is such a file, in a folder or a zip file."""
    if path.is_file():
        return True
    archive = _archive_of(path)
    return archive is not None and _inside(archive, path) in _archived(archive)


def is_place(path: Path) -> bool:
    """Whether modules can be imported from there: a folder, a zip file, or a folder in one."""
    return path.is_dir() or _archive_of(path) is not None


def names(place: Path) -> Iterator[str]:
    """The relative paths of the modules in a place of the import path, and of the packages' `__init__` files."""
    if archive := _archive_of(place):
        prefix = f"{inside}/" if (inside := _inside(archive, place)) != "." else ""
        yield from (name.removeprefix(prefix) for name in _archived(archive) if name.startswith(prefix))
    else:
        yield from (path.name for path in place.glob("*.py"))
        yield from (path.relative_to(place).as_posix() for path in place.glob("*/__init__.py"))


def content(path: Path) -> bytes:
    """The file's bytes; raises FileNotFoundError."""
    archive = None if path.exists() else _archive_of(path)
    if archive is None:
        return path.read_bytes()
    try:
        return _archived(archive)[_inside(archive, path)]
    except KeyError:
        raise FileNotFoundError(str(path)) from None


def version(path: Path) -> tuple[int, int]:
    """What changes with the file: its time and size, or those of its zip file; raises FileNotFoundError."""
    stat = (path if path.exists() else _archive_of(path) or path).stat()
    return stat.st_mtime_ns, stat.st_size


def _archive_of(path: Path) -> Path | None:
    """The zip file that the path is or leads into."""
    nearest = next((place for place in (path, *path.parents) if place.exists()), path)
    return nearest if nearest.is_file() and zipfile.is_zipfile(nearest) else None


def _inside(archive: Path, path: Path) -> str:
    return path.relative_to(archive).as_posix()


def _archived(archive: Path) -> Mapping[str, bytes]:
    stat = archive.stat()
    return _unpacked(archive, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _unpacked(archive: Path, mtime_ns: int, size: int) -> Mapping[str, bytes]:
    """The source files in it, until it changes."""
    try:
        with zipfile.ZipFile(archive) as file:
            return {name: file.read(name) for name in file.namelist() if name.endswith(".py")}
    except zipfile.BadZipFile as error:
        raise InvalidInputError(f"{archive} cannot be read as a zip file: {error}; make it again") from error
