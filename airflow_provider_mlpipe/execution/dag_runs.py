"""Which run a task belongs to, and the states of that run's other tasks.

Airflow tells a task the `run_id` of its run, but that id comes back when a run is deleted and made again, or when two
Airflows share a store. What differs is the start date. Only a clear changes it within a run. So each task keeps the
run's key in its task state, which outlives a clear and ends with the run. It tells tasks that have no key by XCom.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_provider_mlpipe.metadata.store import MetadataStore, Run

if TYPE_CHECKING:
    from airflow.sdk import Context

RUN = "mlpipe_run"
"""The name of the run in the context; and of its key in the task state and in XCom."""

_STATES = "mlpipe_task_states"


def identify_run(context: Context, store: MetadataStore) -> Run:
    """Finds out to which run the context's task belongs, and keeps it in the context."""
    remembered = cast(dict[str, Any], context)
    if RUN not in remembered:
        remembered[RUN] = _identified(context, store)
    return current_run(context)


def current_run(context: Context) -> Run:
    """The run that `identify_run` found."""
    return cast(Run, cast(dict[str, Any], context)[RUN])


def task_states(context: Context, task_id: str) -> dict[int, str | None]:
    """The states that a task of this run had when this one began, by map index; -1 if it isn't mapped."""
    remembered = cast(dict[str, Any], context)
    if _STATES not in remembered:
        ti = context["ti"]
        remembered[_STATES] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return _by_map_index(remembered[_STATES], task_id)


def clear_number(context: Context) -> int:
    """How often tasks of the run were cleared."""
    return context["dag_run"].clear_number or 0


def map_index(context: Context) -> int:
    """The context's task's number among the tasks that it was mapped to; -1 if it isn't mapped."""
    index = context["ti"].map_index
    return -1 if index is None else index


def _by_map_index(states: Mapping[str, str | None], task_id: str) -> dict[int, str | None]:
    """Airflow names a mapped task "<task_id>_<map index>", which may also be the id of another task."""
    if task_id in states:
        return {-1: states[task_id]}
    prefix = f"{task_id}_"
    found = ((name.removeprefix(prefix), state) for name, state in states.items() if name.startswith(prefix))
    return {int(index): state for index, state in found if index.isdecimal()}


def _identified(context: Context, store: MetadataStore) -> Run:
    ti, dag_run = context["ti"], context["dag_run"]
    started_at = dag_run.start_date or dag_run.run_after
    run = store.run_with_start(ti.dag_id, ti.run_id, started_at)
    if run is None:
        key = (_own_key(context) or _key_of_others(context)) if clear_number(context) else None
        key = key or str(uuid.uuid4())
        run = store.run_started(ti.dag_id, ti.run_id, started_at, key=key)
    context["task_state_store"].set(RUN, run.key, retention=NEVER_EXPIRE)
    ti.xcom_push(RUN, run.key)
    return run


def _own_key(context: Context) -> str | None:
    """From before a clear of this task."""
    return cast("str | None", context["task_state_store"].get(RUN))


def _key_of_others(context: Context) -> str | None:
    """From tasks that began before a clear which made this one begin."""
    ti = context["ti"]
    began = [task_id for task_id in _other_tasks(ti.task) if any(task_states(context, task_id).values())]
    told = ti.xcom_pull(task_ids=began, key=RUN) if began else []
    return next((key for key in told if key), None)


def _other_tasks(task: BaseOperator) -> Collection[str]:
    return sorted({*task.dag.task_ids} - {task.task_id}) if task.dag else []
