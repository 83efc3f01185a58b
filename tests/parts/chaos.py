"""An Airflow whose processes are killed at random while runs come and go."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from held import BEFORE_THE_LAUNCH, Held
from processes import kill_postgres, parent_of, task_of
from waiting import wait_for

from airflow_provider_mlpipe.artifacts import Artifact, ArtifactState
from airflow_provider_mlpipe.exceptions import TransientError
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.rows import Page
from airflow_provider_mlpipe.metadata.store import Execution, ExecutionState, MetadataStore

T = TypeVar("T")

DAG_ID = "chaos"
DAG_FILE = """
from datetime import timedelta

import parts

from airflow_provider_mlpipe import RuntimeParameter, create_dag


class UseOperator(parts.UseOperator):
    EXECUTOR = "heavy_executors:use"  # so that its executors are forks of a warm parent


make = parts.MakeOperator(text=RuntimeParameter("text", str, "hello"), files=2)
chaos = create_dag(
    "chaos",
    [make, *(UseOperator(task_id=name, examples=make.outputs["examples"]) for name in ("UseA", "UseB"))],
    default_args=dict(retries=10, retry_delay=timedelta(seconds=0)),
    pipeline_root="{root}/pipeline",
    max_active_runs=16,
)
"""
# Airflow finds out within seconds, not minutes, that a task, a scheduler or a triggerer is dead.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
}
IN_THE_EXECUTOR = [
    "Make.executor.before",
    "executor.inside.0",
    "executor.inside.1",
    "Make.executor.after",
    "UseA.executor.before",
    "UseB.executor.after",
    "runner.before_result",
]
IN_THE_TASK = [
    "plan.before_commit",
    "plan.committed",
    "plan.before_skip",
    *BEFORE_THE_LAUNCH,
    "launcher.ended",
    "publisher.before",
    "publisher.after",
    "publisher.before_hit",
    "publisher.after_hit",
]
OF_TEN = ["executor", "executor", "task", "task", "task", "worker", "worker", "scheduler", "triggerer", "postgres"]
ACTIVE_RUNS = 6


class Chaos(Held):
    """One Airflow, its store, and who kills what of it."""

    def __init__(self, root: Path, airflow: LocalAirflow, seed: int) -> None:
        self.root = root
        self.airflow = airflow
        self.store = MetadataStore(airflow.mlpipe_dsn)
        self.kills: Counter[str] = Counter()
        self.barriers = root / "barriers"
        self._random = random.Random(seed)
        self._random_values = random.Random(seed)  # drawn from as often as there is time for runs
        self._generation = 0

    def kill(self, count: int) -> None:
        """Kills so many times, while runs come and go; of ten kills each kind has its share."""
        began = time.monotonic()
        kinds = [kind for _ in range(0, count, 10) for kind in self._random.sample(OF_TEN, 10)]
        for kind in kinds[:count]:
            place = self._random.choice(IN_THE_EXECUTOR if kind == "executor" else [*IN_THE_EXECUTOR, *IN_THE_TASK])
            print(f"{time.monotonic() - began:4.0f} s  {self.kills.total() + 1}: {kind} at {place}", flush=True)
            with self.held(place):
                wait_for(lambda: self.there(place) or self._start_run_if_few(), 300)  # noqa: B023 - called at once
                self._kill(kind, self.there(place))
            self.kills[kind] += 1

    @contextlib.contextmanager
    def held(self, barrier: str) -> Iterator[None]:
        """Whoever comes to the barrier in the `with` block stays there."""
        self.hold(barrier)
        try:
            yield
        finally:
            self.release(barrier)

    def trigger(self, text: str) -> None:
        """Starts a run; one whose start was not confirmed is found among all runs later on."""
        with contextlib.suppress(TransientError):
            self.airflow.trigger(DAG_ID, {"text": text})

    def executions(self, state: ExecutionState | None = None) -> list[Execution]:
        return every(functools.partial(self.store.executions, pipeline=DAG_ID, state=state))

    def live_artifacts(self) -> list[Artifact]:
        return every(functools.partial(self.store.artifacts, state=ArtifactState.LIVE))

    def _start_run_if_few(self) -> None:
        """Some runs in a row have the same value: they share executions, or wait for each other's."""
        if len(self.airflow.runs(DAG_ID, ("queued", "running"))) < ACTIVE_RUNS:
            self._generation += self._random_values.random() < 0.3
            self.trigger(f"text {self._generation}")

    def _kill(self, kind: str, there: list[int]) -> None:
        if kind in ("scheduler", "triggerer"):
            self._kill_and_await_successor(kind)
        elif kind == "postgres":
            kill_postgres(self.airflow.postgres)
            self.airflow.postgres.start()
        elif there:  # else somebody was quicker: Airflow, or who restarts a dead scheduler
            task = task_of(there[0]) or there[0]  # who announced a barrier is a task, or its executor
            victim = {"executor": there[0], "task": task, "worker": parent_of(task)}[kind]
            assert self.airflow._process is not None
            if victim != self.airflow._process.pid:  # the starter adopts what outlives its parent
                kill(victim)

    def _kill_and_await_successor(self, name: str) -> None:
        wait_for(lambda: self._pid_of(name))  # Postgres may have taken it along
        pid = self._pid_of(name)
        kill(pid)
        wait_for(lambda: self._pid_of(name) not in (None, pid))

    def _pid_of(self, name: str) -> int | None:
        """One of Airflow's own processes: a child of the starter that writes to the log of its name."""
        assert self.airflow._process is not None
        for process in Path("/proc").glob("[0-9]*"):
            pid = int(process.name)
            with contextlib.suppress(OSError):
                writes_to = os.readlink(process / "fd/1")
                if writes_to == str(self.airflow.logs / f"{name}.log") and parent_of(pid) == self.airflow._process.pid:
                    return pid
        return None


class DoubleWatch:
    """A thread that looks again and again whether two executions of one fingerprint are RUNNING."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.looks = 0
        self.doubles: list[list[Execution]] = []

    def __enter__(self) -> DoubleWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(TransientError):  # Postgres is down
                running = self._chaos.executions(ExecutionState.RUNNING)
                self.looks += 1
                if len({each.fingerprint for each in running}) < len(running):
                    self.doubles.append(running)
        self._chaos.store.close()


def every(look: Callable[..., Page[T]]) -> list[T]:
    """What all pages hold."""
    page = look(limit=1000)
    found = [*page.items]
    while page.cursor is not None:
        page = look(limit=1000, cursor=page.cursor)
        found += page.items
    return found


def kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
