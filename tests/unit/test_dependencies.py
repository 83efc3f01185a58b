"""What the package imports is what pyproject.toml declares."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from airflow_provider_mlpipe.caching.libraries import PACKAGE, PACKAGE_ROOT, library_versions

PROJECT = (PACKAGE_ROOT.parent / "pyproject.toml").read_text()
# Where each is imported, beside what `dependencies` has.
EXTRAS = {"components": "executor", "records": "executor", "local": "embedded"}
AIRFLOWS_OWN = {"apache-airflow-core", "apache-airflow-task-sdk"}  # which apache-airflow is made of


def declared(name: str) -> set[str]:
    (listed,) = re.findall(rf"^{name} = \[\n?(.*?)\]$", PROJECT, re.MULTILINE | re.DOTALL)
    return {re.split(r"[<>=\[;]", text)[0] for text in re.findall(r'^ *"([^"]+)"', listed, re.MULTILINE)}


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports from elsewhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name for name in found if name.partition(".")[0] not in {PACKAGE, *sys.stdlib_module_names}}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE_ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE_ROOT))
)
def test_every_import_is_declared(path: Path) -> None:
    extra = EXTRAS.get(path.relative_to(PACKAGE_ROOT).parts[0])
    allowed = declared("dependencies") | (declared(extra) if extra else set())
    owners = {name: {each.lower().replace("_", "-") for each in library_versions([name])} for name in imported(path)}
    assert not {name: own for name, own in owners.items() if not own & (allowed | AIRFLOWS_OWN)}
