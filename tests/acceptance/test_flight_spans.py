"""The example DAG `flight_spans` through the scheduler: days arrive, each has one run, a drifted day stops early."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flights import days
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage.spans import date_span

pytestmark = [pytest.mark.airflow, pytest.mark.heavy]

DAGS = Path(__file__).parents[2] / "dags"
WINDOW = 3
ARRIVING = range(WINDOW, WINDOW + 3)
SETTINGS = {"FLIGHT_SPANS_WINDOW": str(WINDOW), "FLIGHT_SPANS_STEPS": "40", "FLIGHT_SPANS_POLL_SECONDS": "1"}
UNPAUSED = ("flight_arrivals", "flight_spans")


class Place:
    """One Airflow with the example DAGs, and the days of its flights."""

    def __init__(self, root: Path, airflow: LocalAirflow) -> None:
        self.airflow = airflow
        self.data = root / "mlpipe" / "data" / "flight_days"
        self.serving = root / "mlpipe" / "serving" / "flight_spans"
        self.store = MetadataStore(airflow.mlpipe_dsn)

    def run_of(self, day: date) -> dict[str, Any]:
        """The one run of a day, when it has ended."""

        def found() -> list[dict[str, Any]]:
            runs: list[dict[str, Any]] = self.airflow._call("GET", "dags/flight_spans/dagRuns?limit=100")["dag_runs"]
            return [run for run in runs if run["partition_key"] == day.isoformat()]

        wait_for(lambda: any(run["state"] in ("success", "failed") for run in found()), PATIENCE)
        (run,) = found()
        return run

    def failure(self, run: dict[str, Any]) -> str:
        """The logs of what failed, to be shown by an assertion."""
        tasks = self.airflow.task_instances("flight_spans", run["dag_run_id"])
        failed = [task.task_id for task in tasks if task.state == "failed"]
        return "\n".join(self.airflow.task_log("flight_spans", run["dag_run_id"], name)[-3000:] for name in failed)

    def states(self, run: dict[str, Any]) -> dict[str, str | None]:
        tasks = self.airflow.task_instances("flight_spans", run["dag_run_id"])
        return {task.task_id: task.state for task in tasks}

    def made(self, run: dict[str, Any], component_id: str) -> list[ExecutionState]:
        found = self.store.executions(run_id=run["dag_run_id"], component_id=component_id).items
        return [execution.state for execution in reversed(found)]

    def output(self, run: dict[str, Any], component_id: str, key: str) -> Any:
        (execution,) = self.store.executions(run_id=run["dag_run_id"], component_id=component_id).items
        (artifact,) = self.store.execution_artifacts(execution.id, "OUTPUT")[key]
        return artifact

    def served(self) -> list[str]:
        return sorted(path.name for path in self.serving.glob("[0-9]*"))


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="mlpipe-flight-spans-"))
    root.chmod(0o755)  # Postgres' user must get through
    environment = {**SETTINGS, "MLPIPE_HOME": str(root / "mlpipe"), "TMPDIR": str(root / "tmp")}
    (root / "tmp").mkdir()
    days.arrive(root / "mlpipe" / "data" / "flight_days", [days.day(number) for number in range(WINDOW)])
    with LocalAirflow(root / "state", DAGS, port=0, durable=False, environment=environment) as airflow:
        for dag_id in UNPAUSED:
            airflow.wait_for_dag(dag_id)
            airflow._call("PATCH", f"dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
        yield Place(root, airflow)
    if not request.session.testsfailed:
        shutil.rmtree(root)


def test_each_day_that_arrives_has_one_run_in_which_only_that_day_is_worked_on(place: Place) -> None:
    for number in ARRIVING:
        days.arrive(place.data, [days.day(number)])
        run = place.run_of(days.day(number))
        assert run["state"] == "success", place.failure(run)
        old = [ExecutionState.CACHED] * (WINDOW - 1) if number > WINDOW else [ExecutionState.COMPLETE] * (WINDOW - 1)
        for component_id in ("ParquetExampleGen", "StatisticsGen", "ExampleValidator"):
            assert place.made(run, component_id) == [*old, ExecutionState.COMPLETE]
        assert place.made(run, "DayBefore") == [ExecutionState.COMPLETE]
        assert place.output(run, "Trainer", "model").properties["span"] == date_span(days.day(number))
        log = place.airflow.task_log("flight_spans", run["dag_run_id"], "Transform")
        assert ("Analyzer cache: 0 of" in log) == (number == WINDOW)


def test_the_champion_is_replaced_by_what_is_not_worse(place: Place) -> None:
    """A model that is pushed was blessed against the champion, and one that was not blessed leaves it alone."""
    verdicts: list[int] = []
    for number in ARRIVING:
        run = place.run_of(days.day(number))
        trainer = place.store.executions(run_id=run["dag_run_id"], component_id="Trainer").items[0]
        base = place.store.execution_artifacts(trainer.id, "INPUT").get("base_model", [])
        assert bool(base) == any(verdicts)  # the last blessed model, of an earlier day
        assert all(one.properties["span"] < date_span(days.day(number)) for one in base)
        verdicts.append(place.output(run, "Evaluator", "blessing").properties["blessed"])
        pushed = place.output(run, "Pusher", "pushed_model").properties
        assert pushed["pushed"] == verdicts[-1], pushed["reason"]
    assert any(verdicts)
    assert len(place.served()) == sum(verdicts)


def test_a_day_that_drifted_stops_before_transform(place: Place) -> None:
    """Its flights are three times as long."""
    served, day, staged = place.served(), days.day(ARRIVING[-1] + 1), place.data.with_name("staged")
    days.arrive(staged, [day])
    file = staged / f"{day:%Y%m%d}" / "flights.parquet"
    table = pq.read_table(file)
    place_of = table.column_names.index("distance")
    longer = table.column("distance").to_pandas() * 3
    pq.write_table(table.set_column(place_of, "distance", [longer]), file)
    file.parent.rename(place.data / file.parent.name)
    run = place.run_of(day)
    assert run["state"] == "failed"
    states = place.states(run)
    assert states["DayBefore"] == "failed"
    assert {states[name] for name in ("Transform", "Trainer", "Evaluator", "Pusher")} == {"upstream_failed"}
    (execution,) = place.store.executions(run_id=run["dag_run_id"], component_id="DayBefore").items
    assert "distance" in str(execution.error)
    assert place.served() == served
