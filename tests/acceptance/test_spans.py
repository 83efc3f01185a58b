"""Spans in a real Airflow: files arrive, each day gets one run, whatever is killed; and backfills."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from chaos import IMPATIENT, Chaos
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState
from airflow_provider_mlpipe.storage.spans import date_span

pytestmark = pytest.mark.airflow

PARTS = Path(__file__).parent.parent / "parts"
DAG_FILE = """
from datetime import datetime, timedelta

import parts
from airflow.sdk import DAG, Asset, AssetWatcher, CronPartitionTimetable, PartitionedAssetTimetable

from airflow_provider_mlpipe import AnnounceSpansOperator, NewSpanTrigger, RunSpan, create_dag

DATA, PATTERN = "{root}/data", "{YYYY}-{MM}-{DD}/*"
RETRY = dict(retries=10, retry_delay=timedelta(seconds=0))
START = datetime(2013, 1, 1)

trigger = NewSpanTrigger(asset="days", input_base=DATA, pattern=PATTERN, poll_seconds=0.5)
files = Asset("files", watchers=[AssetWatcher(name="files", trigger=trigger)])
days = Asset("days")

with DAG("arrivals", schedule=[files], max_active_runs=1, default_args=RETRY, is_paused_upon_creation=False):
    AnnounceSpansOperator(task_id="announce", asset=days, input_base=DATA, pattern=PATTERN)


def chain():
    read = parts.ReadOperator(
        input_base=DATA, input_config={"splits": [{"name": "all", "pattern": PATTERN}]}, span=RunSpan()
    )
    statistics = parts.DescribeOperator(examples=read.outputs["examples"])
    described = statistics.outputs["statistics"]
    compare = parts.CompareOperator(
        statistics=described, before=described.previous(), examples=read.outputs["examples"]
    )
    return [read, statistics, compare]


