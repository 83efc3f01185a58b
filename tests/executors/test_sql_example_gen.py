"""SqlExampleGen on real databases: types, streaming, the watermark, and what goes wrong with queries and databases."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

pytest.importorskip("tensorflow")
from planned import Pipeline
from sources import DAY, DAYS, MICROSECONDS, MOMENT, ON_BEAM, TRAIN_AND_EVAL, all_of, as_tfx, penguin_rows

from airflow_provider_mlpipe import SqlExampleGenOperator, create_dag
from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.caching import driver
from airflow_provider_mlpipe.components.sql_example_gen.executor import run
from airflow_provider_mlpipe.exceptions import InvalidInputError, PipelineError, TransientError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.planning.preview import preview_context
from airflow_provider_mlpipe.records.tfrecord import FILE_NAME, read_records
from airflow_provider_mlpipe.storage.spans import date_span

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:You are using a Python version:FutureWarning:google"),
]


@pytest.fixture
def postgres(database: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The fields of a connection, which Airflow knows as `source`."""
    parts = parse_dsn(database)
    fields = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": int(parts["port"]),
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps(fields))
    return fields


@pytest.fixture
def execute(database: str) -> Iterator[Callable[..., None]]:
    """Executes a statement in the database, and commits."""
    with closing(psycopg2.connect(database)) as connection:

        def do(statement: str, values: Any = None) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)

        yield do


def generate(
    connection: dict[str, Any],
    query: str,
    out: Path,
    output_config: dict[str, Any] = TRAIN_AND_EVAL,
    beam_pipeline_args: tuple[str, ...] = (),
    shuffle_seed: int | None = None,
) -> dict[str, list[bytes]]:
    out.mkdir()
    (out / "tmp").mkdir()
    produced = run(
        query=query,
        conn_id="source",
        fingerprint_query=None,
        output_config=output_config,
        shuffle_seed=shuffle_seed,
        connection=json.dumps(connection),
        examples=Examples(uri=str(out)),
        context=ExecutorContext(
            component_id="SqlExampleGen",
            execution_id=1,
            tmp_dir=str(out / "tmp"),
            beam_pipeline_args=beam_pipeline_args,
        ),
    )["examples"]
    return {name: list(read_records(out / f"Split-{name}" / FILE_NAME)) for name in produced.properties["splits"]}


