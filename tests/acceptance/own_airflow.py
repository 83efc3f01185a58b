"""README's "In your own Airflow", done as it stands there, step by step: `make own-airflow`.

`make test` has no time for pip. The Airflow is one of many: installed by pip, with FAB's users, on a Postgres.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from installed import Installed
from packaging.utils import canonicalize_name
from packaging.version import Version

from airflow_provider_mlpipe.local.client import AirflowClient
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres, reserve_port

CHECKOUT = Path(__file__).parents[2]
UV = str(CHECKOUT / ".uv" / "bin" / "uv")
PYTHON = "{}.{}".format(*sys.version_info[:2])
README = (CHECKOUT / "README.md").read_text()
SECTION = README.partition("### In your own Airflow\n")[2].partition("\n### ")[0]
BLOCKS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
(CONNECTIONS,) = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)
(AIRFLOW,) = re.findall(r"installs beside Airflow ([\d.]+\d)", SECTION)
REQUIREMENTS = (f"apache-airflow=={AIRFLOW}", "apache-airflow-providers-fab", "apache-airflow-providers-postgres")
OLDER = {
    python: names.replace("\\", "").split(", ")
    for pythons, names in re.findall(r"^\| (3\.[^|]*) \| ([^|]*) \|$", SECTION, re.MULTILINE)
    for python in pythons.split(", ")
}
"""What README lists for each Python."""
ADMIN = {"username": "admin", "password": "admin", "firstname": "A", "lastname": "B", "role": "Admin", "email": "a@b.c"}
MINUTES = 60.0


def block(start: str) -> list[str]:
    """The commands of the block that starts so, for this Python."""
    (found,) = (text for text in BLOCKS if text.startswith(start))
    return re.sub(r"constraints-3\.\d+", f"constraints-{PYTHON}", found).splitlines()


def inline(start: str) -> str:
    """The command that starts so in the section's sentences."""
    (found,) = re.findall(rf"`({start}[^`\n]*)`", SECTION)
    return str(found)


@dataclass(frozen=True)
class OwnAirflow(Installed):
    postgres: EmbeddedPostgres
    url: str

    @property
    def settings(self) -> dict[str, str]:
        """What an operator sets in Airflow's configuration, and Postgres' port, which README's commands do not name."""
        own = {
            "API__BASE_URL": self.url,
            "API__PORT": self.url.rpartition(":")[2],
            "CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__LOAD_EXAMPLES": "False",
            "DATABASE__SQL_ALCHEMY_CONN": self.postgres.dsn("airflow").replace("://", "+psycopg2://"),
        }
        airflows = {f"AIRFLOW__{key}": value for key, value in own.items()}
        return super().settings | airflows | {"PGPORT": str(self.postgres.port), "NO_PROXY": "127.0.0.1"}

    def typed(self, command: str, **environment: str) -> str:
        program, *arguments = shlex.split(command)
        return self.run(program, *arguments, **environment)

    def versions(self) -> dict[str, Version]:
        listed = json.loads(self.run("pip", "list", "--format", "json"))
        return {canonicalize_name(package["name"]): Version(package["version"]) for package in listed}

    @contextmanager
    def running(self) -> Iterator[AirflowClient]:
        """Its four processes; they end with this one."""
        home = self.folder / "home"
        command = [self.program("python"), "-m", "airflow_provider_mlpipe.local.processes", str(home)]
        with subprocess.Popen(command, cwd=home, env=self.environment(), stdin=subprocess.PIPE, start_new_session=True):
            client = AirflowClient(self.url, ADMIN["username"], ADMIN["password"])
            client.wait_until(client.is_healthy, "Airflow did not become healthy")
            yield client


