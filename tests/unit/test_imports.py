"""The table "who may import whom" of CONTRIBUTING.md, held against every module's syntax tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from airflow_provider_mlpipe.user_code import PACKAGE, PACKAGE_ROOT

HEAVY = {
    "apache_beam",
    "keras",
    "numpy",
    "pandas",
    "pyarrow",
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx_bsl",
}
LIGHT = ["exceptions", "artifacts", "proto.*", "digests", "barriers"]
CODE = [*LIGHT, "fingerprint", "user_code", "libraries", "sources"]
STORE = [f"metadata.{name}" for name in ("connection", "rows", "schema", "sql", "store", "values")]
DRIVE = [*CODE, *STORE, "driver", "publisher"]
NODE = [*DRIVE, "channels", "settings", "metadata.hook", "components.spec"]
START = ["linux", "keeper", "executor_request", "warm", "task_folder"]
OPERATE = [*NODE, *START, "launcher", "heartbeat", "triggers", "components.node", "components.base"]
EXECUTE = [*LIGHT, "user_code", "executors", "sources", "records.*"]

# What lies beside an operator and its executor and is light enough for both.
HELPERS = [
    f"components.{name}"
    for name in (
        "evaluator.summary",
        "evaluator.verdict",
        "pusher.serving_folder",
        "trainer.fn_args",
    )
]

# What lies beside an executor, and is for it alone.
EXECUTING = [
    f"components.{name}"
    for name in (
        "evaluator.kernel",
        "evaluator.measures",
        "evaluator.plan",
        "evaluator.results",
        "evaluator.slicing",
        "evaluator.sums",
        "evaluator.tfma_internals",
        "statistics_gen.kernel",
        "statistics_gen.value_counts",
        "transform.accumulators",
        "transform.analyzer_cache",
        "transform.beam_analysis",
        "transform.identity",
        "transform.kernel",
        "transform.materialize",
        "transform.saved_graph",
        "transform.stored_states",
        "transform.tft_nodes",
        "transform.user_function",
    )
]

MAY_IMPORT: dict[str, list[str]] = {
    "__init__": ["*"],  # names, lazily
    "components": [],
    "metadata": [],
    "proto": [],
    "records": [],
    "exceptions": [],
    "barriers": [],
    "settings": [],
    "libraries": [],
    "artifacts": ["exceptions"],
    "digests": ["artifacts", "exceptions"],
    "executors": ["artifacts"],
    "proto.*": ["exceptions", "proto.*"],
    "channels": ["artifacts", "exceptions"],
    "fingerprint": CODE,
    "user_code": CODE,
    "sources": CODE,
    "metadata.hook": [*STORE, "exceptions"],
    "metadata.*": ["artifacts", "exceptions", *STORE],
    "driver": [*CODE, *STORE],
    "publisher": DRIVE,
    "linux": [],
    "keeper": ["linux"],
    "task_folder": [],
    "executor_request": [],
    "warm": ["linux", "keeper", "executor_request", "user_code"],
    "warm_parent": [*EXECUTE, *START, "runner"],
    "launcher": [*DRIVE, *START],
    "orphans": ["artifacts", "exceptions", *STORE, "publisher"],
    "runner": [*EXECUTE, "keeper"],
    "heartbeat": ["exceptions", *STORE],
    "triggers": ["exceptions", *STORE, "metadata.hook"],
    "components.spec": ["artifacts", "channels", "proto.*", "exceptions"],
    "components.node": NODE,
    "components.base": OPERATE,
    "partial_run": OPERATE,
    "planner": [*OPERATE, "partial_run"],
    "plan_task": [*OPERATE, "partial_run", "planner"],
    "components.*.operator": [*OPERATE, *HELPERS],
    "components.*.executor": [*EXECUTE, *HELPERS, *EXECUTING],
    "components.*": [*EXECUTE, *HELPERS, *EXECUTING],
    "records.*": [*EXECUTE, "linux"],
    "preview": ["exceptions", "plan_task"],
    "dag_factory": [*OPERATE, "partial_run", "plan_task"],
    "provider_info": [],
    "embedded": ["exceptions"],
    "airflow_client": ["exceptions"],
    "cli": [],
    "cli_impl": ["*"],
    "airflow_processes": ["*"],
    "local_airflow": ["*"],
    "demo": ["*"],
}

MODULES = {
    ".".join(path.relative_to(PACKAGE_ROOT).with_suffix("").parts): path
    for path in sorted(PACKAGE_ROOT.rglob("*.py"))
    if "migrations" not in path.parts
}


def rule(module: str) -> list[str]:
    name = module.removesuffix(".__init__")
    return next(allowed for pattern, allowed in MAY_IMPORT.items() if fnmatch(name, pattern))


def imported(path: Path) -> set[str]:
    """The package's own modules that a file imports for running, not for type checking only."""
    names: set[str] = set()
    for node in _nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            names |= {f"{module}.{alias.name}" if _is_package(module) else module for alias in node.names}
    return {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}


def _nodes(tree: ast.Module) -> list[ast.AST]:
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    return [node for node in ast.walk(tree) if node not in guarded]


def _is_package(dotted: str) -> bool:
    return PACKAGE_ROOT.parent.joinpath(*dotted.split("."), "__init__.py").is_file()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_imports_uphill(module: str) -> None:
    allowed = rule(module)
    wrong = {name for name in imported(MODULES[module]) if not any(fnmatch(name, pattern) for pattern in allowed)}
    assert not wrong, f"{module} may import only {allowed}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.endswith("executor") or m.startswith("records.")))
def test_executors_know_neither_airflow_nor_the_store(module: str) -> None:
    text = MODULES[module].read_text()
    names = {
        alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names
    } | {node.module or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.split(".")[0] in ("airflow", "psycopg2")}


def test_the_rule_bites(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(f"from {PACKAGE} import driver\nif True:\n    from {PACKAGE}.metadata.store import MetadataStore")
    assert imported(path) == {"driver", "metadata.store"}


def test_authoring_loads_no_heavy_library() -> None:
    code = f"import {PACKAGE}\nfor name in {PACKAGE}.__all__: getattr({PACKAGE}, name)\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert "airflow" in loaded
    assert not loaded & HEAVY


def test_contributing_tells_the_rooms() -> None:
    text = (PACKAGE_ROOT.parent / "CONTRIBUTING.md").read_text()
    rooms = {name.removesuffix(".*") for name in MAY_IMPORT} - {"__init__", "components"}
    assert not [room for room in sorted(rooms) if f"`{room}`" not in text]
