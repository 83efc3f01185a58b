"""A task renders its templates and then runs, as Airflow calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException
from named_runs import named_run
from parts import MakeOperator
from planned import Pipeline

from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.planning.preview import preview_context


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(database, tmp_path / "root")
    yield made
    made.store.close()


def execute(pipeline: Pipeline, params: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """What the task of a Make with these parameters returns in a run with these Params."""
    context = preview_context(pipeline.dag(MakeOperator(), params=params), {}, run=named_run("d", "run"))
    with DAG("d", schedule=None):
        make = MakeOperator(task_id="rendered", pipeline_root=str(pipeline.root), **parameters)
    task = make.prepare_for_execution()
    task.__dict__["store"] = pipeline.store
    task.render_template_fields(context)
    found: dict[str, Any] = task.execute(context)
    return found


def test_a_gate_that_is_rendered_false_is_open_and_equal_settings_hit(pipeline: Pipeline) -> None:
    rendered = {"files": "{{ params.files }}", "words": ["{{ params.word }}"], "shut": "{{ params.shut }}"}
    (first,) = execute(pipeline, {"files": 2, "word": "a", "shut": False}, **rendered)["examples"]
    (again,) = execute(pipeline, {}, files=2.0, words=("a",), shut="false")["examples"]
    assert first["properties"]["record_counts"] == {"train": 2}
    assert again["id"] == first["id"]
    newest, *_ = pipeline.store.executions(component_id="rendered").items
    assert (newest.properties["files"], newest.properties["words"]) == (2, ["a"])


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("{{ params.n }}", "InvalidInputError: rendered: files takes an int, but got 'many'"),
        (RuntimeParameter("n", int), "InvalidInputError: parameter 'n' takes an int or None, but got 'many'"),
    ],
)
def test_a_wrong_value_fails_the_task_without_a_retry(pipeline: Pipeline, parameter: Any, says: str) -> None:
    with pytest.raises(AirflowFailException) as failed:
        execute(pipeline, {"n": Param("many")}, files=parameter)
    assert str(failed.value) == says
