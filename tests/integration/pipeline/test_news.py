"""A task's outlets get an event for a new publication, and for nothing else, with a plan and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import parts
import pytest
from airflow.sdk import DAG, Asset
from little_airflow import LittleAirflow
from planned import Pipeline

from airflow_provider_mlpipe.artifacts import Examples, PushedModel
from airflow_provider_mlpipe.components.importer.operator import ImporterOperator
from airflow_provider_mlpipe.components.pusher.operator import PusherOperator
from airflow_provider_mlpipe.pipeline.node import NodeOperator

Author = Callable[..., DAG]


@pytest.fixture(params=["planned", "unplanned"])
def author(request: pytest.FixtureRequest, pipeline: Pipeline) -> Author:
    """Makes a DAG with a plan or without one."""

    def made(*nodes: NodeOperator) -> DAG:
        if request.param == "planned":
            return pipeline.dag(*nodes)
        dag = DAG("d", schedule=None)
        for node in nodes:
            node.pipeline_root = str(pipeline.root)
            dag.add_task(node)
            node.wire()
        return dag

    return made


@pytest.fixture
def airflow(pipeline: Pipeline) -> LittleAirflow:
    return LittleAirflow(pipeline.store)


def chain(text: str = "a") -> list[NodeOperator]:
    make = parts.MakeOperator(text=text, outlets=[Asset("examples")])
    return [make, parts.UseOperator(examples=make.outputs["examples"], outlets=[Asset("model")])]


def test_a_new_publication_sends_events_and_a_hit_none(author: Author, airflow: LittleAirflow) -> None:
    airflow.trigger(author(*chain()), "first")
    airflow.trigger(author(*chain()), "again")
    airflow.trigger(author(*chain("b")), "other")
    assert airflow.runs["first"].events == ["examples", "model"]
    assert airflow.runs["again"].events == []
    assert airflow.runs["other"].events == ["examples", "model"]


def test_a_hit_whose_task_runs_sends_none(author: Author, airflow: LittleAirflow) -> None:
    def followed() -> DAG:
        dag = author(parts.MakeOperator(outlets=[Asset("examples")]))
        own = parts.MakeOperator(task_id="own", text="own", trigger_rule="all_success")
        dag.add_task(own)
        dag.get_task("Make") >> own
        own.pipeline_root, own.store = dag.get_task("Make").pipeline_root, airflow.store
        return dag

    airflow.trigger(followed(), "first")
    airflow.trigger(followed(), "again")
    assert airflow.runs["first"].events == ["examples"]
    assert airflow.runs["again"].states["Make"] == "success"
    assert airflow.runs["again"].events == []


def test_a_task_that_is_cleared_sends_no_second_event(author: Author, airflow: LittleAirflow) -> None:
    airflow.trigger(author(*chain()), "run")
    airflow.clear(author(*chain()), "run", "Make")
    assert airflow.runs["run"].events == ["examples", "model"]


def test_a_retry_sends_what_a_try_that_died_did_not(author: Author, airflow: LittleAirflow) -> None:
    airflow.trigger(author(*chain()), "run")
    airflow.runs["run"].events.clear()  # as if it had died after it published, and before Airflow knew
    airflow.retry(author(*chain()), "run", "Make")
    assert airflow.runs["run"].events == ["examples"]


def test_an_importer_sends_an_event_for_new_content_only(
    author: Author, airflow: LittleAirflow, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "0.txt"
    file.write_text("a")

    def imported() -> DAG:
        importer = ImporterOperator(source_uri=str(file.parent), artifact_type=Examples, outlets=[Asset("data")])
        return author(importer, parts.UseOperator(examples=importer.outputs["result"]))

    airflow.trigger(imported(), "first")
    airflow.trigger(imported(), "again")
    file.write_text("b")
    airflow.trigger(imported(), "changed")
    events = {run_id: run.events for run_id, run in airflow.runs.items()}
    assert events == {"first": ["data"], "again": [], "changed": ["data"]}


def test_a_refused_push_is_not_worth_an_event() -> None:
    importer = ImporterOperator(source_uri="/model", artifact_type="Model")
    pusher = PusherOperator(
        model=importer.outputs["result"], push_destination={"filesystem": {"base_directory": "/srv"}}
    )
    pushed, refused = ({"pushed_model": [PushedModel(uri="/push", properties={"pushed": number})]} for number in (1, 0))
    assert pusher.is_worth_an_event(pushed)
    assert not pusher.is_worth_an_event(refused)
