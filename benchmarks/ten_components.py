"""A DAG of ten components that have run, whose plan is all hits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import DAG
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Artifact, Model
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.dag_factory import create_dag
from airflow_provider_mlpipe.pipeline.spec import OptionalInput, Value
from airflow_provider_mlpipe.planning.plan_task import PLAN_TASK_ID
from airflow_provider_mlpipe.planning.planner import Plan
from airflow_provider_mlpipe.planning.preview import preview_context

COMPONENTS = 10
DAG_ID = "ten_components"


class StepOperator(ComponentOperator):
    """Reads the model of the step before, and writes one of its own."""

    EXECUTOR = "ten_components:run"
    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"model": Model}

    def __init__(self, *, before: OptionalInput[Model] = None, number: Value[int] = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.before = before
        self.number = number


def run(*, before: Model | None, number: int, model: Model, context: ExecutorContext) -> None:
    """The executor of a step."""
    Path(model.uri, "number.txt").write_text(str(number))


def ten_components(root: Path) -> DAG:
    """The chain."""
    steps = [StepOperator(task_id="step_0")]
    for number in range(1, COMPONENTS):
        before = steps[-1].outputs["model"]
        steps.append(StepOperator(task_id=f"step_{number}", before=before, number=number))
    return create_dag(DAG_ID, steps, pipeline_root=str(root))


def run_all(dag: DAG, store: MetadataStore) -> None:
    """Executes and publishes every component."""
    context = preview_context(dag, {}, run=named_run(DAG_ID, "first"))
    made: dict[str, Any] = {}
    for step in dag.topological_sort():
        if isinstance(step, StepOperator):
            step.store = store
            copy = step.rendered(context, {"before": made.get("model", [])})
            made = dict(copy.run_node(copy.component_run(context)))


def commit_plan(dag: DAG, store: MetadataStore, run_id: str) -> None:
    """Plans a run, and commits the plan with its ten hits."""
    context = preview_context(dag, {}, run=named_run(DAG_ID, run_id))
    plan = Plan(dag, store, context, plan_task_id=PLAN_TASK_ID)
    assert sum(node.is_skipped for node in plan.nodes) == COMPONENTS
    assert plan.commit(clear=0)
