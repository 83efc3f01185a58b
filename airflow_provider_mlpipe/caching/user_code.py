"""Code in the fingerprint: which source files and libraries a module consists of.

For the cache a module is its source, the source of its local imports (transitively), and the versions of the
distributions that it imports. Imports are read from the syntax tree, so no code runs and no heavy library is imported.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.caching import source_files
from airflow_provider_mlpipe.caching.address import Address, local_files
from airflow_provider_mlpipe.caching.environment import variables
from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, library_versions, missing_libraries
from airflow_provider_mlpipe.caching.parsed_files import of_this_user
from airflow_provider_mlpipe.caching.source_files import SourceFile
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError

# It only imports names lazily. If it were hashed, every release would make all cached results unusable.
_NOT_CODE = frozenset({PACKAGE_ROOT / "__init__.py"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code a module consists of.

    `entry` is the digest of the module itself, `files` {display name: sha256} of its other local files, `libraries`
    {distribution: version}. `imports` are the dotted names that it imports from elsewhere, `paths` the absolute paths
    of all local files. `folders` are those in which they were found, by a name that does not change when they move.
    `variables` are the environment variables that user code reads; `unnamed` are the places where
    it reads some whose names are not written there.
    """

    entry: str
    files: dict[str, str]
    libraries: dict[str, str]
    imports: frozenset[str]
    paths: frozenset[str]
    folders: Mapping[str, str] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()
    unnamed: tuple[str, ...] = ()


def module_source(address: Address, what: str) -> Source:
    """The code of a module. For an installed module its version counts, not its source.

    A module of this package includes only modules of this package; user code includes all local modules except those.
    Raises UserCodeError, whose message begins with `what`, when there is no such module, and when a file has a syntax
    error.
    """
    if address.entry is None:
        return _installed_source(address, what)
    if not address.entry.exists():
        raise UserCodeError(f"{what} does not exist; give its full path, e.g. str(Path(__file__).parent / ...)")
    found = _closure(address)
    files = {file for file in found.files if file != address.entry}
    reads = [] if address.is_ours else [(*read, file.path) for file in sorted(found.files) for read in _variables(file)]
    return Source(
        entry=address.entry.digest(),
        files={name: _digest(each for each in files if each.name == name) for name in sorted({f.name for f in files})},
        libraries=library_versions(found.imports | _loaded_with(found.imports)),
        imports=found.imports,
        paths=frozenset(str(file.path.resolve()) for file in found.files),
        folders={file.name: str(file.root) for file in sorted(files, reverse=True)} | {"": str(address.entry.root)},
        variables=frozenset(name for name, _, _ in reads if name is not None),
        unnamed=tuple(f"{path}, line {line}" for name, line, path in reads if name is None),
    )


def _digest(files: Iterable[SourceFile]) -> str:
    """The digest of a file, or of several that have the same name below other roots."""
    return " ".join(file.digest() for file in sorted(files))


def local_modules(address: Address) -> dict[str, SourceFile]:
    """The local modules that a module imports, directly or not, by the names that it imports them by."""
    return {} if address.entry is None else _closure(address).modules


def _loaded_with(imports: Collection[str]) -> frozenset[str]:
    """The libraries behind `tf.keras`: TensorFlow imports them at the first use, and TFMA loads models with them."""
    uses_tensorflow = any(name.partition(".")[0] == "tensorflow" for name in imports)
    return frozenset({"keras", "tf_keras"}) if uses_tensorflow else frozenset()


def _installed_source(address: Address, what: str) -> Source:
    libraries = library_versions([address.module.partition(".")[0]])
    if not libraries:
        raise UserCodeError(f"{what}: no module {address.module!r} on the import path")
    entry = json.dumps(libraries, sort_keys=True)
    return Source(entry=entry, files={}, libraries={}, imports=frozenset(), paths=frozenset())


def executor_source(address: Address) -> Source:
    """The code of an executor.

    Raises UserCodeError when no such module is found, and InvalidInputError when an executor of this package needs a
    library that is not installed.
    """
    if address.file is not None and not source_files.is_file(address.file):
        raise UserCodeError(f"executor {address}: the file does not exist; write it, or set EXECUTOR to another")
    source = module_source(address, f"executor {address}")
    if not address.is_ours:
        return source
    if missing := missing_libraries(source.imports):
        raise InvalidInputError(
            f"this worker lacks the library {', '.join(missing)}: install the components' libraries on every worker: "
            "pip install 'airflow-provider-mlpipe[executor]'"
        )
    return source


