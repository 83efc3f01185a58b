"""ExampleValidator in runs of a DAG: the statistics of the run before, SQL as a part of the fingerprint, the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from planned import Pipeline

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    ExampleValidatorOperator,
    ImportSchemaGenOperator,
    ResolverOperator,
    StatisticsGenOperator,
)
from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import AnomaliesFoundError

pytestmark = pytest.mark.heavy

SCHEMA = """
feature { name: "n" type: INT drift_comparator { jensen_shannon_divergence { threshold: 0.5 } } }
"""
SMALL = {"name": "small", "sql": "SELECT n FROM examples WHERE n >= 50"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    return tmp_path


def write(folder: Path, numbers: range) -> None:
    (folder / "data" / "rows.csv").write_text("\n".join(["n", *map(str, numbers)]) + "\n")


def dag(pipeline: Pipeline, folder: Path, **validator: Any) -> DAG:
    example_gen = CsvExampleGenOperator(input_base=str(folder / "data"))
    statistics = StatisticsGenOperator(examples=example_gen.outputs["examples"])
    schema = ImportSchemaGenOperator(schema_file=str(folder / "schema.pbtxt"))
    previous = ResolverOperator(
        strategy="LatestArtifact", artifact_type="ExampleStatistics", producer_component_id="StatisticsGen"
    )
    checked = ExampleValidatorOperator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        examples=example_gen.outputs["examples"],
        previous_statistics=previous.outputs["result"],
        **validator,
    )
    made = pipeline.dag(example_gen, statistics, schema, previous, checked)
    previous >> statistics  # they run one after the other here, without the plan
    return made


def found(pipeline: Pipeline, run_id: str) -> tuple[str, Artifact]:
    """State and anomalies of the ExampleValidator of a run."""
    executions = pipeline.store.executions(run_id=run_id).items
    (execution,) = (each for each in executions if each.component_id == "ExampleValidator")
    ((anomalies,),) = pipeline.store.execution_artifacts(execution.id, "OUTPUT").values()
    return execution.state.value, anomalies


def test_drift_from_the_run_before(pipeline: Pipeline, folder: Path) -> None:
    write(folder, range(40))
    pipeline.run(dag(pipeline, folder), "first")
    _, anomalies = found(pipeline, "first")
    note = "drift_comparator of n: there are no previous_statistics"
    assert anomalies.properties["blessed"] == {"train": 1, "eval": 1}
    assert anomalies.custom_properties["not_compared"] == {"train": [note], "eval": [note]}
    write(folder, range(100, 140))
    gate = pipeline.run(dag(pipeline, folder, fail_on="ERROR"), "second").get_task("ExampleValidator")
    _, anomalies = found(pipeline, "second")
    assert "not_compared" not in anomalies.custom_properties
    with pytest.raises(AnomaliesFoundError, match="split train, n: ERROR: High approximate Jensen-Shannon divergence"):
        gate.check_gate({"anomalies": [anomalies]})


def test_sql_is_a_part_of_the_fingerprint(pipeline: Pipeline, folder: Path) -> None:
    write(folder, range(100))
    pipeline.run(dag(pipeline, folder, sql_checks=[SMALL]), "first")
    state, anomalies = found(pipeline, "first")
    assert (state, anomalies.properties["blessed"]) == ("COMPLETE", {"train": 0, "eval": 0})
    # The Resolver finds the statistics of the first run now; the third one has the inputs of the second.
    for run_id, expected in (("second", "COMPLETE"), ("third", "CACHED")):
        pipeline.run(dag(pipeline, folder, sql_checks=[SMALL]), run_id)
        assert found(pipeline, run_id)[0] == expected
    changed = SMALL | {"sql": "SELECT n FROM examples WHERE n >= 500", "severity": "WARNING"}
    pipeline.run(dag(pipeline, folder, sql_checks=[changed], fail_on="WARNING"), "fourth")
    state, anomalies = found(pipeline, "fourth")
    assert (state, anomalies.properties["blessed"]) == ("COMPLETE", {"train": 1, "eval": 1})


def test_a_failing_check_shuts_the_gate(pipeline: Pipeline, folder: Path) -> None:
    write(folder, range(100))
    gate = pipeline.run(dag(pipeline, folder, sql_checks=[SMALL], fail_on="ERROR")).get_task("ExampleValidator")
    _, anomalies = found(pipeline, "earlier")
    assert Path(anomalies.uri, "Split-train", "sql_checks.json").exists()
    with pytest.raises(AnomaliesFoundError, match=r"SQL check small: ERROR: Offending rows: \d+ offending rows, the "):
        gate.check_gate({"anomalies": [anomalies]})