def test_real_data_gives_tfxs_records_on_both_engines(
    postgres: dict[str, Any], execute: Callable[..., None], tmp_path: Path
) -> None:
    rows = penguin_rows()
    kinds = ", ".join(f"{name} {_sql_type(name, rows)}" for name in rows[0])
    execute(f"CREATE TABLE penguins ({kinds})")
    for row in rows:
        execute(f"INSERT INTO penguins VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
    records = generate(postgres, "SELECT * FROM penguins;", tmp_path / "local")
    assert all_of(records) == sorted(map(as_tfx, rows))
    assert generate(postgres, "SELECT * FROM penguins", tmp_path / "beam", beam_pipeline_args=ON_BEAM) == records
    shuffled = generate(postgres, "SELECT * FROM penguins", tmp_path / "shuffled", shuffle_seed=1)
    assert all_of(shuffled) == all_of(records)
    assert shuffled != records


def _sql_type(name: str, rows: list[dict[str, Any]]) -> str:
    value = next(row[name] for row in rows if row[name] is not None)
    return {str: "text", int: "bigint", float: "double precision"}[type(value)]


COLUMNS: dict[str, tuple[str, Any]] = {
    "boolean": ("false", 0),
    "smallint": ("7::smallint", 7),
    "real": ("0.5::real", 0.5),
    "numeric": ("12.25", 12.25),
    "whole_numeric": ("12::numeric", 12.0),
    "text": ("''", ""),
    "bytes": (r"'\xff00'::bytea", b"\xff\x00"),
    "uuid": ("'00000000-0000-0000-0000-00000000000a'::uuid", "00000000-0000-0000-0000-00000000000a"),
    "date": (f"'{DAY}'::date", DAYS),
    "timestamp": (f"'{MOMENT.replace(tzinfo=None)}'::timestamp", MICROSECONDS),
    "timestamptz": (f"'{MOMENT.astimezone(dt.timezone(dt.timedelta(hours=5)))}'::timestamptz", MICROSECONDS),
    "time": ("'00:00:01'::time", 1_000_000),
    "interval": ("'2 seconds'::interval", 2_000_000),
    "array": ("ARRAY[1, 2]", [1, 2]),
    "numerics": ("ARRAY[0.5, 2]::numeric[]", [0.5, 2.0]),
    "texts": ("ARRAY['a', '']", ["a", ""]),
    "null": ("NULL::int", None),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_type_of_postgres_has_its_documented_form(name: str, postgres: dict[str, Any], tmp_path: Path) -> None:
    expression, expected = COLUMNS[name]
    records = generate(postgres, f'SELECT {expression} AS "{name}"', tmp_path / "out")
    assert all_of(records) == [as_tfx({name: expected})]


def test_a_column_may_be_null_at_first_and_numbers_may_get_a_fraction(postgres: dict[str, Any], tmp_path: Path) -> None:
    query = """
        SELECT CASE WHEN n > 20000 THEN n END AS late,
               CASE WHEN n > 20000 THEN 0.5 ELSE n::bigint::numeric END AS half,
               CASE WHEN n % 2 = 0 THEN ARRAY[n] END AS some
        FROM generate_series(1, 20010) AS n
    """
    records = generate(postgres, query, tmp_path / "out")
    rows = (
        {"late": n if n > 20_000 else None, "half": 0.5 if n > 20_000 else float(n), "some": None if n % 2 else [n]}
        for n in range(1, 20_011)
    )
    assert all_of(records) == sorted(map(as_tfx, rows))


def test_rows_are_dealt_by_a_feature(postgres: dict[str, Any], tmp_path: Path) -> None:
    config = {"split_config": {**TRAIN_AND_EVAL["split_config"], "partition_feature_name": "key"}}
    query = "SELECT n % 7 AS key FROM generate_series(1, 100) AS n"
    records = generate(postgres, query, tmp_path / "out", config)
    assert not set(records["train"]) & set(records["eval"])
    assert len(set(all_of(records))) == 7


def test_a_database_of_another_kind_is_read_with_its_providers_hook(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        connection.execute("CREATE TABLE t (a INTEGER, b REAL, c TEXT, d BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(1, 0.5, "x", b"\0"), (None, None, "", b"")])
    fields = {"conn_type": "sqlite", "host": str(tmp_path / "db")}
    records = generate(fields, "SELECT * FROM t", tmp_path / "out")
    rows = [{"a": 1, "b": 0.5, "c": "x", "d": b"\0"}, {"a": None, "b": None, "c": "", "d": b""}]
    assert all_of(records) == sorted(map(as_tfx, rows))
    with pytest.raises(InvalidInputError, match="no such table: u; correct the query"):
        generate(fields, "SELECT * FROM u", tmp_path / "other")


FAULTS = {
    "no such table": ("SELECT * FROM nowhere", 'relation "nowhere" does not exist.*; correct the query'),
    "no query": ("DROP TABLE x", "syntax error.*; correct the query"),
    "a column twice": ("SELECT 1 AS a, 2 AS a", "two columns 'a'; name one with AS"),
    "no row": ("SELECT 1 AS a WHERE false", r"no input split has a row \(query\)"),
    "json": ("""SELECT '{"a": 1}'::jsonb AS a""", "column 'a', .*values of the type dict have no form"),
    "a large number": ("SELECT ARRAY[1, NULL] AS a", r"the query, column 'a', row 1: \[1, None\] has no form"),
    "half-way": (
        "SELECT 1 / (9000 - n) AS a FROM generate_series(1, 9001) AS n",
        "division by zero; correct the query",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_query_is_named_and_not_retried(fault: str, postgres: dict[str, Any], tmp_path: Path) -> None:
    query, message = FAULTS[fault]
    with pytest.raises(InvalidInputError, match=message):
        generate(postgres, query, tmp_path / "out")


def test_nothing_can_be_written(postgres: dict[str, Any], execute: Callable[..., None], tmp_path: Path) -> None:
    execute("CREATE TABLE t (a int)")
    execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING 1'")
    with pytest.raises(InvalidInputError, match="read-only"):
        generate(postgres, "SELECT f() AS a", tmp_path / "out")


def test_a_connection_that_breaks_is_retried(postgres: dict[str, Any], tmp_path: Path) -> None:
    query = "SELECT pg_terminate_backend(pg_backend_pid()) AS a"
    with pytest.raises(TransientError, match="the database of the Airflow connection 'source' says"):
        generate(postgres, query, tmp_path / "broken")
    with pytest.raises(TransientError, match="refused"):
        generate({**postgres, "port": 1}, "SELECT 1 AS a", tmp_path / "refused")


def operator(**arguments: Any) -> SqlExampleGenOperator:
    return SqlExampleGenOperator(
        task_id="SqlExampleGen", query="SELECT * FROM t ORDER BY a", conn_id="source", **arguments
    )


def test_the_watermark_decides(
    database: str,
    postgres: dict[str, Any],
    execute: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute("CREATE TABLE t (a int)")
    execute("INSERT INTO t SELECT generate_series(1, 50)")
    pipeline = Pipeline(database, tmp_path)

    def planned() -> tuple[str, str]:
        node = pipeline.plan(pipeline.dag(operator(fingerprint_query="SELECT max(a) FROM t")))["SqlExampleGen"]
        return node.verdict.value, node.reason

    assert planned() == ("run", "first run")
    pipeline.run(pipeline.dag(operator(fingerprint_query="SELECT max(a) FROM t")))
    assert planned()[0] == "hit"
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({**postgres, "extra": {"sslmode": "prefer"}}))
    assert planned()[0] == "hit"
    execute("INSERT INTO t VALUES (51)")
    assert planned() == ("run", "content of watermark changed")
    (execution,) = pipeline.store.executions().items
    assert postgres["password"] not in json.dumps(execution.properties) + json.dumps(execution.fingerprint_parts)


def test_without_a_watermark_it_always_runs_and_says_why(
    database: str, postgres: dict[str, Any], execute: Callable[..., None], tmp_path: Path
) -> None:
    execute("CREATE TABLE t (a int)")
    execute("INSERT INTO t SELECT generate_series(1, 50)")
    pipeline = Pipeline(database, tmp_path)
    pipeline.run(pipeline.dag(operator()))
    node = pipeline.plan(pipeline.dag(operator()))["SqlExampleGen"]
    assert (node.verdict.value, node.reason) == ("run", "without a fingerprint_query the rows may be others")


def test_a_watermark_that_takes_too_long_is_ended(postgres: dict[str, Any]) -> None:
    slow = operator(fingerprint_query="SELECT pg_sleep(3600)", fingerprint_timeout=0.05)
    with pytest.raises(TransientError, match="statement timeout"):
        slow.external_inputs({"conn_id": "source", "fingerprint_query": slow.fingerprint_query})


def test_what_airflow_does_not_know_is_named(database: str) -> None:
    with pytest.raises(InvalidInputError, match="Airflow has no connection 'nowhere'"):
        operator().external_inputs({"conn_id": "nowhere", "fingerprint_query": None})


@pytest.mark.parametrize("query", ["SELECT * FROM t WHERE day = @span_yyyymmdd_utc", "SELECT @span_end_timestamp"])
def test_tfxs_spans_are_refused_when_the_dag_is_parsed(query: str) -> None:
    with pytest.raises(PipelineError, match="@span_"):
        SqlExampleGenOperator(query=query, conn_id="source")


@pytest.mark.parametrize(
    "condition",
    [
        "day = @span_yyyymmdd_utc",
        "extract(epoch FROM day) >= @span_begin_timestamp AND extract(epoch FROM day) < @span_end_timestamp",
    ],
)
def test_each_day_of_a_query_is_a_part(
    condition: str, postgres: dict[str, Any], execute: Callable[..., None], database: str, tmp_path: Path
) -> None:
    execute("CREATE TABLE days (day date, amount integer)")
    for day in range(1, 6):
        execute(f"INSERT INTO days SELECT '2013-01-0{day}', {day} * number FROM generate_series(1, 30) AS number")
    query = f"SELECT amount FROM days WHERE {condition}"
    first = date_span(dt.date(2013, 1, 2))
    spans = {"start_span_number": first, "end_span_number": first + 2}
    watermark = f"SELECT count(*) FROM days WHERE {condition}"
    sql = SqlExampleGenOperator(
        query=query, conn_id="source", fingerprint_query=watermark, range_config={"static_range": spans}
    )
    dag = create_dag("d", [sql])
    context = preview_context(dag, {})
    copy = sql.rendered(context, {})
    parts = copy.parts_of(copy.component_run(context))
    assert [part.span.number for part in parts if part.span] == [first, first + 1, first + 2]
    assert {part.external["watermark"] for part in parts} == {"(30,)"}
    fingerprints = {driver.fingerprint(part).digest for part in parts}
    assert len(fingerprints) == 3
    for day, part in enumerate(parts, start=2):
        records = generate(postgres, part.resolved["query"], tmp_path / str(day))
        assert all_of(records) == sorted(as_tfx({"amount": day * number}) for number in range(1, 31))
    execute("UPDATE days SET day = '2013-01-04' WHERE day = '2013-01-03' AND amount < 9")
    again = {driver.fingerprint(part).digest for part in copy.parts_of(copy.component_run(context))}
    assert len(fingerprints & again) == 1  # the first day alone is as before
