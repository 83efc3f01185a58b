"""Runs SQL checks over the examples and the statistics, in DuckDB. A check passes if its SELECT returns no row.

The database is a file in the executor's temporary folder. It has no access to other files, to the network, or to
Python's variables; what does not fit into its share of the memory is on disk.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics

from airflow_provider_mlpipe.artifacts import Examples
from airflow_provider_mlpipe.components.example_validator.sql_tables import (
    EXAMPLES,
    SPLIT,
    create_examples,
    create_statistics,
)
from airflow_provider_mlpipe.components.example_validator.sql_text import (
    NEEDS_EXAMPLES,
    NOT_ONE_SELECT,
    may_read_examples,
    names_problem,
    sql_problem,
)
from airflow_provider_mlpipe.exceptions import InvalidInputError
from airflow_provider_mlpipe.execution.contract import ExecutorContext
from airflow_provider_mlpipe.proto.configs import parse_config
from airflow_provider_mlpipe.proto.mlpipe_pb2 import SqlCheck
from airflow_provider_mlpipe.records import duckdb_file
from airflow_provider_mlpipe.records.anomalies import add_reason
from airflow_provider_mlpipe.records.inputs import named_splits

log = logging.getLogger(__name__)

REPORT_FILE = "sql_checks.json"
SHOWN_ROWS = 10
_SHOWN_CHARACTERS = 2_000
_LONGEST_VALUE = 200
_FOUND = "offending_rows"


@dataclass(frozen=True)
class Outcome:
    """What a check found in one split. `rows` are the first SHOWN_ROWS of the offending ones, as JSON has them."""

    name: str
    severity: str
    sql: str
    offending_rows: int
    rows: Sequence[Mapping[str, Any]]


def run_checks(
    given: Sequence[Mapping[str, Any]],
    environment: str | None,
    examples: Examples | None,
    statistics: Mapping[str, DatasetFeatureStatistics],
    schema: schema_pb2.Schema,
    context: ExecutorContext,
) -> dict[str, list[Outcome]]:
    """Return by split the outcomes of the checks of this environment; `statistics` are those of the splits.

    An offending row belongs to the split that its column `split` names; a row without one belongs to all of them.
    Raises InvalidInputError, with the check, for SQL that is wrong, fails, or is not one SELECT, and for an environment
    that the schema does not have.
    """
    if problem := names_problem(given):
        raise InvalidInputError(problem)
    checks = [parse_config(SqlCheck, check, parameter="sql_checks") for check in given]
    for check in checks:
        _check(check, schema, has_examples=examples is not None)
    runs = [check for check in checks if check.environment in ("", environment)]
    for check in checks:
        if check not in runs:
            log.info("SQL check %r is not run: its environment is %r", check.name, check.environment)
    outcomes: dict[str, list[Outcome]] = {split: [] for split in statistics}
    if not runs:
        return outcomes
    with _database(context) as connection:
        create_statistics(connection, statistics)
        if examples is not None and any(may_read_examples(check.sql) for check in runs):
            splits = named_splits(examples, list(statistics), parameter="examples")
            create_examples(connection, examples, splits, schema)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        for check in runs:
            for split, outcome in _found(connection, check, list(statistics)).items():
                outcomes[split].append(outcome)
                _log(split, outcome)
    return outcomes


def write_report(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes of one split, for readers without TensorFlow; equal outcomes give equal bytes."""
    checks = [asdict(outcome) for outcome in outcomes]
    (folder / REPORT_FILE).write_text(json.dumps({"checks": checks}, indent=1) + "\n", encoding="utf-8")


def add_anomalies(anomalies: anomalies_pb2.Anomalies, outcomes: Sequence[Outcome]) -> None:
    """Add an anomaly for each check that found rows."""
    for outcome in outcomes:
        if outcome.offending_rows:
            add_reason(
                anomalies,
                f"SQL check {outcome.name}",
                severity=outcome.severity,
                kind=anomalies_pb2.AnomalyInfo.CUSTOM_VALIDATION,
                short="Offending rows",
                description=_described(outcome),
            )


