"""Whether a task's success is news. Only then Airflow sends an event for each of the task's outlets.

News is what the task published first. What it only found is none, whoever found it: the task itself, the plan, or a
task that waited for another run. A try that died after its publication sent no event. So the retry that finds its
result sends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.execution.dag_runs import clear_number, current_run, map_index
from airflow_provider_mlpipe.metadata.store import Execution, MetadataStore, PlannedTask

if TYPE_CHECKING:
    from airflow.sdk import Context

_FIRST_TRY = "mlpipe_first_try"


def remember_first_try(context: Context) -> None:
    """Keeps the number of the task's first try since the run was last cleared. Call it before each try's work."""
    state, clear = context["task_state_store"], clear_number(context)
    if _first_try(context).get("clear") != clear:
        state.set(_FIRST_TRY, {"clear": clear, "number": context["ti"].try_number}, retention=NEVER_EXPIRE)


def is_news(context: Context, store: MetadataStore, outputs: Iterable[Artifact], planned: PlannedTask | None) -> bool:
    """Whether one of the outputs was first published by this task since the last clear, or for it by the plan."""
    publishers = store.first_publishers([artifact.id for artifact in outputs if artifact.id is not None])
    if planned is not None:
        return any(execution.part_set == planned.part_set for execution in publishers)
    since = _first_try(context)["number"]
    return any(execution.try_number >= since and _is_own(execution, context) for execution in publishers)


def _first_try(context: Context) -> dict[str, Any]:
    return cast("dict[str, Any]", context["task_state_store"].get(_FIRST_TRY)) or {}


def _is_own(execution: Execution, context: Context) -> bool:
    task = (execution.run_key, execution.component_id, execution.map_index)
    return task == (current_run(context).key, context["ti"].task_id, map_index(context))
