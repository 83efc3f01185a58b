"""SqlExampleGenOperator: converts the rows of a SQL query to splits of gzipped tf.Examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_mlpipe.artifacts import Artifact, Examples
from airflow_provider_mlpipe.caching.driver import CachePolicy, ComponentRun
from airflow_provider_mlpipe.components.sql_example_gen.database import Database
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.metadata.store import Span
from airflow_provider_mlpipe.pipeline import parts
from airflow_provider_mlpipe.pipeline.example_gen import TRAIN_AND_EVAL, ExampleGenOperator
from airflow_provider_mlpipe.pipeline.spec import Ignored, Setting, Value
from airflow_provider_mlpipe.storage import spans


class SqlExampleGenOperator(ExampleGenOperator):
    """Converts the rows of a SQL query to tf.Examples, and divides them into splits, as ExampleGenOperator says.

    Reads no artifact. Publishes `examples` (Examples), one for each span. A column becomes a feature; `docs/sources.md`
    lists the types. Null alone is missing. Rows come as a stream. Nothing is written to the database.

    A query may be about a span, which is a day in UTC. As in TFX, `@span_begin_timestamp` and `@span_end_timestamp` are
    the seconds from 1970-01-01 to its begin and its end, and `@span_yyyymmdd_utc` is its date in quotes, '20130105'.

    :param query: the query; a template may stand in it, as `WHERE day = '{{ ds }}'`
    :param conn_id: the Airflow connection of the database. Its type, host, port and database are part of the
        fingerprint, the login is not
    :param fingerprint_query: a query for a watermark, such as `SELECT max(updated_at) FROM orders`. Its first row is
        part of the fingerprint. Without one nobody can know whether the rows are those of before: the task always runs
    :param fingerprint_timeout: seconds after which Postgres ends the watermark's query
    :param kwargs: `output_config`, `shuffle_seed`, `span` and `range_config` (see ExampleGenOperator), and everything
        that ComponentOperator and BaseOperator take

    Raises PipelineError at DAG parse time as ExampleGenOperator does, and for a query with `@span_...` without a `span`
    or `range_config` that says which. The task raises InvalidInputError for an error in the query, two columns of one
    name, no row at all, a type or value that a tf.Example cannot hold, and a `partition_feature_name` that cannot be
    used. While the database cannot be reached, or when the connection breaks, it raises TransientError, so Airflow
    retries it.
    """

    OUTPUTS: ClassVar[dict[str, type[Artifact]]] = {"examples": Examples}
    HANDED_OVER = ("connection",)

    def __init__(
        self,
        *,
        query: Value[str],
        conn_id: Ignored[str],
        fingerprint_query: Value[str | None] = None,
        fingerprint_timeout: Setting[float] = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.query = query
        self.conn_id = conn_id
        self.fingerprint_query = fingerprint_query
        self.fingerprint_timeout = fingerprint_timeout
        self.output_config = self.output_config or TRAIN_AND_EVAL
        self.check_outputs()
        self._check_spans()

    def has_dates(self, parameters: Mapping[str, Any]) -> bool:
        """Spans of a query are days."""
        return True

    def parts_of(self, run: ComponentRun) -> list[ComponentRun]:
        """One part for each span; one part without a span."""
        divided = [_of_span(run, number) for number in self._numbers(run)] or [replace(run, span=None)]
        return parts.numbered([replace(part, external=self.external_inputs(part.resolved)) for part in divided])

    def _numbers(self, run: ComponentRun) -> list[int]:
        """The numbers of the spans to read; none for a query that is not about a span."""
        if not any(_is_about_a_span(run.parameters[name]) for name in _QUERIES):
            return []
        if run.span is None and "static_range" not in (self.range_config or {}):
            raise InvalidInputError(
                f"{self.task_id}: this run has no partition key and no data interval, so the span of its query is not "
                "known; trigger it with a partition key, or for a logical date of the schedule"
            )
        return spans.numbers_of(self.range_config, last=run.span.number if run.span else 0)

    def _check_spans(self) -> None:
        queries = [getattr(self, name) for name in _QUERIES]
        given = self.span is not None or "static_range" in (self.range_config or {})
        if any(map(_is_about_a_span, queries)) and not given:
            raise PipelineError(
                f"{self.task_id}: a query has @span_..., but nothing says which span; give span=RunSpan() or a "
                "static_range"
            )
        if (given or self.range_config) and not any(map(_is_about_a_span, queries)):
            raise PipelineError(
                f"{self.task_id}: the query is not about a span; write WHERE day = @span_yyyymmdd_utc, or leave out "
                "span and range_config"
            )

    def external_inputs(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return where the database is, and the watermark, if there is a query for it."""
        database = Database(parameters["conn_id"], self._connection(parameters["conn_id"]))
        found = {"database": database.place}
        if query := parameters["fingerprint_query"]:
            with database.cursor(self.fingerprint_timeout) as cursor:
                cursor.execute(query)
                found["watermark"] = repr(cursor.fetchone())
        return found

    @property
    def cache_policy(self) -> CachePolicy:
        """Without a watermark the result is not reused."""
        policy = super().cache_policy
        if self.fingerprint_query:
            return policy
        return replace(policy, mode=False, off="without a fingerprint_query the rows may be others")

    def handed_over(self, run: ComponentRun) -> dict[str, str]:
        """The connection goes to the executor only."""
        return {"connection": json.dumps(self._connection(run.parameters["conn_id"]))}

    @staticmethod
    def _connection(conn_id: str) -> dict[str, Any]:
        try:
            found = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException as error:
            raise InvalidInputError(
                f"Airflow has no connection {conn_id!r}; make it, or give another conn_id"
            ) from error
        names = ("conn_type", "host", "port", "schema", "login", "password")
        return {name: getattr(found, name) for name in names} | {"extra": found.extra_dejson}


_QUERIES = ("query", "fingerprint_query")
_SECONDS_OF_A_DAY = 86_400


def _is_about_a_span(query: Any) -> bool:
    return "@span_" in str(query)


def _of_span(run: ComponentRun, number: int) -> ComponentRun:
    """The part that reads one span: its queries are about that span alone."""
    values = {
        "@span_begin_timestamp": str(number * _SECONDS_OF_A_DAY),
        "@span_end_timestamp": str((number + 1) * _SECONDS_OF_A_DAY),
        "@span_yyyymmdd_utc": f"'{spans.span_date(number):%Y%m%d}'",
    }
    resolved = dict(run.resolved)
    for name in _QUERIES:
        for token, value in values.items():
            resolved[name] = resolved[name] and resolved[name].replace(token, value)
    return replace(run, span=Span(number=number), resolved=resolved)
