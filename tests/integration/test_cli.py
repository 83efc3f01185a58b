"""`airflow mlpipe …`, as Airflow's own parser reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from airflow.cli.cli_parser import get_parser
from run_part import component, run

from airflow_provider_mlpipe.embedded import EmbeddedPostgres

Command = Callable[..., str]


@pytest.fixture
def command(database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the test's store and returns what it printed."""
    connect(monkeypatch, database)

    def mlpipe(*arguments: str) -> str:
        capsys.readouterr()
        args = get_parser().parse_args(["mlpipe", *arguments])
        args.func(args)
        return capsys.readouterr().out

    return mlpipe


def connect(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", dsn.replace("postgresql://", "mlpipe://", 1))


@pytest.fixture
def made(database: str, tmp_path: Path) -> int:
    """A store with two runs of a pipeline of two components; the id of the model."""
    for run_id in ("first", "second"):
        (examples,) = run(component("Make", database, str(tmp_path)), run_id=run_id)["examples"]
        use = component("Use", database, str(tmp_path), examples=None)
        (model,) = run(use, run_id=run_id, inputs={"examples": examples})["model"]
    return model.id or 0


def test_runs_lists_executions_newest_first(command: Command, made: int) -> None:
    rows = json.loads(command("runs", "--output", "json"))
    assert [(row["run_id"], row["component"], row["state"]) for row in rows] == [
        ("second", "Use", "CACHED"),
        ("second", "Make", "CACHED"),
        ("first", "Use", "COMPLETE"),
        ("first", "Make", "COMPLETE"),
    ]
    assert len(json.loads(command("runs", "--run-id", "first", "--limit", "1", "--output", "json"))) == 1
    assert json.loads(command("runs", "--dag-id", "other", "--output", "json")) == []


def test_artifacts_can_be_asked_by_type_and_dag(command: Command, made: int) -> None:
    (model,) = json.loads(command("artifacts", "--type", "Model", "--dag-id", "pipeline", "--output", "json"))
    assert (int(model["id"]), model["state"]) == (made, "LIVE")
    assert len(json.loads(command("artifacts", "--output", "json"))) == 2
    with pytest.raises(SystemExit, match="no DAG 'nothing' has run"):
        command("artifacts", "--dag-id", "nothing")


def test_lineage_goes_up_and_down(command: Command, made: int) -> None:
    up = json.loads(command("lineage", str(made), "--output", "json"))
    assert [row["type"] for row in up] == ["Model", "Use", "Examples", "Make"]
    down = json.loads(command("lineage", str(up[2]["id"]), "--down", "--output", "json"))
    assert "Model" in {row["type"] for row in down}
    assert len(json.loads(command("lineage", str(made), "--depth", "1", "--output", "json"))) == 2
    with pytest.raises(SystemExit, match="there is no artifact 999"):
        command("lineage", "999")


def test_a_table_is_printed_by_default(command: Command, made: int) -> None:
    assert re.search(r"id\s*\|\s*type\s*\|\s*state", command("artifacts"))


def test_db_upgrade_and_check(
    command: Command, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "as this code needs it" in command("db", "check")
    dsn = postgres_server.create_database("empty_for_cli")
    connect(monkeypatch, dsn)
    with pytest.raises(SystemExit, match=r"SchemaVersionError: .*airflow mlpipe db upgrade"):
        command("db", "check")
    assert "is at version" in command("db", "upgrade")
    assert "as this code needs it" in command("db", "check")
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE mlpipe.alembic_version SET version_num = '9999'")
    connection.close()
    for arguments in (["db", "check"], ["db", "upgrade"]):
        with pytest.raises(SystemExit, match="newer than this code"):
            command(*arguments)


def test_db_upgrade_creates_the_database_if_asked(
    command: Command, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'made "here"'
    connect(monkeypatch, postgres_server.dsn(quote(name)))
    with pytest.raises(SystemExit, match="does not exist"):
        command("db", "upgrade")
    assert "Created the database" in command("db", "upgrade", "--create-database")
    assert "Created the database" not in command("db", "upgrade", "--create-database")
    assert "as this code needs it" in command("db", "check")
    postgres_server.drop_database(name)


def test_a_missing_connection_is_one_clear_line(command: Command) -> None:
    with pytest.raises(SystemExit, match="no connection 'nothing'; make one: airflow connections add nothing"):
        command("runs", "--conn-id", "nothing")


def test_a_store_that_is_away_is_one_clear_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "postgresql://someone:secret@127.0.0.1:1/nowhere")
    with pytest.raises(SystemExit, match=r"StoreUnavailableError: .*127\.0\.0\.1:1") as error:
        command("runs")
    assert "secret" not in str(error.value)
