"""docs/spans.md: its examples run."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
import pyarrow as pa
import pyarrow.parquet as pq
from airflow.sdk import DAG
from named_runs import named_run
from pages import text_of
from planned import Pipeline

from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.storage.spans import date_span

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]

BLOCKS = re.findall(r"^```python\n(.*?)^```", text_of("docs/spans.md"), re.MULTILINE | re.DOTALL)
FIRST = date(2026, 1, 1)


def write_day(data: Path, number: int) -> int:
    day = FIRST + timedelta(days=number)
    folder = data / "orders" / f"{day:%Y%m%d}"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"amount": [float(number + row) for row in range(60)]}), folder / "a.parquet")
    return date_span(day)


@pytest.fixture
def pipeline(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("AIRFLOW__MLPIPE__PIPELINE_ROOT", str(tmp_path / "root"))
    return Pipeline(database, tmp_path / "root")


def names_of(block: str, data: Path) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(block.replace("/data/", f"{data}/"), names)
    return names


def test_only_the_new_day_of_the_window_runs(pipeline: Pipeline, tmp_path: Path) -> None:
    def dag() -> DAG:
        found: DAG = pipeline.own(names_of(BLOCKS[0], tmp_path)["dag"])
        return found

    days = [write_day(tmp_path, number) for number in range(3)]
    pipeline.run(dag(), "first")
    found = pipeline.store.run_outputs(named_run("orders", "first"), component_id="StatisticsGen", key="statistics")
    assert [statistics.properties["span"] for statistics in found] == days
    (schema,) = pipeline.store.run_outputs(named_run("orders", "first"), component_id="SchemaGen", key="schema")
    assert Path(schema.uri, "schema.pbtxt").exists()
    used = [
        [one.properties["span"] for one in pipeline.store.execution_artifacts(each.id, "INPUT").get(key, [])]
        for each in reversed(pipeline.store.executions(component_id="ExampleValidator").items)
        for key in ("statistics", "previous_statistics")
    ]
    assert used == [[days[0]], [], [days[1]], [days[0]], [days[2]], [days[1]]]

    new = write_day(tmp_path, 3)
    assert pipeline.plan(dag())["ParquetExampleGen"].reason == f"hit 2 of 3, runs: span {new}; span {new} is new"
    pipeline.run(dag(), "second")
    states = [
        each.state.value
        for each in reversed(pipeline.store.executions(run_id="second", component_id="StatisticsGen").items)
    ]
    assert states == ["CACHED", "CACHED", "COMPLETE"]


def test_a_run_for_a_day_reads_that_day(pipeline: Pipeline, tmp_path: Path) -> None:
    days = [write_day(tmp_path, number) for number in range(3)]
    names = names_of(BLOCKS[1], tmp_path)
    assert names["announce"].get_task("announce").outlets == [names["order_days"]]
    dag = pipeline.own(names["dag"])
    context: Any = preview_context(dag, {}, run=named_run("orders_by_day", "r"))
    context["dag_run"] = context["dag_run"].model_copy(update={"partition_key": "2026-01-02"})
    node = dag.get_task("ParquetExampleGen")
    assert isinstance(node, NodeOperator)
    copy = node.rendered(context, {})
    (examples,) = copy.run_node(copy.component_run(context))["examples"]
    assert examples.properties["span"] == days[1]
    assert sum(examples.properties["record_counts"].values()) == 60
