"""Code as content: which source files a module consists of, and how an executor loads a user's function.

What a module *is* for the cache: its source, the source of its local imports (transitively), and the versions of the
distributions it imports. Imports are read from the syntax tree, so nothing runs and no heavy library loads.
"""

from __future__ import annotations

import ast
import functools
import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from airflow_provider_mlpipe.digests import file_digest
from airflow_provider_mlpipe.exceptions import UserCodeError
from airflow_provider_mlpipe.libraries import library_versions

PACKAGE_ROOT = Path(__file__).resolve().parent
PACKAGE = PACKAGE_ROOT.name
_CODE_ENDINGS = (".py", ".pyc", ".so")
# What Python imports when it starts; a distribution's may be a link to elsewhere, as Debian's to /etc.
_AT_START = frozenset({"sitecustomize", "usercustomize"})
# Only names things lazily; hashing it would make every cached result stale at every release.
_NOT_CODE = frozenset({PACKAGE_ROOT / "__init__.py"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code a module consists of: {display name: sha256} of local files, {distribution: version} of the rest."""

    entry: str
    files: dict[str, str]
    libraries: dict[str, str]
    paths: frozenset[str]


def module_source(
    entry: Path, *, roots: Sequence[Path] | None = None, dotted: str = "", is_ours: bool = False
) -> Source:
    """The code that `entry` consists of. `roots` are where local imports are looked for (default: `local_roots`).

    A module that is imported as `dotted` consists of its packages' `__init__` files, too. A module of this package
    (`is_ours`) consists of modules of this package, and user code of everything that is local, but them.

    Raises UserCodeError when the file is missing or has a syntax error.
    """
    roots = local_roots(entry) if roots is None else roots
    files, external = _closure([entry.resolve(), *_files(dotted, roots, is_ours)], roots, is_ours)
    return Source(
        entry=file_digest(entry),
        files={_display(path, roots): file_digest(path) for path in sorted(files - {entry.resolve()})},
        libraries={} if is_ours else library_versions(external),
        paths=frozenset(str(path) for path in files),
    )


def package_source(executor_file: Path) -> Source:
    """The code that a module of this package consists of; libraries are declared by the operator, not read here."""
    return module_source(executor_file, roots=[PACKAGE_ROOT.parent], is_ours=True)


def local_roots(entry: Path) -> list[Path]:
    """Where a user module's own imports live: its folder and the import path outside the Python installation."""
    folders = [entry.resolve().parent, *(Path(item).resolve() for item in sys.path if item)]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir() and not is_installed(folder)))


def find_module(dotted: str, roots: Sequence[Path]) -> Path | None:
    """The file of a module below one of the roots, or None."""
    for root in roots:
        base = root.joinpath(*dotted.split("."))
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                return candidate.resolve()
    return None


def load_function(module_file: str | None, function: str | None, default_name: str) -> Callable[..., Any]:
    """The user's function: `default_name` of the file `module_file`, or the dotted `function`.

    Raises UserCodeError, with the user's own line when the import fails.
    """
    if (module_file is None) == (function is None):
        raise UserCodeError(f"give either module_file or {default_name} (module_file={module_file!r}, {function!r})")
    if module_file is not None:
        module, name = _import_file(Path(module_file)), default_name
    else:
        module_name, _, name = str(function).rpartition(".")
        module = _import(module_name or str(function), f"{default_name}={function!r}")
    loaded = getattr(module, name, None)
    if not callable(loaded):
        functions = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise UserCodeError(
            f"{module.__file__} has no function {name}(); it defines: {', '.join(functions) or 'none'}. "
            f"Add `def {name}(...)` there."
        )
    return loaded  # type: ignore[no-any-return]


def imported_user_files(generated: Path | None = None) -> list[str]:
    """Local source files that this process has imported: neither installed, nor the standard library, nor ours.

    What lies in `generated`, the process's own temporary folder, was written while it ran (by AutoGraph, for one).
    """
    files = ((name, getattr(module, "__dict__", {}).get("__file__")) for name, module in list(sys.modules.items()))
    code = ((name, file) for name, file in files if isinstance(file, str) and file.endswith(_CODE_ENDINGS))
    paths = [(name, Path(file)) for name, file in code if not _is_plainly_installed(file)]
    resolved = {path.resolve() for name, path in paths if not (name in _AT_START and is_installed(path))}
    ours = {PACKAGE_ROOT, *([generated.resolve()] if generated else [])}
    return sorted(str(path) for path in resolved if not is_installed(path) and ours.isdisjoint(path.parents))


