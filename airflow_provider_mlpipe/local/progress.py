"""The progress of a run, which the demo shows while it waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TextIO

from airflow_provider_mlpipe.local.client import TaskInstance
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore, all_items
from airflow_provider_mlpipe.terminal import plain

PUBLISHED = {ExecutionState.COMPLETE: "run", ExecutionState.CACHED: "cached"}
_STATES = {None: "waiting", "scheduled": "queued", "success": "done", "upstream_failed": "not run"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of the progress: a component, its state, whether it ran, its seconds, and what it produced."""

    component: str
    state: str
    how: str = ""
    seconds: float | None = None
    produced: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the task has ended, so that its seconds do not change any more."""
        return self.state in ("done", "failed", "skipped", "not run")

    def line(self, width: int) -> str:
        """This step as a line of a table; `width` is the width of the column with the components' names."""
        seconds = "" if self.seconds is None else f"{self.seconds:.1f} s"
        return (
            f"  {self.component:<{width}} {self.state:<9} {self.how:<8} {seconds:>8}  {plain(self.produced)}".rstrip()
        )


def steps(tasks: Sequence[TaskInstance], store: MetadataStore, dag_id: str, run_id: str) -> list[Step]:
    """Return the step of each task of a run, from Airflow's task and, for a component, the store's execution."""
    executions = newest_parts(store, dag_id, run_id)
    return [_step(store, task, executions.get(task.task_id, ())) for task in tasks]


def in_order(shown: Sequence[Step], order: Sequence[str]) -> list[Step]:
    """Sort the steps as the pipeline has them; what it does not have any more comes last."""
    place = {component: number for number, component in enumerate(order)}
    return sorted(shown, key=lambda step: place.get(step.component, len(place)))


def newest_parts(store: MetadataStore, dag_id: str, run_id: str) -> dict[str, list[Execution]]:
    """The executions of each component's newest set in a run, in the order of its parts."""
    found: dict[str, list[Execution]] = {}
    executions = all_items(lambda cursor: store.executions(pipeline=dag_id, run_id=run_id, limit=1000, cursor=cursor))
    for execution in executions:
        parts = found.setdefault(execution.component_id, [])
        if not parts or execution.part_set == parts[0].part_set:
            parts.append(execution)
    return {component_id: sorted(parts, key=lambda one: one.part) for component_id, parts in found.items()}


def _step(store: MetadataStore, task: TaskInstance, parts: Sequence[Execution]) -> Step:
    step = Step(component=task.task_id, state=_STATES.get(task.state, str(task.state)), seconds=task.seconds)
    if not parts:
        return step
    now = datetime.now(timezone.utc)
    seconds = sum(((part.ended_at or now) - part.started_at).total_seconds() for part in parts)
    if not step.is_over or any(part.state not in PUBLISHED for part in parts):
        return replace(step, seconds=seconds)
    outputs = store.execution_artifacts(parts[-1].id, "OUTPUT").values()
    produced = "; ".join(filter(None, (group[-1].summary() for group in outputs)))  # of several, of the newest
    cached = sum(part.state is ExecutionState.CACHED for part in parts)
    how = PUBLISHED[ExecutionState.CACHED if cached == len(parts) else ExecutionState.COMPLETE]
    return replace(
        step,
        seconds=seconds,
        how=how if parts[0].has_executor else "resolved",
        produced=f"{cached} of {len(parts)} parts cached; newest: {produced}" if len(parts) > 1 else produced,
    )


def _width(now: Sequence[Step]) -> int:
    return max((len(step.component) for step in now), default=0)


class Lines:
    """Progress as plain text: one line whenever a component starts or ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: dict[str, tuple[str, str]] = {}

    def show(self, now: Sequence[Step]) -> None:
        """Print the steps that have changed."""
        width = _width(now)
        for step in now:
            state = (step.state, step.how)
            if self._shown.get(step.component) != state and step.state not in ("waiting", "queued", "not run"):
                line = step.line(width) if step.is_over else f"  {step.component:<{width}} {step.state}"
                print(line, file=self._out, flush=True)
            self._shown[step.component] = state


class Table:
    """Progress on a terminal: one line per component, redrawn in place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._height = 0

    def show(self, now: Sequence[Step]) -> None:
        """Draw the table over the previous one."""
        columns, width = os.get_terminal_size(self._out.fileno()).columns, _width(now)
        up = f"\x1b[{self._height}F" if self._height else ""
        shown = [(_COLOURS.get(step.how or step.state, ""), step.line(width)[: columns - 1]) for step in now]
        lines = [f"\x1b[2K{colour}{line}\x1b[0m" for colour, line in shown]
        print(up + "\n".join(lines), file=self._out, flush=True)
        self._height = len(now)


_COLOURS = {
    "run": "\x1b[32m",
    "cached": "\x1b[36m",
    "resolved": "\x1b[36m",
    "running": "\x1b[33m",
    "failed": "\x1b[31m",
}
