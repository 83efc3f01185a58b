"""A window of 28 days: what a run costs when all days are new, when one is, and when none is; and a plan among 1,000.

The runs are of `flight_spans`, through Airflow's scheduler; seconds are the tasks', as Airflow counts them. The plan is
of two components over a folder and a store with 1,000 days: for a window of 28 of them, and for all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/parts"))

from named_runs import named_run
from tables import table

from airflow_provider_mlpipe import ParquetExampleGenOperator, StatisticsGenOperator, create_dag
from airflow_provider_mlpipe.artifacts import Artifact, FileSummary
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.planning.planner import preview
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.storage.digests import tree_summary

DAGS = Path(__file__).parent.parent / "dags"
TASKS = ("ParquetExampleGen", "StatisticsGen", "ExampleValidator", "Transform", "Trainer")
DAYS = 1000
WINDOWS = (28, DAYS)


def runs() -> Iterator[tuple[str, ...]]:
    """Per task its seconds in a run of a new window, and in one with a new day."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres' user must get through
        environment = {"MLPIPE_HOME": str(root), "FLIGHT_SPANS_POLL_SECONDS": "1"}
        with LocalAirflow(root / "state", DAGS, port=0, environment=environment) as airflow:
            whole = seconds(airflow, airflow.trigger("flight_spans"))
            airflow.unpause_file_of("flight_spans")
            airflow.trigger("flight_spans_play", {"days": 1})
            airflow.wait_until(lambda: len(airflow.runs("flight_spans")) == 2, "no run began")
            one = seconds(airflow, airflow.runs("flight_spans")[1])
    for name in TASKS:
        yield name, f"{whole[name]:.1f}", f"{one[name]:.1f}", f"1/{whole[name] / one[name]:.0f}"


def seconds(airflow: LocalAirflow, run_id: str) -> dict[str, float]:
    """What each task of a run took, when it has ended."""
    state = airflow.wait("flight_spans", run_id, timeout=3600)
    assert state == "success", f"the run {run_id} ended: {state}"
    return {task.task_id: task.seconds or 0.0 for task in airflow.task_instances("flight_spans", run_id)}


def plans() -> Iterator[tuple[str, ...]]:
    """Seconds of a plan that is all hits, by the size of the window."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postgres' user must get through
        with EmbeddedPostgres(root / "postgres") as server:
            dsn = server.create_database("spans")
            upgrade(dsn)
            yield from plans_in(root, MetadataStore(dsn))


def plans_in(root: Path, store: MetadataStore) -> Iterator[tuple[str, ...]]:
    """The same, in a folder and a store."""
    write_days(root / "data")
    whole = components(root, store, DAYS)
    publish_all(whole, store)
    for window in WINDOWS:
        dag = components(root, store, window)
        began = time.perf_counter()
        nodes = preview(dag, store, preview_context(dag, {}), plan_task_id="plan")
        took = time.perf_counter() - began
        assert [node.verdict.value for node in nodes] == ["hit", "hit"], [node.reason for node in nodes]
        yield f"two components, {window:,} of {DAYS:,} days", f"{took:.2f} s"


def write_days(data: Path) -> None:
    """A small file for each day."""
    for number in range(DAYS):
        day = data / (date(2020, 1, 1) + timedelta(days=number)).isoformat()
        day.mkdir(parents=True)
        (day / "a.parquet").write_bytes(b"what a plan only hashes" * 40 + str(number).encode())


def components(root: Path, store: MetadataStore, window: int) -> Any:
    """An ExampleGen over the last days, and the statistics of each."""
    example_gen = ParquetExampleGenOperator(
        input_base=str(root / "data"),
        input_config={"splits": [{"name": "all", "pattern": "{YYYY}-{MM}-{DD}/*"}]},
        range_config={"rolling_range": {"num_spans": window}},
    )
    statistics_gen = StatisticsGenOperator(examples=example_gen.outputs["examples"])
    dag = create_dag("days", [example_gen, statistics_gen], pipeline_root=str(root / "pipeline"))
    for node in (example_gen, statistics_gen):
        node.store = store
    return dag


def publish_all(dag: Any, store: MetadataStore) -> None:
    """Publishes every part, as if an executor had written a small file."""
    context = preview_context(dag, {}, run=named_run("days", "first"))
    made: dict[str, list[Artifact]] = {}
    for task_id in ("ParquetExampleGen", "StatisticsGen"):
        copy = dag.get_task(task_id).rendered(context, {"examples": made.get("examples", [])})
        for part in copy.parts_of(copy.component_run(context)):
            claim = store.start_execution(copy.decide(store, part).start)
            ((key, (pending,)),) = copy._make_outputs(part, claim).items()
            Path(pending.uri, "data").write_text(task_id)
            files: FileSummary = tree_summary(Path(pending.uri))
            output = type(pending)(uri=pending.uri, properties=pending.properties, digest=files.digest, files=files)
            made.setdefault(key, []).extend(store.publish(claim, {key: [output]})[key])
        if task_id == "ParquetExampleGen":
            copy._digests.remember()


if __name__ == "__main__":
    print(table(["plan", "seconds"], list(plans())))
    if sys.argv[1:] != ["plan"]:
        print(table(["task", "28 new days, s", "one new day, s", "ratio"], list(runs())))
