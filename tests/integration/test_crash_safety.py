"""Kills at announced barriers: whatever is killed, nothing half-written is LIVE and a retry succeeds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench
from held import BEFORE_THE_LAUNCH
from light_parent import light_parent, start, stopped_afterwards
from named_runs import named_run
from processes import kill_postgres
from waiting import wait_for

from airflow_provider_mlpipe.artifacts import ArtifactState
from airflow_provider_mlpipe.exceptions import InProgressError, LostClaimError
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata import connection
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import STALE_AFTER, ExecutionStart, ExecutionState, MetadataStore

# The parent holds no lock that a child could need: what forks here is a test's main thread.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

IN_THE_EXECUTOR = [
    "Make.executor.before",
    "executor.inside.0",
    "executor.inside.1",
    "Make.executor.after",
    "runner.before_result",
]
IN_THE_TASK = [
    *BEFORE_THE_LAUNCH,
    *IN_THE_EXECUTOR,
    "runner.after_result",
    "launcher.ended",
    "publisher.before",
    "publisher.after",
]
BEFORE_THE_WORK = ["driver.look_up", "driver.before_start", "driver.started"]


@pytest.fixture
def forking_bench(bench: Bench, tmp_path: Path) -> Iterator[Bench]:
    """Its executors are forks of a warm parent."""
    with stopped_afterwards(light_parent(tmp_path / "warm")) as parent:
        start(parent)
        yield replace(bench, parent=parent.folder)


@pytest.mark.parametrize("barrier", IN_THE_TASK)
def test_the_task_is_killed(bench: Bench, barrier: str) -> None:
    kill_the_task(bench, barrier)


@pytest.mark.parametrize("barrier", ["launcher.start", *IN_THE_EXECUTOR, "runner.after_result", "launcher.ended"])
def test_the_task_of_a_forked_executor_is_killed(forking_bench: Bench, barrier: str) -> None:
    kill_the_task(forking_bench, barrier)


def kill_the_task(bench: Bench, barrier: str) -> None:
    bench.hold(barrier)
    task = bench.start(1)
    bench.wait_at(barrier)
    task.kill()
    assert "fresh process" not in task.output
    assert_gone(bench)
    published_before = barrier == "publisher.after"
    assert bool(bench.store.artifacts(state=ArtifactState.LIVE).items) == published_before
    bench.release(barrier)
    bench.succeed(2)
    bench.assert_sound()
    states = {execution.try_number: execution.state for execution in bench.store.executions().items}
    if published_before:
        assert states == {1: ExecutionState.COMPLETE, 2: ExecutionState.CACHED}
    else:
        assert states.pop(2) is ExecutionState.COMPLETE
        assert set(states.values()) <= {ExecutionState.FAILED}


@pytest.mark.parametrize("barrier", IN_THE_EXECUTOR)
def test_the_executor_is_killed(bench: Bench, barrier: str) -> None:
    kill_the_executor(bench, barrier)


@pytest.mark.parametrize("barrier", IN_THE_EXECUTOR)
def test_a_forked_executor_is_killed(forking_bench: Bench, barrier: str) -> None:
    kill_the_executor(forking_bench, barrier)


def kill_the_executor(bench: Bench, barrier: str) -> None:
    bench.hold(barrier)
    task = bench.start(1)
    os.kill(bench.wait_at(barrier), signal.SIGKILL)
    assert task.wait() == 3
    assert "ExecutorDiedError: the executor of Make ended without a result, killed by SIGKILL" in task.output
    assert "fresh process" not in task.output
    assert not bench.store.artifacts().items
    (failed,) = bench.store.executions().items
    assert failed.state is ExecutionState.FAILED
    assert "SIGKILL" in str(failed.error)
    bench.release(barrier)
    bench.succeed(2)
    bench.assert_sound()


@pytest.mark.parametrize("kind", ["bench", "forking_bench"])
def test_an_executor_that_keeps_the_interpreter_to_itself_dies_with_its_task(
    request: pytest.FixtureRequest, kind: str
) -> None:
    bench: Bench = request.getfixturevalue(kind)
    task = bench.start(1, act="hog")
    bench.wait_at("hogging")
    task.kill()
    assert_gone(bench)


@pytest.fixture
def own_server(open_tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may kill; durable, since what it committed must be there afterwards."""
    with EmbeddedPostgres(open_tmp_path) as server:
        yield server


