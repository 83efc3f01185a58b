"""The package as people install it: built, then put beside an Airflow that is there, outside any checkout."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installed import Installed
from pages import files_of

from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.heavy]

CHECKOUT = Path(__file__).parents[2]
UV = CHECKOUT / ".uv" / "bin" / "uv"
AIRFLOW = "apache-airflow==3.3.2"
COMMANDS = ("db", "runs", "artifacts", "lineage", "demo")
LOOK_AROUND = """
import json
from pathlib import Path

from airflow_provider_mlpipe.local.airflow import LocalAirflow

with LocalAirflow(Path("state"), Path("dags"), port=0, durable=False) as airflow:
    run_id = airflow.trigger("penguins")
    airflow.wait("penguins", run_id)
    found = {
        "states": {task.task_id: task.state for task in airflow.task_instances("penguins", run_id)},
        "log": airflow.task_log("penguins", run_id, "CsvExampleGen"),
        "import_errors": airflow.import_errors(),
        "forms": airflow._ask("GET", f"{airflow.url}/ui/connections/hook_meta", None, airflow._login()),
    }
Path("found.json").write_text(json.dumps(found))
"""


class Place(Installed):
    """With copies of the example DAGs."""

    def install(self, *requirements: str) -> None:
        self.run(str(UV), "pip", "install", "--quiet", "--constraint", "constraints.txt", *requirements)

    @property
    def wheel(self) -> Path:
        (found,) = (self.folder / "dist").glob("*.whl")
        return found

    def demo(self, dag_id: str) -> str:
        folders = ["--dags-folder", "dags", "--state-dir", "state"]
        return self.run("python", "-m", "airflow_provider_mlpipe.local.demo", "--dag-id", dag_id, *folders, "--once")

    def airflow_version(self) -> str:
        return self.run("airflow", "version").split()[-1]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """With the package built there, not yet installed, and Airflow installed."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-package-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres' user must get through
        made = Place(folder)
        made.run(str(UV), "build", "--quiet", "--out-dir", str(folder / "dist"), str(CHECKOUT))  # wheel from sdist
        made.run(str(UV), "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
        # With what the other tests run with: a release of some library today cannot change what this test says.
        export = ["export", "--quiet", "--frozen", "--all-extras", "--no-emit-project", "--no-hashes"]
        made.run(str(UV), *export, "--project", str(CHECKOUT), "--output-file", str(folder / "constraints.txt"))
        shutil.copytree(CHECKOUT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        made.install(AIRFLOW)
        yield made


def test_the_wheel_holds_all_of_the_package(place: Place) -> None:
    found = (path for path in (CHECKOUT / "airflow_provider_mlpipe").rglob("*") if path.is_file())
    listed = {path.relative_to(CHECKOUT).as_posix() for path in found if "__pycache__" not in path.parts}
    with zipfile.ZipFile(place.wheel) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == listed
    assert {Path(name).suffix for name in packed} >= {".py", ".sql", ".proto", ".pyi", ".typed"}


def test_a_light_install_shows_itself_and_serves_dags(place: Place) -> None:
    before = place.airflow_version()
    place.install(f"{place.wheel}[embedded]")
    assert place.airflow_version() == before == AIRFLOW.rpartition("=")[2]

    assert "airflow-provider-mlpipe" in place.run("airflow", "providers", "list")
    assert "MlpipeHook" in place.run("airflow", "providers", "hooks", "--output", "plain")
    assert place.run("airflow", "config", "get-value", "mlpipe", "pipeline_root").strip() == ""
    commands = place.run("airflow", "mlpipe", "--help")
    assert all(command in commands for command in COMMANDS)

    installed = place.run(str(UV), "pip", "list", "--format", "json")
    heavy = {"tensorflow", "apache-beam", "pyarrow", "numpy", "tensorflow-metadata", "pandas"}
    assert heavy & {package["name"] for package in json.loads(installed)} == set()
    place.install("--no-deps", "palmerpenguins")  # which requires pandas; only its data is read
    place.run("python", "-c", LOOK_AROUND)
    found: dict[str, Any] = json.loads((place.folder / "found.json").read_text())
    assert found["import_errors"] == {}
    (form,) = [form for form in found["forms"] if form["connection_type"] == "mlpipe"]
    assert set(form["extra_fields"]) == {"sslmode", "sslrootcert"}
    # Only the work itself needs more, and says what.
    assert (found["states"]["prepare_data"], found["states"]["CsvExampleGen"]) == ("success", "failed")
    assert "pip install 'airflow-provider-mlpipe[executor]'" in found["log"]


def test_the_readmes_commands_find_the_connection_in_an_airflow_of_ones_own(place: Place) -> None:
    """With a Postgres as Airflow's database, as the README has it, but for its address and password."""
    readme = (CHECKOUT / "README.md").read_text()
    connections, block = re.findall(
        r"```json\n(.*?)```\n\n```sh\n(airflow connections import .*?)```", readme, re.DOTALL
    )[0]
    with EmbeddedPostgres(place.folder / "own-postgres", durable=False) as postgres:
        airflows = postgres.create_database("airflow").replace("://", "+psycopg2://")
        own = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflows, "AIRFLOW_HOME": str(place.folder / "own-home")}
        place.run("airflow", "db", "migrate", **own)
        (connection,) = json.loads(connections).values()
        connection |= {"host": "127.0.0.1", "port": postgres.port, "password": postgres.password}
        (place.folder / "connections.json").write_text(json.dumps({"mlpipe_default": connection}))
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            place.run(program, *arguments, **own)
        assert postgres.has_database("mlpipe")
        for command in ("db check", "runs", "artifacts", "cache invalidate --all --dry-run"):
            place.run("airflow", "mlpipe", *command.split(), **own)
        (place.folder / "own-home" / "mlpipe").mkdir()
        assert "No orphans" in place.run("airflow", "mlpipe", "orphans", **own)


def test_with_the_extra_every_executor_can_be_imported(place: Place) -> None:
    place.install(f"{place.wheel}[examples,embedded]")
    modules = sorted(path.parent.name for path in CHECKOUT.glob("airflow_provider_mlpipe/components/*/executor.py"))
    assert len(modules) >= 8
    imports = [f"import airflow_provider_mlpipe.components.{module}.executor" for module in modules]
    place.run("python", "-c", "\n".join(imports))


def test_the_first_pipeline_of_the_readme_runs(place: Place) -> None:
    """From nothing: it makes its data itself."""
    files = files_of("README.md")
    assert list(files) == ["first_pipeline.py", "first_model.py"]
    assert sum(bool(line.strip()) for text in files.values() for line in text.splitlines()) <= 60
    for name, text in files.items():
        (place.folder / "dags" / name).write_text(text)
    shown = place.demo("first_pipeline")
    assert "The run ended: success." in shown
    assert "The model is in" in shown


def test_it_goes_without_a_trace(place: Place) -> None:
    place.run(str(UV), "pip", "uninstall", "--quiet", "airflow-provider-mlpipe")
    assert "mlpipe" not in place.run("airflow", "providers", "list")
