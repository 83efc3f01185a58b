"""The constraints files that `make wheel` writes for pip: all that uv.lock has for users, for each Python."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
PACKAGE = "airflow-provider-mlpipe"
EXTRAS = frozenset({"executor", "examples", "embedded", "demo"})  # `celery` is not in .venv
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PATCHES = range(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, str(CHECKOUT / "scripts" / "constraints"), str(made)], check=True)
    return made


def lines(folder: Path, python: str) -> list[Requirement]:
    text = (folder / f"constraints-{python}.txt").read_text()
    return [Requirement(line) for line in text.splitlines() if not line.startswith("#")]


def constraints(folder: Path, python: str, patch: int) -> list[tuple[str, str]]:
    """Names and versions, as pip has them with this Python."""
    version = {"python_full_version": f"{python}.{patch}", "python_version": python}
    applying = (each for each in lines(folder, python) if each.marker is None or each.marker.evaluate(version))
    return [(canonicalize_name(each.name), str(each.specifier).removeprefix("==")) for each in applying]


def required(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """The names of all that an installed package requires here, and of all that those require."""
    for requirement in map(Requirement, metadata.requires(name) or ()):
        found = canonicalize_name(requirement.name), frozenset(requirement.extras)
        applies = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras))
        if applies and found not in seen:
            seen.add(found)
            required(*found, seen)
    return {name for name, _ in seen}


def is_airflows(name: str) -> bool:
    return name.startswith("apache-airflow")


def test_the_readme_names_the_files(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"constraints-{python}.txt" for python in PYTHONS}
    assert all((folder / name).exists() for name in re.findall(r"dist/(constraints-[^ `]*)", README))
    (wheel,) = re.findall(r"pip install -c dist/\S+ 'dist/(\S+)\[executor\]'", README)
    assert wheel == f"airflow_provider_mlpipe-{metadata.version(PACKAGE)}-py3-none-any.whl"


def test_all_that_users_get_is_held_at_the_versions_of_the_tests(folder: Path) -> None:
    """Those of .venv, for this Python."""
    ours = {name for name in required(PACKAGE, EXTRAS, set()) if not is_airflows(name)} - {PACKAGE}
    assert len(ours) > 200
    major, minor, patch = sys.version_info[:3]
    held = dict(constraints(folder, f"{major}.{minor}", patch))
    assert {name: held.get(name) for name in ours} == {name: metadata.version(name) for name in ours}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_line_is_of_the_lock_and_none_is_airflows(folder: Path, python: str) -> None:
    locked = set(re.findall(r'^name = "(.*)"\nversion = "(.*)"$', (CHECKOUT / "uv.lock").read_text(), re.MULTILINE))
    found = [pair for patch in PATCHES for pair in constraints(folder, python, patch)]
    assert set(found) <= locked
    assert not [name for name, _ in found if is_airflows(name)]
    assert not [each for each in lines(folder, python) if each.extras], "pip refuses them"


@pytest.mark.parametrize("python", PYTHONS)
def test_what_the_package_requires_has_one_version_that_it_allows(folder: Path, python: str) -> None:
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    for patch in PATCHES:
        held = constraints(folder, python, patch)
        assert len(held) == len(dict(held)), "a package has two versions"
        for each in wanted:
            here = {"python_version": python, "python_full_version": f"{python}.{patch}"}
            for extra in ("", "celery", *EXTRAS):
                if each.marker is not None and not each.marker.evaluate(here | {"extra": extra}):
                    continue
                if not is_airflows(each.name) and each.name != PACKAGE:
                    assert each.specifier.contains(dict(held)[each.name])
