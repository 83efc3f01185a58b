"""The trigger of a task that waits for another's execution: when it fires, and when not yet."""

from __future__ import annotations

import asyncio
import time

import pytest
import run_part

from airflow_provider_mlpipe import triggers
from airflow_provider_mlpipe.caching.driver import decide
from airflow_provider_mlpipe.metadata.store import Claim, MetadataStore

PAUSE = 0.5


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> MetadataStore:
    monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", database.replace("postgresql://", "mlpipe://", 1))
    monkeypatch.setattr(triggers, "PAUSE_SECONDS", PAUSE)
    return MetadataStore(database)


def start(store: MetadataStore, database: str) -> Claim:
    operator = run_part.component("Make", database, "/nowhere")
    return store.start_execution(decide(store, run_part.component_run(operator)).start)


def trigger_of(claim: Claim) -> triggers.ExecutionEndedTrigger:
    return triggers.ExecutionEndedTrigger(execution_id=claim.execution_id, metadata_conn_id="mlpipe_default")


def test_it_fires_when_the_execution_has_ended(store: MetadataStore, database: str) -> None:
    claim = start(store, database)

    async def wait() -> object:
        fired = asyncio.ensure_future(anext(trigger_of(claim).run()))
        done, _ = await asyncio.wait([fired], timeout=PAUSE + 2 * triggers.POLL_SECONDS)
        assert not done
        await asyncio.to_thread(store.fail, claim, "for a test")
        return (await fired).payload

    assert asyncio.run(wait()) == {"execution_id": claim.execution_id}


def test_it_does_not_fire_before_the_scheduler_can_know_that_the_task_waits(
    store: MetadataStore, database: str
) -> None:
    claim = start(store, database)
    store.fail(claim, "for a test")
    began = time.monotonic()
    asyncio.run(anext(trigger_of(claim).run()))
    assert time.monotonic() - began >= PAUSE
