"""The plan and single flight in a real Airflow: what is skipped, taken, cleared, waited for, and retried."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import psutil
import psycopg2
import pytest
import word_count
from held import Held
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore

pytestmark = pytest.mark.airflow

PARTS = Path(__file__).parent.parent / "parts"
DAG_FILE = """
from datetime import timedelta
from pathlib import Path

import parts
from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_mlpipe import RuntimeParameter, create_dag

RETRY = dict(retries=1, retry_delay=timedelta(seconds=0))
text = RuntimeParameter("text", str, "hello")


def chain(**arguments):
    make = parts.MakeOperator(text=text, **arguments)
    return [make, parts.UseOperator(examples=make.outputs["examples"])]


planned = create_dag("planned", chain(), default_args=RETRY, pipeline_root="{root}/planned")

followed = create_dag("followed", chain(act="talk"), pipeline_root="{root}/followed")
with followed:

    @task
    def notify():
        pass

    followed.get_task("Make") >> notify()

guarded = create_dag("guarded", chain(), pipeline_root="{root}/guarded")
with guarded:

    @task
    def guard():
        raise AirflowSkipException("not today")

    guard() >> guarded.get_task("plan")

gated = create_dag("gated", chain(), pipeline_root="{root}/gated")
with gated:

    @task
    def gate():
        if Path("{root}/shut").exists():
            raise AirflowSkipException("shut")

    gate() >> gated.get_task("plan")

with DAG("unplanned", schedule=None):
    made = parts.MakeOperator(text=text, pipeline_root="{root}/unplanned")
    parts.MaybeOperator(examples=made.outputs["examples"], pipeline_root="{root}/unplanned", trigger_rule="all_done")

with DAG("announced", schedule=None):
    parts.MakeOperator(text=text, pipeline_root="{root}/announced", outlets=[Asset("words")])

with DAG("consumer", schedule=[Asset("words")], is_paused_upon_creation=False):

    @task
    def consume():
        pass

    consume()

vaulted = {"words": ["{{ conn.vault.password }}", "{{ var.value.note }}"]}
quiet = create_dag("quiet", chain(**vaulted, outlets=[Asset("quiet")]), pipeline_root="{root}/quiet")
loud = create_dag("loud", chain(**vaulted, module_file="{root}/loud.py"), pipeline_root="{root}/loud")

elsewhere = create_dag("elsewhere", chain(), metadata_conn_id="elsewhere", pipeline_root="{root}/elsewhere")

shared = create_dag("shared", chain(files=1), default_args=RETRY, pipeline_root="{root}/shared")
"""
LOUD = """
from pathlib import Path

def make_text():
    secrets = Path("{root}/secrets").read_text()
    print("they are", secrets)
    raise ValueError(f"not {secrets}")
