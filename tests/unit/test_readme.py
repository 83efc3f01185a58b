"""What the README tells people to type exists, and is run somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
TYPED = {
    re.sub(r"\s+#.*", "", line).strip()
    for text in [*BLOCKS, *re.findall(r"`([^`\n]+)`", README)]
    for line in text.splitlines()
    if re.match(r"(make|airflow|docker|pip) |(scripts|tests|\.uv)/", line) and "…" not in line
}
# Where each command of Docker and of package managers is run for real, and words of it as they stand there.
RUN_IN = {
    "docker compose up": ("tests/compose/check", '"up", "--detach"'),
    "docker compose up --build": ("tests/compose/check", '"build", "--quiet"'),
    "docker compose exec scheduler airflow mlpipe runs": ("tests/compose/check", '"airflow", "mlpipe", "runs"'),
    "docker compose down": ("tests/compose/check", '"down"'),
    "docker image rm": ("tests/compose/check", '"docker", "image", "rm"'),
    "docker compose logs migrate": ("tests/compose/check", '"logs", "--no-log-prefix", "migrate"'),
    ".uv/bin/uv build": ("tests/acceptance/test_package.py", '"build"'),
    "pip install": ("tests/acceptance/test_package.py", '"pip", "install"'),
    "pip uninstall airflow-provider-mlpipe": ("tests/acceptance/test_package.py", '"pip", "uninstall"'),
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


@pytest.mark.parametrize("command", commands("docker", "pip", ".uv/bin/uv"))
def test_docker_and_package_managers_are_run_by_a_check(command: str) -> None:
    known = max((start for start in RUN_IN if command.startswith(start)), key=len, default=None)
    assert known is not None, f"name in RUN_IN where {command!r} is run"
    file, words = RUN_IN[known]
    assert words in (CHECKOUT / file).read_text()


@pytest.mark.parametrize("command", sorted(command for command in TYPED if command.startswith(("scripts/", "tests/"))))
def test_scripts_are_there_and_can_be_run(command: str) -> None:
    assert (CHECKOUT / command.split()[0]).stat().st_mode & 0o111
