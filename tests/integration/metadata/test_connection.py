import os
import socket
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from processes import kill_postgres
from waiting import wait_for

from airflow_provider_mlpipe.artifacts import Model
from airflow_provider_mlpipe.exceptions import (
    InvalidInputError,
    InvalidValueError,
    LostClaimError,
    PermanentError,
    SchemaVersionError,
    StoreUnavailableError,
    TransientError,
)
from airflow_provider_mlpipe.local.postgres import EmbeddedPostgres
from airflow_provider_mlpipe.metadata import connection as connections
from airflow_provider_mlpipe.metadata.connection import Connection, create_database
from airflow_provider_mlpipe.metadata.store import MetadataStore

_PID = "SELECT pg_backend_pid() AS pid"
_TCP_CLOSE = 7


def _kill(connection, victim):
    """Ends the victim's session as a server restart would; returns when it is gone."""
    (row,) = victim.run(_PID)
    connection.run("SELECT pg_terminate_backend(%(pid)s, 300000)", row)


def _reset(connection):
    """Has the kernel know that the other end is gone, as it does a minute after that has ended."""
    with socket.fromfd(connection._session.raw.fileno(), socket.AF_INET, socket.SOCK_STREAM) as end:
        end.send(b"anything")
        wait_for(lambda: end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == bytes([_TCP_CLOSE]))


class LosesReplies(Connection):
    """Its connection breaks right after the server carried out a statement with `needle`, as often as `times` says."""

    needle = ""
    times = 1

    def _send(self, raw, statement, parameters, **how):
        rows = super()._send(raw, statement, parameters, **how)
        if self.needle and self.needle in statement:
            self.times -= 1
            self.needle = self.needle if self.times else ""
            self.close()
            raise StoreUnavailableError("the reply was lost")
        return rows


@pytest.fixture
def lossy(store):
    store._connection = LosesReplies(store._dsn)
    return store._connection


def test_nobody_answers():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        store = MetadataStore(f"postgresql://ada:secret@127.0.0.1:{port}/taxi")
        with pytest.raises(StoreUnavailableError, match=rf"127.0.0.1:{port}, database 'taxi'.*Check that") as caught:
            store.artifact(1)
    assert "secret" not in str(caught.value)


def test_no_such_database(database):
    with pytest.raises(StoreUnavailableError, match=r"database 'absent'.*does not exist"):
        Connection(database.rsplit("/", 1)[0] + "/absent").run("SELECT 1")


def test_a_malformed_dsn_is_not_repeated():
    with pytest.raises(InvalidInputError, match="postgresql://user@host") as caught:
        MetadataStore("host=here password='secret")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_connection_is_opened_at_first_use_and_kept(connection):
    assert connection._session.raw is None
    assert connection.run(_PID) == connection.run(_PID)
    first = connection.run(_PID)
    connection.close()
    connection.close()
    assert connection.run(_PID) != first


def test_a_lost_connection_is_opened_again(store, start, connection):
    claim = store.start_execution(start())
    _kill(connection, store._connection)
    store.heartbeat(claim)
    _kill(connection, store._connection)
    store.publish(claim, {"model": [Model(uri="/m")]})
    _kill(connection, store._connection)
    store.publish_cached(start(run_id="2"), claim.execution_id)  # lost before the transaction began
    assert store.find_cached("f1").execution_id == claim.execution_id


def test_a_connection_is_opened_again_when_its_server_died_long_ago(open_tmp_path):
    with EmbeddedPostgres(open_tmp_path) as server:
        connection = Connection(server.dsn())
        connection.run("SELECT 1")
        kill_postgres(server)
        _reset(connection)
        server.start()
        assert connection.run("SELECT 1 AS one") == [{"one": 1}]
        connection.close()


def test_a_connection_lost_inside_a_transaction(connection, database):
    victim = Connection(database)

    def transact():
        with victim.transaction():
            victim.run("INSERT INTO mlpipe.execution_type (name) VALUES ('Lost')")
            _kill(connection, victim)
            victim.run("SELECT 1")

    with pytest.raises(StoreUnavailableError, match="broke"):
        transact()
    assert victim.run("SELECT count(*) AS n FROM mlpipe.execution_type WHERE name = 'Lost'") == [{"n": 0}]
    victim.close()


