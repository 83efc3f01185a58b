"""The order of the rooms in CONTRIBUTING.md, held against every module's syntax tree; nothing is imported uphill."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT
from airflow_provider_mlpipe.execution.warm import HEAVY

CHECKOUT = PACKAGE_ROOT.parent
BESIDE_HEAVY = {"duckdb", "numpy", "pandas", "pyarrow", "tensorflow_metadata", "tf_keras"}
# A room is a folder or a module; a module that is named itself is a room of its own. Each may import itself and those
# before it. What `__init__` and `provider_info` name is imported by others.
ROOMS = [
    "provider_info",
    "__init__",
    "exceptions",
    "barriers",
    "settings",
    "nested",
    "times",
    "spelling",
    "terminal",
    "artifacts",
    "proto",
    "metadata.values",
    "forms",
    "metadata",
    "storage",
    "caching",
    "execution",
    "triggers",
    "records",
    "pipeline",
    "planning",
    "pipeline.dag_factory",
    "components",
    "local",
    "cli",
]

MODULES = {
    ".".join(path.relative_to(PACKAGE_ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE_ROOT.rglob("*.py"))
    if "migrations" not in path.parts
}


def room(module: str) -> int:
    """The place of the nearest room; -1 without one."""
    names = [name for name in ROOMS if f"{module}.".startswith(f"{name}.")]
    return ROOMS.index(max(names, key=len)) if names else -1


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path, *, for_types: bool = True, only_first: bool = False) -> Iterator[str]:
    """The dotted names that a file imports, by default for type checking, too, and in its functions."""
    for node in _nodes(parsed(path), for_types, only_first):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            yield from (f"{module}.{alias.name}" if _is_package(module) else module for alias in node.names)


def ours(path: Path, **which: bool) -> set[str]:
    """The package's own modules among them."""
    return {name.removeprefix(f"{PACKAGE}.") for name in imports(path, **which) if name.startswith(f"{PACKAGE}.")}


def _nodes(tree: ast.AST, for_types: bool, only_first: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if not (is_guarded and not for_types) and not (is_function and only_first):
            yield node
            yield from _nodes(node, for_types, only_first)


def _is_package(dotted: str) -> bool:
    return CHECKOUT.joinpath(*dotted.split("."), "__init__.py").is_file()


def reached(module: str) -> dict[str, set[str]]:
    """What is imported with a module, directly or not: this package's modules, and what each imports from elsewhere."""
    found: dict[str, set[str]] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        if name not in found:
            path = MODULES[name]
            queue += ours(path, for_types=False, only_first=True)
            elsewhere = imports(path, for_types=False, only_first=True)
            found[name] = {other.partition(".")[0] for other in elsewhere} - {PACKAGE}
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_imports_uphill(module: str) -> None:
    uphill = {name for name in ours(MODULES[module]) if room(name) > room(module)}
    assert room(module) >= 0, "name its room in ROOMS"
    assert not uphill


def test_there_is_no_import_circle() -> None:
    left = {name: {other for other in ours(path) if other in MODULES} - {name} for name, path in MODULES.items()}
    while ends := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ends}
    assert not left


@pytest.mark.parametrize("module", sorted(name for name in MODULES if re.fullmatch(r"components\.\w+\.\w+", name)))
def test_a_component_imports_no_other(module: str) -> None:
    others = {name for name in ours(MODULES[module]) if name.startswith("components.")}
    assert {name.split(".")[1] for name in others} <= {module.split(".")[1]}


EXECUTORS = [
    name for name in MODULES if re.fullmatch(r"components\.\w+\.executor|records\.\w+|execution\.runner", name)
]


@pytest.mark.parametrize("module", sorted(EXECUTORS))
def test_executors_know_neither_airflow_nor_the_store(module: str) -> None:
    known = {name for names in reached(module).values() for name in names}
    assert not known & {"airflow", "psycopg2", "alembic", "sqlalchemy"}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.endswith(".operator")))
def test_operators_import_nothing_heavy(module: str) -> None:
    heavy = {name: names & (HEAVY | BESIDE_HEAVY) for name, names in reached(module).items()}
    assert not {name: names for name, names in heavy.items() if names}


@pytest.mark.parametrize("component", ["avro_example_gen", "csv_example_gen", "parquet_example_gen", "sql_example_gen"])
def test_tables_are_converted_without_tensorflow(component: str) -> None:
    """It takes seconds to load, and these executors fork."""
    heavy = {name: names & HEAVY for name, names in reached(f"components.{component}.executor").items()}
    assert not {name: names for name, names in heavy.items() if names}


def test_the_rules_bite(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        f"from {PACKAGE}.caching import driver\nfrom typing import TYPE_CHECKING\n"
        f"if TYPE_CHECKING:\n    from {PACKAGE}.metadata.store import MetadataStore\n"
        f"def f():\n    import {PACKAGE}.cli.actions\n"
    )
    assert ours(path) == {"caching.driver", "metadata.store", "cli.actions"}
    assert ours(path, for_types=False, only_first=True) == {"caching.driver"}
    assert room("pipeline.node") < room("planning.planner") < room("pipeline.dag_factory") < room("cli.actions")
    assert room("nobody's") == -1
    assert "pyarrow" in reached("components.csv_example_gen.executor")["records.csv"]


def test_authoring_loads_no_heavy_library() -> None:
    code = f"import {PACKAGE}\nfor name in {PACKAGE}.__all__: getattr({PACKAGE}, name)\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "airflow" in loaded
    assert not loaded & (HEAVY | BESIDE_HEAVY)


def test_the_linter_knows_what_is_heavy() -> None:
    banned = re.search(r"banned-module-level-imports = \[(.*?)\]", (CHECKOUT / "pyproject.toml").read_text(), re.DOTALL)
    assert banned
    assert set(re.findall(r'"(\w+)"', banned[1])) == HEAVY | BESIDE_HEAVY


def test_folders_are_opened_by_the_layout_alone() -> None:
    """An artifact's URI goes into messages; whoever opens it asks `storage.layout` for the folder."""
    opened = [
        f"{module}, line {node.lineno}"
        for module, path in MODULES.items()
        if module not in ("storage.layout", "forms")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Attribute) and argument.attr == "uri"
    ]
    assert not opened


def test_contributing_tells_the_rooms() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    assert not [name for name in ROOMS if f"`{name}`" not in text]
