"""From an Airflow connection to the store: its extra, and what changes while a task runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn

from airflow_provider_mlpipe.exceptions import InvalidInputError, StoreUnavailableError
from airflow_provider_mlpipe.metadata.connection import Connection
from airflow_provider_mlpipe.metadata.hook import MlpipeHook
from airflow_provider_mlpipe.metadata.schema import upgrade
from airflow_provider_mlpipe.metadata.store import ExecutionStart, MetadataStore

Connect = Callable[..., MlpipeHook]


@pytest.fixture
def connect(database: str, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Gives Airflow a connection to the test's database, with these changes, and returns its hook."""
    known = parse_dsn(database)
    fields = {"host": known["host"], "port": known["port"], "login": known["user"], "password": known["password"]}

    def make(**changes: Any) -> MlpipeHook:
        values = {"conn_type": "mlpipe", "schema": known["dbname"], **fields, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_DEFAULT", json.dumps(values))
        return MlpipeHook()

    return make


@pytest.mark.parametrize(
    ("extra", "passed"),
    [
        ({"sslmode": None, "sslrootcert": ""}, {}),
        ({"sslmode": "prefer", "connect_timeout": 7}, {"sslmode": "prefer", "connect_timeout": "7"}),
        ({"keepalives": True, "sslsni": False}, {"keepalives": "1", "sslsni": "0"}),
        ({"host": "127.0.0.1"}, {"host": "127.0.0.1"}),
    ],
)
def test_what_the_extra_says_is_passed_to_libpq(
    connect: Connect, extra: dict[str, Any], passed: dict[str, str]
) -> None:
    hook = connect(extra=extra, **({"host": None} if "host" in extra else {}))
    assert parse_dsn(hook.address.dsn).items() >= passed.items()
    assert "sslrootcert" not in hook.address.dsn
    hook.store.check()
    hook.store.close()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"no_such": "1"}, "extra of .*'mlpipe_default': 'no_such' is no setting of libpq: remove it"),
        ({"dsn": "dbname=other"}, "'dsn' is no setting of libpq"),
        ({"host": "elsewhere"}, "'host' is given in the field Host, too: remove one"),
        ({"dbname": "other"}, "'dbname' is given in the field Database, too"),
        ({"sslmode": True}, "'sslmode' is true, which libpq does not take: write the value as text"),
        ({"options": ["-c", "x=y"]}, r"'options' is \[.*\], which libpq does not take"),
        ("sslmode=require", "it is not a JSON object: write it like"),
        ({"sslmode": "maybe"}, "'mlpipe_default' has a setting.*: invalid sslmode value: \"maybe\".*Correct it"),
        (
            {"keepalives_idle": "soon"},
            "'mlpipe_default' has a setting.*invalid integer value \"soon\".*alives_idle",
        ),
    ],
)
def test_what_libpq_would_not_take_names_connection_and_setting(connect: Connect, extra: Any, words: str) -> None:
    hook = connect(extra=extra)
    with pytest.raises(InvalidInputError, match=words):
        hook.store.check()
    with pytest.raises(InvalidInputError, match=words):
        upgrade(hook.address)


@pytest.fixture
def role(database: str) -> Iterator[Connection]:
    """A user `rotated` with the password "old", who may use the store; the connection is an administrator's."""
    admin = Connection(database)
    admin.run("CREATE ROLE rotated LOGIN PASSWORD 'old'")
    admin.run("GRANT USAGE ON SCHEMA mlpipe TO rotated")
    admin.run("GRANT ALL ON ALL TABLES IN SCHEMA mlpipe TO rotated")
    yield admin
    admin.run("DROP OWNED BY rotated")
    admin.run("DROP ROLE rotated")
    admin.close()


def rotate(admin: Connection) -> None:
    """A new password; and nobody is still there by the old one."""
    admin.run("ALTER ROLE rotated PASSWORD 'new'")
    admin.run("SELECT pg_terminate_backend(pid, 300000) FROM pg_stat_activity WHERE usename = 'rotated'")


def test_a_password_that_changed_meanwhile_is_read_again(
    connect: Connect, role: Connection, start: Callable[..., ExecutionStart]
) -> None:
    store = connect(login="rotated", password="old").store
    claim = store.start_execution(start())
    rotate(role)
    connect(login="rotated", password="new")
    store.publish(claim, {})
    store.close()


def test_a_connection_that_was_changed_wrongly_may_be_corrected(
    connect: Connect, role: Connection, start: Callable[..., ExecutionStart]
) -> None:
    store = connect(login="rotated", password="old").store
    claim = store.start_execution(start())
    rotate(role)
    connect(login="rotated", password="new", extra={"sslmode": "mabye"})
    with pytest.raises(StoreUnavailableError, match="password authentication failed"):
        store.publish(claim, {})
    connect(login="rotated", password="new")
    store.publish(claim, {})
    store.close()


def test_one_that_did_not_change_is_asked_for_once_a_failure(connect: Connect, role: Connection) -> None:
    reads: list[None] = []

    class Hook(MlpipeHook):
        def _read(self) -> Any:
            reads.append(None)
            return super()._read()

    connect(login="rotated", password="old")
    store = Hook().store
    store.check()
    rotate(role)
    with pytest.raises(StoreUnavailableError, match='failed for user "rotated"'):
        store.check()
    assert len(reads) == 2


def test_an_airflow_that_does_not_answer_hides_no_error(
    connect: Connect, role: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = connect(login="rotated", password="wrong").store
    monkeypatch.delenv("AIRFLOW_CONN_MLPIPE_DEFAULT")
    with pytest.raises(StoreUnavailableError, match="password authentication failed"):
        store.check()
    assert "the Airflow connection 'mlpipe_default' could not be read again" in caplog.text


def test_a_database_that_is_missing_is_to_be_created(connect: Connect) -> None:
    hook = connect(schema="absent")
    with pytest.raises(StoreUnavailableError, match=r"database 'absent'.*: `airflow mlpipe db upgrade --create"):
        MetadataStore(hook.address).check()
