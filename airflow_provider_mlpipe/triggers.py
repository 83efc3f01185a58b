"""What waits in Airflow's triggerer: for the end of an execution, and for spans of data that arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import AnnouncedSpan, MetadataStore, Span
from airflow_provider_mlpipe.storage import spans

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


AGAIN_AFTER = timedelta(minutes=10)
"""When a span that was to be announced, but is not known to be, counts as new again."""


class NewSpanTrigger(BaseEventTrigger):
    """Fires when files of a span arrive that `AnnounceSpansOperator` has not announced. For an AssetWatcher.

    It fires once for the spans that arrived together. When the triggerer starts again, the store knows what was
    announced meanwhile. What was not, fires again; so no span is lost with a triggerer.

    :param asset: the name of the asset that the operator announces spans of
    :param input_base: the folder, as for an ExampleGen
    :param pattern: the glob of the files, with a span, as for an ExampleGen
    :param start_span: the first span that counts, a number or a date (default: all that there are)
    :param poll_seconds: how often it looks
    :param metadata_conn_id: Airflow connection of type `mlpipe`
    """

    def __init__(
        self,
        *,
        asset: str,
        input_base: str,
        pattern: str,
        start_span: int | date | None = None,
        poll_seconds: float = 30.0,
        metadata_conn_id: str = MlpipeHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asset = asset
        self.input_base = input_base
        self.pattern = pattern
        self.start_span = spans.as_number(start_span)
        self.poll_seconds = poll_seconds
        self.metadata_conn_id = metadata_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where to find this class, and its arguments."""
        names = ("asset", "input_base", "pattern", "start_span", "poll_seconds", "metadata_conn_id")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Looks at the folder and the store, in a thread; a folder or store that is away is looked at again."""
        hook = MlpipeHook(self.metadata_conn_id)
        store: MetadataStore = await sync_to_async(lambda: hook.store)()
        fired: set[Span] = set()
        since = datetime.now(timezone.utc)
        while True:
            new = await asyncio.to_thread(self._new, store)
            if datetime.now(timezone.utc) - since > AGAIN_AFTER:
                fired.clear()
            if not new <= fired:
                fired, since = new, datetime.now(timezone.utc)
                yield TriggerEvent({"spans": [str(span) for span in sorted(new)]})
            await asyncio.sleep(self.poll_seconds)

    def _new(self, store: MetadataStore) -> set[Span]:
        """The spans that are there and were not announced."""
        try:
            there = spans.spans_from(self.input_base, self.pattern, self.start_span)
            told = {one.span for one in store.announced_spans(self.asset) if _counts(one)}
        except (InvalidInputError, TransientError) as error:
            self.log.warning("%s: %s", self.asset, error)
            return set()
        finally:
            store.close()  # each thread has its own connection, and the next call may use another thread
        return set(there) - told


def _counts(one: AnnouncedSpan) -> bool:
    return one.is_confirmed or datetime.now(timezone.utc) - one.announced_at < AGAIN_AFTER