def test_nothing_more_is_sent_after_a_transaction_lost_its_connection(connection, database):
    victim = Connection(database)

    def transact():
        with victim.transaction():
            _kill(connection, victim)
            with pytest.raises(StoreUnavailableError, match="broke"):
                victim.run("SELECT 1")
            victim.run("INSERT INTO mlpipe.execution_type (name) VALUES ('Half')")

    with pytest.raises(StoreUnavailableError, match="inside a transaction"):
        transact()
    assert victim.run("SELECT count(*) AS n FROM mlpipe.execution_type") == [{"n": 0}]
    victim.close()


def test_an_error_rolls_back_and_the_connection_lives(connection):
    pid = connection.run(_PID)

    def transact():
        with connection.transaction():
            connection.run("INSERT INTO mlpipe.execution_type (name) VALUES ('Undone')")
            raise KeyError

    with pytest.raises(KeyError):
        transact()
    assert connection.run("SELECT count(*) AS n FROM mlpipe.execution_type") == [{"n": 0}]
    assert connection.run(_PID) == pid


class TestLostReplies:
    def test_a_start_is_not_doubled(self, store, start, lossy):
        lossy.needle = "INSERT INTO mlpipe.execution ("
        claim = store.start_execution(start())
        assert lossy.needle == ""
        assert [execution.id for execution in store.executions().items] == [claim.execution_id]
        store.heartbeat(claim)

    def test_a_publication_knows_its_own_work(self, store, start, lossy):
        claim = store.start_execution(start())
        lossy.needle = "INSERT INTO mlpipe.artifact ("
        outputs = store.publish(claim, {"model": [Model(uri="/m0"), Model(uri="/m1")]})
        assert lossy.needle == ""
        assert store.execution_artifacts(claim.execution_id, "OUTPUT") == outputs
        assert len(store.artifacts().items) == 2
        with pytest.raises(LostClaimError):
            store.publish(claim, {})

    def test_a_publication_that_waited_knows_its_own_work(self, store, start, lossy, monkeypatch):
        monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.01)
        claim = store.start_execution(start())
        lossy.needle, lossy.times = "INSERT INTO mlpipe.artifact (", 3
        with store.patience(timedelta(hours=1)):
            outputs = store.publish(claim, {"model": [Model(uri="/m")]})
        assert lossy.times == 0
        assert store.execution_artifacts(claim.execution_id, "OUTPUT") == outputs

    def test_patience_ends(self, store, start, lossy, monkeypatch):
        monkeypatch.setattr(connections, "PAUSE_SECONDS", 0.01)
        claim = store.start_execution(start())
        lossy.needle, lossy.times = "INSERT INTO mlpipe.artifact (", 10**6
        with store.patience(timedelta(seconds=0.05)), pytest.raises(StoreUnavailableError, match="was lost"):
            store.publish(claim, {})

    def test_a_publication_without_outputs(self, store, start, lossy):
        claim = store.start_execution(start())
        lossy.needle = "INSERT INTO mlpipe.artifact ("
        assert store.publish(claim, {}) == {}

    def test_a_failure_is_told_so_twice(self, store, start, lossy):
        claim = store.start_execution(start())
        lossy.needle = "state IN ('RUNNING', 'FAILED')"
        assert store.fail(claim, "an error") is True

    def test_a_transaction_is_not_sent_again(self, store, start, run, lossy):
        execution_id, _ = run()
        lossy.needle = "FOR SHARE"
        with pytest.raises(StoreUnavailableError):
            store.publish_cached(start(run_id="2"), execution_id)
        assert store.executions(run_id="2").items == []
        store.publish_cached(start(run_id="2"), execution_id)


def test_threads_have_their_own_sessions(connection):
    pids = []
    thread = threading.Thread(target=lambda: pids.append(connection.run(_PID)))
    thread.start()
    thread.join()
    assert pids != [connection.run(_PID)]


