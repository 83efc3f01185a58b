"""The demo: runs an example DAG through a real Airflow, and shows its progress, its metrics and where the model is.

`make demo`, `airflow mlpipe demo`, or `python -m airflow_provider_mlpipe.local.demo`. Its state is kept: in a second
run every component is cached. If there is a DAG `<id>_play` beside the DAG, it lets new data arrive after the run.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn, TextIO

from airflow_provider_mlpipe.caching.libraries import PACKAGE_ROOT
from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.local.progress import Lines, Table, in_order, steps
from airflow_provider_mlpipe.local.report import report
from airflow_provider_mlpipe.metadata.store import MetadataStore
from airflow_provider_mlpipe.terminal import plain

DAG_ID = "flight_delays"
CHECKOUT = PACKAGE_ROOT.parent
_TIMEOUT = 3600.0
_PLAYED = 5


def run_demo(
    *,
    dag_id: str = DAG_ID,
    dags_folder: Path | None = None,
    state_dir: Path | None = None,
    once: bool = False,
    out: TextIO | None = None,
) -> int:
    """Run the DAG and report; return 0 if it succeeded, 1 if not, 130 if Ctrl-C or SIGTERM came before its end.

    Without `once`, Airflow stays up until Ctrl-C. By default, `dags_folder` and `state_dir` are `dags` and `.state` of
    this checkout. For root the state is below /var/tmp if Postgres' user may not enter the checkout.

    Raises:
        InvalidInputError: a folder is missing or cannot be used; the message names it and the remedy.
        TransientError: Airflow did not start, or has ended.
    """
    dags_folder = dags_folder or CHECKOUT / "dags"
    if not dags_folder.is_dir():
        raise InvalidInputError(f"there is no folder {dags_folder}: run the demo in a checkout, or set --dags-folder")
    say = functools.partial(print, file=out or sys.stdout, flush=True)
    end_like_ctrl_c()
    status = 130
    look = "make look" if state_dir is None else f"python -m airflow_provider_mlpipe.local.look --state-dir {state_dir}"
    try:
        state_dir = state_dir or default_state_dir()
        say(f"Starting Postgres and Airflow; all state is in {state_dir} …")
        with LocalAirflow(state_dir, dags_folder) as airflow:
            say(f"Airflow: {airflow.url}  user {airflow.username}, password {airflow.password}")
            status = _run(airflow, dag_id, out or sys.stdout)
            if once:
                say("To look at the run in Airflow's UI, start the demo again without ONCE=1 (or --once).")
                say(f"To look at it with `airflow mlpipe …`: {look}")
            else:
                say(f"\nLook at it: {airflow.url}/dags/{dag_id}  user {airflow.username}, password {airflow.password}")
                say(f"In another shell: source {airflow.shell_file}; airflow mlpipe runs")
                say("Airflow stays up; Ctrl-C stops it.")
                airflow.wait_until_stopped()
    except KeyboardInterrupt:
        say("\nStopped.")
    return status


def _run(airflow: LocalAirflow, dag_id: str, out: TextIO) -> int:
    airflow.cancel_runs(dag_id)  # a demo that was killed may have left runs
    with closing(MetadataStore(airflow.mlpipe_dsn)) as store:
        earlier = set(airflow.runs(dag_id))
        status = _show(airflow, store, dag_id, airflow.trigger(dag_id), out)
        if status == 0 and airflow.is_parsed(f"{dag_id}_play"):
            return _play(airflow, store, dag_id, {*earlier, *airflow.runs(dag_id)}, out)
    return status


def _show(airflow: LocalAirflow, store: MetadataStore, dag_id: str, run_id: str, out: TextIO) -> int:
    """Show a run until it has ended, then the report."""
    order = airflow.task_order(dag_id)
    print(f"\n{dag_id}, {run_id}", file=out)
    view = Table(out) if out.isatty() else Lines(out)
    try:
        for tasks in airflow.watch(dag_id, run_id, _TIMEOUT):
            view.show(in_order(steps(tasks, store, dag_id, run_id), order))
    except KeyboardInterrupt:
        airflow.cancel_runs(dag_id)
        raise
    state = airflow.state(dag_id, run_id)
    for line in report(state, airflow, store, dag_id, run_id):
        print(plain(line), file=out, flush=True)
    return 0 if state == "success" else 1


def _play(airflow: LocalAirflow, store: MetadataStore, dag_id: str, shown: set[str], out: TextIO) -> int:
    """Let data arrive by the DAG's `<id>_play`, and show the runs that the data starts."""
    airflow.unpause_file_of(dag_id)
    print(f"\n{dag_id}_play lets {_PLAYED} spans of data arrive, each of which starts a run of {dag_id}", file=out)
    airflow.trigger(f"{dag_id}_play", {"days": _PLAYED})
    statuses = []
    for _ in range(_PLAYED):
        airflow.wait_until(lambda: bool(_new_runs(airflow, dag_id, shown)), f"no new run of {dag_id} began")
        run_id = _new_runs(airflow, dag_id, shown)[0]
        statuses.append(_show(airflow, store, dag_id, run_id, out))
        shown.add(run_id)
    return max(statuses)


def _new_runs(airflow: LocalAirflow, dag_id: str, shown: set[str]) -> list[str]:
    return [run_id for run_id in airflow.runs(dag_id) if run_id not in shown]


def default_state_dir() -> Path:
    """Return the folder that holds the state of this checkout's demo."""
    inside = CHECKOUT / ".state"
    if LocalAirflow(inside, CHECKOUT).postgres.closed_folder() is None:
        return inside
    name = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]  # one per checkout
    return Path(f"/var/tmp/mlpipe-{name}")  # noqa: S108 - refused if somebody else can have made it


def end_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in this process, as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


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
        print(plain(f"\n{type(error).__name__}: {error}"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
