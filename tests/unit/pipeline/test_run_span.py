"""Which span of data a run is about."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRunType

from airflow_provider_mlpipe import CsvExampleGenOperator, RunSpan, SqlExampleGenOperator, create_dag
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.storage.spans import date_span

MIDNIGHT = datetime(2013, 1, 5, tzinfo=timezone.utc)
DAY = date_span(date(2013, 1, 5))


def context_of(dag: DAG, **of_the_run: Any) -> Any:
    context = preview_context(dag, {})
    return {**context, "dag_run": context["dag_run"].model_copy(update=of_the_run)}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def dag() -> DAG:
    return create_dag("d", [CsvExampleGenOperator(input_base="/data", span=RunSpan(), input_config=by("{SPAN}"))])


def by(pattern: str) -> dict[str, Any]:
    return {"splits": [{"name": "s", "pattern": pattern}]}


@pytest.mark.parametrize(
    ("key", "of_dates", "number"),
    [
        ("7", False, 7),
        ("20130105", False, 20130105),
        ("20130105", True, DAY),
        ("2013-01-05", True, DAY),
        ("2013-01-05", False, DAY),
        ("2013-01-05T00:00:00", True, DAY),
        ("2013-01-05T23:00:00+00:00", True, DAY),
    ],
)
def test_a_partition_key_names_it(key: str, of_dates: bool, number: int, dag: DAG) -> None:
    context = context_of(dag, partition_key=key, data_interval_start=MIDNIGHT + timedelta(99))
    assert RunSpan().number_in(context, of_dates=of_dates) == number
    assert RunSpan(offset=-1).number_in(context, of_dates=of_dates) == number - 1


@pytest.mark.parametrize("key", ["", "seven", "2013-02-30", "2013-01-05 and more", "2013-01-05Tx", "1.5"])
@pytest.mark.parametrize("of_dates", [True, False])
def test_a_key_that_names_no_span_is_an_error(key: str, of_dates: bool, dag: DAG) -> None:
    with pytest.raises(InvalidInputError, match=f"the run's partition key '{key}' names no span; it must be "):
        RunSpan().number_in(context_of(dag, partition_key=key), of_dates=of_dates)


@pytest.mark.parametrize(
    ("run_type", "hours", "number"),
    [
        (DagRunType.SCHEDULED, 24, DAY),
        (DagRunType.SCHEDULED, 0, DAY),  # Airflow's cron schedules have intervals without a length
        (DagRunType.BACKFILL, 0, DAY),
        (DagRunType.MANUAL, 24, DAY),
        (DagRunType.MANUAL, 0, None),  # somebody started it now: there is no date that it is about
        (DagRunType.OPERATOR_TRIGGERED, 0, None),
    ],
)
def test_else_it_is_the_date_on_which_the_interval_starts(
    run_type: DagRunType, hours: int, number: int | None, dag: DAG
) -> None:
    end = MIDNIGHT + timedelta(hours=hours)
    context = context_of(dag, run_type=run_type, data_interval_start=MIDNIGHT, data_interval_end=end)
    assert RunSpan().number_in(context, of_dates=True) == number
    without = context_of(dag, run_type=run_type, data_interval_start=None, data_interval_end=None)
    assert RunSpan().number_in(without, of_dates=True) is None


def test_a_date_is_one_in_the_dags_timezone() -> None:
    import pendulum

    component = CsvExampleGenOperator(input_base="/data", span=RunSpan(), input_config=by("{YYYY}{MM}{DD}"))
    berlin = create_dag("d", [component], start_date=pendulum.datetime(2013, 1, 1, tz="Europe/Berlin"))
    at = datetime(2013, 1, 4, 23, tzinfo=timezone.utc)
    context = context_of(berlin, run_type=DagRunType.SCHEDULED, data_interval_start=at, data_interval_end=at)
    assert RunSpan().number_in(context, of_dates=True) == DAY


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"span": RunSpan()}, "span needs a span in input_config"),
        ({"span": 3}, "span needs a span in input_config"),
        ({"span": "3 days"}, "span takes"),
        ({"span": 3, "range_config": {"static_range": {}}, "input_config": by("{SPAN}")}, "leave out span"),
    ],
)
def test_a_span_that_files_do_not_have(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(PipelineError, match=error):
        CsvExampleGenOperator(input_base="/data", **arguments)
    with pytest.raises(PipelineError, match="takes a whole number as offset"):
        RunSpan(offset="1")  # type: ignore[arg-type]


QUERY = "SELECT * FROM t WHERE day = @span_yyyymmdd_utc"


@pytest.mark.parametrize(
    ("query", "arguments", "error"),
    [
        (QUERY, {}, "a query has @span_..., but nothing says which span; give span=RunSpan"),
        (QUERY, {"range_config": {"rolling_range": {"num_spans": 3}}}, "nothing says which span"),
        ("SELECT 1", {"span": RunSpan()}, "the query is not about a span"),
        ("SELECT 1", {"range_config": {"rolling_range": {"num_spans": 3}}}, "the query is not about a span"),
        ("SELECT 1", {"fingerprint_query": QUERY}, "nothing says which span"),
    ],
)
def test_a_query_about_a_span_says_which(query: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(PipelineError, match=error):
        SqlExampleGenOperator(conn_id="c", query=query, **arguments)


def test_a_run_by_hand_has_no_span_for_a_query() -> None:
    operator = SqlExampleGenOperator(conn_id="c", query=QUERY, span=RunSpan())
    dag = create_dag("d", [operator])
    copy = operator.rendered(preview_context(dag, {}), {})
    copy.__dict__["store"] = None  # it is not asked
    with pytest.raises(InvalidInputError, match="trigger it with a partition key"):
        copy.parts_of(copy.component_run(preview_context(dag, {})))
