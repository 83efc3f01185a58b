"""AnnounceSpansOperator: tells Airflow of spans of data that have arrived, each once.

Airflow sends a task's asset events when the task succeeds, in the transaction that records its success. So what a task
was about to announce counts as announced when the task has succeeded. If it failed or was killed, the next one
announces it. The store keeps who announced what.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_mlpipe.barriers import barrier
from airflow_provider_mlpipe.exceptions import PipelineError
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.store import MetadataStore, Span
from airflow_provider_mlpipe.pipeline.authoring import names_its_line
from airflow_provider_mlpipe.pipeline.task_errors import as_airflow_errors
from airflow_provider_mlpipe.storage import spans

if TYPE_CHECKING:
    from airflow.sdk import Context

_NO_EVENTS = {None, "failed", "upstream_failed", "skipped", "removed"}
"""The states of tasks that have ended without sending events; None is that of a task that Airflow does not know."""


class AnnounceSpansOperator(BaseOperator):
    """Sends an event of an asset for each span of files that no earlier run has announced.

    The event's partition key is the span: a date such as 2013-01-05, or the number. A DAG with the schedule
    `PartitionedAssetTimetable(assets=asset)` then has a run for each, whose `RunSpan()` it is. A newer version of a
    span is announced again. If there is nothing new, the task is skipped, and no event is sent.

    :param asset: the Asset of the spans; nobody else sends events of it
    :param input_base: the folder, as for an ExampleGen
    :param pattern: the glob of the files, with a span, as for an ExampleGen
    :param start_span: the first span to announce, a number or a date (default: all that there are)
    :param metadata_conn_id: Airflow connection of type `mlpipe` (default `mlpipe_default`)
    :param kwargs: all arguments of BaseOperator

    Raises PipelineError at DAG parse time for a pattern without a span that can be told apart. The task raises
    InvalidInputError for a folder that is missing, and for a name that does not fit the pattern.
    """

    template_fields = ("input_base",)
    ui_color = "#e8f0fe"

    @names_its_line
    def __init__(
        self,
        *,
        asset: Asset,
        input_base: str,
        pattern: str,
        start_span: int | date | None = None,
        metadata_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(outlets=[asset], **kwargs)
        if problem := spans.pattern_problem(pattern) or (None if spans.has_span(pattern) else "has no span"):
            raise PipelineError(f"{self.task_id}: the pattern {pattern!r} {problem}")
        self.asset = asset
        self.input_base = input_base
        self.pattern = pattern
        self.start_span = spans.as_number(start_span)
        self.metadata_conn_id = metadata_conn_id

    def execute(self, context: Context) -> list[str]:
        """Announces what is new; returns the partition keys. Raises AirflowSkipException when nothing is new."""
        store = MlpipeHook(self.metadata_conn_id or MlpipeHook.default_conn_name).store
        with as_airflow_errors():
            there = spans.spans_from(self.input_base, self.pattern, self.start_span)
            earlier = self._earlier(context, store)
            found = [span for span in there if span not in earlier]
            new = store.announce_spans(self.asset.name, found, **self._task(context))
            barrier("announce_spans.recorded")
        if not new:
            raise AirflowSkipException(f"none of the {len(there)} spans is new")
        keys = [self._key(span) for span in new]
        events: Any = context["outlet_events"][self.asset]
        events.add_partitions(keys)
        events.partition_keys = dict.fromkeys(keys)  # Airflow iterates over a set, whose order is random
        self.log.info("announces %s", ", ".join(map(str, new)))
        return keys

    def _task(self, context: Context) -> dict[str, str]:
        return {"pipeline": context["ti"].dag_id, "run_id": context["ti"].run_id, "task_id": self.task_id}

    def _earlier(self, context: Context, store: MetadataStore) -> Collection[Span]:
        """The spans that other runs have announced, or are about to announce. What a failed task has, is forgotten."""
        mine = (context["ti"].dag_id, context["ti"].run_id)
        told = store.announced_spans(self.asset.name)
        confirmed = {one.span for one in told if one.is_confirmed}
        others = [one for one in told if not one.is_confirmed and one.task[:2] != mine]
        states = {task: _state(context, *task) for task in {one.task for one in others}}
        store.confirm_spans(self.asset.name, [one.span for one in others if states[one.task] == "success"])
        lost = [one.span for one in others if states[one.task] in _NO_EVENTS]
        store.forget_spans(self.asset.name, lost)
        return confirmed | {one.span for one in others} - set(lost)

    def _key(self, span: Span) -> str:
        return spans.span_date(span.number).isoformat() if spans.has_date(self.pattern) else str(span.number)


def _state(context: Context, dag_id: str, run_id: str, task_id: str) -> str | None:
    """The state of a task of any run; None if Airflow does not know it any more."""
    states = context["ti"].get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=[run_id])
    found: str | None = states.get(run_id, {}).get(task_id)
    return found
