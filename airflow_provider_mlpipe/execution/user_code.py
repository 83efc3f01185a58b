"""Loads a user's function for an executor, and lists the user's files that the process has imported."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from airflow_provider_mlpipe.caching import source_files
from airflow_provider_mlpipe.caching.address import Address
from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT, is_installed
from airflow_provider_mlpipe.caching.user_code import local_modules
from airflow_provider_mlpipe.exceptions import TransientError, UserCodeError
from airflow_provider_mlpipe.execution.user_errors import explained, headline
from airflow_provider_mlpipe.execution.watch import count_as_user_code
from airflow_provider_mlpipe.storage.disk_errors import may_pass

_CODE_ENDINGS = (".py", ".pyc", ".so")
_OF_TFX = (
    ". TFX is not installed and not needed: write `from airflow_provider_mlpipe import DataAccessor, FnArgs` "
    "for its import, and `FnArgs` and `DataAccessor` for `tfx.components.FnArgs` and `tfx.components.DataAccessor`, "
    "in annotations, too"
)
# Modules that Python imports at its start. An installed one may be a link to another place, e.g. /etc on Debian.
_AT_START = frozenset({"sitecustomize", "usercustomize"})


def load_executor(executor: str) -> Callable[..., Any]:
    """The function of a "package.module:function" or "/path/file.py:function" executor; raises UserCodeError."""
    address = Address.parse(executor)
    if address.file is not None:
        return load_function(address.module, None, address.function)
    return load_function(None, f"{address.module}.{address.function}", "EXECUTOR")


def load_function(module_file: str | None, function: str | None, default_name: str) -> Callable[..., Any]:
    """The user's function: `default_name` in the file `module_file`, or the dotted `function`.

    Raises UserCodeError; if the import fails, it contains the traceback.
    """
    if (module_file is None) == (function is None):
        raise UserCodeError(
            f"give either module_file or {default_name}, but got module_file={module_file!r} and "
            f"{default_name}={function!r}"
        )
    if module_file is not None:
        _check_names(Address(module_file, default_name), f"module file {module_file}")
        module, name = _import_file(Path(module_file)), default_name
    else:
        module_name, _, name = str(function).rpartition(".")
        what = f"{default_name}={function!r}"
        count_as_user_code(module_name)
        _check_names(Address(module_name or str(function), name), what)
        module = _import(module_name or str(function), what)
    loaded = getattr(module, name, None)
    if not callable(loaded):
        functions = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise UserCodeError(
            f"{module.__file__} has no function {name}(); it defines: {', '.join(functions) or 'none'}. "
            f"Add `def {name}(...)` there."
        )
    return loaded  # type: ignore[no-any-return]


def optional_functions(module_file: str, names: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Those of the user's functions that the module file defines, by name; raises UserCodeError if the import fails."""
    _check_names(Address(module_file, ""), f"module file {module_file}")
    defined = vars(_import_file(Path(module_file)))
    return {name: defined[name] for name in names if callable(defined.get(name))}


def call(function: Callable[..., Any], name: str, *arguments: Any, **keywords: Any) -> Any:
    """Calls a user's function; raises UserCodeError, with `name` and the line, for any error of it."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:  # user code can raise anything
        raise UserCodeError(explained(name, error, {}, otherwise_at=_definition(function)[0])) from error


def check_arguments(executor: Callable[..., Any], given: Sequence[str]) -> None:
    """Raises UserCodeError unless a component's executor takes exactly the keyword arguments that it is given."""
    parameters = inspect.signature(executor).parameters.values()
    taken = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    lacking = [name for name in given if name not in taken and not takes_any]
    unknown = [each.name for each in parameters if _is_needed(each) and each.name not in given]
    if lacking or unknown:
        faults = [f"lacks {', '.join(lacking)}"] if lacking else []
        faults += [f"has {', '.join(unknown)}, which its component does not give"] if unknown else []
        where, name = _definition(executor)
        raise UserCodeError(
            f"{where}: {name}() {' and '.join(faults)}. It takes each input, parameter and output of its component, "
            f"and context: def {name}(*, {', '.join(given)})"
        )


def check_takes(function: Callable[..., Any], argument: str) -> None:
    """Raises UserCodeError unless a user's function can be called with one argument, as it will be."""
    try:
        inspect.signature(function).bind(argument)
    except TypeError as error:
        where, name = _definition(function)
        raise UserCodeError(
            f"{where}: {name}() is called with one argument: {error}. Write `def {name}({argument})`"
        ) from None


