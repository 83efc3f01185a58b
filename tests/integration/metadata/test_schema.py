import json
import multiprocessing
import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from named_runs import named_run
from psycopg2 import sql

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import InvalidInputError, SchemaVersionError, StoreUnavailableError
from airflow_provider_mlpipe.metadata import schema
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore, PlannedTask


@pytest.fixture
def empty(postgres_server):
    yield postgres_server.create_database("empty")
    postgres_server.drop_database("empty")


@pytest.fixture
def modest(postgres_server, empty):
    """The empty database, and its address for a user who may not create schemas there."""
    connection = Connection(empty)
    connection.run("CREATE ROLE modest LOGIN PASSWORD 'x'")
    yield connection, f"postgresql://modest:x@127.0.0.1:{postgres_server.port}/empty"
    connection.run("DROP OWNED BY modest CASCADE")
    connection.run("DROP ROLE modest")
    connection.close()


def _set_version(connection, version):
    connection.run("UPDATE mlpipe.alembic_version SET version_num = %(version)s", {"version": version})


def test_versions_are_those_of_alembic():
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.newest_version()]


def test_an_empty_database(empty):
    with pytest.raises(SchemaVersionError, match="airflow mlpipe db upgrade"):
        schema.check(empty)
    with pytest.raises(SchemaVersionError, match="airflow mlpipe db upgrade"):
        MetadataStore(empty).artifact(1)
    schema.upgrade(empty)
    schema.check(empty)
    schema.upgrade(empty)
    assert MetadataStore(empty).artifact(1) is None


