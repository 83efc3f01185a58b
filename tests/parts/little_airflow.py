"""Runs a DAG's tasks one after the other in this process, by those rules of Airflow that matter to components.

What Airflow keeps of a run (states, XCom, task state, start date, number of clears) is kept here. It ends with the run.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_mlpipe.exceptions import MlpipeError
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.pipeline.node import NodeOperator
from airflow_provider_mlpipe.planning.plan_task import PlanOperator

_moments = itertools.count()


def _now() -> datetime:
    """Each time a later one."""
    return datetime(2030, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=next(_moments))


@dataclass
class Run:
    run_id: str
    started: datetime = field(default_factory=_now)
    clears: int = 0
    states: dict[str, str | None] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    xcom: dict[tuple[str, str], Any] = field(default_factory=dict)
    task_state: dict[tuple[str, str], Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    """The names of the assets of which it sent an event."""
    errors: dict[str, Exception] = field(default_factory=dict)


class LittleAirflow:
    """The runs of one DAG id; the DAG is given anew each time, as Airflow parses it anew."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store
        self.runs: dict[str, Run] = {}

    def trigger(self, dag: DAG, run_id: str) -> None:
        """Runs the DAG. A run that had this id is deleted before."""
        self.runs[run_id] = Run(run_id)
        self._work(dag, self.runs[run_id])

    def clear(self, dag: DAG, run_id: str, *task_ids: str) -> None:
        """Clears these tasks and all below them, and runs them again."""
        run = self.runs[run_id]
        below = {other for task_id in task_ids for other in dag.get_task(task_id).get_flat_relative_ids(upstream=False)}
        for task_id in {*task_ids, *below}:
            run.states[task_id] = None
        run.clears, run.started = run.clears + 1, _now()
        self._work(dag, run)

    def retry(self, dag: DAG, run_id: str, task_id: str) -> None:
        """Runs a task again as after a try that died."""
        self.runs[run_id].states[task_id] = None
        self._work(dag, self.runs[run_id])

    def published(self, dag: DAG, run_id: str) -> dict[str, dict[str, list[str | None]]]:
        """The digests of what each component published, as one that reads it now would see them."""
        return {
            node.task_id: {
                key: [each.digest for each in node.published_outputs(self._context(node, run_id), key)]
                for key in sorted(node.outputs)
            }
            for node in self._nodes(dag)
        }

    def _nodes(self, dag: DAG) -> list[NodeOperator]:
        """The DAG's components; each uses this store."""
        nodes = [task for task in dag.topological_sort() if isinstance(task, NodeOperator)]
        for node in nodes:
            node.store = self.store
        return nodes

    def _work(self, dag: DAG, run: Run) -> None:
        self._nodes(dag)
        for task in dag.topological_sort():
            if run.states.get(task.task_id) is None:
                run.states[task.task_id] = self._by_rule(task, run) or self._execute(task, run)

    def _by_rule(self, task: Any, run: Run) -> str | None:
        """The state that the trigger rule gives the task; None if it lets it run."""
        above = {run.states[task_id] for task_id in task.upstream_task_ids}
        if above & {"failed", "upstream_failed"}:
            return "upstream_failed"
        return "skipped" if task.trigger_rule == "all_success" and "skipped" in above else None

    def _execute(self, task: Any, run: Run) -> str:
        run.tries[task.task_id] = run.tries.get(task.task_id, 0) + 1
        for task_id, key in list(run.xcom):
            if task_id == task.task_id:
                del run.xcom[task_id, key]
        context = self._context(task, run.run_id)
        try:
            if isinstance(task, PlanOperator):
                for planned in task._committed(self.store, context):
                    if planned.is_skipped:
                        run.states[planned.component_id] = "skipped"
                return "success"
            copy = task.prepare_for_execution()
            copy.render_template_fields(context)
            copy.execute(context)
            run.events.extend(asset.name for asset in copy.outlets)
        except AirflowSkipException:
            return "skipped"
        except (AirflowFailException, MlpipeError) as error:
            run.errors[task.task_id] = error
            return "failed"
        return "success"

    def _context(self, task: Any, run_id: str) -> Context:
        run = self.runs[run_id]
        ti = SimpleNamespace(
            task=task,
            dag_id=task.dag_id,
            task_id=task.task_id,
            run_id=run_id,
            map_index=-1,
            try_number=run.tries.get(task.task_id, 0),
            get_task_states=lambda **_: {run_id: dict(run.states)},
            xcom_push=lambda key, value: run.xcom.__setitem__((task.task_id, key), value),
            xcom_pull=lambda task_ids, key: [run.xcom.get((task_id, key)) for task_id in task_ids],
        )
        dag_run = SimpleNamespace(
            start_date=run.started, run_after=run.started, clear_number=run.clears, run_type="manual"
        )
        state = SimpleNamespace(
            get=lambda key: run.task_state.get((task.task_id, key)),
            set=lambda key, value, retention: run.task_state.__setitem__((task.task_id, key), value),
        )
        made: Mapping[str, Any] = {"ti": ti, "dag_run": dag_run, "task_state_store": state, "task": task, "params": {}}
        return cast(Context, dict(made))
