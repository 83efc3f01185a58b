"""The local Airflow: it runs DAGs with real processes, and none of them outlives its starter."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import assert_nothing_left, processes_of

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.local.airflow import LocalAirflow, _reserve_port
from airflow_provider_mlpipe.local.client import TaskInstance
from airflow_provider_mlpipe.local.postgres import reserve_port

pytestmark = pytest.mark.airflow

DAG_FILE = """
import os
import signal

from airflow.sdk import DAG, BaseHook, Param, task

with DAG("greetings", schedule=None, params={"name": Param("nobody", type="string")}):

    @task
    def hello(params=None):
        print("hello,", params["name"])
        return BaseHook.get_connection("mlpipe_default").schema

    @task
    def check(database):
        print("database", database, os.environ["FROM_THE_TEST"])

    check(hello())

with DAG("endless", schedule=None):

    @task
    def wait():
        print("waiting", flush=True)
        signal.pause()

    wait()
"""
BROKEN_DAG_FILE = """
import airflow
raise RuntimeError("this dag is broken on purpose")
"""
UNSTORABLE_DAG_FILE = """
from airflow.sdk import DAG
from airflow.timetables.simple import NullTimetable

class NoPluginsTimetable(NullTimetable):
    pass

print("this is no answer\\n" * 10_000)
dag = DAG("unstorable", schedule=NoPluginsTimetable())
"""
STARTER = """
import sys
from pathlib import Path
from airflow_provider_mlpipe.local.airflow import LocalAirflow

with LocalAirflow(Path(sys.argv[1]), Path(sys.argv[2]), port=0, durable=False) as airflow:
    run_id = airflow.trigger("endless")
    airflow.wait_until(lambda: airflow.task_instances("endless", run_id)[0].state == "running", "no task runs")
    print(run_id, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mlpipe-airflow-"))
    folder.chmod(0o755)  # Postgres' user must get through
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def dags(root: Path) -> Path:
    folder = root / "dags"
    folder.mkdir()
    (folder / "greetings.py").write_text(DAG_FILE)
    return folder


@pytest.fixture(scope="module")
def state_dir(root: Path) -> Path:
    """One for all tests here: preparing Airflow's database takes long."""
    return root / "state"


def test_runs_a_dag(state_dir: Path, dags: Path) -> None:
    seen: list[list[TaskInstance]] = []
    with LocalAirflow(state_dir, dags, environment={"FROM_THE_TEST": "x1"}, port=0, durable=False) as airflow:
        run_id = airflow.trigger("greetings", {"name": "Ada"})
        assert airflow.wait("greetings", run_id, on_change=seen.append) == "success"
        assert {task.task_id: task.state for task in seen[-1]} == {"hello": "success", "check": "success"}
        assert "hello, Ada" in airflow.task_log("greetings", run_id, "hello")
        assert "database mlpipe x1" in airflow.task_log("greetings", run_id, "check")

        assert airflow.task_order("greetings") == ["hello", "check"]

        (dags / "broken.py").write_text(BROKEN_DAG_FILE)
        airflow.wait_until(
            lambda: "broken on purpose" in airflow.import_errors().get("broken.py", ""), "no import error"
        )
        (dags / "unstorable.py").write_text(UNSTORABLE_DAG_FILE)
        with pytest.raises(InvalidInputError, match=r"cannot take the DAG 'unstorable'(.|\n)*NoPluginsTimetable"):
            airflow.trigger("unstorable")
        there_are = r"has the DAG 'broken'; there are: endless, greetings, unstorable"
        with pytest.raises(InvalidInputError, match=rf"{there_are}\nbroken\.py(.|\n)*broken on purpose"):
            airflow.trigger("broken")
        (dags / "unstorable.py").unlink()
        (dags / "broken.py").unlink()

        airflow._token = "of yesterday"
        endless = airflow.trigger("endless")
        with pytest.raises(TransientError, match="did not end within 0 seconds"):
            airflow.wait("endless", endless, timeout=0)
        airflow.cancel_runs("endless")
        assert airflow.state("endless", endless) == "failed"
        with pytest.raises(InvalidInputError, match="name"):
            airflow.trigger("greetings", {"name": 7})
    assert_nothing_left(state_dir, seconds=0)
    secrets = state_dir / "secrets.json"
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(secrets.read_text())["jwt_secret"]) >= 64


def test_nothing_outlives_a_killed_starter(state_dir: Path, dags: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(state_dir), str(dags)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline().startswith("manual__")
        assert any("endless" in process for process in processes_of(state_dir))  # the task itself
        starter.send_signal(signal.SIGKILL)
    assert_nothing_left(state_dir)


def test_a_dead_process_is_named_with_its_log(state_dir: Path, dags: Path) -> None:
    airflow = LocalAirflow(
        state_dir, dags, environment={"AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor"}, port=0, durable=False
    )
    with pytest.raises(TransientError, match=r"Airflow's (database|scheduler|api-server) ended(.|\n)*NoSuchExecutor"):
        airflow.start()
    assert_nothing_left(state_dir, seconds=0)


def test_takes_another_port_than_one_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = taken.getsockname()[1]
        other, marks = _reserve_port(used)
        kept = reserve_port(other)
        with marks:
            assert other != used
            again, second_marks = _reserve_port(other)  # nobody listens on it yet
            second_marks.close()
            assert again not in (used, other)
    with kept:  # so that meanwhile nobody else has got it
        same, marks = _reserve_port(other)
        marks.close()
    assert same == other


def test_names_a_missing_dags_folder(root: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere does not exist"):
        LocalAirflow(root / "other", root / "nowhere").start()
