"""Which components are forked from a warm parent, and that a plan starts one for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_for

from airflow_provider_mlpipe import (
    CsvExampleGenOperator,
    ImportSchemaGenOperator,
    PusherOperator,
    StatisticsGenOperator,
    TrainerOperator,
    create_dag,
)
from airflow_provider_mlpipe.execution import linux, warm
from airflow_provider_mlpipe.metadata.store import PlannedTask
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.planning.plan_task import PlanOperator
from airflow_provider_mlpipe.settings import airflow_home

pytestmark = pytest.mark.skipif(not linux.IS_LINUX, reason="a warm parent needs Linux")


@pytest.fixture
def components() -> list[ComponentOperator]:
    example_gen = CsvExampleGenOperator(input_base="/data")
    examples = example_gen.outputs["examples"]
    trainer = TrainerOperator(examples=examples, module_file="/code/model.py", train_args={"num_steps": 1})
    destination = {"filesystem": {"base_directory": "/serving"}}
    return [
        example_gen,
        StatisticsGenOperator(examples=examples),
        ImportSchemaGenOperator(schema_file="/data/schema.pbtxt"),
        trainer,
        PusherOperator(model=trainer.outputs["model"], push_destination=destination),
    ]


def warm_ones(components: list[ComponentOperator]) -> set[str]:
    return {component.task_id for component in components if component.warm_parent() is not None}


def test_who_needs_tensorflow_starts_warm(components: list[ComponentOperator]) -> None:
    assert warm_ones(components) == {"StatisticsGen", "Trainer"}


@pytest.mark.parametrize(
    ("name", "value"), [("AIRFLOW__MLPIPE__WARM_PARENT_IDLE_SECONDS", "0"), ("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")]
)
def test_where_nobody_does(
    components: list[ComponentOperator], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not warm_ones(components)


@pytest.fixture
def parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(linux, "free_memory", lambda: 1.0)  # whatever else runs here
    yield warm.default_folder()
    warm.stop(airflow_home())


@pytest.mark.parametrize(
    ("verdicts", "is_started"),
    [
        ({"CsvExampleGen": "run", "StatisticsGen": "unknown", "Trainer": "hit"}, True),
        ({"StatisticsGen": "run"}, True),
        ({"CsvExampleGen": "run", "StatisticsGen": "hit", "Trainer": "left out", "Pusher": "run"}, False),
    ],
)
def test_a_plan_starts_a_parent_if_one_may_be_needed(
    components: list[ComponentOperator], parents: Path, verdicts: dict[str, str], is_started: bool
) -> None:
    plan = create_dag("warm", components, pipeline_root="/root").get_task("plan")
    assert isinstance(plan, PlanOperator)
    plan._warm_up([planned(component_id, verdict) for component_id, verdict in verdicts.items()])
    assert parents.exists() == is_started
    if is_started:
        wait_for(lambda: warm.parents(airflow_home()))


def planned(component_id: str, verdict: str) -> PlannedTask:
    return PlannedTask(component_id=component_id, verdict=verdict, reason="", is_skipped=False, part_set=None)
