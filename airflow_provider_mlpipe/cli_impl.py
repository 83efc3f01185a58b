"""`airflow mlpipe …`: what the commands do."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import get_bagged_dag

from airflow_provider_mlpipe import demo as demos
from airflow_provider_mlpipe import partial_run, planner
from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.metadata import schema
from airflow_provider_mlpipe.metadata.connection import create_database
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import Execution, LineageNode
from airflow_provider_mlpipe.plan_task import PLAN_TASK_ID
from airflow_provider_mlpipe.preview import preview_context

Row = dict[str, object]


def _command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """An error of this package is one line and exit code 1, not a traceback."""

    @wraps(function)
    def wrapped(args: Namespace) -> None:
        try:
            function(args)
        except MlpipeError as error:
            _leave(error)

    return wrapped


def _leave(error: MlpipeError) -> NoReturn:
    sys.exit(f"{type(error).__name__}: {error}")


@_command
def db_upgrade(args: Namespace) -> None:
    """`airflow mlpipe db upgrade`."""
    dsn = MlpipeHook(args.conn_id).dsn
    if args.create_database and create_database(dsn):
        print("Created the database.")
    schema.upgrade(dsn)
    print(f"The metadata schema is at version {schema.newest_version()}.")


@_command
def db_check(args: Namespace) -> None:
    """`airflow mlpipe db check`; exit code 1 unless the schema is current."""
    schema.check(MlpipeHook(args.conn_id).dsn)
    print(f"The metadata schema is at version {schema.newest_version()}, as this code needs it.")


@_command
def runs(args: Namespace) -> None:
    """`airflow mlpipe runs`."""
    page = MlpipeHook(args.conn_id).store.executions(pipeline=args.dag_id, run_id=args.run_id, limit=args.limit)
    _print([_execution(execution) for execution in page.items], args.output)


@_command
def artifacts(args: Namespace) -> None:
    """`airflow mlpipe artifacts`."""
    store = MlpipeHook(args.conn_id).store
    context_id = None
    if args.dag_id is not None:
        found = store.contexts(context_type="pipeline", name=args.dag_id).items
        if not found:
            raise InvalidInputError(f"no DAG {args.dag_id!r} has run with this store; `airflow mlpipe runs` lists runs")
        context_id = found[0].id
    page = store.artifacts(artifact_type=args.type, context_id=context_id, limit=args.limit)
    _print([_artifact(artifact) for artifact in page.items], args.output)


@_command
def lineage(args: Namespace) -> None:
    """`airflow mlpipe lineage`."""
    store = MlpipeHook(args.conn_id).store
    if store.artifact(args.artifact_id) is None:
        raise InvalidInputError(f"there is no artifact {args.artifact_id}; `airflow mlpipe artifacts` lists them")
    found = store.lineage(artifact_id=args.artifact_id, direction="down" if args.down else "up", max_depth=args.depth)
    _print([_node(node) for node in found.nodes], args.output)
    if found.truncated:
        print(f"Only the nearest {len(found.nodes)} are shown.", file=sys.stderr)


@_command
def plan(args: Namespace) -> None:
    """`airflow mlpipe plan`; the exit code says whether anything would run."""
    dag = get_bagged_dag(None, args.dag_id)
    context = preview_context(dag, _json_object(args.params))
    store = MlpipeHook(args.conn_id).store
    selection = partial_run.select(dag, store, context)
    nodes = planner.make_plan(dag, store, context, selection=selection, plan_task_id=PLAN_TASK_ID)
    _print([_planned(node) for node in nodes], args.output)
    if not all(node.is_settled for node in nodes):
        sys.exit(2)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"--params is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f'--params is a JSON object, such as {{"train_steps": 400}}, and not {text}')
    return value


@_command
def demo(args: Namespace) -> None:
    """`airflow mlpipe demo`."""
    sys.exit(demos.run_demo(dag_id=args.dag_id, dags_folder=args.dags_folder, once=args.once))


def _print(rows: list[Row], output: str) -> None:
    AirflowConsole().print_as(data=rows, output=output)


def _execution(execution: Execution) -> Row:
    seconds = (execution.ended_at - execution.started_at).total_seconds() if execution.ended_at else None
    return {
        "id": execution.id,
        "dag_id": execution.pipeline,
        "run_id": execution.run_id,
        "component": execution.component_id,
        "try": execution.try_number,
        "state": execution.state.value,
        "cached_from": execution.cached_from or "",
        "started": execution.started_at.isoformat(timespec="seconds"),
        "seconds": "" if seconds is None else f"{seconds:.1f}",
        "error": (execution.error or "").partition("\n")[0],
    }


def _planned(node: planner.PlannedNode) -> Row:
    return {"component": node.component_id, "verdict": node.verdict.value, "reason": node.reason}


def _artifact(artifact: Artifact) -> Row:
    return {
        "id": artifact.id,
        "type": artifact.TYPE_NAME,
        "state": artifact.state.value,
        "digest": (artifact.digest or "")[:12],
        "properties": ", ".join(f"{key}={value}" for key, value in sorted(artifact.properties.items())),
        "uri": artifact.uri,
    }


def _node(node: LineageNode) -> Row:
    return {
        "depth": node.depth,
        "kind": node.kind,
        "id": node.id,
        "type": node.type,
        "state": node.state,
        "what": node.label,
    }
