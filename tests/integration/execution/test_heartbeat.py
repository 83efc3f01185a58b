"""A heart beats while its executor works, outlives an absence of the store, and notices when its claim is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from away import away
from run_part import component, component_run, run
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.exceptions import InvalidInputError, LostClaimError, MlpipeError
from airflow_provider_mlpipe.execution import heartbeat
from airflow_provider_mlpipe.execution.heartbeat import Heartbeat
from airflow_provider_mlpipe.metadata import connection
from airflow_provider_mlpipe.metadata.store import Claim, ExecutionState, MetadataStore

BARRIER = "executor.inside.0"


@pytest.fixture(autouse=True)
def _quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(connection, "PAUSE_SECONDS", 0.02)


@pytest.fixture
def operator(database: str, tmp_path: Path) -> Any:
    return component("Make", database, str(tmp_path / "root"))


@pytest.fixture
def claim(store: MetadataStore, operator: Any) -> Claim:
    return store.start_execution(driver.decide(store, component_run(operator)).start)


@dataclass
class HeldTry:
    """A try whose executor, a process, is held in its work; and what comes of it."""

    result: Future[Any]
    executor: int
    hold: Path

    def release(self) -> None:
        self.hold.unlink(missing_ok=True)


@pytest.fixture
def held(operator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldTry]:
    barriers = tmp_path / "barriers"
    barriers.mkdir()
    hold = barriers / f"{BARRIER}.hold"
    hold.touch()
    monkeypatch.setenv("MLPIPE_BARRIERS", str(barriers))
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(run, operator)
        wait_for(lambda: result.done() or list(barriers.glob(f"{BARRIER}@*")))
        (arrived,) = barriers.glob(f"{BARRIER}@*")
        held = HeldTry(result, int(arrived.name.rpartition("@")[2]), hold)
        yield held
        held.release()


def wait_for_beats(store: MetadataStore, claim: Claim, count: int = 2) -> None:
    for _ in range(count):
        before = beaten_at(store, claim)
        wait_for(lambda before=before: beaten_at(store, claim) > before)


def beaten_at(store: MetadataStore, claim: Claim) -> datetime:
    execution = store.execution(claim.execution_id)
    assert execution is not None
    return execution.heartbeat_at


def hearts() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mlpipe-heartbeat"]


def test_it_beats_until_the_block_is_left(store: MetadataStore, claim: Claim) -> None:
    with Heartbeat(store, claim, on_loss=lambda: None):
        wait_for_beats(store, claim, 3)
        assert hearts()
    assert not hearts()


def test_it_ends_with_a_block_that_fails(store: MetadataStore, claim: Claim) -> None:
    with pytest.raises(InvalidInputError), Heartbeat(store, claim, on_loss=lambda: None):
        raise InvalidInputError("of another kind")
    assert not hearts()


def test_it_outlives_an_absence_of_the_store(
    database: str, store: MetadataStore, claim: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    losses: list[None] = []
    with Heartbeat(store, claim, on_loss=lambda: losses.append(None)):
        wait_for_beats(store, claim)
        with away(database):
            wait_for(lambda: "the heartbeat failed: " in caplog.text)
        wait_for_beats(store, claim)
    assert not losses
    store.publish(claim, {})


def test_a_loss_is_told_once_and_ends_the_beating(store: MetadataStore, claim: Claim) -> None:
    losses: list[str] = []
    with Heartbeat(store, claim, on_loss=lambda: losses.append(threading.current_thread().name)):
        store.fail(claim, "ended by somebody else")
        wait_for(lambda: not hearts())
    assert losses == ["mlpipe-heartbeat"]


@pytest.mark.parametrize(("is_lost", "expected"), [(True, LostClaimError), (False, InvalidInputError)])
def test_what_follows_from_a_loss_is_the_loss(
    store: MetadataStore, claim: Claim, is_lost: bool, expected: type[MlpipeError]
) -> None:
    lost = threading.Event()
    with Heartbeat(store, claim, on_loss=lost.set) as heart:
        if is_lost:
            store.fail(claim, "ended by somebody else")
            assert lost.wait(PATIENCE)
        with pytest.raises(expected), heart.losing_it_is_the_error():
            raise InvalidInputError("a consequence")


def test_an_executor_whose_claim_was_lost_is_killed(held: HeldTry, store: MetadataStore, operator: Any) -> None:
    decided = driver.decide(store, component_run(operator, try_number=2))
    store.start_execution(decided.start)  # Airflow gave the first try up; it may have lost its network
    with pytest.raises(LostClaimError, match="superseded by try 2"):
        held.result.result(timeout=PATIENCE)
    wait_for(lambda: not Path(f"/proc/{held.executor}").exists())
    assert not store.artifacts().items
    states = [execution.state for execution in store.executions().items]
    assert states == [ExecutionState.RUNNING, ExecutionState.FAILED]


def test_an_executor_that_was_taken_for_dead_is_killed(held: HeldTry, store: MetadataStore) -> None:
    (abandoned,) = store.abandon_stale(timedelta(0))
    with pytest.raises(LostClaimError, match="ABANDONED, no heartbeat since"):
        held.result.result(timeout=PATIENCE)
    wait_for(lambda: not Path(f"/proc/{held.executor}").exists())
    assert [execution.id for execution in store.executions(state=ExecutionState.ABANDONED).items] == [abandoned]


def test_a_result_that_is_ready_waits_for_the_store(
    held: HeldTry, database: str, store: MetadataStore, caplog: pytest.LogCaptureFixture
) -> None:
    with away(database):
        held.release()
        wait_for(lambda: held.result.done() or "the store is away; waits" in caplog.text)
    (artifact,) = held.result.result(timeout=PATIENCE)["examples"]
    assert store.artifact(artifact.id) == artifact


def test_an_executor_works_on_while_the_store_is_away(
    held: HeldTry, database: str, store: MetadataStore, caplog: pytest.LogCaptureFixture
) -> None:
    with away(database):
        wait_for(lambda: "the heartbeat failed: " in caplog.text)
    held.release()
    (artifact,) = held.result.result(timeout=PATIENCE)["examples"]
    assert store.artifact(artifact.id) == artifact