def _is_plainly_installed(file: str) -> bool:
    """Whether it lies in an installed folder and is no link to elsewhere: a quick look, for there are thousands."""
    return not os.path.islink(file) and _is_installed_folder(os.path.dirname(file))


@functools.cache
def _is_installed_folder(folder: str) -> bool:
    return is_installed(Path(folder).resolve())


def import_from_source() -> None:
    """Makes this process compile local modules from their source, whatever bytecode lies beside them.

    Python takes bytecode for current when size and whole second agree: a quick edit would run as it was before.
    """
    _installation()  # imports a module when it is first asked for, which the finder could not do for itself
    sys.path_hooks.insert(0, _source_finder)
    sys.path_importer_cache.clear()


def _source_finder(folder: str) -> FileFinder:
    if is_installed(Path(folder).resolve()) or not os.path.isdir(folder):
        raise ImportError(f"{folder} is left to Python's own finder")
    return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))


class _FromSource(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserCodeError(
            f"module file {path} does not exist; give its full path, e.g. str(Path(__file__).parent / ...)"
        )
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(path.stem, f"module file {path}")
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise UserCodeError(
            f"module file {path}: the name {path.stem!r} is already taken by {module.__file__}; rename the file"
        )
    return module


def _import(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserCodeError(f"{what} does not import: {error!r}\n{traceback.format_exc()}") from error


def _closure(entries: Sequence[Path], roots: Sequence[Path], is_ours: bool) -> tuple[frozenset[Path], frozenset[str]]:
    """All local files reached from `entries`, and the top-level names of what is imported from elsewhere."""
    files: set[Path] = set()
    names: set[str] = set()
    external: set[str] = set()
    queue = list(entries)
    while queue:
        path = queue.pop()
        if path in files or path in _NOT_CODE:
            continue
        files.add(path)
        for name in set(_imports(path, roots)) - names:
            names.add(name)
            found = _files(name, roots, is_ours)
            queue.extend(found)
            if not found:
                external.add(name.partition(".")[0])
    return frozenset(files), frozenset(external)


def _files(dotted: str, roots: Sequence[Path], is_ours: bool) -> list[Path]:
    """The files that importing `dotted` runs: its packages' `__init__` and itself, where they are local."""
    parts = dotted.split(".") if dotted else []
    # Seen from user code this package is a library, even in a checkout that is on the import path; seen from this
    # package everything else is one, even installed beside it.
    if (parts[:1] == [PACKAGE]) != is_ours:
        return []
    names = (".".join(parts[: i + 1]) for i in range(len(parts)))
    return [path for name in names if (path := find_module(name, roots))]


def _imports(path: Path, roots: Sequence[Path]) -> Iterator[str]:
    """The dotted names a file imports; `from a import b` gives both a and a.b."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except FileNotFoundError as error:
        raise UserCodeError(f"module file {path} does not exist") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise UserCodeError(f"{path}{f', line {line}' if line else ''}: not valid Python: {error}") from error
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, roots)
            yield from ([base] if base else [])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; not expressions, which are most of a tree and import nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield child
            yield from _statements(child)


def _absolute(node: ast.ImportFrom, path: Path, roots: Sequence[Path]) -> str:
    """The dotted name that `from … import` refers to, relative ones resolved against the file's place."""
    if not node.level:
        return node.module or ""
    folder = path.parents[node.level - 1]
    root = next((root for root in roots if folder == root or root in folder.parents), folder)
    package = ".".join(folder.relative_to(root).parts)
    return ".".join(part for part in (package, node.module) if part)


@functools.cache
def _installation() -> tuple[Path, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_paths()[key]).resolve() for key in keys})


def is_installed(path: Path) -> bool:
    """Whether pip or Python put it there; a DAGs folder may well lie below `sys.prefix`."""
    below = any(path == root or root in path.parents for root in _installation())
    return below or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def _display(path: Path, roots: Sequence[Path]) -> str:
    """A file's name as its imports spell it: relative to the root it was found under."""
    root = next((root for root in roots if root in path.parents), path.parent)
    return path.relative_to(root).as_posix()
