"""The demo: runs an example DAG through a real Airflow and shows what happens, what came out and where it went.

`make demo`, `airflow mlpipe demo`, or `python -m airflow_provider_mlpipe.demo`. State is kept: a second run finds the
work of every component done.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn, TextIO

from airflow_provider_mlpipe.airflow_client import TaskInstance
from airflow_provider_mlpipe.artifacts import Artifact
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.local_airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore

DAG_ID = "flight_delays"
CHECKOUT = Path(__file__).parent.parent
_TIMEOUT = 3600.0
_NODES = {"Importer", "Resolver"}  # they look something up, so there is nothing to cache
_SHOWN_METRICS = 6
_STATES = {None: "waiting", "scheduled": "queued", "success": "done", "upstream_failed": "not run"}
_PUBLISHED = {ExecutionState.COMPLETE: "run", ExecutionState.CACHED: "cached"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of the progress: a component, its state, whether it ran, how long, and what it produced."""

    component: str
    state: str
    how: str = ""
    seconds: float | None = None
    produced: str = ""

    @property
    def is_over(self) -> bool:
        """Whether its seconds no longer grow."""
        return self.state in ("done", "failed", "skipped", "not run")

    def __str__(self) -> str:
        seconds = "" if self.seconds is None else f"{self.seconds:.1f} s"
        return f"  {self.component:<24} {self.state:<9} {self.how:<8} {seconds:>8}  {self.produced}".rstrip()


def run_demo(
    *,
    dag_id: str = DAG_ID,
    dags_folder: Path | None = None,
    state_dir: Path | None = None,
    once: bool = False,
    out: TextIO | None = None,
) -> int:
    """Run the DAG and report; return 0 if it succeeded, 1 if not, 130 if Ctrl-C or SIGTERM came before its end.

    Stays up until Ctrl-C unless `once`. By default, `dags_folder` and `state_dir` are `dags` and `.state` of this
    checkout; for root, when Postgres' user may not enter the checkout, the state is below /var/tmp.

    Raises:
        InvalidInputError: a folder is missing or cannot be used; the message names it and the remedy.
        TransientError: Airflow did not start, or went away.
    """
    dags_folder = dags_folder or CHECKOUT / "dags"
    if not dags_folder.is_dir():
        raise InvalidInputError(f"there is no folder {dags_folder}: run the demo in a checkout, or name --dags-folder")
    say = functools.partial(print, file=out or sys.stdout, flush=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    status = 130
    try:
        state_dir = state_dir or default_state_dir()
        say(f"Starting Postgres and Airflow; all state is in {state_dir} …")
        with LocalAirflow(state_dir, dags_folder) as airflow:
            say(f"Airflow: {airflow.url}  user {airflow.username}, password {airflow.password}")
            status = _run(airflow, dag_id, out or sys.stdout)
            if not once:
                say("Airflow stays up; Ctrl-C stops it.")
                airflow.wait_until_stopped()
    except KeyboardInterrupt:
        say("\nStopped.")
    return status


def _run(airflow: LocalAirflow, dag_id: str, out: TextIO) -> int:
    airflow.cancel_runs(dag_id)  # of a demo that was killed
    with closing(MetadataStore(airflow.mlpipe_dsn)) as store:
        run_id = airflow.trigger(dag_id)
        print(f"\n{dag_id}, {run_id}", file=out)
        view = Table(out) if out.isatty() else Lines(out)
        try:
            for tasks in airflow.watch(dag_id, run_id, _TIMEOUT):
                view.show(steps(tasks, store, dag_id, run_id))
        except KeyboardInterrupt:
            airflow.cancel_runs(dag_id)
            raise
        state = airflow.state(dag_id, run_id)
        for line in report(state, airflow, store, dag_id, run_id):
            print(line, file=out, flush=True)
    return 0 if state == "success" else 1


def steps(tasks: Sequence[TaskInstance], store: MetadataStore, dag_id: str, run_id: str) -> list[Step]:
    """Say how far each task of a run is: the store knows of components, Airflow of every task."""
    executions = _newest(store.executions(pipeline=dag_id, run_id=run_id, limit=1000).items)
    return [_step(store, task, executions.get(task.task_id)) for task in tasks]


def _newest(executions: Sequence[Execution]) -> dict[str, Execution]:
    return {execution.component_id: execution for execution in sorted(executions, key=lambda one: one.id)}


def _step(store: MetadataStore, task: TaskInstance, execution: Execution | None) -> Step:
    step = Step(component=task.task_id, state=_STATES.get(task.state, str(task.state)), seconds=task.seconds)
    if execution is None:
        return step
    seconds = ((execution.ended_at or datetime.now(timezone.utc)) - execution.started_at).total_seconds()
    if not step.is_over or execution.state not in _PUBLISHED:
        return replace(step, seconds=seconds)
    outputs = store.execution_artifacts(execution.id, "OUTPUT").values()
    return replace(
        step,
        seconds=seconds,
        how="resolved" if execution.type in _NODES else _PUBLISHED[execution.state],
        produced="; ".join(filter(None, (describe(artifact) for group in outputs for artifact in group))),
    )


def describe(artifact: Artifact) -> str:
    """Say in a few words what an artifact holds, or nothing."""
    about = _DESCRIPTIONS.get(artifact.TYPE_NAME)
    return about(artifact.properties) if about is not None else ""


def _examples(properties: Mapping[str, Any]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in (properties.get("record_counts") or {}).items())


def _anomalies(properties: Mapping[str, Any]) -> str:
    found = [split for split, blessed in (properties.get("blessed") or {}).items() if not blessed]
    return f"anomalies in {', '.join(found)}" if found else "no anomalies"


def _blessing(properties: Mapping[str, Any]) -> str:
    return "blessed" if properties.get("blessed") else f"not blessed: {properties.get('reason', '')}"


def _push(properties: Mapping[str, Any]) -> str:
    if properties.get("pushed"):
        return f"pushed as version {properties.get('version', '')}"
    return f"not pushed: {properties.get('reason', '')}"


_DESCRIPTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "Examples": _examples,
    "ExampleAnomalies": _anomalies,
    "ModelBlessing": _blessing,
    "PushedModel": _push,
}


