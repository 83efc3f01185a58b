"""The trigger that a deferred task waits for, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_mlpipe.exceptions import TransientError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import MetadataStore

POLL_SECONDS = 1.0
PAUSE_SECONDS = 10.0
"""How long a deferred task waits at least.

Airflow fails a try if its task resumes before the scheduler knows that the worker deferred it: "finished with state
success, but the task instance's state attribute is queued" (apache/airflow#71580, #72716; in 3.3 with LocalExecutor).
This took seconds on busy machines only; and a deferred task costs nothing.
"""


class ExecutionEndedTrigger(BaseTrigger):
    """Fires when an execution is not RUNNING any more, or its worker has been silent for too long."""

    def __init__(self, *, execution_id: int, metadata_conn_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.execution_id = execution_id
        self.metadata_conn_id = metadata_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where to find this class, and its arguments."""
        arguments = {"execution_id": self.execution_id, "metadata_conn_id": self.metadata_conn_id}
        return f"{type(self).__module__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Asks the store once a second, in a thread, since psycopg2 would block every other trigger."""
        hook = MlpipeHook(self.metadata_conn_id)
        store: MetadataStore = await sync_to_async(lambda: hook.store)()
        await asyncio.sleep(PAUSE_SECONDS)
        while await asyncio.to_thread(self._is_under_way, store):
            await asyncio.sleep(POLL_SECONDS)
        yield TriggerEvent({"execution_id": self.execution_id})

    def _is_under_way(self, store: MetadataStore) -> bool:
        try:
            return store.is_under_way(self.execution_id)
        except TransientError as error:
            self.log.warning("execution %s: %s", self.execution_id, error)
            return True
        finally:
            store.close()  # each thread has its own connection, and the next call may use another thread
