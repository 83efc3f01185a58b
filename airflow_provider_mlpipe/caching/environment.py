"""Environment variables that code reads: their names, found in its syntax tree, and their values as digests."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping

from airflow_provider_mlpipe.storage.digests import text_digest

LIBRARY_DEFAULTS: Mapping[str, str] = {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "0"}
"""Variables that TensorFlow and Keras read at import and that change results, with the values that executors start with
if they are not set."""

# They describe the machine, the process or the run, which no fingerprint does.
_OF_THE_PROCESS = frozenset({"HOSTNAME", "OLDPWD", "PWD", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "TMPDIR"})
_OF_THE_RUN = "AIRFLOW_CTX_"
_READERS = frozenset({"get", "pop", "setdefault"})
_WRITERS = frozenset({"update", "clear"})


def environment_parts(named: Iterable[str], found: Iterable[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, by name, with a digest each: a value may be a secret.

    `named` are the user's own choice, `found` those that code reads. Those of `defaults` count only if their value is
    another one.
    """
    ours = {name for name in found if name not in _OF_THE_PROCESS and not name.startswith(_OF_THE_RUN)}
    names = sorted({*named, *ours, *defaults} & os.environ.keys())
    return {name: text_digest(f"{name}={os.environ[name]}") for name in names if os.environ[name] != defaults.get(name)}


def variables(tree: ast.Module) -> Iterator[tuple[str | None, int]]:
    """The name and the line of each read of `os.environ`; the name is None if it is not written as a text."""
    constants = dict(_constants(tree))
    known = set()
    for node in ast.walk(tree):
        found = _environ_and_key(node)
        if found is not None:
            environ, key = found
            known.add(id(environ))
            if key is not None:
                yield _text(key, constants), key.lineno
        elif _is_environ(node) and id(node) not in known:
            yield None, node.lineno  # type: ignore[attr-defined]  # a Name or an Attribute


def _environ_and_key(node: ast.AST) -> tuple[ast.AST | None, ast.expr | None] | None:
    """The `os.environ` that an expression uses, and the key that it reads there, if it reads one."""
    if isinstance(node, ast.Subscript) and _is_environ(node.value):
        return node.value, node.slice if isinstance(node.ctx, ast.Load) else None
    if (
        isinstance(node, ast.Compare)
        and _is_environ(node.comparators[0])
        and isinstance(node.ops[0], (ast.In, ast.NotIn))
    ):
        return node.comparators[0], node.left
    if not isinstance(node, ast.Call):
        return None
    name, owner = _called(node.func)
    key = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg == "key"), None)
    if name == "getenv" and key is not None:
        return None, key
    if owner is not None and _is_environ(owner) and name in _READERS | _WRITERS:
        return owner, key if name in _READERS else None
    return None


def _called(function: ast.expr) -> tuple[str | None, ast.expr | None]:
    """The name of a called function, and the object whose method it is."""
    if isinstance(function, ast.Attribute):
        return function.attr, function.value
    return (function.id if isinstance(function, ast.Name) else None), None


def _is_environ(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
    return name == "environ"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names that a module gives to texts, such as `KEY = "K"`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((target.id, node.value.value) for target in node.targets if isinstance(target, ast.Name))


def _text(key: ast.expr, constants: Mapping[str, str]) -> str | None:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return key.value
    return constants.get(key.id) if isinstance(key, ast.Name) else None