SETTINGS = dict(pipeline_root="{root}/pipeline", default_args=RETRY, is_paused_upon_creation=False)
by_day = create_dag(
    "by_day", chain(), schedule=PartitionedAssetTimetable(assets=days), max_active_runs=1, **SETTINGS
)
by_date = create_dag(
    "by_date",
    chain(),
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d"),
    start_date=START,
    end_date=datetime(2013, 2, 1),
    catchup=False,
    **SETTINGS,
)
"""
FIRST = date(2013, 1, 2)


class Place(Chaos):
    """One Airflow with these DAGs, whose processes may be killed."""

    def arrive(self, day: date, text: str = "") -> None:
        """A day's file arrives, whole."""
        folder = self.root / "data" / day.isoformat()
        partial = folder.with_name(f".{folder.name}")
        partial.mkdir(parents=True)
        (partial / "a.txt").write_text(text or f"text of {day}")
        partial.rename(folder)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.airflow._call("GET", f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return found

    def keys(self, dag_id: str = "by_day", state: str = "success") -> Counter[str]:
        """How many runs of a DAG with this state each partition key has."""
        return Counter(run["partition_key"] for run in self.runs(dag_id) if run["state"] == state)

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.airflow._call("GET", f"backfills?dag_id={dag_id}")["backfills"]
        return found

    def all_end_well(self, *days: date) -> None:
        """Waits until each day has a run that succeeded, and nothing is under way."""
        wanted = {day.isoformat() for day in days}
        wait_for(lambda: wanted <= self.keys().keys(), PATIENCE)
        wait_for(lambda: not self.airflow.runs("arrivals", ("queued", "running")), PATIENCE)
        wait_for(lambda: not self.airflow.runs("by_day", ("queued", "running")), PATIENCE)

    def made(self, pipeline: str, component_id: str) -> list[Execution]:
        found = self.store.executions(pipeline=pipeline, component_id=component_id, limit=1000).items
        return [execution for execution in found if execution.state is ExecutionState.COMPLETE]

    def spans_read(self, pipeline: str = "by_day") -> Counter[int]:
        """How often each span was read by an executor."""
        outputs = [self.store.execution_artifacts(one.id, "OUTPUT")["examples"] for one in self.made(pipeline, "Read")]
        return Counter(artifact.properties["span"] for artifacts in outputs for artifact in artifacts)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    root = Path(tempfile.mkdtemp(prefix="mlpipe-spans-"))
    root.chmod(0o755)  # Postgres' user must get through
    for name in ("barriers", "dags", "data", "tmp"):
        (root / name).mkdir()
    (root / "dags" / "spans.py").write_text(DAG_FILE.replace("{root}", str(root)))
    environment = IMPATIENT | {
        "MLPIPE_BARRIERS": str(root / "barriers"),
        "PYTHONPATH": str(PARTS),
        "TMPDIR": str(root / "tmp"),
    }
    with LocalAirflow(root / "state", root / "dags", port=0, restart=True, environment=environment) as airflow:
        for dag_id in ("arrivals", "by_day", "by_date"):
            airflow.wait_for_dag(dag_id)
        yield Place(root, airflow, seed=0)
    if not request.session.testsfailed:
        shutil.rmtree(root)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def test_each_day_that_arrives_has_one_run(place: Place) -> None:
    for number in range(3):
        place.arrive(day(number))
        place.all_end_well(day(number))
    assert place.keys() == {day(number).isoformat(): 1 for number in range(3)}
    assert place.spans_read() == {date_span(day(number)): 1 for number in range(3)}
    befores = [
        Path(artifact.uri, "before").read_text()
        for execution in reversed(place.made("by_day", "Compare"))
        for artifact in place.store.execution_artifacts(execution.id, "OUTPUT")["anomalies"]
    ]
    assert befores == ["nothing", f"text of {day(0)}", f"text of {day(1)}"]


def test_days_that_arrive_together_have_a_run_each(place: Place) -> None:
    before = len(place.runs("by_day"))
    for number in range(3, 6):
        place.arrive(day(number))
    place.all_end_well(*map(day, range(3, 6)))
    assert len(place.runs("by_day")) == before + 3
    runs = sorted(place.runs("by_day"), key=lambda run: run["start_date"])
    assert [run["partition_key"] for run in runs] == [day(number).isoformat() for number in range(6)]
    assert max(place.spans_read().values()) == 1


@pytest.mark.parametrize("kind", ["triggerer", "scheduler", "task"])
def test_no_day_is_lost_or_read_twice_when_a_process_is_killed(kind: str, place: Place) -> None:
    number = {"triggerer": 6, "scheduler": 8, "task": 10}[kind]
    with place.held("announce_spans.recorded"):
        place.arrive(day(number))
        announcing = place.wait_at("announce_spans.recorded")
        place.arrive(day(number + 1))
        place._kill(kind, [announcing])
    place.all_end_well(day(number), day(number + 1))
    assert place.keys()[day(number).isoformat()] >= 1
    assert set(place.spans_read().values()) == {1}
    assert place.spans_read().keys() == {date_span(day(earlier)) for earlier in range(number + 2)}


def test_a_backfill_over_dates_is_one_over_spans_and_runs_what_is_missing(place: Place) -> None:
    assert not place.runs("by_date")
    wanted = [day(number).isoformat() for number in range(1, 6)]

    def backfill() -> list[dict[str, Any]]:
        earlier = {run["dag_run_id"] for run in place.runs("by_date")}
        place.airflow._call(
            "POST",
            "backfills",
            {
                "dag_id": "by_date",
                "from_date": f"{wanted[0]}T00:00:00Z",
                "to_date": f"{wanted[-1]}T00:00:00Z",
                "reprocess_behavior": "completed",
                "max_active_runs": 1,
                "dag_run_conf": {},
            },
        )
        wait_for(lambda: all(each["completed_at"] for each in place.backfills("by_date")), PATIENCE)
        assert place.keys("by_date").keys() == set(wanted)
        return [run for run in place.runs("by_date") if run["dag_run_id"] not in earlier]

    assert sorted(run["partition_key"] for run in backfill()) == wanted
    executions = place.store.executions(pipeline="by_date", limit=1000).items
    read = [one for one in executions if one.component_id == "Read"]
    assert [one.state for one in read] == [ExecutionState.CACHED] * 5  # by_day has read them
    made = len(place.made("by_date", "Compare"))
    backfill()
    assert len(place.made("by_date", "Compare")) == made
    assert set(place.spans_read().values()) == {1}