def _described(outcome: Outcome) -> str:
    count, rows = outcome.offending_rows, "; ".join(json.dumps(row, ensure_ascii=False) for row in outcome.rows)
    which = f"the first {len(outcome.rows)} of them" if count > len(outcome.rows) else "they are"
    return _shortened(f"{count:,} offending row{'s' * (count != 1)}, {which}: {rows}", _SHOWN_CHARACTERS)


def _log(split: str, outcome: Outcome) -> None:
    if outcome.offending_rows:
        log.warning("split %s, SQL check %s: %s", split, outcome.name, _described(outcome))
    else:
        log.info("split %s, SQL check %s: no offending row", split, outcome.name)


def _check(check: SqlCheck, schema: schema_pb2.Schema, *, has_examples: bool) -> None:
    if problem := sql_problem(check.sql, has_examples=has_examples):
        raise _error(check, problem)
    known = list(schema.default_environment)
    if check.environment and check.environment not in known:
        listed = ", ".join(known) or "none"
        raise _error(
            check, f"environment {check.environment!r} is not a default_environment of the schema; it has: {listed}"
        )


def _error(check: SqlCheck, problem: str) -> InvalidInputError:
    return InvalidInputError(f"sql_checks, check {check.name!r}: {problem}")


@contextlib.contextmanager
def _database(context: ExecutorContext) -> Iterator[duckdb.DuckDBPyConnection]:
    settings = {
        "threads": 1,  # then the order of rows and the last digit of a sum do not depend on the machine
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    with duckdb_file.opened(context, **settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _found(connection: duckdb.DuckDBPyConnection, check: SqlCheck, splits: Sequence[str]) -> dict[str, Outcome]:
    """Run one check, and divide its rows among the splits."""
    with _sql_errors_of(check, lines_before=0):
        statements = connection.extract_statements(check.sql)
    if [statement.type.name for statement in statements] != ["SELECT"]:
        raise _error(check, NOT_ONE_SELECT)
    with _sql_errors_of(check, lines_before=1):
        connection.execute(f"CREATE TEMP TABLE {_FOUND} AS\n{check.sql}")
        found = {split: _found_in(connection, check, split, splits) for split in splits}
        connection.execute(f"DROP TABLE {_FOUND}")
    return found


def _found_in(connection: duckdb.DuckDBPyConnection, check: SqlCheck, split: str, splits: Sequence[str]) -> Outcome:
    columns = connection.table(_FOUND).columns
    names_split = SPLIT in map(str.lower, columns)
    which = f"{SPLIT}::VARCHAR = ? OR coalesce({SPLIT}::VARCHAR, '') NOT IN (SELECT unnest(?::VARCHAR[]))"
    where, values = (f"WHERE {which}", [split, list(splits)]) if names_split else ("", [])
    counted = connection.execute(f"SELECT count(*) FROM {_FOUND} {where}", values).fetchone()  # noqa: S608
    rows = connection.execute(f"SELECT * FROM {_FOUND} {where} LIMIT {SHOWN_ROWS}", values).fetchall()  # noqa: S608
    shown = [{name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in rows]
    assert counted is not None
    severity = SqlCheck.Severity.Name(check.severity)
    return Outcome(name=check.name, severity=severity, sql=check.sql, offending_rows=counted[0], rows=shown)


@contextlib.contextmanager
def _sql_errors_of(check: SqlCheck, *, lines_before: int) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        said = str(error).partition("\n")[0]
        raise _error(
            check, f"{said}; raise [mlpipe] max_memory_mb, of which DuckDB gets half, or let the SQL group fewer rows"
        ) from error
    except (duckdb.OperationalError, duckdb.InternalError):  # such as a full disk: a retry may help
        raise
    except duckdb.Error as error:
        if f"Table with name {EXAMPLES} " in str(error):
            raise _error(check, NEEDS_EXAMPLES) from error
        said = re.sub(r"LINE (\d+):", lambda found: f"line {int(found[1]) - lines_before}:", str(error))
        raise _error(check, said) from error


def _plain(value: Any) -> Any:
    """The value in JSON: numbers that JSON lacks, bytes, dates and so on as text, and long ones shortened."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in list(value.items())[:SHOWN_ROWS]}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:SHOWN_ROWS]] + ["…"] * (len(value) > SHOWN_ROWS)
    return _shortened(f"0x{value[:_LONGEST_VALUE].hex()}" if isinstance(value, bytes) else str(value), _LONGEST_VALUE)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
