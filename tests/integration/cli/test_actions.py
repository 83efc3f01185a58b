"""`airflow mlpipe …`, as Airflow's own parser reads it."""

from __future__ import annotations

import inspect
import json
import os
import pwd
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from airflow.cli.cli_parser import get_parser
from light_parent import PRELOAD, start, stopped_afterwards
from named_runs import named_run
from processes import is_alive
from rights import closed
from run_part import component, run
from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.artifacts import ArtifactState
from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.execution.warm import WarmParent
from airflow_provider_mlpipe.local.demo import run_demo
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore
from airflow_provider_mlpipe.settings import airflow_home
from airflow_provider_mlpipe.storage.digests import tree_look

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


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_what_others_stored_is_printed_as_text(command: Command, database: str, tmp_path: Path, output: str) -> None:
    """As markup it was an error of the printer's; a terminal would have cleared its screen."""
    text = "no [/data/x], [bold]see[/bold] :smile: \x1b[2J\u202e"
    with closing(MetadataStore(database)) as store:
        start = ExecutionStart(
            component_type="Any", run=named_run("d", "r[/red]"), component_id="any", triggered_by=None
        )
        store.fail_before_start(start, text)
    printed = command("runs", "--output", output)
    assert not {"\x1b", "\u202e"} & set(printed)
    if output == "json":
        assert json.loads(printed)[0]["error"] == text
    else:
        assert "no [/data/x], [bold]see[/bold] :smile: \\x1b[2J" in " ".join(printed.split()).replace("\\e", "\\x1b")
        assert "r[/red]" in printed


def test_artifacts_can_be_asked_by_type_and_dag(command: Command, made: int) -> None:
    (model,) = json.loads(command("artifacts", "--type", "Model", "--dag-id", "pipeline", "--output", "json"))
    assert (int(model["id"]), model["state"]) == (made, "LIVE")
    assert len(json.loads(command("artifacts", "--output", "json"))) == 2
    with pytest.raises(SystemExit, match="no DAG 'nothing' has run"):
        command("artifacts", "--dag-id", "nothing")


