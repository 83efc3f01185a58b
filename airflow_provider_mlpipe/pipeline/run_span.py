"""RunSpan: the span of data that a run is about, by its partition key or its date."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.pipeline.authoring import names_its_line
from airflow_provider_mlpipe.storage.spans import date_span

if TYPE_CHECKING:
    from airflow.sdk import Context

_BY_HAND = ("manual", "operator_triggered")
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:$|[T ].*)")


class RunSpan:
    """The span that belongs to a run: a backfill over dates is a backfill over spans.

    It is what the run's partition key names: a number, or a date such as 2013-01-05. Without a partition key it is the
    date on which the run's data interval starts, in the DAG's timezone. A run that somebody starts by hand, without an
    interval, has none: then the newest span is read.

    :param offset: a number of spans to add, such as -1 for the day before the run's date (default 0)
    """

    @names_its_line
    def __init__(self, *, offset: int = 0) -> None:
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise PipelineError(f"RunSpan takes a whole number as offset, but got {offset!r}")
        self.offset = offset

    def __repr__(self) -> str:
        return f"RunSpan(offset={self.offset})"

    def number_in(self, context: Context, *, of_dates: bool) -> int | None:
        """The number of the run's span; None for the newest. `of_dates` says whether spans are dates.

        Raises InvalidInputError for a partition key that names no span.
        """
        number = _number(context, of_dates)
        return None if number is None else number + self.offset


def _number(context: Context, of_dates: bool) -> int | None:
    dag_run = context["dag_run"]
    if dag_run.partition_key is not None:
        return _of_key(dag_run.partition_key, of_dates)
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    if start is None or (start == end and str(getattr(dag_run.run_type, "value", dag_run.run_type)) in _BY_HAND):
        return None
    return date_span(start.astimezone(context["dag"].timezone).date())


def _of_key(key: str, of_dates: bool) -> int:
    if not of_dates and re.fullmatch(r"-?\d{1,18}", key):
        return int(key)
    try:
        if (found := _DATE.fullmatch(key)) is not None:
            if found[0] != found[0][:10]:
                datetime.fromisoformat(key)  # what follows the date must be a time
            return date_span(date(int(found[1]), int(found[2]), int(found[3])))
    except ValueError:
        pass
    wanted = "a date, such as 2013-01-05" if of_dates else "the number of a span, or a date such as 2013-01-05"
    raise InvalidInputError(f"the run's partition key {key!r} names no span; it must be {wanted}")