@pytest.fixture(scope="module")
def place() -> Iterator[OwnAirflow]:
    """An Airflow without this package, and `dist` as `make wheel` made it."""
    subprocess.run(shlex.split(inline("make wheel")), cwd=CHECKOUT, check=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlpipe-own-")))
        folder.chmod(0o755)  # Postgres' user must get through
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres", durable=False))
        port = stack.enter_context(reserve_port(0)).getsockname()[1]
        shutil.copytree(CHECKOUT / "dist", folder / "dist")
        shutil.copytree(CHECKOUT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        postgres.create_database("airflow")
        made = OwnAirflow(folder, postgres, f"http://127.0.0.1:{port}")
        made.run(sys.executable, "-m", "venv", "venv")
        made.run("pip", "install", *REQUIREMENTS)
        made.run("airflow", "db", "migrate")
        made.run("airflow", "users", "create", *(f"--{key}={value}" for key, value in ADMIN.items()))
        yield made


def test_pip_alone_ends_and_the_readme_lists_what_it_makes_older(place: OwnAirflow) -> None:
    before = place.versions()
    for command in block("pip install"):
        place.typed(re.sub(r"-c \S+", "--dry-run --report report.json", command))
    report = json.loads((place.folder / "report.json").read_text())
    chosen = {canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"] for each in report["install"]}
    older = {name for name, version in chosen.items() if name in before and Version(version) < before[name]}
    listed = {pattern: {name for name in older if fnmatch(name, pattern)} for pattern in OLDER[PYTHON]}
    assert older == set().union(*listed.values())
    assert all(listed.values()), listed


@pytest.mark.parametrize("python", OLDER)
def test_nothing_is_missing_in_the_constraints_of_any_python(place: OwnAirflow, python: str) -> None:
    """Whatever is newest today: all extras resolve with them, and bring nothing that they don't have."""
    constraints = place.folder / "dist" / f"constraints-{python}.txt"
    (wheel,) = re.findall(r"'(dist/\S+)\[executor\]'", SECTION)
    (place.folder / "wanted.txt").write_text(f"./{wheel}[celery,demo]\n")
    target = ["--python-version", python, "--python-platform", "x86_64-manylinux_2_39"]
    options = ["--quiet", "--no-header", "--no-annotate", "--constraint", str(constraints), *target]
    resolved = place.run(UV, "pip", "compile", *options, "wanted.txt").splitlines()
    brought = {line for line in resolved if "==" in line and not line.startswith("apache-airflow")}
    assert len(brought) > 200
    assert brought <= {line.partition(" ;")[0] for line in constraints.read_text().splitlines()}


def test_pip_with_the_constraints_leaves_airflow_as_it_is(place: OwnAirflow) -> None:
    before = place.versions()
    for command in block("pip install"):
        place.typed(command)
    if OLDER[PYTHON] == OLDER["3.11"]:
        for command in block("pip uninstall"):
            place.typed(command)
    after = place.versions()
    airflows = {name for name in before if name.startswith("apache-airflow")}
    assert {name: after[name] for name in airflows} == {name: before[name] for name in airflows}
    assert "tensorflow" in after
    assert "No broken requirements" in place.run("pip", "check")


def test_penguins_runs_and_is_cached_the_second_time(place: OwnAirflow) -> None:
    """The first time with README's connection, the second time with one that the REST API made."""
    for command in block("pip install"):
        place.typed(command.replace("[executor]", "[examples]"))
    (written,) = json.loads(CONNECTIONS).values()
    written |= {"password": place.postgres.password}
    (place.folder / "connections.json").write_text(json.dumps({"mlpipe_default": written}))
    for command in block("airflow connections import"):
        place.typed(command)
    with place.running() as airflow:
        assert states_of_a_run(place, airflow) == {"COMPLETE"}
        place.typed(inline("airflow connections delete"))
        airflow._call("POST", "connections", {"connection_id": "mlpipe_default"} | written)
        assert states_of_a_run(place, airflow) == {"CACHED"}
    place.typed(inline("airflow connections delete"))
    options = [f"--conn-{name.removeprefix('conn_')}={value}" for name, value in written.items()]
    place.run("airflow", "connections", "add", "mlpipe_default", *options)
    place.typed("airflow mlpipe db check")


def states_of_a_run(place: OwnAirflow, airflow: AirflowClient) -> set[str]:
    run_id = airflow.trigger("penguins")
    assert airflow.wait("penguins", run_id, timeout=30 * MINUTES) == "success", airflow.task_instances(
        "penguins", run_id
    )
    executions = json.loads(place.run("airflow", "mlpipe", "runs", "--run-id", run_id, "--output", "json"))
    assert len(executions) == 9
    return {each["state"] for each in executions if each["component"] != "Resolver"}


def test_it_can_be_removed(place: OwnAirflow) -> None:
    place.typed(inline("pip uninstall airflow-provider-mlpipe"), PIP_YES="1")  # the answer to its question
    place.typed(inline("airflow connections delete"))
    assert "mlpipe" not in place.run("airflow", "providers", "list")
