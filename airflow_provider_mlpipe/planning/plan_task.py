"""The task `plan`: decides for every component before the run begins, logs the reasons, and skips what need not run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import DownstreamTasksSkipped

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import TransientError
from airflow_provider_mlpipe.execution.dag_runs import clear_number, identify_run
from airflow_provider_mlpipe.execution.warm import ColdError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, MetadataStore, PlannedTask
from airflow_provider_mlpipe.pipeline.component import ComponentOperator
from airflow_provider_mlpipe.pipeline.task_errors import as_airflow_errors
from airflow_provider_mlpipe.planning import planner

if TYPE_CHECKING:
    from airflow.sdk import Context

PLAN_TASK_ID = "plan"
_MAY_RUN = (planner.Verdict.RUN, planner.Verdict.FAILS, planner.Verdict.UNKNOWN)
_ROUNDS = 3  # a plan is made again if the store changes before the commit, e.g. when outputs are marked MISSING


class PlanOperator(BaseOperator):
    """Decides, commits the decisions, and only then skips tasks. A retry finds the decisions and follows them.

    When it decides, the DAG's tasks upstream of it have ended. Components downstream of other tasks decide for
    themselves.

    :param metadata_conn_id: Airflow connection of type `mlpipe` (default `mlpipe_default`)
    :param kwargs: all arguments of BaseOperator
    """

    ui_color = "#fef7e0"

    def __init__(self, *, metadata_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata_conn_id = metadata_conn_id

    def execute(self, context: Context) -> None:
        """Plans the run; raises DownstreamTasksSkipped with the tasks to skip."""
        store = MlpipeHook(self.metadata_conn_id or MlpipeHook.default_conn_name).store
        with as_airflow_errors():
            tasks = self._committed(store, context)
        for line in lines(tasks):
            self.log.info("%s", line)
        self._warm_up(tasks)
        barrier("plan.before_skip")
        if skipped := [task.component_id for task in tasks if task.is_skipped]:
            raise DownstreamTasksSkipped(tasks=skipped)

    def _warm_up(self, tasks: Iterable[PlannedTask]) -> None:
        """Starts the warm parent, so that it imports the heavy libraries while light tasks still run."""
        to_come = [self.dag.get_task(task.component_id) for task in tasks if task.verdict in _MAY_RUN]
        components = [task for task in to_come if isinstance(task, ComponentOperator)]
        parent = next(filter(None, (component.warm_parent() for component in components)), None)
        try:
            if parent is not None and parent.start():
                self.log.info("started a warm parent for executors: %s", parent.log)
        except ColdError as why:
            self.log.info("executors start cold: %s", why)

    def _committed(self, store: MetadataStore, context: Context) -> list[PlannedTask]:
        """This run's plan: the one that an earlier try committed, or a new one."""
        run, clear = identify_run(context, store), clear_number(context)
        for rounds_left in reversed(range(_ROUNDS)):
            try:
                if (tasks := store.plan(run, clear=clear)) is not None:
                    return tasks
                if dead := store.abandon_stale(STALE_AFTER):
                    self.log.info("executions %s are abandoned: their workers sent no heartbeat", dead)
                plan = planner.Plan(self.dag, store, context, plan_task_id=self.task_id)
                barrier("plan.before_commit")
                plan.commit(clear=clear)
                barrier("plan.committed")
            except TransientError as error:
                if not rounds_left:
                    raise
                self.log.warning("the plan is made again: %s", error)
        return store.plan(run, clear=clear) or []


def lines(tasks: Sequence[PlannedTask]) -> Iterable[str]:
    """The plan as text, one line per component."""
    width = max((len(task.component_id) for task in tasks), default=0)
    for task in tasks:
        yield f"{task.component_id:<{width}}  {task.verdict:<8}  {task.reason}"
