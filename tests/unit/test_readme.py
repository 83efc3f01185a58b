"""What the README and docs tell people to type exists, and is run somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser

import airflow_provider_mlpipe as mlpipe

CHECKOUT = Path(__file__).parents[2]
PAGES = {path: path.read_text() for path in (CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md")))}
WORDS = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```sh\n(.*?)```", WORDS, re.DOTALL)
TYPED = {
    re.sub(r"\s+#.*", "", line).strip()
    for text in [*BLOCKS, *re.findall(r"`([^`\n]+)`", WORDS)]
    for line in text.splitlines()
    if re.match(r"(make|airflow|docker|pip) |(scripts|tests)/", line) and "…" not in line
}
# Where each command of Docker and of package managers is run for real, and words of it as they stand there.
RUN_IN = {
    "docker compose up": ("tests/compose/check", '"up", "--detach"'),
    "docker compose up --build": ("tests/compose/check", '"build", "--quiet"'),
    "docker compose exec scheduler airflow mlpipe runs": ("tests/compose/check", '"airflow", "mlpipe", "runs"'),
    "docker compose down": ("tests/compose/check", '"down"'),
    "docker compose restart": ("tests/compose/check", 'compose("restart")'),
    "docker image rm": ("tests/compose/check", '"docker", "image", "rm"'),
    "docker compose logs migrate": ("tests/compose/check", '"logs", "--no-log-prefix", "migrate"'),
    "pip install": ("tests/acceptance/own_airflow.py", 'block("pip install")'),
    "pip check": ("tests/acceptance/own_airflow.py", '"pip", "check"'),
    "pip uninstall": ("tests/acceptance/own_airflow.py", 'block("pip uninstall")'),
    "pip uninstall airflow-provider-mlpipe": ("tests/acceptance/own_airflow.py", 'inline("pip uninstall'),
}


def commands(*programs: str) -> list[str]:
    return sorted(command for command in TYPED if command.split()[0] in programs)


def test_there_is_something_to_check() -> None:
    assert {"make demo", "make test", "docker compose up", "airflow mlpipe runs"} <= TYPED


@pytest.mark.parametrize("command", commands("make"))
def test_make_has_the_target(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert command.split()[1] in targets


@pytest.mark.parametrize("command", commands("airflow"))
def test_airflow_understands(command: str) -> None:
    arguments = shlex.split(command.replace("ID", "7"))[1:]
    assert get_parser().parse_args(arguments).func


@pytest.mark.parametrize("command", commands("docker", "pip"))
def test_docker_and_package_managers_are_run_by_a_check(command: str) -> None:
    known = max((start for start in RUN_IN if command.startswith(start)), key=len, default=None)
    assert known is not None, f"name in RUN_IN where {command!r} is run"
    file, words = RUN_IN[known]
    assert words in (CHECKOUT / file).read_text()


@pytest.mark.parametrize("command", sorted(command for command in TYPED if command.startswith(("scripts/", "tests/"))))
def test_scripts_are_there_and_can_be_run(command: str) -> None:
    assert (CHECKOUT / command.split()[0]).stat().st_mode & 0o111


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, heading in re.findall(r"\]\(([^)#:]*)(#([^)]*))?\)", PAGES[page]):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]


def test_components_has_every_operator() -> None:
    operators = {name for name in mlpipe.__all__ if name.endswith("Operator")} - {"ComponentOperator"}
    listed = set(re.findall(r"^\| `(\w+Operator)` \|", PAGES[CHECKOUT / "docs" / "components.md"], re.MULTILINE))
    assert listed == operators


def test_the_pipeline_with_an_analyzer_cache_is_wired() -> None:
    page = PAGES[CHECKOUT / "docs" / "components.md"]
    (code,) = (code for code in re.findall(r"```python\n(from .*?)```", page, re.DOTALL) if "AnalyzerCache" in code)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["dag"].get_task("Transform").upstream_task_ids == {"CsvExampleGen", "ImportSchemaGen", "AnalyzerCache"}


def test_the_pipeline_with_resolvers_is_wired() -> None:
    page = PAGES[CHECKOUT / "docs" / "components.md"]
    (code,) = (code for code in re.findall(r"```python\n(from .*?)```", page, re.DOTALL) if "SpanRange" in code)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["dag"].get_task("Trainer").upstream_task_ids == {"Window", "Earlier", "SchemaGen"}
