"""Code in the fingerprint: which source files and libraries a module consists of.

For the cache a module is its source, the source of its local imports (transitively), and the versions of the
distributions that it imports. Imports are read from the syntax tree, so no code runs and no heavy library is imported.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.caching.address import Address, find_module, import_roots, local_files, local_roots
from airflow_provider_mlpipe.caching.environment import variables
from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, library_versions, missing_libraries
from airflow_provider_mlpipe.exceptions import InvalidInputError, UserCodeError
from airflow_provider_mlpipe.storage.digests import file_digest

# It only imports names lazily. If it were hashed, every release would make all cached results unusable.
_NOT_CODE = frozenset({PACKAGE_ROOT / "__init__.py"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code a module consists of.

    `entry` is the digest of the module itself, `files` {display name: sha256} of its other local files, `libraries`
    {distribution: version}. `imports` are the dotted names that it imports from elsewhere, `paths` the absolute paths
    of all local files. `variables` are the environment variables that user code reads; `unnamed` are the places where
    it reads some whose names are not written there.
    """

    entry: str
    files: dict[str, str]
    libraries: dict[str, str]
    imports: frozenset[str]
    paths: frozenset[str]
    variables: frozenset[str] = frozenset()
    unnamed: tuple[str, ...] = ()


def module_source(
    entry: Path, *, roots: Sequence[Path] | None = None, dotted: str = "", is_ours: bool = False
) -> Source:
    """The code that `entry` consists of. Local imports are searched in `roots` (default: `local_roots`).

    A module that is imported as `dotted` also includes the `__init__` files of its packages. A module of this package
    (`is_ours`) includes only modules of this package; user code includes all local modules except those.

    Raises UserCodeError when the file is missing or has a syntax error.
    """
    roots = local_roots(entry) if roots is None else roots
    files, imports = _closure([entry.resolve(), *local_files(dotted, roots, is_ours)], roots, is_ours)
    found = [] if is_ours else [(name, path, line) for path in sorted(files) for name, line in _parsed(path).variables]
    return Source(
        entry=file_digest(entry),
        files={_display(path, roots): file_digest(path) for path in sorted(files - {entry.resolve()})},
        libraries=library_versions(imports | _loaded_with(imports)),
        imports=imports,
        paths=frozenset(str(path) for path in files),
        variables=frozenset(name for name, _, _ in found if name is not None),
        unnamed=tuple(f"{path}, line {line}" for name, path, line in found if name is None),
    )


def _loaded_with(imports: Collection[str]) -> frozenset[str]:
    """The libraries behind `tf.keras`: TensorFlow imports them at the first use, and TFMA loads models with them."""
    uses_tensorflow = any(name.partition(".")[0] == "tensorflow" for name in imports)
    return frozenset({"keras", "tf_keras"}) if uses_tensorflow else frozenset()


def dotted_source(module: str, what: str) -> Source:
    """The code of a module that is imported by its name. For an installed module its version counts, not its source.

    Raises UserCodeError, whose message begins with `what`, when no such module is found.
    """
    roots = import_roots()
    path = find_module(module, roots)
    if path is not None:
        return module_source(path, roots=roots, dotted=module)
    libraries = library_versions([module.partition(".")[0]])
    if not libraries:
        raise UserCodeError(f"{what}: no module {module!r} on the import path")
    entry = json.dumps(libraries, sort_keys=True)
    return Source(entry=entry, files={}, libraries={}, imports=frozenset(), paths=frozenset())


def executor_source(address: Address) -> Source:
    """The code of an executor.

    Raises UserCodeError when no such module is found, and InvalidInputError when an executor of this package needs a
    library that is not installed.
    """
    if address.file is not None:
        if not address.file.is_file():
            raise UserCodeError(f"executor {address}: the file does not exist; write it, or set EXECUTOR to another")
        return module_source(address.file)
    if not address.is_ours:
        return dotted_source(address.module, f"executor {address}")
    source = module_source(address.entries[-1], roots=address.roots, is_ours=True)
    if missing := missing_libraries(source.imports):
        raise InvalidInputError(
            f"this worker lacks the library {', '.join(missing)}: install the components' libraries on every worker: "
            "pip install 'airflow-provider-mlpipe[executor]'"
        )
    return source