def _is_needed(parameter: inspect.Parameter) -> bool:
    """Whether a call must give the parameter."""
    is_rest = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_rest


def _definition(function: Callable[..., Any]) -> tuple[str, str]:
    """The file and line where a function is defined, and its name; for another callable, its module and type."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return str(getattr(function, "__module__", None)), type(function).__name__
    return f"{code.co_filename}, line {code.co_firstlineno}", code.co_name


def imported_user_files(generated: Path | None = None) -> list[str]:
    """Local source files that this process has imported: without the standard library, installed ones and this package.

    Files in `generated`, the process's temporary folder, do not count: they were generated in this run, e.g. by
    AutoGraph.
    """
    files = ((name, getattr(module, "__dict__", {}).get("__file__")) for name, module in list(sys.modules.items()))
    code = ((name, file) for name, file in files if isinstance(file, str) and file.endswith(_CODE_ENDINGS))
    paths = [(name, Path(file)) for name, file in code if not _is_plainly_installed(file)]
    resolved = {path.resolve() for name, path in paths if not (name in _AT_START and is_installed(path))}
    ours = {PACKAGE_ROOT, *([generated.resolve()] if generated else [])}
    return sorted(str(path) for path in resolved if not is_installed(path) and ours.isdisjoint(path.parents))


def _is_plainly_installed(file: str) -> bool:
    """Whether the file is in an installed folder and is not a link. This check is fast, since there are many files."""
    return not os.path.islink(file) and _is_installed_folder(os.path.dirname(file))


@functools.cache
def _is_installed_folder(folder: str) -> bool:
    return is_installed(Path(folder).resolve())


def import_from_source() -> None:
    """Makes this process compile local modules from their source and ignore existing bytecode.

    Python uses bytecode if the source's size and modification time in whole seconds match. After a quick edit it could
    run the old code.
    """
    is_installed(PACKAGE_ROOT)  # its first call imports a module, which must not happen inside the finder
    sys.path_hooks.insert(0, _source_finder)
    sys.path_importer_cache.clear()


def _source_finder(folder: str) -> FileFinder:
    if is_installed(Path(folder).resolve()) or not os.path.isdir(folder):
        raise ImportError(f"Python's own finder handles {folder}")
    return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))


class _FromSource(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code

    def get_data(self, path: str) -> bytes:
        return source_files.content(Path(path))


def _import_file(path: Path) -> ModuleType:
    if not source_files.is_file(path):
        raise UserCodeError(
            f"module file {path} does not exist; give its full path, e.g. str(Path(__file__).parent / ...)"
        )
    path = path.resolve()
    folder, what = str(path.parent), f"module file {path}"
    if sys.path[0] != folder:
        sys.path.insert(0, folder)  # as `python file.py` does
    module = _import_by_path(path, what) if "." in path.stem else _import(path.stem, what)
    if Path(module.__file__ or "").resolve() != path:
        raise UserCodeError(f"{what}: the name {path.stem!r} is already taken by {module.__file__}; rename the file")
    return module


def _import_by_path(path: Path, what: str) -> ModuleType:
    """Imports a file that no `import` can name, such as `model.v2.py`, under a name that no `import` can have."""
    name = path.stem.replace(".", "-")
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    with _as_user_code(what):
        spec.loader.exec_module(module)
    return module


def _import(name: str, what: str) -> ModuleType:
    with _as_user_code(what):
        return importlib.import_module(name)


@contextlib.contextmanager
def _as_user_code(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and may_pass(error):
            raise TransientError(f"{what} cannot be imported now: {error!r}") from error
        said = f"{what} cannot be imported: {headline(error)}{_remedy(error)}"
        raise UserCodeError(f"{said}\n{traceback.format_exc()}") from error


def _remedy(error: Exception) -> str:
    if isinstance(error, (ImportError, NameError)) and (error.name or "").partition(".")[0] == "tfx":
        return _OF_TFX
    is_missing = isinstance(error, ModuleNotFoundError)
    return "; correct the name, or install it where the Airflow worker runs" if is_missing else ""


def _check_names(address: Address, what: str) -> None:
    """Raises UserCodeError when a local module would not be imported, since another has its name.

    The fingerprint covers the local one.
    """
    if address.is_ours:
        return
    for name, file in local_modules(address).items():
        if (taken := sys.modules.get(name)) is not None:
            other = getattr(taken, "__file__", None)
            if other is None or Path(other).resolve() != file.path.resolve():
                raise UserCodeError(
                    f"{what} needs {file.path} as {name!r}, but other code has imported {other or 'another module'} "
                    f"by that name before: rename {file.path.name}"
                )