def test_a_database_that_does_not_hold_utf8_is_refused(postgres_server, connection):
    connection.run_alone("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(InvalidInputError, match=r"'ascii' has the encoding SQL_ASCII.*--create-database"):
        schema.upgrade(postgres_server.dsn("ascii"))
    postgres_server.drop_database("ascii")


def test_who_owns_the_schema_needs_no_other_right(modest):
    connection, dsn = modest
    with pytest.raises(InvalidInputError, match=r"'modest' may not.*'empty'.*run there: CREATE SCHEMA mlpipe AUTH"):
        schema.upgrade(dsn)
    connection.run('CREATE SCHEMA mlpipe AUTHORIZATION "modest"')
    schema.upgrade(dsn)
    schema.check(dsn)


def test_an_upgrade_of_what_is_current_only_reads(modest, empty):
    connection, dsn = modest
    connection.run("CREATE SCHEMA mlpipe")
    connection.run("GRANT USAGE ON SCHEMA mlpipe TO modest")
    with pytest.raises(InvalidInputError, match=r"may not create tables in the schema mlpipe.*who owns the schema"):
        schema.upgrade(dsn)
    schema.upgrade(empty)
    connection.run("GRANT SELECT ON ALL TABLES IN SCHEMA mlpipe TO modest")
    schema.upgrade(dsn)


def test_nothing_is_made_outside_the_schema(empty):
    schema.upgrade(empty)
    tables = Connection(empty).run(
        "SELECT DISTINCT table_schema AS name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    assert tables == [{"name": "mlpipe"}]


def test_an_older_schema(database, connection):
    _set_version(connection, "0000")
    with pytest.raises(SchemaVersionError, match=r"at version 0000, but .* run `airflow mlpipe db upgrade`"):
        schema.check(database)


def test_a_newer_schema_is_refused(database, connection):
    _set_version(connection, "9999")
    for refused in (schema.check, schema.upgrade, lambda dsn: MetadataStore(dsn).artifact(1)):
        with pytest.raises(SchemaVersionError, match=r"at version 9999, newer .* upgrade the package"):
            refused(database)


def test_the_version_is_read_once_per_process(store, recorded):
    store.artifact(1)
    MetadataStore(store._dsn).artifact(1)
    assert not [statement for statement in recorded if "alembic_version" in statement]


def test_upgrades_that_race_all_succeed(empty):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=schema.upgrade, args=(empty,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    schema.check(empty)


def test_an_unreachable_store_cannot_be_upgraded():
    with pytest.raises(StoreUnavailableError):
        schema.upgrade("postgresql://nobody@127.0.0.1:1/none")


def test_the_store_does_not_import_alembic():
    code = (
        "import sys, airflow_provider_mlpipe.metadata.store; "
        "sys.exit(any(name in sys.modules for name in ('alembic', 'sqlalchemy', 'airflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


HOSTILE = """
CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION $$it ran as %$$, current_user; END'
"""
"""For a call with such arguments it fits better than Postgres' own function, which takes a bigint."""


def test_functions_of_others_are_not_called(empty):
    meddler = Connection(empty)
    meddler.run(HOSTILE)
    meddler.close()
    call = "SELECT hashtextextended('a', 0) IS NOT NULL AS fine"
    with closing(psycopg2.connect(empty)) as raw, raw.cursor() as cursor, pytest.raises(psycopg2.Error, match="it ran"):
        cursor.execute(call)
    schema.upgrade(empty)
    connection = Connection(empty)
    assert connection.run(call) == [{"fine": True}]
    assert connection.run(sql.SQL(call)) == [{"fine": True}]
    with connection.transaction():
        assert connection.run(call) == [{"fine": True}]
    connection.close()
    store = MetadataStore(empty)
    start = ExecutionStart(component_type="Importer", run=named_run("d", "r"), component_id="i", triggered_by=None)
    _, published = store.publish_node(start, {"result": [Model(uri="/m", digest="d")]})
    assert store.artifact(published["result"][0].id) == published["result"][0]
    store.close()


def test_an_upgrade_removes_secrets_that_earlier_versions_stored(database):
    store, connection = MetadataStore(database), Connection(database)
    values = {"token": "tok-123", "nested": {"db_password": "pass-word"}, "tokens_per_row": 7, "note": "fine"}
    parts = {f"parameter {name}": json.dumps(value) for name, value in values.items()} | {"executor": "e"}
    start = ExecutionStart(
        component_type="Any", run=named_run("d", "r"), component_id="c", triggered_by=None,
        properties=values, fingerprint="f", fingerprint_parts=parts,
    )  # fmt: skip
    store.fail(store.start_execution(start), "ValueError: tok-123 is not pass-word")
    connection.run("ALTER TABLE mlpipe.store DROP COLUMN secret")
    as_of_version_6(connection)
    connection.run("UPDATE mlpipe.alembic_version SET version_num = '0005'")
    schema.upgrade(database)
    (found,) = store.executions().items
    assert found.properties == values | {"token": "***", "nested": {"db_password": "***"}}
    assert found.fingerprint_parts == parts | {
        "parameter token": '"***"', "parameter nested": '{"db_password":"***"}'
    }  # fmt: skip
    assert (found.error, found.fingerprint) == ("ValueError: *** is not ***", "f")
    assert len(store.secret) > 32
    store.close()
    connection.close()


def test_an_upgrade_keeps_plans_and_results_of_before_there_were_parts(database):
    store, connection = MetadataStore(database), Connection(database)
    run, starts = named_run("d", "r"), [_start_of(name) for name in ("a", "b")]

    def record():
        claims = [store.start_execution(start) for start in starts]
        for claim in claims:
            store.publish(claim, {"model": [Model(uri=f"/{claim.execution_id}")]})
        return [
            PlannedTask(component_id=name, verdict="hit", reason="r", is_skipped=True, part_set=None) for name in "abc"
        ]

    assert store.commit_plan(run, clear=0, record=record)
    old = [{"component_id": name, "verdict": "hit", "reason": "r", "is_skipped": True} for name in "abc"]
    for decision, execution_id in zip(old, [1, 2, None], strict=True):
        decision["execution_id"] = execution_id
    connection.run("UPDATE mlpipe.plan SET decisions = %(old)s::jsonb", {"old": json.dumps(old)})
    as_of_version_6(connection)
    connection.run("UPDATE mlpipe.alembic_version SET version_num = '0006'")
    schema.upgrade(database)

    tasks = store.plan(run)
    assert [task.component_id for task in tasks] == ["a", "b", "c"]
    assert tasks[2].part_set is None
    for number, task in enumerate(tasks[:2], start=1):
        assert store.set_outputs(task.part_set)["model"][0].uri == f"/{number}"
        assert store.run_outputs(run, component_id=task.component_id, key="model")[0].uri == f"/{number}"
    store.close()
    connection.close()


def _start_of(component_id):
    return ExecutionStart(
        component_type="Any", run=named_run("d", "r"), component_id=component_id, triggered_by=None, fingerprint="f"
    )


def as_of_version_6(connection):
    """Takes the changes of later versions back."""
    connection.run("DROP TABLE mlpipe.announced_span")
    connection.run("DROP TABLE mlpipe.file_digest")
    connection.run("DROP VIEW mlpipe.complete_set")
    connection.run("ALTER TABLE mlpipe.execution DROP COLUMN part_set, DROP COLUMN part, DROP COLUMN parts")