def imported_first(address: Address) -> frozenset[str]:
    """The top-level names of the libraries that are imported before the executor starts; empty if it is not found."""
    try:
        _, imports = _closure(address.entries, address.roots, address.is_ours, only_first=True)
    except UserCodeError:  # its task says what is wrong
        return frozenset()
    return frozenset(name.partition(".")[0] for name in imports)


def _closure(
    entries: Sequence[Path], roots: Sequence[Path], is_ours: bool, *, only_first: bool = False
) -> tuple[frozenset[Path], frozenset[str]]:
    """All local files that `entries` import, directly or not, and the dotted names that are imported from elsewhere.

    With `only_first` it ignores imports inside functions, which do not run when the module is imported.
    """
    files: set[Path] = set()
    names: set[str] = set()
    external: set[str] = set()
    queue = list(entries)
    while queue:
        path = queue.pop()
        if path in files or path in _NOT_CODE:
            continue
        files.add(path)
        for name in set(_imports(path, roots, only_first)) - names:
            names.add(name)
            found = local_files(name, roots, is_ours)
            queue.extend(found)
            if not found:
                external.add(name)
    return frozenset(files), frozenset(external)


@dataclass(frozen=True)
class _Import:
    """An import statement: `level` folders up, from `module`, the `names`. `is_first`: it is not in a function."""

    level: int
    module: str
    names: tuple[str, ...]
    is_first: bool


def _imports(path: Path, roots: Sequence[Path], only_first: bool) -> Iterator[str]:
    """The dotted names that a file imports; `from a import b` gives both a and a.b."""
    for one in _parsed(path).imports:
        if one.is_first or not only_first:
            base = _absolute(one, path, roots)
            yield from ([base] if base else [])
            yield from (f"{base}.{name}" if base else name for name in one.names)


@dataclass(frozen=True, kw_only=True)
class _Parsed:
    """The import statements of a file, and the environment variables that it reads, with their lines."""

    imports: Sequence[_Import]
    variables: Sequence[tuple[str | None, int]]


def _parsed(path: Path) -> _Parsed:
    try:
        stat = path.stat()
        return _parse(path, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError as error:
        raise UserCodeError(f"module file {path} does not exist") from error


@functools.lru_cache(maxsize=4096)
def _parse(path: Path, mtime_ns: int, size: int) -> _Parsed:
    """Cached until the file changes, since components share most of their files and parsing takes most of the time."""
    text = path.read_bytes()
    try:
        tree = ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UserCodeError(f"{path}{f', line {line}' if line else ''}: not valid Python: {error}") from error
    reads_environment = b"environ" in text or b"getenv" in text  # few files do, and looking takes time
    return _Parsed(
        imports=list(_found_below(tree, is_first=True)), variables=list(variables(tree)) if reads_environment else ()
    )


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


def _absolute(found: _Import, path: Path, roots: Sequence[Path]) -> str:
    """The dotted name that an import refers to; a relative import is resolved from the file's folder."""
    if not found.level:
        return found.module
    if found.level > len(path.parents):  # Python will refuse it
        return found.module
    folder = path.parents[found.level - 1]
    root = next((root for root in roots if folder == root or root in folder.parents), folder)
    package = ".".join(folder.relative_to(root).parts)
    return ".".join(part for part in (package, found.module) if part)


def _display(path: Path, roots: Sequence[Path]) -> str:
    """The file's path relative to the root that contains it, as imports spell it."""
    root = next((root for root in roots if root in path.parents), path.parent)
    return path.relative_to(root).as_posix()