class Lines:
    """Progress as plain text: one line whenever a component starts or ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: dict[str, tuple[str, str]] = {}

    def show(self, now: Sequence[Step]) -> None:
        """Print what changed."""
        for step in now:
            state = (step.state, step.how)
            if self._shown.get(step.component) != state and step.state not in ("waiting", "queued", "not run"):
                print(step if step.is_over else f"  {step.component:<24} {step.state}", file=self._out, flush=True)
            self._shown[step.component] = state


class Table:
    """Progress on a terminal: one line per component, redrawn in place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._height = 0

    def show(self, now: Sequence[Step]) -> None:
        """Draw over what was drawn before."""
        width = os.get_terminal_size(self._out.fileno()).columns
        up = f"\x1b[{self._height}F" if self._height else ""
        lines = [f"\x1b[2K{_COLOURS.get(step.how or step.state, '')}{str(step)[: width - 1]}\x1b[0m" for step in now]
        print(up + "\n".join(lines), file=self._out, flush=True)
        self._height = len(now)


_COLOURS = {
    "run": "\x1b[32m",
    "cached": "\x1b[36m",
    "resolved": "\x1b[36m",
    "running": "\x1b[33m",
    "failed": "\x1b[31m",
}


def report(state: str, airflow: LocalAirflow, store: MetadataStore, dag_id: str, run_id: str) -> Iterator[str]:
    """Tell how a run ended, its metrics by slice, where the model went, and where to look on."""
    executions = _newest(store.executions(pipeline=dag_id, run_id=run_id, limit=1000).items)
    yield ""
    yield f"The run ended: {state}. {_summary([one for one in executions.values() if one.type not in _NODES])}"
    for task in airflow.task_instances(dag_id, run_id):
        if task.state == "failed":
            yield from _failure(task, executions.get(task.task_id), airflow, dag_id, run_id)
    outputs = [
        artifact
        for execution in executions.values()
        if execution.state in _PUBLISHED
        for group in store.execution_artifacts(execution.id, "OUTPUT").values()
        for artifact in group
    ]
    for artifact in outputs:
        if artifact.TYPE_NAME == "ModelEvaluation":
            yield from _metrics(Path(artifact.uri))
    for artifact in outputs:
        if artifact.TYPE_NAME == "PushedModel":
            yield _pushed_to(artifact.properties)
    yield ""
    yield f"Look at it: {airflow.url}/dags/{dag_id}  user {airflow.username}, password {airflow.password}"


def _summary(executions: Sequence[Execution]) -> str:
    cached = sum(one.state is ExecutionState.CACHED for one in executions)
    if executions and cached == len(executions):
        return f"Every component cached ({cached})."
    return f"{cached} of {len(executions)} components cached."


def _failure(
    task: TaskInstance, execution: Execution | None, airflow: LocalAirflow, dag_id: str, run_id: str
) -> Iterator[str]:
    yield f"\n{task.task_id} failed:"
    if execution is not None and execution.error:
        yield from execution.error.splitlines()[-20:]
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
    width = max((len(one["slice"]) for one in found), default=0)
    yield f"\nMetrics by slice ({evaluation})"
    yield "  ".join([" " * width, *(f"{name:>20.20}" for name in names)])
    for one in found:
        yield "  ".join([f"{one['slice']:<{width}}", *(f"{_number(one['metrics'].get(name)):>20}" for name in names)])
    yield f"{'Blessed' if summary['blessed'] else 'NOT blessed'}: {summary['reason']}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"


def _pushed_to(properties: Mapping[str, Any]) -> str:
    if properties.get("pushed"):
        return f"The model is in {properties.get('destination')}, version {properties.get('version')}."
    return f"No model was pushed: {properties.get('reason')}"


def default_state_dir() -> Path:
    """Return the folder that holds the state of this checkout's demo."""
    inside = CHECKOUT / ".state"
    if LocalAirflow(inside, CHECKOUT).postgres.closed_folder() is None:
        return inside
    name = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]  # one per checkout
    return Path(f"/var/tmp/mlpipe-{name}")


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="demo", description="Run an example pipeline through a real Airflow.")
    parser.add_argument("--dag-id", default=DAG_ID)
    parser.add_argument("--dags-folder", type=Path)
    parser.add_argument("--state-dir", type=Path)
    parser.add_argument("--once", action="store_true", help="exit with the run's status instead of staying up")
    options = parser.parse_args(arguments)
    try:
        return run_demo(**vars(options))
    except MlpipeError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
