"""The demo's report after a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.local.client import TaskInstance
from airflow_provider_mlpipe.local.progress import PUBLISHED, newest_parts
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage.layout import folder_of

_SHOWN_METRICS = 6


def report(state: str, airflow: LocalAirflow, store: MetadataStore, dag_id: str, run_id: str) -> Iterator[str]:
    """Yield the report: how the run ended, the metrics by slice, where the model is, and the address of the UI."""
    executions = newest_parts(store, dag_id, run_id)
    yield ""
    tasks = airflow.task_instances(dag_id, run_id)
    yield f"The run ended: {state}. {_summary(tasks, [one for one in executions.values() if one[0].has_executor])}"
    for task in tasks:
        if task.state == "failed":
            yield from _failure(task, executions.get(task.task_id, ()), airflow, dag_id, run_id)
    outputs = [
        artifact
        for parts in executions.values()
        for execution in parts
        if execution.state in PUBLISHED
        for group in store.execution_artifacts(execution.id, "OUTPUT").values()
        for artifact in group
    ]
    for artifact in outputs:
        if artifact.TYPE_NAME == "ModelEvaluation":
            yield from _metrics(folder_of(artifact))
    for artifact in outputs:
        if artifact.TYPE_NAME == "PushedModel":
            yield _pushed_to(artifact.properties)


def _summary(tasks: Sequence[TaskInstance], executions: Sequence[Sequence[Execution]]) -> str:
    cached = sum(all(part.state is ExecutionState.CACHED for part in parts) for parts in executions)
    not_reached = [task.task_id for task in tasks if task.state == "upstream_failed"]
    if not_reached:
        return (
            f"{cached} of the {len(executions)} components reached are cached. Not reached: {', '.join(not_reached)}."
        )
    if executions and cached == len(executions):
        return f"Every component cached ({cached})."
    return f"{cached} of {len(executions)} components cached."


def _failure(
    task: TaskInstance, parts: Sequence[Execution], airflow: LocalAirflow, dag_id: str, run_id: str
) -> Iterator[str]:
    yield f"\n{task.task_id} failed:"
    error = next((part.error for part in parts if part.error), None)
    if error is not None:
        headline, *rest = error.splitlines()
        yield from (headline, *rest[-20:])
    else:
        log = airflow.task_log(dag_id, run_id, task.task_id, task.try_number).splitlines()
        yield from [line for line in log if not line.startswith(("::group::", "::endgroup::"))][-20:]


def _metrics(evaluation: Path) -> Iterator[str]:
    try:
        summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    found = summary["slices"]
    names = [*dict.fromkeys(name for one in found for name in one["metrics"])][:_SHOWN_METRICS]
    yield f"\nMetrics by slice ({evaluation})"
    yield from _table([["", *names], *([one["slice"], *_numbers(one["metrics"], names)] for one in found)])
    yield f"{'Blessed' if summary['blessed'] else 'NOT blessed'}: {summary['reason']}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows as lines. Each column is as wide as its widest cell; the first is text, the others are numbers."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        yield "  ".join([f"{name:<{first}}", *(f"{cell:>{width}}" for cell, width in zip(cells, others, strict=True))])


def _numbers(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [_number(metrics.get(name)) for name in names]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"


def _pushed_to(properties: Mapping[str, Any]) -> str:
    if properties.get("pushed"):
        return f"The model is in {properties.get('destination')}, version {properties.get('version')}."
    return f"No model was pushed: {properties.get('reason')}"
