"""The context of a run as if it were triggered now, to show a plan without a run."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from uuid6 import uuid7

from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.execution.dag_runs import RUN
from airflow_provider_mlpipe.metadata.store import Run
from airflow_provider_mlpipe.planning.plan_task import PLAN_TASK_ID

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context


def preview_context(dag: DAG, conf: Mapping[str, Any], *, run: Run | None = None) -> Context:
    """The template context of the task `plan` in a manual run that starts now with the Params in `conf`.

    Raises PipelineError when `create_dag` did not make the DAG, and InvalidInputError for an unknown or invalid Param.
    """
    if not dag.has_task(PLAN_TASK_ID):
        raise PipelineError(
            f"DAG {dag.dag_id!r} has no task {PLAN_TASK_ID!r}: only DAGs made by `create_dag` can be planned"
        )
    if unknown := sorted(conf.keys() - set(dag.params)):
        raise InvalidInputError(
            f"DAG {dag.dag_id!r} has no Param {', '.join(unknown)}; it has: {', '.join(sorted(dag.params))}"
        )
    run = run or Run(pipeline=dag.dag_id, run_id="preview", key=str(uuid4()))
    now = datetime.now(timezone.utc)
    dag_run = DagRun(
        dag_id=dag.dag_id,
        run_id=run.run_id,
        logical_date=now,
        data_interval_start=now,
        data_interval_end=now,
        run_after=now,
        start_date=now,
        end_date=None,
        partition_key=None,
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        conf=dict(conf),
        consumed_asset_events=[],
    )
    task = dag.get_task(PLAN_TASK_ID).prepare_for_execution()
    task.params = ParamsDict()  # they would repeat the DAG's Params
    ti = RuntimeTaskInstance.model_construct(
        id=uuid7(),
        task=task,
        task_id=PLAN_TASK_ID,
        dag_id=dag.dag_id,
        run_id=run.run_id,
        try_number=0,
        map_index=-1,
        max_tries=0,
        _ti_context_from_server=TIRunContext(dag_run=dag_run, max_tries=0, should_retry=False),
    )
    own, dag.params = dag.params, deepcopy(dag.params)  # Airflow writes the run's values into the Params
    try:
        context = ti.get_template_context()
    except ValueError as error:  # such as Airflow's ParamValidationError
        raise InvalidInputError(f"the Params are not valid: {error}") from error
    finally:
        dag.params = own
    return cast("Context", {**context, RUN: run})
