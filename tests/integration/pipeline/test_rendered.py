"""A task renders its templates and then runs, as Airflow calls it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import AirflowFailException
from named_runs import named_run
from parts import MakeOperator
from planned import Pipeline

from airflow_provider_mlpipe.exceptions import ExecutorFailedError
from airflow_provider_mlpipe.metadata.store import ExecutionState, MetadataStore
from airflow_provider_mlpipe.pipeline.parameters import RuntimeParameter
from airflow_provider_mlpipe.planning.preview import preview_context


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


@pytest.mark.parametrize(
    ("parameters", "error", "says"),
    [
        ({"files": "{{ params.n }}"}, AirflowFailException, "InvalidInputError: rendered: files takes an int, but got"),
        ({"text": "{{ 1 / 0 }}"}, ZeroDivisionError, "ZeroDivisionError: division by zero"),
        ({"module_file": "/nowhere.csv"}, AirflowFailException, "InvalidInputError: .*/nowhere.csv"),
    ],
)
def test_what_fails_before_its_execution_begins_leaves_its_error_and_is_never_a_hit(
    pipeline: Pipeline, parameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    for _ in range(2):  # a try that is told twice has one row
        with pytest.raises(error):
            execute(pipeline, {"n": Param("many")}, **parameters)
    (failed,) = pipeline.store.executions().items
    assert (failed.component_id, failed.state, failed.has_executor) == ("rendered", ExecutionState.FAILED, True)
    assert re.match(says, failed.error or "")
    assert pipeline.store.find_cached(failed.fingerprint) is None
    assert pipeline.store.earlier_parts(pipeline="d", component_id="rendered") == []


def test_a_failing_gate_leaves_its_error_with_what_was_published(pipeline: Pipeline) -> None:
    for state in (ExecutionState.COMPLETE, ExecutionState.CACHED):
        with pytest.raises(AirflowFailException, match="AnomaliesFoundError: the gate is shut"):
            execute(pipeline, {}, shut=True)
        newest, *_ = pipeline.store.executions().items
        assert (newest.state, newest.error) == (state, "AnomaliesFoundError: the gate is shut")
    execute(pipeline, {}, shut=False)
    newest, *_ = pipeline.store.executions().items
    assert (newest.state, newest.error) == (ExecutionState.CACHED, None)


def test_a_store_that_is_away_does_not_hide_the_failure(pipeline: Pipeline) -> None:
    pipeline.store = MetadataStore("postgresql://someone@127.0.0.1:1/nowhere")
    with pytest.raises(ZeroDivisionError):
        execute(pipeline, {}, text="{{ 1 / 0 }}")


def test_a_try_that_has_an_execution_gets_no_second_one(pipeline: Pipeline) -> None:
    with pytest.raises(ExecutorFailedError):
        execute(pipeline, {}, act="raise")
    with pytest.raises(AirflowFailException, match="the gate is shut"):
        execute(pipeline, {}, text="other", shut=True)
    assert [one.state for one in pipeline.store.executions().items] == [ExecutionState.COMPLETE, ExecutionState.FAILED]
