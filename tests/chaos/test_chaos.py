"""Whatever is killed: every run ends well, nothing is made twice, and nothing half-written is seen.

`MLPIPE_CHAOS_KILLS` says how often to kill, `MLPIPE_CHAOS_RUNS` how many runs to start at once, `MLPIPE_CHAOS_SEED`
makes the choices those of an earlier time.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import DAG_FILE, DAG_ID, IMPATIENT, Chaos, DoubleWatch
from processes import assert_nothing_left
from waiting import wait_for

from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.metadata.store import ExecutionState
from airflow_provider_mlpipe.storage import orphans
from airflow_provider_mlpipe.storage.digests import tree_digest

pytestmark = pytest.mark.airflow

CHECKOUT = Path(__file__).parents[2]
KILLS = int(os.environ.get("MLPIPE_CHAOS_KILLS", "4"))
RUNS = int(os.environ.get("MLPIPE_CHAOS_RUNS", "6"))
SEED = int(os.environ.get("MLPIPE_CHAOS_SEED", random.randrange(2**32)))
MINUTES = 60.0


@pytest.fixture(scope="module")
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Its folder, with Airflow's logs, is kept when a test failed."""
    root = Path(tempfile.mkdtemp(prefix="mlpipe-chaos-"))
    root.chmod(0o755)  # Postgres' user must get through
    for name in ("barriers", "dags", "pipeline", "tmp"):
        (root / name).mkdir()
    (root / "dags" / "chaos.py").write_text(DAG_FILE.replace("{root}", str(root)))
    environment = IMPATIENT | {
        "MLPIPE_BARRIERS": str(root / "barriers"),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests" / "parts")]),
        "TMPDIR": str(root / "tmp"),  # a killed task cannot clean up
    }
    with LocalAirflow(root / "state", root / "dags", port=0, restart=True, environment=environment) as airflow:
        yield Chaos(root, airflow, SEED)
    assert_nothing_left(root, seconds=0)
    if not request.session.testsfailed:
        shutil.rmtree(root)


def test_of_concurrent_runs_each_fingerprint_is_executed_once(chaos: Chaos) -> None:
    with chaos.held("executor.inside.0"):
        runs = [chaos.airflow.trigger(DAG_ID, {"text": "of them all"}) for _ in range(RUNS)]
        wait_for(lambda: all(is_planned(chaos, run_id) for run_id in runs), 5 * MINUTES)
    all_succeed(chaos, runs)
    states = defaultdict(list)
    for execution in chaos.executions():
        if execution.run_id in runs:
            states[execution.component_id].append(execution.state)
            states[execution.fingerprint].append(execution.state)
    assert states["Make"].count(ExecutionState.CACHED) == RUNS - 1
    for component_id in ("UseA", "UseB"):
        assert len(states.pop(component_id)) == RUNS  # the two make the same, so one of them may have made it for both
    for found in states.values():
        assert Counter(found) == {ExecutionState.COMPLETE: 1, ExecutionState.CACHED: len(found) - 1}


def test_whatever_is_killed_every_run_ends_well(chaos: Chaos) -> None:
    print(f"\nMLPIPE_CHAOS_SEED={SEED} MLPIPE_CHAOS_KILLS={KILLS}, in {chaos.root}", flush=True)
    began = time.monotonic()
    with DoubleWatch(chaos) as watch:
        chaos.kill(KILLS)
        runs = chaos.airflow.runs(DAG_ID)
        all_succeed(chaos, runs)
    assert watch.looks
    assert not watch.doubles
    left = check_store(chaos)
    print(summary(chaos, len(runs), left, time.monotonic() - began))


def all_succeed(chaos: Chaos, runs: list[str]) -> None:
    deadline = time.monotonic() + 5 * MINUTES
    for run_id in runs:
        state = chaos.airflow.wait(DAG_ID, run_id, timeout=max(0, deadline - time.monotonic()))
        assert state == "success", failure(chaos, run_id)


def check_store(chaos: Chaos) -> int:
    """One COMPLETE execution per fingerprint, none RUNNING, all files accounted for; returns how many are orphans."""
    executions = chaos.executions()
    complete = Counter(each.fingerprint for each in executions if each.state is ExecutionState.COMPLETE)
    assert set(complete.values()) == {1}
    assert complete.keys() == {each.fingerprint for each in executions if each.fingerprint}  # others did not begin
    assert not [each for each in executions if each.state is ExecutionState.RUNNING]
    live = {artifact.uri: artifact for artifact in chaos.live_artifacts()}
    for uri, artifact in live.items():
        assert artifact.files is not None
        assert tree_digest(Path(uri)) == artifact.files.digest
    found = orphans.find(chaos.store, [str(chaos.root / "pipeline")])
    assert not found.left_alone
    orphaned = {str(orphan.path) for orphan in found.orphans}
    assert {str(path) for path in (chaos.root / "pipeline").glob("*/*/*")} == live.keys() | orphaned
    assert not live.keys() & orphaned
    return len(orphaned)


def is_planned(chaos: Chaos, run_id: str) -> bool:
    tasks = chaos.airflow.task_instances(DAG_ID, run_id)
    return any(task.task_id == "plan" and task.state == "success" for task in tasks)


def failure(chaos: Chaos, run_id: str) -> str:
    """The states of a run's tasks and the log of those that failed."""
    tasks = chaos.airflow.task_instances(DAG_ID, run_id)
    logs = [
        chaos.airflow.task_log(DAG_ID, run_id, task.task_id, task.try_number)[-3000:]
        for task in tasks
        if task.state == "failed"
    ]
    return "\n".join([f"{run_id}: {tasks}", *logs])


def summary(chaos: Chaos, runs: int, orphaned: int, seconds: float) -> str:
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(chaos.kills.items()))
    counted = Counter(each.state.value for each in chaos.executions())
    states = ", ".join(f"{count} {state}" for state, count in sorted(counted.items()))
    rows = {
        "seed": SEED,
        "kills": f"{chaos.kills.total()}: {kills}",
        "runs, all of them successful": runs,
        "executions": f"{counted.total()}: {states}",
        "folders that nobody published": orphaned,
        "seconds": f"{seconds:.0f}",
    }
    return "\n".join(["| what | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
