"""A store over a real database, and what most tests begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from named_runs import named_run

from airflow_provider_mlpipe.artifacts import Artifact, Model
from airflow_provider_mlpipe.metadata.connection import Connection, Row
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore


class RecordingConnection(Connection):
    """Remembers what it sent."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.sent: list[str] = []

    def _send(self, raw, statement, parameters, **how) -> list[Row]:  # type: ignore[no-untyped-def]
        self.sent.append(statement)
        return super()._send(raw, statement, parameters, **how)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """Another session, to look and to meddle."""
    connection = Connection(database)
    yield connection
    connection.close()


@pytest.fixture
def recorded(store: MetadataStore) -> list[str]:
    """The statements that the store sends."""
    store.check()
    recording = RecordingConnection(store._dsn)
    store._connection.close()
    store._connection = recording
    store.execution(0)  # connects, and checks the schema
    recording.sent.clear()
    return recording.sent


@pytest.fixture
def start() -> Callable[..., ExecutionStart]:
    def make(pipeline: str = "taxi", run_id: str = "manual__1", **changes: object) -> ExecutionStart:
        values: dict[str, object] = {
            "component_type": "Trainer",
            "run": named_run(pipeline, run_id),
            "component_id": "trainer",
            "fingerprint": "f1",
            "fingerprint_parts": {"parameters": "p1"},
            "inputs": {},
            "properties": {"train_steps": 100},
            "triggered_by": "ada",
            "environment": {"host": "here"},
        }
        return ExecutionStart(**(values | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def run(
    store: MetadataStore, start: Callable[..., ExecutionStart]
) -> Callable[..., tuple[int, dict[str, list[Artifact]]]]:
    """Starts and publishes; `outputs` are artifacts by key, `changes` those of the start."""

    def start_and_publish(outputs=None, **changes):  # type: ignore[no-untyped-def]
        claim = store.start_execution(start(**changes))
        outputs = {"model": [Model(uri=f"/models/{claim.execution_id}", digest="m")]} if outputs is None else outputs
        return claim.execution_id, store.publish(claim, outputs)

    return start_and_publish