@pytest.mark.parametrize("barrier", BEFORE_THE_WORK)
def test_postgres_is_killed(own_server: EmbeddedPostgres, tmp_path: Path, barrier: str) -> None:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    upgrade(own_server.create_database("store"))
    bench = Bench(own_server.dsn("store"), tmp_path / "root", barriers)
    bench.hold(barrier)
    task = bench.start(1)
    bench.wait_at(barrier)
    kill_postgres(own_server)
    bench.release(barrier)
    assert task.wait() == 3
    assert "StoreUnavailableError" in task.output
    own_server.start()
    assert not bench.store.artifacts().items
    bench.succeed(2)
    bench.assert_sound()


@pytest.mark.parametrize("barrier", ["executor.inside.1", "publisher.before"])
def test_postgres_is_killed_and_the_work_is_not_lost(
    own_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, barrier: str
) -> None:
    monkeypatch.setattr(connection, "PAUSE_SECONDS", 0.1)
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    upgrade(own_server.create_database("store"))
    bench = Bench(own_server.dsn("store"), tmp_path / "root", barriers)
    bench.hold(barrier)
    task = bench.start(1)
    bench.wait_at(barrier)
    kill_postgres(own_server)
    bench.release(barrier)
    own_server.start()
    assert task.wait() == 0, task.output
    bench.assert_sound()


def test_workers_have_time_to_speak_after_postgres_was_away(own_server: EmbeddedPostgres) -> None:
    upgrade(own_server.create_database("store"))
    store, other = MetadataStore(own_server.dsn("store")), Connection(own_server.dsn("store"))
    start = ExecutionStart(
        component_type="Any",
        run=named_run("d", "before"),
        component_id="any",
        fingerprint="f",
        fingerprint_parts={},
        inputs={},
        properties={},
        triggered_by=None,
        environment={},
        flight="f",
    )
    claim = store.start_execution(start)
    other.run("UPDATE mlpipe.execution SET heartbeat_at = heartbeat_at - interval '10 minutes'")
    kill_postgres(own_server)
    own_server.start()
    assert store.is_under_way(claim.execution_id)
    assert store.abandon_stale(STALE_AFTER) == []
    with pytest.raises(InProgressError):
        store.start_execution(replace(start, run=named_run("d", "after")))
    assert store.abandon_stale(timedelta(milliseconds=1)) == [claim.execution_id]  # the server is up for longer
    with pytest.raises(LostClaimError, match="no heartbeat since"):
        store.heartbeat(claim)
    store.close()
    other.close()


def test_a_zombie_that_wakes_up_cannot_publish(bench: Bench) -> None:
    """A task that was given up by its scheduler, but lives: the retry wins, the zombie's outputs stay unpublished."""
    bench.hold("publisher.before")
    zombie = bench.start(1)
    first = bench.wait_at("publisher.before")
    os.kill(first, signal.SIGSTOP)
    bench.release("publisher.before")
    bench.succeed(2)
    os.kill(first, signal.SIGCONT)
    assert zombie.wait() == 3
    assert "LostClaimError" in zombie.output
    assert "superseded by try 2" in zombie.output
    assert len(bench.store.artifacts().items) == 1
    bench.assert_sound()


def assert_gone(bench: Bench) -> None:
    """Every process that announced itself has ended."""
    pids = {int(path.name.rpartition("@")[2]) for path in bench.barriers.glob("*@*")}
    wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