def imported_first(address: Address) -> frozenset[str]:
    """The top-level names of the libraries that are imported before the executor starts; empty if it is not found."""
    try:
        imports = _closure(address, only_first=True).imports
    except UserCodeError:  # its task says what is wrong
        return frozenset()
    return frozenset(name.partition(".")[0] for name in imports)


@dataclass(frozen=True, kw_only=True)
class _Closure:
    """All local files that a module consists of, the local modules by name, and what is imported from elsewhere."""

    files: frozenset[SourceFile]
    modules: dict[str, SourceFile]
    imports: frozenset[str]


def _closure(address: Address, *, only_first: bool = False) -> _Closure:
    """With `only_first` it ignores imports inside functions, which do not run when the module is imported."""
    files: set[SourceFile] = set()
    modules = dict(address.packages)
    names: set[str] = set()
    external: set[str] = set()
    # A module of this package is not imported from outside: its packages have nothing in them that counts.
    queue = [*([] if address.is_ours else modules.values()), *([address.entry] if address.entry else [])]
    while queue:
        file = queue.pop()
        if file in files or file.path in _NOT_CODE:
            continue
        files.add(file)
        for name in set(_imports(file, only_first)) - names:
            names.add(name)
            found = local_files(name, address.roots, address.is_ours)
            modules |= found
            queue.extend(found.values())
            if not found:
                external.add(name)
    _remembered.keep()
    return _Closure(files=frozenset(files), modules=modules, imports=frozenset(external))


@dataclass(frozen=True)
class _Import:
    """An import statement: `level` folders up, from `module`, the `names`. `is_first`: it is not in a function."""

    level: int
    module: str
    names: tuple[str, ...]
    is_first: bool


def _imports(file: SourceFile, only_first: bool) -> Iterator[str]:
    """The dotted names that a file imports; `from a import b` gives both a and a.b."""
    for one in _parsed(file.path).imports:
        if one.is_first or not only_first:
            base = _absolute(one, file)
            yield from ([base] if base else [])
            yield from (f"{base}.{name}" if base else name for name in one.names)


def _variables(file: SourceFile) -> Sequence[tuple[str | None, int]]:
    return _parsed(file.path).variables


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """The import statements of a file, and the environment variables that it reads, with their lines."""

    imports: Sequence[_Import]
    variables: Sequence[tuple[str | None, int]]


def _parsed(path: Path) -> _Parsed:
    try:
        return _parse(path, source_files.version(path))
    except FileNotFoundError as error:
        raise UserCodeError(f"module file {path} does not exist") from error


@functools.lru_cache(maxsize=4096)
def _parse(path: Path, version: tuple[int, int]) -> _Parsed:
    """Cached until the file changes, since components share most of their files and parsing takes most of the time."""
    text = source_files.content(path)
    imports, reads = _remembered.get(hashlib.sha256(text).hexdigest(), lambda: _plain(text, path))
    return _Parsed(
        imports=[_Import(level, module, tuple(names), is_first) for level, module, names, is_first in imports],
        variables=[(name, line) for name, line in reads],
    )


_remembered = of_this_user()


def _plain(text: bytes, path: Path) -> list[Any]:
    """What `_Parsed` has, as lists that JSON can hold."""
    try:
        tree = ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UserCodeError(f"{path}{f', line {line}' if line else ''}: not valid Python: {error}") from error
    reads_environment = b"environ" in text or b"getenv" in text  # few files do, and looking takes time
    imports = [[one.level, one.module, list(one.names), one.is_first] for one in _found_below(tree, is_first=True)]
    return [imports, [list(read) for read in variables(tree)] if reads_environment else []]


def _found_below(node: ast.AST, *, is_first: bool) -> Iterator[_Import]:
    """Visits statements only: expressions are the largest part of a tree, and import nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (_Import(0, alias.name, (), is_first) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield _Import(child.level, child.module or "", tuple(alias.name for alias in child.names), is_first)
        elif isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _found_below(child, is_first=is_first and not is_function)


def _absolute(found: _Import, file: SourceFile) -> str:
    """The dotted name that an import refers to; a relative import is resolved from the file's folder."""
    if not found.level:
        return found.module
    folders = file.name.split("/")[: -found.level]
    if found.level > file.name.count("/") + 1:  # Python will refuse it
        return found.module
    return ".".join(part for part in (*folders, found.module) if part)