def test_a_child_does_not_use_its_parents_connection(connection):
    parents = connection.run(_PID)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on
        pid = os.fork()
    if pid == 0:
        try:
            childs = connection.run(_PID)
            connection.close()
            os.write(writing, b"another" if childs != parents else b"the same")
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"another"
    assert connection.run(_PID) == parents


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT * FROM mlpipe.absent", SchemaVersionError),
        ("SELECT absent FROM mlpipe.artifact", SchemaVersionError),
        ("SELECT 1/0", InvalidValueError),
        ("INSERT INTO mlpipe.event VALUES (1, 1, 'INPUT', 'k', 0)", InvalidValueError),
        ("SET statement_timeout = 1; SELECT count(*) FROM generate_series(1, 100000000)", TransientError),
        ("SELEKT", PermanentError),
    ],
)
def test_errors_are_translated(connection, statement, error):
    with pytest.raises(error) as caught:
        connection.run(statement)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_cannot_be_sent(store, text):
    with pytest.raises(InvalidValueError):
        store.find_cached(text)


_LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"


def test_a_deadlock_is_transient(connection, database):
    barrier, raised = threading.Barrier(2), []

    def lock(first, second):
        try:
            with connection.transaction():
                connection.run(_LOCK, {"key": first})
                barrier.wait()
                connection.run(_LOCK, {"key": second})
        except TransientError as error:
            raised.append(type(error))
        connection.close()

    threads = [threading.Thread(target=lock, args=keys) for keys in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == [TransientError]


def test_a_statement_chosen_to_resolve_a_deadlock_is_sent_again(connection, database):
    gate = Connection(database)
    in_turn = "SET deadlock_timeout = '10ms'; SELECT " + ", ".join(f"pg_advisory_xact_lock({key})" for key in (1, 3, 2))

    def lock():
        found = connection.run(in_turn)
        connection.close()
        return found

    def lock_the_other_way():
        other = Connection(database)
        with other.transaction():
            other.run("SET LOCAL deadlock_timeout = '1h'")  # so that the single statement is chosen
            other.run(_LOCK, {"key": 2})
            other.run(_LOCK, {"key": 1})
        other.close()

    def wait_for_waiting(count):
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_for(lambda: gate.run(waiting) == [{"n": count}])

    with ThreadPoolExecutor(2) as pool:
        with gate.transaction():
            gate.run(_LOCK, {"key": 3})
            single = pool.submit(lock)  # has 1, waits for 3
            wait_for_waiting(1)
            other = pool.submit(lock_the_other_way)  # has 2, waits for 1
            wait_for_waiting(2)
        # Only now the statement comes to wait for 2: Postgres looks for a deadlock once a wait.
        other.result()
        assert len(single.result()) == 1
    gate.close()


def test_a_database_is_created_once_whoever_races(postgres_server):
    dsn = postgres_server.dsn("raced_for")
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create_database, [dsn] * 8))
    assert sorted(created) == [False] * 7 + [True]
    assert Connection(dsn).run("SELECT current_database() AS name") == [{"name": "raced_for"}]
    postgres_server.drop_database("raced_for")


def test_who_may_not_create_a_database_is_told(postgres_server, database):
    connection = Connection(postgres_server.dsn())
    connection.run("CREATE ROLE modest LOGIN PASSWORD 'x'")
    address = f"postgresql://modest:x@127.0.0.1:{postgres_server.port}"
    try:
        with pytest.raises(InvalidInputError, match=r'permission denied.*CREATE DATABASE "immodest"'):
            create_database(f"{address}/immodest")
        assert not create_database(f"{address}/{database.rpartition('/')[2]}")  # which is there
    finally:
        connection.run("DROP ROLE modest")


@pytest.mark.parametrize(
    ("dsn", "words"), [("nonsense", "not a Postgres connection string"), ("host=127.0.0.1 port=1", "names no database")]
)
def test_an_address_without_a_database_cannot_be_created(dsn, words):
    with pytest.raises(InvalidInputError, match=words):
        create_database(dsn)