def test_artifacts_are_marked_by_what_a_check_finds(
    command: Command, made: int, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, model = MetadataStore(database), tmp_path / "Use" / "model" / "2"

    def check(*options: str) -> list[tuple[str, str, str]]:
        rows = json.loads(command("artifacts", "check", *options, "--output", "json"))
        return [(row["type"], row["was"], row["is"]) for row in rows]

    def state() -> ArtifactState:
        return store.artifact(made).state  # type: ignore[union-attr]

    assert check() == []
    saved = (model / "saved").read_text()
    (model / "saved").write_text(saved.upper())  # as many bytes as before
    lost = [("Model", "LIVE", "MISSING")]
    assert check("--dry-run") == check("--artifact-id", str(made), "--dry-run") == lost
    assert check("--type", "Examples") == []
    assert state() is ArtifactState.LIVE
    assert check("--dag-id", "pipeline") == lost
    assert check() == []
    assert state() is ArtifactState.MISSING
    (model / "saved").write_text(saved)
    with closed(tmp_path / "Use"):
        assert check() == []
    assert check() == [("Model", "MISSING", "LIVE")]
    assert state() is ArtifactState.LIVE
    store.mark_deleted([made])
    assert check() == []
    assert command("artifacts", "check") == "No state had to be changed.\n"


def test_a_check_records_what_was_moved(command: Command, made: int, database: str, tmp_path: Path) -> None:
    """From then on a hit need not read the files."""
    folder = tmp_path / "Use" / "model" / "2"
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(folder)
    (tmp_path / "copy").rename(folder)
    assert command("artifacts", "check", "--dry-run", "--output", "json").strip() == "[]"
    assert stamp_of(database, made) != tree_look(folder).stamp
    assert command("artifacts", "check") == "No state had to be changed.\n"
    assert stamp_of(database, made) == tree_look(folder).stamp


def stamp_of(database: str, artifact_id: int) -> str:
    with closing(MetadataStore(database)) as store:
        return store.artifact(artifact_id).files.stamp  # type: ignore[union-attr]


def test_a_check_leaves_what_is_out_of_reach_unless_it_is_given_up(
    command: Command, made: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(*options: str) -> tuple[list[str], str]:
        args = get_parser().parse_args(["mlpipe", "artifacts", "check", "--output", "json", *options])
        args.func(args)
        printed = capsys.readouterr()
        return [row["is"] for row in json.loads(printed.out)], printed.err

    capsys.readouterr()
    with closed(tmp_path / "Use"):
        rows, warned = check("--give-up")
    assert rows == []
    assert f"Left as it is: Model {made}: " in warned
    assert "Let this user read it" in warned
    (tmp_path / "Use").rename(tmp_path / "elsewhere")
    rows, warned = check()
    assert rows == []
    assert "its disk may not be mounted" in warned
    assert check("--give-up")[0] == ["MISSING"]
    (tmp_path / "elsewhere").rename(tmp_path / "Use")
    assert check()[0] == ["LIVE"]
    with pytest.raises(SystemExit, match="--dry-run and --give-up belong to"):
        command("artifacts", "--give-up")


def test_lineage_goes_up_and_down(command: Command, made: int) -> None:
    up = json.loads(command("lineage", str(made), "--output", "json"))
    assert [row["type"] for row in up] == ["Model", "Use", "Examples", "Make"]
    down = json.loads(command("lineage", str(up[2]["id"]), "--down", "--output", "json"))
    assert "Model" in {row["type"] for row in down}
    assert len(json.loads(command("lineage", str(made), "--depth", "1", "--output", "json"))) == 2
    with pytest.raises(SystemExit, match="there is no artifact 999"):
        command("lineage", "999")


def test_what_is_invalidated_runs_again_and_says_why(
    command: Command, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = component("Make", database, str(tmp_path))
    (first,) = run(make)["examples"]
    (row,) = json.loads(command("cache", "invalidate", "--dag-id", "pipeline", "--output", "json"))
    assert row == {"dag_id": "pipeline", "component": "Make", "type": "Make", "executions": "1"}
    capsys.readouterr()
    (second,) = run(make, run_id="second")["examples"]
    assert second.id != first.id
    user = pwd.getpwuid(os.geteuid()).pw_name
    log = capsys.readouterr().out
    assert f"Make: runs, the earlier result is not reusable: invalidated by {user} at 2" in log
    (again,) = run(make, run_id="third")["examples"]
    assert again.id == second.id  # which was made after that
    assert MetadataStore(database).artifact(first.id or 0).state is ArtifactState.LIVE  # type: ignore[union-attr]


def test_invalidate_chooses_by_component_artifact_and_time(
    command: Command, made: int, database: str, tmp_path: Path
) -> None:
    run(component("Make", database, str(tmp_path), task_id="other", cache="refresh"))
    store = MetadataStore(database)
    (used,) = store.executions(component_id="Use", run_id="first").items
    assert used.ended_at is not None
    ended = used.ended_at.astimezone(timezone.utc)

    def chosen(*filters: str) -> dict[str, int]:
        rows = json.loads(command("cache", "invalidate", "--dry-run", "--output", "json", *filters))
        return {row["component"]: int(row["executions"]) for row in rows}

    assert chosen("--all") == {"Make": 1, "Use": 1, "other": 1}
    assert chosen("--component", "Make") == {"Make": 1, "other": 1}  # a type
    assert chosen("--component", "other") == {"other": 1}
    assert chosen("--artifact-id", str(made)) == {"Use": 1}
    without_a_zone = ended.replace(tzinfo=None).isoformat()
    elsewhere = ended.astimezone(timezone(timedelta(hours=5))).isoformat()
    for time in (without_a_zone, f"{without_a_zone}Z", elsewhere):
        assert chosen("--since", time) == {"Use": 1, "other": 1}
        assert chosen("--before", time) == {"Make": 1}
    assert chosen("--since", elsewhere, "--component", "Use", "--dag-id", "pipeline") == {"Use": 1}
    assert all(execution.reusable for execution in store.executions().items)


def test_invalidate_says_what_it_did_and_does_it_once(
    command: Command, made: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("cache", "invalidate", "--component", "Use")
    dry = command(*arguments, "--dry-run")
    assert "Nothing was changed" in dry
    table = command(*arguments)
    assert re.search(r"pipeline\s*\|\s*Use\s*\|\s*Use\s*\|\s*1", table)
    assert dry.startswith(table)
    assert command(*arguments) == "Nothing matched.\n"
    args = get_parser().parse_args(["mlpipe", *arguments, "--output", "json"])
    args.func(args)
    printed = capsys.readouterr()
    assert (json.loads(printed.out), printed.err) == ([], "Nothing matched.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], r"choose executions with --dag-id, .*, or all of them with --all"),
        (["--dry-run"], "choose executions with"),
        (["--all", "--component", ""], "--all cannot be combined with --component"),
        (["--dag-id", "nothing"], "no DAG 'nothing' has run"),
        (["--artifact-id", "0"], "there is no artifact 0"),
        (["--since", "yesterday"], "--since 'yesterday' is not a time; write e.g."),
        (["--before", ""], "--before '' is not a time"),
    ],
)
def test_invalidate_refuses_what_chooses_nothing(
    command: Command, made: int, database: str, arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit, match=f"InvalidInputError: {words}"):
        command("cache", "invalidate", *arguments)
    assert all(execution.reusable for execution in MetadataStore(database).executions().items)


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


def test_an_airflow_database_that_is_not_migrated_is_one_clear_line(command: Command) -> None:
    with pytest.raises(SystemExit, match=r"^InvalidInputError: Airflow's own database .* run: airflow db migrate$"):
        command("plan", "any")


def test_the_demo_takes_what_its_module_takes() -> None:
    options = set(inspect.signature(run_demo).parameters) - {"out"}
    assert options <= vars(get_parser().parse_args(["mlpipe", "demo"])).keys()


def test_the_warm_parent_is_shown_and_stopped(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(warm, "_UNTIL_IT_LISTENS", PATIENCE)
    assert command("executor", "status") == "There is no warm parent.\n"
    parent = WarmParent(home=airflow_home(), idle_seconds=600, preload=PRELOAD, least_free=0)
    with stopped_afterwards(parent):
        start(parent)

        def row() -> dict[str, str]:
            (only,) = json.loads(command("executor", "status", "--output", "json"))
            return dict(only)

        wait_for(lambda: int(row()["running"]) == 0)  # the fork that said "ready" is one, until it has ended
        shown = row()
        assert (shown["key"], shown["state"], int(shown["forked"])) == (parent.key, "ready", 0)
        pid = int(shown["pid"])
        assert is_alive(pid)
        assert "Ended." in command("executor", "stop")
        wait_for(lambda: not is_alive(pid))
    (tmp_path / f"mlpipe-warm-{os.geteuid()}").chmod(0o755)
    with pytest.raises(SystemExit, match="only this user may have access to"):
        command("executor", "status")