"""


class Place(Held):
    """One Airflow with these DAGs, and its store."""

    def __init__(self, root: Path, airflow: LocalAirflow) -> None:
        self.root = root
        self.airflow = airflow
        self.store = MetadataStore(airflow.mlpipe_dsn)
        self.barriers = root / "barriers"

    def run(self, dag_id: str, **conf: Any) -> str:
        """Triggers a run, and returns its id when it has succeeded."""
        run_id = self.airflow.trigger(dag_id, conf)
        self.succeeds(dag_id, run_id)
        return run_id

    def succeeds(self, dag_id: str, run_id: str) -> None:
        state = self.airflow.wait(dag_id, run_id, timeout=PATIENCE)
        assert state == "success", self.failure(dag_id, run_id)

    def failure(self, dag_id: str, run_id: str) -> str:
        """The logs of what failed, to be shown by an assertion."""
        failed = [task for task in self.airflow.task_instances(dag_id, run_id) if task.state == "failed"]
        return "\n".join(self.log(dag_id, run_id, task.task_id, task.try_number)[-3000:] for task in failed)

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.airflow.task_instances(dag_id, run_id)}

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        return self.airflow.task_log(dag_id, run_id, task_id, try_number)

    def executions(self, dag_id: str, run_id: str) -> list[tuple[str, int, ExecutionState]]:
        found = reversed(self.store.executions(pipeline=dag_id, run_id=run_id).items)
        return [(each.component_id, each.try_number, each.state) for each in found]

    def of_component(self, dag_id: str, component_id: str) -> list[Execution]:
        return self.store.executions(pipeline=dag_id, component_id=component_id).items

    def make_again(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """Deletes a run and triggers another one with its id."""
        self.airflow._call("DELETE", f"dags/{dag_id}/dagRuns/{run_id}")
        self.airflow._call("POST", f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})
        self.succeeds(dag_id, run_id)

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self.airflow._call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def plan_command(self, dag_id: str, params: str = "{}") -> tuple[int, list[dict[str, str]]]:
        """Exit code and rows of `airflow mlpipe plan`."""
        return self.command("plan", dag_id, "--params", params)

    def rows(self, database: str) -> str:
        """All that this database holds, as text."""
        with (
            closing(psycopg2.connect(self.airflow.postgres.dsn(database))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            texts = []
            for (table,) in cursor.fetchall():
                cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")
                texts += [text for (text,) in cursor.fetchall()]
        return "\n".join(texts)

    def command(self, *arguments: str) -> tuple[int, list[dict[str, str]]]:
        """Exit code and rows of a command `airflow mlpipe …`."""
        command = [sys.executable, "-m", "airflow", "mlpipe", *arguments, "--output", "json"]
        environment = self.airflow._process_environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        shown = done.stdout.splitlines()
        return done.returncode, json.loads(shown[-1]) if shown and done.returncode != 1 else []


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="mlpipe-plan-"))
    root.chmod(0o755)  # Postgres' user must get through
    for name in ("barriers", "dags"):
        (root / name).mkdir()
    (root / "dags" / "planned.py").write_text(DAG_FILE.replace("{root}", str(root)))
    word_count.write(root / "dags", texts=root / "texts", pipeline_root=root / "words")
    environment = {"MLPIPE_BARRIERS": str(root / "barriers"), "PYTHONPATH": str(PARTS)}
    with LocalAirflow(root / "state", root / "dags", port=0, durable=False, environment=environment) as airflow:
        yield Place(root, airflow)
    shutil.rmtree(root)


def test_a_cached_run_costs_one_task_and_a_cleared_one_decides_anew(place: Place) -> None:
    first = place.run("planned")
    assert "Make  run       first run" in place.log("planned", first, "plan")
    again = place.run("planned")
    assert place.states("planned", again) == {"plan": "success", "Make": "skipped", "Use": "skipped"}
    assert place.executions("planned", again) == [
        ("Make", 0, ExecutionState.CACHED),
        ("Use", 0, ExecutionState.CACHED),
    ]
    assert "Use   hit       equal to execution" in place.log("planned", again, "plan")
    place.clear("planned", again, "Use")
    wait_for(lambda: place.states("planned", again)["Use"] == "success")
    place.succeeds("planned", again)
    assert place.executions("planned", again)[2:] == [("Use", 1, ExecutionState.CACHED)]
    place.clear("planned", again, "plan", "Make", "Use")
    wait_for(lambda: len(place.executions("planned", again)) == 5)
    place.succeeds("planned", again)
    assert place.states("planned", again) == {"plan": "success", "Make": "skipped", "Use": "skipped"}


def test_a_dag_file_has_components_and_types_of_its_own(place: Place) -> None:
    run_id = place.run("word_count")
    assert place.states("word_count", run_id)["Second"] == "success"
    tallies = place.store.latest_artifacts("WordTally", pipeline="word_count", limit=2)
    assert [tally.properties["words"] for tally in tallies] == [2, 4]
    code, planned = place.plan_command("word_count")
    assert code == 2
    assert [(each["component"], each["verdict"]) for each in planned][:2] == [
        ("Corpus", "resolved"),
        ("WordCount", "hit"),
    ]


def test_a_connection_made_by_the_rest_api_is_found_by_tasks_and_commands(place: Place) -> None:
    known = place.airflow._connection()
    dsn = place.airflow.postgres.create_database("elsewhere")
    upgrade(dsn)
    place.airflow._call("POST", "connections", known | {"connection_id": "elsewhere", "schema": "elsewhere"})
    run_id = place.run("elsewhere")
    code, found = place.command("runs", "--conn-id", "elsewhere")
    assert code == 0
    assert {(each["run_id"], each["component"]) for each in found} == {(run_id, "Make"), (run_id, "Use")}
    assert not place.store.executions(pipeline="elsewhere").items
    status, planned = place.plan_command("elsewhere")
    assert (status, [row["verdict"] for row in planned]) == (0, ["hit", "hit"])


def test_a_secret_is_nowhere_but_where_it_is_kept(place: Place) -> None:
    """Not in the databases, the logs and the other files of this Airflow, in arguments, or in what is shown."""
    first, second, note = (token_hex(16) for _ in range(3))
    (place.root / "loud.py").write_text(LOUD.replace("{root}", str(place.root)))
    (place.root / "secrets").write_text(f"{first} {note}")
    vault = {"connection_id": "vault", "conn_type": "generic", "password": first}
    place.airflow._call("POST", "connections", vault)
    place.airflow._call("POST", "variables", {"key": "note", "value": note})
    place.run("quiet")
    failed = place.airflow.trigger("loud")
    assert place.airflow.wait("loud", failed, timeout=PATIENCE) == "failed"
    log = place.log("loud", failed, "Make")
    assert f"they are *** {note}" in log  # what the user's code prints is for Airflow to mask: not every Variable
    assert "ValueError: not *** " in log
    (execution,) = place.of_component("loud", "Make")
    assert "ValueError: not *** ***" in str(execution.error)
    assert place.plan_command("quiet")[1][0]["verdict"] == "hit"
    place.airflow._call("PATCH", "connections/vault?update_mask=password", vault | {"password": second})
    planned = place.plan_command("quiet")[1]
    assert planned[0]["reason"] == "parameter words[0] changed"
    assert place.airflow._call("GET", "assets/events?source_dag_id=quiet")["asset_events"]

    commands = " ".join(" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    store, told = place.rows("mlpipe"), json.dumps([planned, place.command("runs")[1]]) + commands
    for secret in (first, second):
        assert secret not in told + log + store + place.rows("airflow")
        assert not [file for file in files_below(place.root / "state") if secret.encode() in file.read_bytes()]
    assert note not in told + store


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_consumer_of_an_outlet_runs_for_what_is_new(place: Place) -> None:
    first = place.run("announced", text="announced first")
    place.run("announced", text="announced first")
    changed = place.run("announced", text="announced then")
    events = place.airflow._call("GET", "assets/events?source_dag_id=announced&order_by=timestamp")["asset_events"]
    assert [event["source_run_id"] for event in events] == [first, changed]


def test_the_command_shows_the_same_without_running(place: Place) -> None:
    place.run("planned")
    before = len(place.store.executions().items)
    status, rows = place.plan_command("planned")
    assert status == 0
    assert [(row["component"], row["verdict"]) for row in rows] == [("Make", "hit"), ("Use", "hit")]
    status, rows = place.plan_command("planned", '{"text": "never seen"}')
    assert status == 2
    assert [row["reason"] for row in rows] == ['parameter text "hello" → "never seen"', "waits for Make"]
    assert place.plan_command("no_such_dag")[0] == 1
    assert len(place.store.executions().items) == before


def test_what_is_below_a_miss_decides_itself(place: Place) -> None:
    run_id = place.run("planned", text="other")
    log = place.log("planned", run_id, "plan")
    assert 'Make  run       parameter text "hello" → "other"' in log
    assert "Use   unknown   waits for Make" in log
    assert place.states("planned", run_id) == {"plan": "success", "Make": "success", "Use": "success"}


def test_a_hit_that_another_kind_of_task_follows_succeeds_at_once(place: Place) -> None:
    place.run("followed")
    again = place.run("followed")
    states = place.states("followed", again)
    assert states == {"plan": "success", "Make": "success", "Use": "skipped", "notify": "success"}
    assert "Make: as planned, equal to execution" in place.log("followed", again, "Make")
    assert [how for _, _, how in place.executions("followed", again)] == [ExecutionState.CACHED] * 2
    place.clear("followed", again, "Make")
    wait_for(lambda: len(place.executions("followed", again)) == 3)
    place.succeeds("followed", again)
    assert "Make: cached, equal to execution" in place.log("followed", again, "Make", 2)


def test_what_is_below_a_skipped_task_of_another_kind_is_skipped(place: Place) -> None:
    run_id = place.run("guarded")
    assert set(place.states("guarded", run_id).values()) == {"skipped"}
    assert "Make is skipped, since plan was skipped" in place.log("guarded", run_id, "Make")
    assert not place.executions("guarded", run_id)


def test_a_run_that_is_made_again_is_another_run(place: Place) -> None:
    place.run("planned")
    run_id = place.run("planned")
    assert set(place.states("planned", run_id).values()) == {"success", "skipped"}
    place.make_again("planned", run_id, text="of the second life")
    assert set(place.states("planned", run_id).values()) == {"success"}
    newest = place.of_component("planned", "Make")[0]
    assert (newest.run_id, newest.properties["text"]) == (run_id, "of the second life")
    place.clear("planned", run_id, "Use")  # it still is the same run
    wait_for(lambda: place.of_component("planned", "Use")[0].try_number == 2)
    place.succeeds("planned", run_id)
    assert place.of_component("planned", "Use")[0].run_key == newest.run_key


def test_what_a_task_published_before_it_was_marked_failed_is_not_read(place: Place) -> None:
    run_id = place.run("unplanned")
    (first,) = place.of_component("unplanned", "Maybe")
    assert place.store.execution_artifacts(first.id, "INPUT").keys() == {"examples"}
    place.airflow._call("PATCH", f"dags/unplanned/dagRuns/{run_id}/taskInstances/Make", {"new_state": "failed"})
    place.clear("unplanned", run_id, "Maybe")
    wait_for(lambda: len(place.of_component("unplanned", "Maybe")) == 2)
    place.succeeds("unplanned", run_id)
    assert place.states("unplanned", run_id)["Make"] == "failed"
    assert not place.store.execution_artifacts(place.of_component("unplanned", "Maybe")[0].id, "INPUT")


def test_a_task_above_the_plan_that_skips_after_a_clear_skips_all(place: Place) -> None:
    place.run("gated", text="gated")
    run_id = place.run("gated", text="gated")
    shut = place.barriers.parent / "shut"
    shut.touch()
    before = place.executions("gated", run_id)
    place.clear("gated", run_id, "gate", "plan", "Make", "Use")
    wait_for(lambda: place.states("gated", run_id)["gate"] == "skipped")
    place.succeeds("gated", run_id)
    assert set(place.states("gated", run_id).values()) == {"skipped"}
    assert place.executions("gated", run_id) == before
    shut.unlink()
    place.clear("gated", run_id, "gate", "plan", "Make", "Use")
    wait_for(lambda: place.states("gated", run_id)["gate"] == "success")
    place.succeeds("gated", run_id)
    assert place.states("gated", run_id) == {"gate": "success", "plan": "success", "Make": "skipped", "Use": "skipped"}


def test_a_partial_run_takes_the_rest_from_an_earlier_one(place: Place) -> None:
    earlier = place.run("planned", text="of the earlier run")
    run_id = place.run("planned", text="not looked at", from_components=["Use"])
    assert place.states("planned", run_id) == {"plan": "success", "Make": "skipped", "Use": "skipped"}
    assert f"Make  taken     from run {earlier}" in place.log("planned", run_id, "plan")
    taken = place.of_component("planned", "Make")[0]
    assert (taken.run_id, taken.environment) == (run_id, {"taken_from_run": earlier})
    assert taken.properties["text"] == "of the earlier run"


@pytest.mark.parametrize("barrier", ["plan.before_commit", "plan.committed", "plan.before_skip"])
def test_a_plan_that_is_killed_is_committed_once(place: Place, barrier: str) -> None:
    place.run("planned")
    place.hold(barrier)
    run_id = place.airflow.trigger("planned")
    os.kill(place.wait_at(barrier), signal.SIGKILL)
    place.release(barrier)
    place.succeeds("planned", run_id)
    assert place.states("planned", run_id) == {"plan": "success", "Make": "skipped", "Use": "skipped"}
    assert [how for _, _, how in place.executions("planned", run_id)] == [ExecutionState.CACHED] * 2


def test_of_concurrent_runs_one_executes_and_the_others_wait_without_a_slot(place: Place) -> None:
    place.hold("executor.inside.0")
    runs = [place.airflow.trigger("shared", {"text": "single flight"}) for _ in range(6)]
    place.wait_at("executor.inside.0")
    wait_for(lambda: sorted(str(place.states("shared", run)["Make"]) for run in runs) == ["deferred"] * 5 + ["running"])
    place.release("executor.inside.0")
    for run in runs:
        place.succeeds("shared", run)
    for component_id in ("Make", "Use"):
        made = [each.state for each in place.of_component("shared", component_id)]
        assert sorted(made) == [ExecutionState.CACHED] * 5 + [ExecutionState.COMPLETE]


def test_when_the_one_that_executes_dies_another_takes_over(place: Place) -> None:
    place.hold("executor.inside.0")
    runs = [place.airflow.trigger("shared", {"text": "taking over"}) for _ in range(2)]
    executor = place.wait_at("executor.inside.0")
    wait_for(lambda: sorted(str(place.states("shared", run)["Make"]) for run in runs) == ["deferred", "running"])
    os.kill(executor, signal.SIGKILL)
    place.release("executor.inside.0")
    for run in runs:
        place.succeeds("shared", run)
    made = [each.state for each in place.of_component("shared", "Make") if each.properties["text"] == "taking over"]
    assert made.count(ExecutionState.COMPLETE) == 1
    assert made.count(ExecutionState.FAILED) == 1
